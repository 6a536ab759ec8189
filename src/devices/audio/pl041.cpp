// SPDX-License-Identifier: MIT
// ARM PrimeCell Advanced Audio CODEC Interface PL041 (DDI 0173B) with the LM4549 on its AC-link. Output 0: AACIINTR.
// One channel plays; there is nothing to record from, and the other three channels are registers without a FIFO.
//
// How it works: the guest fills the transmit FIFO; samples leave it at the codec's rate in virtual time. What is due is
// taken whenever the guest looks, and by a timer when the FIFO reaches a level that makes an interrupt.
#include <algorithm>
#include <array>
#include <bit>
#include <deque>

#include "audio/audio.h"
#include "devices/audio/lm4549.h"
#include "devices/device_type.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {
  std::string audiodev;
  u32 nc_fifo_depth = 8;
};
constexpr Property kProperties[] = {
    property<&Config::audiodev>("audiodev", PropertyKind::text, "ID of an audiodev to use as a backend"),
    property<&Config::nc_fifo_depth>("nc_fifo_depth", PropertyKind::number,
                                     "words of the FIFO when a word is one sample: 8 to 1024"),
};

// DDI 0173B, table 3-1; of channel 1.
enum Offset : u32 {
  kRxCr = 0x00,
  kTxCr = 0x04,
  kSr = 0x08,
  kIsr = 0x0c,
  kIe = 0x10,
  kSl1Rx = 0x50,
  kSl1Tx = 0x54,
  kSl2Rx = 0x58,
  kSl2Tx = 0x5c,
  kSl12Rx = 0x60,
  kSl12Tx = 0x64,
  kSlFr = 0x68,
  kSlIstat = 0x6c,
  kSlIen = 0x70,
  kIntClr = 0x74,
  kMainCr = 0x78,
  kReset = 0x7c,
  kSync = 0x80,
  kAllInts = 0x84,
  kMainFr = 0x88,
  kDr1 = 0x90,
  kDrEnd = 0xb0,
  kDataEnd = 0x110
};
enum TxCr : u32 { kTxEn = 1, kTxSlot3 = 1u << 3, kTxSlot4 = 1u << 4, kTxCompact = 1u << 15, kTxFifoEn = 1u << 16 };
enum Sr : u32 {
  kRxFe = 1u << 0,
  kTxFe = 1u << 1,
  kRxHf = 1u << 2,
  kTxHe = 1u << 3,
  kRxFf = 1u << 4,
  kTxFf = 1u << 5,
  kTxBusy = 1u << 7,
  kTxUnderrun = 1u << 9
};
enum Isr : u32 { kTxComplete = 1u << 0, kTxIntr = 1u << 2, kUnderrunIntr = 1u << 5 };
enum SlFr : u32 {
  k1RxValid = 1u << 6,
  k1TxEmpty = 1u << 7,
  k2RxValid = 1u << 8,
  k2TxEmpty = 1u << 9,
  k12TxEmpty = 1u << 11
};
enum MainCr : u32 {
  kInterfaceEn = 1u << 0,
  kSl1RxEn = 1u << 3,
  kSl1TxEn = 1u << 4,
  kSl2RxEn = 1u << 5,
  kSl2TxEn = 1u << 6
};
constexpr u32 kReadCommand = 1u << 19;  // of AACISL1TX; the codec's register is in bits 18 to 12

class Pl041 : public SysbusDevice, public memory::MmioHandler {
 public:
  Pl041(const DeviceContext& context, const Config& config, audio::Backend* backend)
      : depth_(config.nc_fifo_depth), clock_(context.clock), backend_(backend),
        irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]), timer_(clock_.timer([this] { run(); })),
        registers_(table(), this, context.id, context.log), window_(registers_) {}

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    registers_.reset();
    codec_.reset();
    fifo_.clear();
    right_next_ = underrun_ = drained_ = false;
    played_until_ = clock_.now();
    run();
  }
  void fields(Visitor& visitor) override;

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (offset >= kDr1 && offset < kDataEnd) return {};  // receive FIFOs, which stay empty
    return window_.read(offset, size, attributes);
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes& attributes) override {
    if (offset >= kDr1 && offset < kDataEnd) {
      if (offset < kDrEnd) push(static_cast<u32>(value));
      if (offset < kDrEnd && size == 8) push(static_cast<u32>(value >> 32));
      return true;
    }
    return window_.write(offset, value, size, attributes);
  }

  void write_tx_control(u32) {
    if (!(registers_[kTxCr] & kTxFifoEn)) fifo_.clear();
    if (!(registers_[kTxCr] & kTxEn)) right_next_ = false;
    run();
  }
  void write_interrupt_enable(u32) { run(); }
  u32 read_status() {
    run();
    return kRxFe | bits_if(fifo_.empty(), kTxFe) | bits_if(fifo_.size() <= capacity() / 2, kTxHe) |
           bits_if(fifo_.size() >= capacity(), kTxFf) | bits_if(playing() && !fifo_.empty(), kTxBusy) |
           bits_if(underrun_, kTxUnderrun);
  }
  u32 read_interrupts() {
    run();
    return interrupts();
  }
  u32 read_idle_status() { return kRxFe | kTxFe | kTxHe; }
  void write_slot1(u32 value);
  u32 read_slot1() {
    registers_[kSlFr] &= ~k1RxValid;
    return registers_[kSl1Rx];
  }
  u32 read_slot2() {
    registers_[kSlFr] &= ~k2RxValid;
    return registers_[kSl2Rx];
  }
  u32 read_slot_flags() { return registers_[kSlFr] | k1TxEmpty | k2TxEmpty | k12TxEmpty; }
  u32 read_slot_interrupts() { return read_slot_flags() & registers_[kSlIen]; }
  void clear_interrupts(u32 value) {
    run();
    if (value & 1) underrun_ = false;
    update();
  }
  void write_main(u32) { run(); }
  void write_reset(u32) {
    if (!(registers_[kReset] & 1)) codec_.reset();
  }
  u32 read_id3() { return (static_cast<u32>(std::countr_zero(depth_)) - 3) << 3; }

 private:
  static std::span<const memory::Register> table();

  usize capacity() const { return registers_[kTxCr] & kTxCompact ? depth_ / 2 : depth_; }
  bool playing() const {
    return (registers_[kMainCr] & kInterfaceEn) && (registers_[kTxCr] & kTxEn) && (registers_[kTxCr] & kTxFifoEn);
  }
  usize samples_per_word() const { return registers_[kTxCr] & kTxCompact ? 2 : 1; }
  usize samples_per_frame() const { return registers_[kTxCr] & kTxSlot4 && registers_[kTxCr] & kTxSlot3 ? 2 : 1; }

  u32 interrupts() const {
    return bits_if(playing() && fifo_.size() <= capacity() / 2, kTxIntr) | bits_if(drained_, kTxComplete) |
           bits_if(underrun_, kUnderrunIntr);
  }
  void update() {
    irq_.set((interrupts() & registers_[kIe]) || (registers_[kMainCr] & kInterfaceEn && read_slot_interrupts()));
  }
  void push(u32 word) {
    run();
    if ((registers_[kTxCr] & kTxFifoEn) && fifo_.size() < capacity()) fifo_.push_back(word);
    drained_ = false;
    run();
  }
  s16 sample(u32 word) const;
  void run();
  void play(u64 frames);
  void arm();

  u32 depth_;
  Clock& clock_;
  audio::Backend* backend_;
  IrqLine irq_;
  std::unique_ptr<Timer> timer_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  Lm4549 codec_;
  std::deque<u32> fifo_;
  bool right_next_ = false;  // in compact mode: half of the first word is played
  bool underrun_ = false, drained_ = false;
  s64 played_until_ = 0;
  std::vector<s16> samples_;
  std::array<MmioWindow, 1> windows_{{{"pl041", 0x1000, this, false}}};
};

std::span<const memory::Register> Pl041::table() {
  using D = Pl041;
  using memory::hook;
  // clang-format off
  static constexpr memory::Register table[] = {
      {kRxCr, "AACIRXCR1", 0, 0x1fffffff},
      {kTxCr, "AACITXCR1", 0, 0x1ffff, nullptr, hook<D, &D::write_tx_control>()},
      {kSr, "AACISR1", 0, 0, hook<D, &D::read_status>()},
      {kIsr, "AACIISR1", 0, 0, hook<D, &D::read_interrupts>()},
      {kIe, "AACIIE1", 0, 0x7f, nullptr, hook<D, &D::write_interrupt_enable>()},
      {0x14, "AACIRXCR2", 0, 0x1fffffff}, {0x18, "AACITXCR2", 0, 0x1ffff},
      {0x1c, "AACISR2", 0, 0, hook<D, &D::read_idle_status>()}, {0x20, "AACIISR2", 0, 0}, {0x24, "AACIIE2", 0, 0x7f},
      {0x28, "AACIRXCR3", 0, 0x1fffffff}, {0x2c, "AACITXCR3", 0, 0x1ffff},
      {0x30, "AACISR3", 0, 0, hook<D, &D::read_idle_status>()}, {0x34, "AACIISR3", 0, 0}, {0x38, "AACIIE3", 0, 0x7f},
      {0x3c, "AACIRXCR4", 0, 0x1fffffff}, {0x40, "AACITXCR4", 0, 0x1ffff},
      {0x44, "AACISR4", 0, 0, hook<D, &D::read_idle_status>()}, {0x48, "AACIISR4", 0, 0}, {0x4c, "AACIIE4", 0, 0x7f},
      {kSl1Rx, "AACISL1RX", 0, 0, hook<D, &D::read_slot1>()},
      {kSl1Tx, "AACISL1TX", 0, 0xfffff, nullptr, hook<D, &D::write_slot1>()},
      {kSl2Rx, "AACISL2RX", 0, 0, hook<D, &D::read_slot2>()},
      {kSl2Tx, "AACISL2TX", 0, 0xfffff},
      {kSl12Rx, "AACISL12RX", 0, 0},
      {kSl12Tx, "AACISL12TX", 0, 0xfffff},
      {kSlFr, "AACISLFR", 0, 0, hook<D, &D::read_slot_flags>()},
      {kSlIstat, "AACISLISTAT", 0, 0, hook<D, &D::read_slot_interrupts>()},
      {kSlIen, "AACISLIEN", 0, 0xff, nullptr, hook<D, &D::write_interrupt_enable>()},
      {kIntClr, "AACIINTCLR", 0, 0, nullptr, hook<D, &D::clear_interrupts>()},
      {kMainCr, "AACIMAINCR", 0, 0x1fff, nullptr, hook<D, &D::write_main>()},
      {kReset, "AACIRESET", 0, 1, nullptr, hook<D, &D::write_reset>()},
      {kSync, "AACISYNC", 0, 1},
      {kAllInts, "AACIALLINTS", 0, 0, hook<D, &D::read_interrupts>()},
      {kMainFr, "AACIMAINFR", 0, 0},
      {0xfe0, "AACIPeriphID0", 0x41, 0}, {0xfe4, "AACIPeriphID1", 0x10, 0},
      {0xfe8, "AACIPeriphID2", 0x04, 0}, {0xfec, "AACIPeriphID3", 0x00, 0, hook<D, &D::read_id3>()},
      {0xff0, "AACIPCellID0", 0x0d, 0},  {0xff4, "AACIPCellID1", 0xf0, 0},
      {0xff8, "AACIPCellID2", 0x05, 0},  {0xffc, "AACIPCellID3", 0xb1, 0},
  };
  // clang-format on
  return table;
}

void Pl041::fields(Visitor& visitor) {
  if (!visitor.restoring()) run();
  registers_.fields(visitor);
  codec_.fields(visitor);
  std::vector<u8> bytes(fifo_.size() * 4);
  for (usize i = 0; i < fifo_.size(); ++i) store_le<u32>(&bytes[i * 4], fifo_[i]);
  visitor.bytes("fifo", bytes, depth_ * 4);
  visitor.field("right_next", right_next_);
  visitor.field("underrun", underrun_);
  visitor.field("drained", drained_);
  visitor.field("played_until", played_until_);
  if (!visitor.restoring()) return;
  fifo_.clear();
  for (usize at = 0; at + 4 <= bytes.size() && fifo_.size() < depth_; at += 4)
    fifo_.push_back(load_le<u32>(&bytes[at]));
  played_until_ = std::min(played_until_, clock_.now());
  run();
}

// A register of the codec, over the slots 1 (address) and 2 (data). Only the primary codec is there.
void Pl041::write_slot1(u32) {
  const u32 control = registers_[kMainCr], command = registers_[kSl1Tx];
  if (!(control & kInterfaceEn) || !(control & kSl1TxEn) || bits(control, 10, 2) != 0) return;
  const u32 reg = bits(command, 12, 7) & ~1u;
  run();
  if (command & kReadCommand) {
    registers_[kSl1Rx] = reg << 12;
    registers_[kSl2Rx] = u32{codec_.read(reg)} << 4;
    registers_[kSlFr] |= bits_if(control & kSl1RxEn, k1RxValid) | bits_if(control & kSl2RxEn, k2RxValid);
  } else if (control & kSl2TxEn) {
    codec_.write(reg, static_cast<u16>(registers_[kSl2Tx] >> 4));
  }
  run();
}

// AACITXCR.TSIZE: 16, 18, 20 or 12 bits.
s16 Pl041::sample(u32 word) const {
  switch (bits(registers_[kTxCr], 13, 2)) {
    case 1: return static_cast<s16>(word >> 2);
    case 2: return static_cast<s16>(word >> 4);
    case 3: return static_cast<s16>(word << 4);
    default: return static_cast<s16>(word);
  }
}

void Pl041::run() {
  const s64 now = clock_.now();
  if (!playing()) {
    played_until_ = now;
    timer_->cancel();
    update();
    return;
  }
  const u32 rate = codec_.dac_rate();
  const u64 frames = static_cast<u64>(static_cast<s128>(now - played_until_) * rate / kSecond);
  played_until_ += static_cast<s64>(static_cast<u128>(frames) * kSecond / rate);
  play(frames);
  arm();
  update();
}

void Pl041::play(u64 frames) {
  samples_.clear();
  const usize per_frame = samples_per_frame(), per_word = samples_per_word();
  for (; frames && !fifo_.empty(); --frames) {
    s16 pair[2] = {};
    for (usize i = 0; i < per_frame && !fifo_.empty(); ++i) {
      pair[i] = sample(right_next_ ? fifo_.front() >> 16 : fifo_.front());
      right_next_ = per_word == 2 && !right_next_;
      if (!right_next_) fifo_.pop_front();
    }
    if (per_frame == 1 && !(registers_[kTxCr] & kTxSlot3)) std::swap(pair[0], pair[1]);  // slot 4 is the right one
    samples_.insert(samples_.end(), {pair[0], pair[1]});
  }
  if (frames) underrun_ = true;
  if (fifo_.empty()) drained_ = true;
  if (backend_ && !samples_.empty())
    backend_->play(samples_, codec_.dac_rate(), codec_.left_volume(), codec_.right_volume());
}

// The next level that somebody waits for: half empty, or empty.
void Pl041::arm() {
  const usize half = capacity() / 2;
  if (fifo_.empty()) {
    timer_->cancel();
    return;
  }
  const usize words = fifo_.size() > half ? fifo_.size() - half : fifo_.size();
  const u64 frames = (words * samples_per_word() + samples_per_frame() - 1) / samples_per_frame();
  timer_->arm(played_until_ + static_cast<s64>((frames + 1) * kSecond / codec_.dac_rate()));
}

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* given) {
  const Config& config = *static_cast<const Config*>(given);
  if (config.nc_fifo_depth < 8 || config.nc_fifo_depth > 1024 || !std::has_single_bit(config.nc_fifo_depth))
    return Error("pl041: nc_fifo_depth={}: it takes a power of two from 8 to 1024", config.nc_fifo_depth);
  audio::Backend* backend = context.audio ? context.audio->first() : nullptr;
  if (!config.audiodev.empty()) {
    backend = context.audio ? context.audio->find(config.audiodev) : nullptr;
    if (!backend) return Error("Property 'pl041.audiodev' can't find value '{}'", config.audiodev);
  }
  return std::unique_ptr<Device>(std::make_unique<Pl041>(context, config, backend));
}

}  // namespace

extern const DeviceType pl041;
const DeviceType pl041 = {
    .name = "pl041",
    .category = Category::sound,
    .summary = "ARM audio codec interface (PL041) with an LM4549",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
