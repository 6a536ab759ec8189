// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <zlib.h>

#include <iterator>
#include <string_view>

#include "display/surface.h"
#include "util/bits.h"

namespace rhea::display {

namespace {

void put_rgb(std::vector<u8>& bytes, const Surface& surface, u32 y) {
  const u32* row = surface.row(y);
  for (u32 x = 0; x < surface.width; ++x)
    bytes.insert(bytes.end(), {static_cast<u8>(row[x] >> 16), static_cast<u8>(row[x] >> 8), static_cast<u8>(row[x])});
}

std::vector<u8> encode_ppm(const Surface& surface) {
  const std::string header = fmt::format("P6\n{} {}\n255\n", surface.width, surface.height);
  std::vector<u8> bytes(header.begin(), header.end());
  bytes.reserve(bytes.size() + surface.pixels.size() * 3);
  for (u32 y = 0; y < surface.height; ++y) put_rgb(bytes, surface, y);
  return bytes;
}

void put_be32(std::vector<u8>& bytes, u32 value) {
  u8 word[4];
  store_be(word, value);
  bytes.insert(bytes.end(), std::begin(word), std::end(word));
}

// RFC 2083, section 3.2: length, type, data, CRC of type and data.
void put_chunk(std::vector<u8>& png, std::string_view type, const std::vector<u8>& data) {
  put_be32(png, static_cast<u32>(data.size()));
  const usize start = png.size();
  png.insert(png.end(), type.begin(), type.end());
  png.insert(png.end(), data.begin(), data.end());
  put_be32(png, static_cast<u32>(crc32(0, png.data() + start, static_cast<uInt>(png.size() - start))));
}

std::vector<u8> encode_png(const Surface& surface) {
  std::vector<u8> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  std::vector<u8> header;
  put_be32(header, surface.width);
  put_be32(header, surface.height);
  header.insert(header.end(), {8, 2, 0, 0, 0});  // 8 bits, RGB, deflate, standard filters, not interlaced
  put_chunk(png, "IHDR", header);
  std::vector<u8> raw;
  raw.reserve((usize{surface.width} * 3 + 1) * surface.height);
  for (u32 y = 0; y < surface.height; ++y) {
    raw.push_back(0);  // no filter
    put_rgb(raw, surface, y);
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::vector<u8> packed(size);
  compress2(packed.data(), &size, raw.data(), static_cast<uLong>(raw.size()), Z_BEST_SPEED);
  packed.resize(size);
  put_chunk(png, "IDAT", packed);
  put_chunk(png, "IEND", {});
  return png;
}

}  // namespace

std::vector<u8> encode(const Surface& surface, ImageFormat format) {
  return format == ImageFormat::png ? encode_png(surface) : encode_ppm(surface);
}

}  // namespace rhea::display
