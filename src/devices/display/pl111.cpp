// SPDX-License-Identifier: MIT
// ARM PrimeCell Color LCD Controller PL111 (DDI 0293C). Output 0: CLCDINTR, the combined interrupt.
//
// How it works: the controller is only its registers until somebody looks at the picture (display::Screen::frame);
// then each line is read from the guest's memory and unpacked by Control's format. Frames pass at 60 Hz of virtual
// time; a timer runs only while the guest has unmasked one of the interrupts that come with each frame.
#include <algorithm>
#include <array>

#include "devices/device_type.h"
#include "devices/mmio.h"
#include "display/screens.h"

namespace rhea::devices {
namespace {

struct Config {};

// Section 3.2, table 3-1.
enum Offset : u32 {
  kTiming0 = 0x000,
  kTiming1 = 0x004,
  kUpBase = 0x010,
  kLpBase = 0x014,
  kControl = 0x018,
  kImsc = 0x01c,
  kRis = 0x020,
  kMis = 0x024,
  kIcr = 0x028,
  kPalette = 0x200,
  kPaletteEnd = 0x400,
  kCursorImage = 0x800,
  kCursorImageEnd = 0xc00,
  kCrsrCtrl = 0xc00,
  kCrsrConfig = 0xc04,
  kCrsrPalette0 = 0xc08,
  kCrsrPalette1 = 0xc0c,
  kCrsrXy = 0xc10,
  kCrsrClip = 0xc14,
  kCrsrImsc = 0xc20,
  kCrsrRis = 0xc28
};
// LCDControl, section 3.2.7.
enum Control : u32 {
  kLcdEn = 1u << 0,
  kLcdBw = 1u << 4,
  kLcdTft = 1u << 5,
  kLcdDual = 1u << 7,
  kBgr = 1u << 8,
  kBebo = 1u << 9,
  kBepo = 1u << 10,
  kLcdPwr = 1u << 11
};
// LCDControl.LcdBpp.
enum Depth : u32 { k1Bpp, k2Bpp, k4Bpp, k8Bpp, k16Bpp, k24Bpp, k16Bpp565, k12Bpp };
// LCDRIS, section 3.2.9.
enum Interrupt : u32 { kFuf = 1u << 1, kLnbu = 1u << 2, kVcomp = 1u << 3, kMbError = 1u << 4 };

constexpr s64 kFrame = kSecond / 60;
constexpr u32 kCursorSmall = 32, kCursorLarge = 64;

constexpr u32 widen(u32 value, unsigned bits) {  // to 8 bits, full intensity staying full
  value <<= 8 - bits;
  return value | value >> bits;
}

class Pl111 : public SysbusDevice, public memory::MmioHandler, public display::Screen {
 public:
  explicit Pl111(const DeviceContext& context)
      : name_(context.id), memory_(context.memory), clock_(context.clock), screens_(context.screens),
        irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]), frame_timer_(clock_.timer([this] { on_frame(); })),
        registers_(table(), this, context.id, context.log), window_(registers_) {
    if (screens_) screens_->add(*this);
  }
  ~Pl111() override {
    if (screens_) screens_->remove(*this);
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    registers_.reset();
    palette_.fill(0);
    cursor_image_.fill(0);
    frames_seen_ = 0;
    update();
  }
  void fields(Visitor& visitor) override {
    registers_.fields(visitor);
    visitor.field("palette", palette_);
    visitor.field("cursor_image", cursor_image_);
    visitor.field("frames_seen", frames_seen_);
    if (visitor.restoring()) update();
  }

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (!store(offset)) return window_.read(offset, size, attributes);
    return read_words(offset, size, [this](u32 at) {
      const u32* word = store(at);
      return word ? *word : 0;
    });
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes& attributes) override {
    if (!store(offset)) return window_.write(offset, value, size, attributes);
    return write_words(offset, value, size, [this](u32 at, u32 part, u32 mask) {
      if (u32* word = store(at)) *word = (*word & ~mask) | part;
    });
  }

  std::string label() const override { return name_; }
  bool is_text() const override { return false; }
  bool is_on() const override { return (registers_[kControl] & (kLcdEn | kLcdPwr)) == (kLcdEn | kLcdPwr); }
  const display::Surface& frame() override;

  void write_control(u32) {
    frames_seen_ = frame_number();
    update();
  }
  void write_mask(u32) { update(); }
  u32 read_ris() {
    note_frames();
    return registers_[kRis];
  }
  u32 read_mis() { return read_ris() & registers_[kImsc]; }
  void clear(u32 value) {
    note_frames();
    registers_[kRis] &= ~value;
    update();
  }
  u32 read_up_base() { return registers_[kUpBase]; }
  u32 read_lp_base() { return registers_[kLpBase]; }
  u32 read_cursor_mis() { return registers_[kCrsrRis] & registers_[kCrsrImsc]; }
  // The cursor's registers are taken at once, so its interrupt ("frame read") follows each change of them.
  void move_cursor(u32) {
    registers_[kCrsrRis] |= registers_[kCrsrCtrl] & 1;
    update();
  }
  void clear_cursor(u32 value) {
    registers_[kCrsrRis] &= ~value;
    update();
  }

 private:
  static std::span<const memory::Register> table();

  // The word of palette or cursor image at an offset; nullptr elsewhere.
  u32* store(u64 offset) {
    if (offset >= kPalette && offset < kPaletteEnd) return &palette_[(offset - kPalette) / 4];
    if (offset >= kCursorImage && offset < kCursorImageEnd) return &cursor_image_[(offset - kCursorImage) / 4];
    return nullptr;
  }
  s64 frame_number() const { return clock_.now() / kFrame; }
  void note_frames() {
    const s64 now = frame_number();
    if (now > frames_seen_ && (registers_[kControl] & kLcdEn)) registers_[kRis] |= kLnbu | kVcomp;
    frames_seen_ = now;
  }
  void on_frame() {
    note_frames();
    update();
  }
  void update() {
    const bool waits = (registers_[kControl] & kLcdEn) && (registers_[kImsc] & ~registers_[kRis] & (kLnbu | kVcomp));
    if (waits) frame_timer_->arm((frame_number() + 1) * kFrame);
    else frame_timer_->cancel();
    irq_.set((registers_[kRis] & registers_[kImsc]) || (registers_[kCrsrRis] & registers_[kCrsrImsc]));
  }

  void unpack(std::span<const u8> bytes, u32* to, u32 count) const;
  u32 colour(u32 pixel, u32 depth) const;
  u32 of_palette(u32 index) const;
  void draw_cursor();

  std::string name_;
  memory::AddressSpace& memory_;
  Clock& clock_;
  display::Screens* screens_;
  IrqLine irq_;
  std::unique_ptr<Timer> frame_timer_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  std::array<u32, (kPaletteEnd - kPalette) / 4> palette_{};
  std::array<u32, (kCursorImageEnd - kCursorImage) / 4> cursor_image_{};
  s64 frames_seen_ = 0;
  display::Surface surface_;
  std::vector<u8> line_;
  std::array<MmioWindow, 1> windows_{{{"pl111", 0x1000, this, false}}};
};

std::span<const memory::Register> Pl111::table() {
  using D = Pl111;
  using memory::hook;
  static constexpr memory::Register table[] = {
      {kTiming0, "LCDTiming0", 0, 0xfffffffc},
      {kTiming1, "LCDTiming1", 0, ~0u},
      {0x008, "LCDTiming2", 0, 0xffff7fff},
      {0x00c, "LCDTiming3", 0, 0x1007f},
      {kUpBase, "LCDUPBASE", 0, ~7u},
      {kLpBase, "LCDLPBASE", 0, ~7u},
      {kControl, "LCDControl", 0, 0x13fff, nullptr, hook<D, &D::write_control>()},
      {kImsc, "LCDIMSC", 0, 0x1e, nullptr, hook<D, &D::write_mask>()},
      {kRis, "LCDRIS", 0, 0, hook<D, &D::read_ris>()},
      {kMis, "LCDMIS", 0, 0, hook<D, &D::read_mis>()},
      {kIcr, "LCDICR", 0, 0, nullptr, hook<D, &D::clear>()},
      {0x02c, "LCDUPCURR", 0, 0, hook<D, &D::read_up_base>()},
      {0x030, "LCDLPCURR", 0, 0, hook<D, &D::read_lp_base>()},
      {kCrsrCtrl, "ClcdCrsrCtrl", 0, 0x31, nullptr, hook<D, &D::move_cursor>()},
      {kCrsrConfig, "ClcdCrsrConfig", 0, 3, nullptr, hook<D, &D::move_cursor>()},
      {kCrsrPalette0, "ClcdCrsrPalette0", 0, 0xffffff},
      {kCrsrPalette1, "ClcdCrsrPalette1", 0, 0xffffff},
      {kCrsrXy, "ClcdCrsrXY", 0, 0x3ff03ff, nullptr, hook<D, &D::move_cursor>()},
      {kCrsrClip, "ClcdCrsrClip", 0, 0x3f3f, nullptr, hook<D, &D::move_cursor>()},
      {kCrsrImsc, "ClcdCrsrIMSC", 0, 1, nullptr, hook<D, &D::write_mask>()},
      {0xc24, "ClcdCrsrICR", 0, 0, nullptr, hook<D, &D::clear_cursor>()},
      {kCrsrRis, "ClcdCrsrRIS", 0, 0},
      {0xc2c, "ClcdCrsrMIS", 0, 0, hook<D, &D::read_cursor_mis>()},
      {0xfe0, "CLCDPeriphID0", 0x11, 0},
      {0xfe4, "CLCDPeriphID1", 0x11, 0},
      {0xfe8, "CLCDPeriphID2", 0x24, 0},
      {0xfec, "CLCDPeriphID3", 0x00, 0},
      {0xff0, "CLCDPCellID0", 0x0d, 0},
      {0xff4, "CLCDPCellID1", 0xf0, 0},
      {0xff8, "CLCDPCellID2", 0x05, 0},
      {0xffc, "CLCDPCellID3", 0xb1, 0},
  };
  return table;
}

// --- the picture --------------------------------------------------------------------------------------------------

constexpr std::array<u32, 8> kBits = {1, 2, 4, 8, 16, 32, 16, 16};

// A palette entry, section 3.2.13: red in the low five bits. On a monochrome panel red alone counts.
u32 Pl111::of_palette(u32 index) const {
  const u32 entry = palette_[index / 2] >> (index % 2 * 16);
  const u32 control = registers_[kControl];
  u32 red = widen(entry & 31, 5), green = widen(entry >> 5 & 31, 5), blue = widen(entry >> 10 & 31, 5);
  if (!(control & kLcdTft) && (control & kLcdBw)) green = blue = red;
  if (control & kBgr) std::swap(red, blue);
  return red << 16 | green << 8 | blue;
}

u32 Pl111::colour(u32 pixel, u32 depth) const {
  u32 red = 0, green = 0, blue = 0;
  switch (depth) {
    case k16Bpp:
      red = widen(pixel & 31, 5);
      green = widen(pixel >> 5 & 31, 5);
      blue = widen(pixel >> 10 & 31, 5);
      break;
    case k16Bpp565:
      red = widen(pixel & 31, 5);
      green = widen(pixel >> 5 & 63, 6);
      blue = widen(pixel >> 11 & 31, 5);
      break;
    case k12Bpp:
      red = widen(pixel & 15, 4);
      green = widen(pixel >> 4 & 15, 4);
      blue = widen(pixel >> 8 & 15, 4);
      break;
    case k24Bpp:
      red = pixel & 0xff;
      green = pixel >> 8 & 0xff;
      blue = pixel >> 16 & 0xff;
      break;
    default: return of_palette(pixel);
  }
  if (registers_[kControl] & kBgr) std::swap(red, blue);
  return red << 16 | green << 8 | blue;
}

// Tables 2-2 to 2-4: BEBO exchanges the bytes (half-words at 16 bits) of a word, BEPO the pixels within a byte.
void Pl111::unpack(std::span<const u8> bytes, u32* to, u32 count) const {
  const u32 control = registers_[kControl], depth = bits(control, 1, 3), size = kBits[depth];
  const u32 per_word = 32 / size, mask = size == 32 ? ~0u : (1u << size) - 1;
  for (u32 i = 0; i < count; ++i) {
    const u32 word = load_le<u32>(bytes.data() + usize{i} / per_word * 4);
    u32 at = i % per_word;
    u32 shift = 0;
    if (size >= 8) {
      if (control & kBebo) at = per_word - 1 - at;
      shift = at * size;
    } else {
      const u32 per_byte = 8 / size;
      u32 byte = at / per_byte, within = at % per_byte;
      if (control & kBebo) byte = 3 - byte;
      if (control & kBepo) within = per_byte - 1 - within;
      shift = byte * 8 + within * size;
    }
    to[i] = colour(word >> shift & mask, depth);
  }
}

const display::Surface& Pl111::frame() {
  if (!is_on()) {
    display::draw_blank(surface_);
    return surface_;
  }
  const u32 control = registers_[kControl];
  const u32 width = 16 * (bits(registers_[kTiming0], 2, 6) + 1);
  const u32 panel = bits(registers_[kTiming1], 0, 10) + 1;
  const bool dual = (control & kLcdDual) && !(control & kLcdTft);
  surface_.resize(width, dual ? 2 * panel : panel);
  line_.resize(usize{width} * kBits[bits(control, 1, 3)] / 8);
  for (u32 y = 0; y < surface_.height; ++y) {
    const u32 base = y < panel ? registers_[kUpBase] : registers_[kLpBase];
    // Where the controller finds no memory it shows zeros.
    memory_.read_bytes(u64{base} + u64{y % panel} * line_.size(), line_);
    unpack(line_, surface_.row(y), width);
  }
  if (registers_[kCrsrCtrl] & 1) draw_cursor();
  return surface_;
}

// Section 3.2.14 and on: two bits a pixel, the leftmost in the high bits of the lowest byte: palette 0, palette 1,
// transparent, inverted. A small cursor is one of four.
void Pl111::draw_cursor() {
  const u32 size = registers_[kCrsrConfig] & 1 ? kCursorLarge : kCursorSmall;
  const u32 words_per_line = size / 16;
  const u32* image = cursor_image_.data() + (size == kCursorSmall ? bits(registers_[kCrsrCtrl], 4, 2) * 64 : 0);
  const u32 left = bits(registers_[kCrsrXy], 0, 10), top = bits(registers_[kCrsrXy], 16, 10);
  const u32 clip_x = bits(registers_[kCrsrClip], 0, 6), clip_y = bits(registers_[kCrsrClip], 8, 6);
  const auto ink = [&](u32 offset) {
    const u32 value = registers_[offset];
    return (value & 0xff) << 16 | (value & 0xff00) | (value >> 16 & 0xff);
  };
  const u32 inks[2] = {ink(kCrsrPalette0), ink(kCrsrPalette1)};
  for (u32 y = clip_y; y < size && top + y - clip_y < surface_.height; ++y) {
    for (u32 x = clip_x; x < size && left + x - clip_x < surface_.width; ++x) {
      const u32 word = image[y * words_per_line + x / 16];
      const u32 byte = x % 16 / 4;
      const u32 value = word >> (byte * 8 + 6 - x % 4 * 2) & 3;
      u32& pixel = surface_.row(top + y - clip_y)[left + x - clip_x];
      if (value < 2) pixel = inks[value];
      else if (value == 3) pixel ^= 0xffffff;
    }
  }
}

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  return std::unique_ptr<Device>(std::make_unique<Pl111>(context));
}

}  // namespace

extern const DeviceType pl111;
const DeviceType pl111 = {
    .name = "pl111",
    .category = Category::display,
    .summary = "ARM colour LCD controller (PL111)",
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
