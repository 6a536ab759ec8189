// SPDX-License-Identifier: MIT
#include "chardev/vc.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace rhea::chardev {
namespace {

struct Host : Frontend {
  usize can_receive() override { return room; }
  void receive(std::span<const u8> data) override {
    got.append(data.begin(), data.end());
    room -= data.size();
  }
  usize room = 3;
  std::string got;
};

TEST(Vc, IsAScreenWithItsLabel) {
  display::Screens screens;
  {
    auto vc = make_vc(screens, {.columns = 20, .rows = 5, .width = 200, .height = 100}, "serial0");
    const std::string text = "hello";
    vc->write({reinterpret_cast<const u8*>(text.data()), text.size()});
    display::Screen* screen = screens.find("serial0");
    ASSERT_TRUE(screen);
    EXPECT_TRUE(screen->is_text());
    const display::Surface& frame = screen->frame();
    EXPECT_EQ(frame.width, 200u);
    EXPECT_EQ(frame.height, 100u);
    EXPECT_NE(std::count(frame.pixels.begin(), frame.pixels.end(), 0xaaaaaau), 0);
    EXPECT_EQ(vc->description(), "vc");
  }
  EXPECT_FALSE(screens.find("serial0"));
}

TEST(Vc, SizesInPixelsAndCharacters) {
  const auto pixels = console_size({.width = 1280, .height = 720});
  EXPECT_EQ(pixels.columns, 160u);
  EXPECT_EQ(pixels.rows, 45u);
  EXPECT_EQ(pixels.height, 720u);
  const auto characters = console_size({.columns = 100, .rows = 30});
  EXPECT_EQ(characters.columns, 100u);
  EXPECT_EQ(characters.width, 0u);
  EXPECT_EQ(console_size({}).columns, 80u);
}

TEST(Vc, AnswersAreInput) {
  display::Screens screens;
  auto vc = make_vc(screens, {}, "serial0");
  Host host;
  vc->set_frontend(&host);
  const std::string question = "\x1b[6n";
  vc->write({reinterpret_cast<const u8*>(question.data()), question.size()});
  EXPECT_EQ(host.got, "\x1b[1");
  host.room = 100;
  vc->accept_input();
  EXPECT_EQ(host.got, "\x1b[1;1R");
}

}  // namespace
}  // namespace rhea::chardev
