// SPDX-License-Identifier: MIT
// The font of text consoles: 8x16 cells, drawn on a grid of 5x8 whose rows are doubled.
#pragma once

#include <array>

#include "display/surface.h"

namespace rhea::display {

constexpr u32 kGlyphWidth = 8, kGlyphHeight = 16;

// A cell's rows from the top, the leftmost pixel in bit 7. Printable ASCII, and the codes below; a box for others.
std::array<u8, kGlyphHeight> glyph(u32 code);

// Draws a cell with its upper left corner at (x, y), clipped to the surface.
void draw_glyph(Surface& surface, u32 x, u32 y, u32 code, u32 foreground, u32 background);

}  // namespace rhea::display
