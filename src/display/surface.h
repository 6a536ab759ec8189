// SPDX-License-Identifier: MIT
// A picture in the host's memory: what a display shows at one moment.
#pragma once

#include <string>
#include <vector>

#include "util/types.h"

namespace rhea::display {

// Pixels are 0x00rrggbb, rows from the top without gaps.
struct Surface {
  u32 width = 0, height = 0;
  std::vector<u32> pixels;

  // The old contents are lost when the size changes.
  void resize(u32 new_width, u32 new_height) {
    if (new_width == width && new_height == height) return;
    width = new_width;
    height = new_height;
    pixels.assign(usize{width} * height, 0);
  }
  u32* row(u32 y) { return pixels.data() + usize{width} * y; }
  const u32* row(u32 y) const { return pixels.data() + usize{width} * y; }
};

enum class ImageFormat : u8 { ppm, png };

// The bytes of an image file: binary PPM ("P6"), or PNG of 8-bit RGB (RFC 2083).
std::vector<u8> encode(const Surface& surface, ImageFormat format);

}  // namespace rhea::display
