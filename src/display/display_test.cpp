// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>

#include "display/font.h"
#include "display/input.h"
#include "display/text_console.h"
#include "util/bits.h"

namespace rhea::display {
namespace {

// --- images -------------------------------------------------------------------------------------------------------

Surface gradient() {
  Surface surface;
  surface.resize(5, 3);
  for (u32 y = 0; y < 3; ++y)
    for (u32 x = 0; x < 5; ++x) surface.row(y)[x] = x << 16 | y << 8 | (x + y);
  return surface;
}

TEST(Image, Ppm) {
  const Surface surface = gradient();
  const std::vector<u8> bytes = encode(surface, ImageFormat::ppm);
  const std::string header = "P6\n5 3\n255\n";
  ASSERT_EQ(bytes.size(), header.size() + 45);
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header.size())), header);
  for (u32 i = 0; i < 15; ++i)
    EXPECT_EQ(
        bytes[header.size() + i * 3] << 16 | bytes[header.size() + i * 3 + 1] << 8 | bytes[header.size() + i * 3 + 2],
        s32(surface.pixels[i]));
}

TEST(Image, PngUnpacksToThePixels) {
  const Surface surface = gradient();
  const std::vector<u8> png = encode(surface, ImageFormat::png);
  EXPECT_EQ(load_be<u32>(&png[0]), 0x89504e47u);
  std::vector<u8> packed;
  for (usize at = 8; at < png.size();) {
    const u32 size = load_be<u32>(&png[at]);
    ASSERT_LE(at + 12 + size, png.size());
    const std::string type(&png[at + 4], &png[at + 8]);
    EXPECT_EQ(load_be<u32>(&png[at + 8 + size]), crc32(0, &png[at + 4], size + 4)) << type;
    if (type == "IHDR") {
      EXPECT_EQ(load_be<u32>(&png[at + 8]), 5u);
      EXPECT_EQ(load_be<u32>(&png[at + 12]), 3u);
    }
    if (type == "IDAT") packed.insert(packed.end(), &png[at + 8], &png[at + 8] + size);
    at += 12 + size;
  }
  std::vector<u8> raw(3 * 16);
  uLongf size = raw.size();
  ASSERT_EQ(uncompress(raw.data(), &size, packed.data(), packed.size()), Z_OK);
  ASSERT_EQ(size, raw.size());
  for (u32 y = 0; y < 3; ++y) {
    EXPECT_EQ(raw[y * 16], 0);
    for (u32 x = 0; x < 5; ++x)
      EXPECT_EQ(raw[y * 16 + 1 + x * 3] << 16 | raw[y * 16 + 2 + x * 3] << 8 | raw[y * 16 + 3 + x * 3],
                s32(surface.row(y)[x]));
  }
}

TEST(Font, PrintableCharactersDiffer) {
  for (u32 a = 0x21; a < 0x7f; ++a)
    for (u32 b = a + 1; b < 0x7f; ++b) EXPECT_NE(glyph(a), glyph(b)) << a << " " << b;
  EXPECT_EQ(glyph(0x20), (std::array<u8, 16>{}));
  EXPECT_EQ(glyph(0x4e2d), glyph(0x1f600)) << "the box";
}

TEST(Font, IsClippedAtTheEdges) {
  Surface surface;
  surface.resize(10, 10);
  for (u32 x = 0; x < 12; ++x) draw_glyph(surface, x, x, '#', 1, 2);
}

// --- text console -------------------------------------------------------------------------------------------------

struct Console : ::testing::Test {
  std::string answers;
  TextConsole console{"vc0", {.columns = 10, .rows = 4}, [this](std::string_view text) { answers += text; }};
  void write(std::string_view text) { console.write({reinterpret_cast<const u8*>(text.data()), text.size()}); }
  std::string screen() {
    std::string text;
    for (u32 row = 0; row < console.rows(); ++row) text += console.row_text(row) + "|";
    return text;
  }
};

TEST_F(Console, WritesWrapsAndScrolls) {
  write("hello\r\n0123456789abc");
  EXPECT_EQ(screen(), "hello|0123456789|abc||");
  write("\r\nx\ny\b!");
  EXPECT_EQ(screen(), "0123456789|abc|x| !|") << "a line feed goes down alone";
}

TEST_F(Console, TheLastColumnWrapsOnlyWithTheNextCharacter) {
  write("0123456789\rA");
  EXPECT_EQ(screen(), "A123456789||||");
  write("\x1b[?7l\x1b[1;10Hxyz");
  EXPECT_EQ(screen(), "A12345678z||||");
}

TEST_F(Console, MovesAndErases) {
  write("\x1b[2J\x1b[2;3Hab\x1b[A^\x1b[BX\x1b[4;10H!");
  EXPECT_EQ(screen(), "    ^|  ab X||         !|");
  write("\x1b[2;4H\x1b[K\x1b[4H\x1b[2K");
  EXPECT_EQ(screen(), "    ^|  a|||");
  write("\x1b[H012345\x1b[1;3H\x1b[2P\x1b[1@*\x1b[6G\x1b[3X");
  EXPECT_EQ(screen(), "01*45|  a|||");
}

TEST_F(Console, ScrollsARegion) {
  write("a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[3;1H\n\n");
  EXPECT_EQ(screen(), "a|||d|");
  write("\x1b[r\x1b[2;1Hx\x1b[L");
  EXPECT_EQ(screen(), "a||x||");
  write("\x1b[M\x1b[1;1H\x1bM^");
  EXPECT_EQ(screen(), "^|a|x||");
}

TEST_F(Console, AnswersWhereItIs) {
  write("\x1b[3;4H\x1b[6n\x1b[5n\x1b[c");
  EXPECT_EQ(answers, "\x1b[3;4R\x1b[0n\x1b[?6c");
}

TEST_F(Console, Utf8LinesAndStrings) {
  write("\xc3\xa4\xe2\x94\x80\x1b(0qx\x1b(B\xff\x1b]0;title\x07z\x1bPq\x1b\\!");
  EXPECT_EQ(screen(), "\xc3\xa4\xe2\x94\x80\xe2\x94\x80\xe2\x94\x82\xef\xbf\xbdz!||||");
}

TEST_F(Console, ColoursReachThePicture) {
  write("\x1b[?25l\x1b[44mX\x1b[0m\x1b[7m \x1b[0m\x1b[38;2;255;80;80mY");
  const Surface& frame = console.frame();
  EXPECT_EQ(frame.width, 80u);
  EXPECT_EQ(frame.height, 64u);
  EXPECT_EQ(frame.row(0)[0], 0x0000aau);
  EXPECT_EQ(frame.row(5)[10], 0xaaaaaau);
  bool red = false;
  for (u32 x = 16; x < 24; ++x) red |= frame.row(0)[x] == 0xff5555;
  EXPECT_TRUE(red);
}

TEST_F(Console, TakesAnything) {
  std::mt19937 random(3);
  static constexpr char kLikely[] = "\x1b[]();?0123456789ABCDHJKLMPSTXmrhlnc@dGfEF\r\n\t\b78\xe2\x94";
  std::string text;
  for (unsigned i = 0; i < 200'000; ++i)
    text += random() % 4 ? kLikely[random() % (sizeof kLikely - 1)] : static_cast<char>(random());
  write(text);
  console.frame();
  console.reset();
  EXPECT_EQ(screen(), "||||");
}

// --- keys and mice ------------------------------------------------------------------------------------------------

class StepClock : public Clock {
 public:
  s64 now() const override { return now_; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    auto timer = std::make_unique<One>(*this);
    callback_ = std::move(callback);
    return timer;
  }
  void advance(s64 time) {
    now_ += time;
    if (deadline_ <= now_) {
      deadline_ = kNever;
      callback_();
    }
  }

 private:
  struct One : Timer {
    explicit One(StepClock& of) : clock(of) {}
    void arm(s64 deadline) override { clock.deadline_ = deadline; }
    void cancel() override { clock.deadline_ = kNever; }
    s64 deadline() const override { return clock.deadline_; }
    StepClock& clock;
  };
  s64 now_ = 0, deadline_ = kNever;
  std::function<void()> callback_;
};

struct Recorder : Keyboard, Pointer {
  explicit Recorder(bool is_absolute = false) : absolute_(is_absolute) {}
  std::string input_name() const override { return "keys"; }
  void key(const Key& key, bool down) override { log += fmt::format("{}{} ", down ? '+' : '-', key.name); }
  std::string pointer_name() const override { return absolute_ ? "tablet" : "mouse"; }
  bool absolute() const override { return absolute_; }
  void move(s32 dx, s32 dy, s32 wheel) override { log += fmt::format("move {} {} {} ", dx, dy, wheel); }
  void move_to(s32 x, s32 y) override { log += fmt::format("at {} {} ", x, y); }
  void set_buttons(u32 buttons) override { log += fmt::format("buttons {} ", buttons); }
  std::string log;
  bool absolute_;
};

TEST(Keys, NamesAreUniqueAndParsed) {
  for (const Key& key : all_keys()) EXPECT_EQ(find_key(key.name), &key) << key.name;
  const auto chord = parse_keys("ctrl-alt-0x1c-<");
  ASSERT_TRUE(chord.ok());
  ASSERT_EQ(chord->size(), 4u);
  EXPECT_EQ((*chord)[2]->name, "ret");
  EXPECT_EQ((*chord)[3]->name, "less");
  EXPECT_EQ((*parse_keys("0xe048"))[0]->name, "up");
  EXPECT_EQ(parse_keys("ctrl-foo").error().message().substr(0, 22), "invalid parameter: foo");
  EXPECT_NE(parse_keys("ctrl-delet").error().message().find("'delete'"), std::string::npos);
  for (const char* bad : {"", "-", "a-", "0x", "0xffffff", "0x0", "A"}) EXPECT_FALSE(parse_keys(bad).ok()) << bad;
  EXPECT_FALSE(parse_keys("a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a").ok());
}

TEST(Inputs, TypesChordsOneAfterTheOther) {
  StepClock clock;
  Inputs inputs(clock);
  Recorder keyboard;
  inputs.add(static_cast<Keyboard&>(keyboard));
  inputs.type(*parse_keys("shift-a"), 100);
  inputs.type(*parse_keys("b"), 50);
  EXPECT_EQ(keyboard.log, "+shift +a ");
  clock.advance(99);
  EXPECT_EQ(keyboard.log, "+shift +a ");
  clock.advance(1);
  EXPECT_EQ(keyboard.log, "+shift +a -a -shift +b ");
  clock.advance(50);
  EXPECT_EQ(keyboard.log, "+shift +a -a -shift +b -b ");
  EXPECT_FALSE(inputs.typing());
}

TEST(Inputs, EventsGoToWhoWasActivatedLast) {
  StepClock clock;
  Inputs inputs(clock);
  Recorder mouse, tablet(true);
  inputs.add(static_cast<Pointer&>(mouse));
  inputs.add(static_cast<Pointer&>(tablet));
  inputs.move(1, 2, 3);
  EXPECT_EQ(mouse.log, "move 1 2 3 ");
  inputs.activate(static_cast<Pointer&>(tablet));
  mouse.log.clear();
  inputs.move(4, 5, 6);
  inputs.set_buttons(1);
  inputs.move_to(40000, -5);
  EXPECT_EQ(mouse.log, "move 4 5 0 ");
  EXPECT_EQ(tablet.log, "move 0 0 6 buttons 1 at 32767 0 ");
  const auto rows = inputs.pointers();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].index, 1u);
  EXPECT_TRUE(rows[0].current && rows[0].absolute);
  EXPECT_TRUE(inputs.select(0));
  EXPECT_EQ(inputs.pointers()[0].index, 0u);
  EXPECT_FALSE(inputs.select(7));
  inputs.remove(static_cast<Pointer&>(mouse));
  inputs.remove(static_cast<Pointer&>(tablet));
  inputs.move(1, 1, 1);
}

TEST(Inputs, RecordedOnesComeBackLater) {
  StepClock clock;
  Inputs inputs(clock);
  Recorder keyboard, mouse, tablet(true);
  inputs.add(static_cast<Keyboard&>(keyboard));
  inputs.add(static_cast<Pointer&>(mouse));
  inputs.add(static_cast<Pointer&>(tablet));
  std::vector<std::vector<u8>> recorded;
  inputs.set_recorder([&](std::span<const u8> event) { recorded.emplace_back(event.begin(), event.end()); });
  inputs.type({find_key("a")}, 100);
  clock.advance(100);
  inputs.move(-3, 4, 0);
  inputs.move_to(40'000, 7);
  EXPECT_TRUE(inputs.select(1));
  EXPECT_FALSE(inputs.select(5));
  inputs.set_buttons(kButtonRight);
  EXPECT_EQ(keyboard.log + mouse.log + tablet.log, "");
  ASSERT_EQ(recorded.size(), 6u);
  for (const auto& event : recorded) inputs.deliver(event);
  EXPECT_EQ(keyboard.log, "+a -a ");
  EXPECT_EQ(mouse.log, "move -3 4 0 ");
  EXPECT_EQ(tablet.log, "at 32767 7 buttons 4 ");
  for (usize size = 0; size < 9; ++size) inputs.deliver(std::vector<u8>(size, 0xee));
  EXPECT_EQ(recorded.size(), 6u);
}

struct FakeScreen : Screen {
  FakeScreen(std::string name, bool is_lit, bool text = false) : name_(std::move(name)), lit(is_lit), text_(text) {}
  std::string label() const override { return name_; }
  bool is_text() const override { return text_; }
  bool is_on() const override { return lit; }
  const Surface& frame() override { return surface; }
  std::string name_;
  bool lit, text_;
  Surface surface;
};

TEST(Screens, TheMainOneIsTheFirstThatIsOn) {
  Screens screens;
  EXPECT_EQ(screens.main(), nullptr);
  FakeScreen text("serial0", true, true), first("a", false), second("b", true);
  screens.add(text);
  EXPECT_EQ(screens.main(), &text);
  screens.add(first);
  EXPECT_EQ(screens.main(), &first);
  screens.add(second);
  EXPECT_EQ(screens.main(), &second);
  EXPECT_EQ(screens.find("serial0"), &text);
  EXPECT_EQ(screens.find("c"), nullptr);
  screens.remove(second);
  EXPECT_EQ(screens.main(), &first);
}

}  // namespace
}  // namespace rhea::display
