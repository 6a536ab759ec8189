// SPDX-License-Identifier: MIT
#include "display/screens.h"

#include <algorithm>

#include "display/font.h"

namespace rhea::display {

Screen* Screens::find(std::string_view label) const {
  for (Screen* screen : list_)
    if (screen->label() == label) return screen;
  return nullptr;
}

Screen* Screens::main() const {
  Screen* first_graphic = nullptr;
  for (Screen* screen : list_) {
    if (screen->is_text()) continue;
    if (screen->is_on()) return screen;
    if (!first_graphic) first_graphic = screen;
  }
  if (first_graphic) return first_graphic;
  return list_.empty() ? nullptr : list_.front();
}

void draw_blank(Surface& surface) {
  constexpr u32 kWidth = 640, kHeight = 480, kGrey = 0xaaaaaa;
  constexpr std::string_view kText = "The guest has not turned this display on.";
  surface.resize(kWidth, kHeight);
  std::fill(surface.pixels.begin(), surface.pixels.end(), 0);
  u32 x = (kWidth - static_cast<u32>(kText.size()) * kGlyphWidth) / 2;
  for (const char c : kText) {
    draw_glyph(surface, x, (kHeight - kGlyphHeight) / 2, static_cast<u8>(c), kGrey, 0);
    x += kGlyphWidth;
  }
}

}  // namespace rhea::display
