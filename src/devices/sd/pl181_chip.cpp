// SPDX-License-Identifier: MIT
#include "devices/sd/pl181_chip.h"

#include <algorithm>
#include <cstring>

#include "util/bits.h"

namespace rhea::devices {
namespace {

constexpr s64 kMclk = 24'000'000;  // Hz
constexpr u32 kPowerOn = 3;        // MCIPower.Ctrl
constexpr u32 kNoIndex = 0x3f;     // MCIRespCmd after a response that has no command index
constexpr u32 kStaticFlags = 0x7ff;

}  // namespace

std::span<const memory::Register> Pl181Chip::table() {
  using D = Pl181Chip;
  using memory::hook;
  static constexpr memory::Register rows[] = {
      // table 3-1
      {kPower, "MCIPower", 0, 0xff, nullptr, hook<D, &D::write_power>()},
      {kClock, "MCIClock", 0, 0xfff},
      {kArgument, "MCIArgument", 0, ~0u},
      {kCommand, "MCICommand", 0, 0x7ff, nullptr, hook<D, &D::write_command>()},
      {kRespCmd, "MCIRespCmd", 0, 0},
      {kResponse0, "MCIResponse0", 0, 0},
      {0x18, "MCIResponse1", 0, 0},
      {0x1c, "MCIResponse2", 0, 0},
      {0x20, "MCIResponse3", 0, 0},
      {kDataTimer, "MCIDataTimer", 0, ~0u},
      {kDataLength, "MCIDataLength", 0, 0xffff},
      {kDataCtrl, "MCIDataCtrl", 0, 0xff, nullptr, hook<D, &D::write_data_control>()},
      {0x30, "MCIDataCnt", 0, 0, hook<D, &D::read_count>()},
      {0x34, "MCIStatus", 0, 0, hook<D, &D::read_status>()},
      {0x38, "MCIClear", 0, 0, nullptr, hook<D, &D::write_clear>()},
      {kMask0, "MCIMask0", 0, 0x3fffff, nullptr, hook<D, &D::write_mask>()},
      {kMask1, "MCIMask1", 0, 0x3fffff, nullptr, hook<D, &D::write_mask>()},
      {0x44, "MCISelect", 0, 0xf},
      {0x48, "MCIFifoCnt", 0, 0, hook<D, &D::read_fifo_count>()},
      {0xfe0, "MCIPeriphID0", 0x81, 0},
      {0xfe4, "MCIPeriphID1", 0x11, 0},
      {0xfe8, "MCIPeriphID2", 0x04, 0},
      {0xfec, "MCIPeriphID3", 0x00, 0},
      {0xff0, "MCIPCellID0", 0x0d, 0},
      {0xff4, "MCIPCellID1", 0xf0, 0},
      {0xff8, "MCIPCellID2", 0x05, 0},
      {0xffc, "MCIPCellID3", 0xb1, 0},
  };
  return rows;
}

Pl181Chip::Pl181Chip(Clock& clock, sd::SdCard& card, std::string name, std::function<void(bool, bool)> set_interrupts,
                     Log& log)
    : clock_(clock), card_(card), set_interrupts_(std::move(set_interrupts)),
      registers_(table(), this, std::move(name), log), timer_(clock.timer([this] { timed_out(); })) {}

void Pl181Chip::reset() {
  registers_.reset();
  timer_->cancel();
  flags_ = 0;
  path_ = Path::idle;
  from_card_ = command_waits_ = false;
  data_count_ = first_ = level_ = 0;
  update();
}

// --- commands -----------------------------------------------------------------------------------------------------

// The card loses its supply when it is switched off (section 3.3.1).
void Pl181Chip::write_power(u32 value) {
  const bool on = (value & 3) == kPowerOn;
  const bool was_on = powered_;
  powered_ = on;
  if (was_on && (value & 3) == 0) {
    card_.power_cycle();
    pump();
  }
}

void Pl181Chip::write_command(u32 value) {
  command_waits_ = false;
  if (!(value & kCmdEnable)) return;
  if ((value & kCmdPending) && path_ != Path::idle) {
    command_waits_ = true;
    return;
  }
  send_command();
}

void Pl181Chip::send_command() {
  const u32 command = registers_[kCommand];
  registers_[kCommand] = command & ~u32{kCmdEnable};
  command_waits_ = false;
  const auto reply = card_.command(static_cast<u8>(command & 0x3f), registers_[kArgument]);
  if (!(command & kCmdResponse)) {
    flags_ |= kCmdSent;
  } else if (!reply) {
    flags_ |= kCmdTimeOut;
  } else {
    using Kind = sd::Reply::Kind;
    const bool has_index = reply->kind != Kind::r2 && reply->kind != Kind::r3;
    registers_[kRespCmd] = has_index ? command & 0x3f : kNoIndex;
    for (u32 i = 0; i < (command & kCmdLongResponse ? 4u : 1u); ++i)
      registers_[kResponse0 + 4 * i] = load_be<u32>(&reply->bytes[4 * i]);
    // The last bit of a long response is its end bit, which is not kept (section 3.3.6).
    if (command & kCmdLongResponse) registers_[0x20] &= ~1u;
    flags_ |= kCmdRespEnd;
  }
  pump();
}

// --- data ---------------------------------------------------------------------------------------------------------

void Pl181Chip::write_data_control(u32 value) {
  first_ = level_ = 0;
  from_card_ = value & kDataFromCard;
  timer_->cancel();
  if (!(value & kDataEnable)) {
    path_ = Path::idle;
    if (command_waits_) send_command();
    update();
    return;
  }
  data_count_ = registers_[kDataLength];
  path_ = from_card_ ? Path::receive : Path::send;
  if (data_count_ == 0) end_data(kDataEnd);
  else arm_timer();
  pump();
}

// Moves what can be moved between card and FIFO.
void Pl181Chip::pump() {
  if (in_pump_) return;
  in_pump_ = true;
  if (path_ == Path::receive) receive();
  if (path_ == Path::send) send();
  if (path_ == Path::busy && !card_.busy()) end_data(kDataEnd | kDataBlockEnd);
  in_pump_ = false;
  if (command_waits_ && path_ == Path::idle) send_command();
  update();
}

void Pl181Chip::receive() {
  // Whole words at the FIFO's end, so that a block is one copy in the common case.
  while (data_count_ && kFifoBytes - level_ >= 4) {
    if (level_ == 0) first_ = 0;
    if (first_) {
      std::memmove(fifo_.data(), fifo_.data() + first_, level_);
      first_ = 0;
    }
    const usize room = std::min<usize>(kFifoBytes - level_, data_count_);
    const usize got = card_.read({fifo_.data() + level_, room}, data_count_ - room);
    if (!got) break;
    level_ += static_cast<u32>(got);
    count(got);
  }
  if (data_count_ == 0) end_data(kDataEnd | kDataBlockEnd);
}

void Pl181Chip::send() {
  while (data_count_ && level_) {
    const usize size = std::min<usize>(level_, data_count_);
    const usize taken = card_.write({fifo_.data() + first_, size}, data_count_ - size);
    if (!taken) break;
    first_ += static_cast<u32>(taken);
    level_ -= static_cast<u32>(taken);
    if (level_ == 0) first_ = 0;
    count(taken);
  }
  if (data_count_ == 0) path_ = Path::busy;
}

void Pl181Chip::count(usize bytes) {
  const u32 before = data_count_;
  data_count_ -= static_cast<u32>(bytes);
  const u32 control = registers_[kDataCtrl];
  const u32 block_bits = bits(control, 4, 4);
  if (!(control & kDataStream) && before >> block_bits != data_count_ >> block_bits) flags_ |= kDataBlockEnd;
  arm_timer();
}

void Pl181Chip::end_data(u32 flags) {
  path_ = Path::idle;
  flags_ |= registers_[kDataCtrl] & kDataStream ? flags & ~u32{kDataBlockEnd} : flags;
  timer_->cancel();
}

void Pl181Chip::arm_timer() {
  const u32 clock = registers_[kClock];
  const u64 divider = bit(clock, 10) ? 1 : 2 * (u64{clock & 0xff} + 1);
  const u64 nanoseconds = static_cast<u64>(static_cast<u128>(registers_[kDataTimer]) * divider * kSecond / kMclk);
  timer_->arm(clock_.now() + static_cast<s64>(std::max<u64>(nanoseconds, 1)));
}

void Pl181Chip::timed_out() {
  if (path_ == Path::idle) return;
  if (path_ == Path::receive ? card_.delivers() : card_.accepts()) return arm_timer();
  if (path_ == Path::busy) return pump();
  end_data(kDataTimeOut);
  pump();
}

void Pl181Chip::card_changed() { pump(); }

u32 Pl181Chip::read_fifo() {
  if (!from_card_ || usable() == 0) return 0;
  u32 word = 0;
  const u32 size = std::min(level_, 4u);
  std::memcpy(&word, fifo_.data() + first_, size);
  first_ += size;
  level_ -= size;
  if (level_ <= kFifoBytes / 2 && path_ == Path::receive) pump();
  else if (level_ <= kFifoBytes / 2 || level_ + 4 == kFifoBytes) update();
  return word;
}

void Pl181Chip::write_fifo(u32 word) {
  if (path_ != Path::send || level_ + 4 > kFifoBytes) return;
  if (first_ + level_ + 4 > kFifoBytes) {
    std::memmove(fifo_.data(), fifo_.data() + first_, level_);
    first_ = 0;
  }
  store_le(fifo_.data() + first_ + level_, word);
  level_ += 4;
  // Collected by half the FIFO, unless somebody waits for it to be empty; who looks at the status sees it empty.
  const bool waits = (registers_[kMask0] | registers_[kMask1]) & kTxFifoEmpty;
  if (level_ >= kFifoBytes / 2 || level_ >= data_count_ || waits) pump();
}

u32 Pl181Chip::read_status() {
  if (path_ == Path::send && level_) pump();
  return status();
}

u32 Pl181Chip::read_count() {
  if (path_ == Path::send && level_) pump();
  return data_count_;
}

u32 Pl181Chip::read_fifo_count() { return (read_count() + 3) / 4; }

// --- status and interrupts ----------------------------------------------------------------------------------------

u32 Pl181Chip::status() const {
  u32 value = flags_;
  if (path_ == Path::send || path_ == Path::busy) {
    value |= kTxActive | bits_if(level_ <= kFifoBytes / 2, kTxFifoHalfEmpty) |
             bits_if(level_ + 4 > kFifoBytes, kTxFifoFull) | bits_if(level_ == 0, kTxFifoEmpty) |
             bits_if(level_ != 0, kTxDataAvlbl);
  }
  if (from_card_) {
    // Linux's driver takes nothing from the FIFO once the receiver is not active: so it is until the FIFO is empty.
    value |= bits_if(path_ == Path::receive || level_ != 0, kRxActive) |
             bits_if(usable() >= kFifoBytes / 2, kRxFifoHalfFull) | bits_if(level_ == kFifoBytes, kRxFifoFull) |
             bits_if(usable() == 0, kRxFifoEmpty) | bits_if(usable() != 0, kRxDataAvlbl);
  }
  return value;
}

void Pl181Chip::write_clear(u32 value) {
  flags_ &= ~(value & kStaticFlags);
  update();
}

void Pl181Chip::write_mask(u32) { update(); }

void Pl181Chip::update() {
  const u32 now = status();
  set_interrupts_(now & registers_[kMask0], now & registers_[kMask1]);
}

void Pl181Chip::fields(Visitor& visitor) {
  registers_.fields(visitor);
  visitor.field("flags", flags_);
  visitor.field("path", path_);
  visitor.field("from_card", from_card_);
  visitor.field("powered", powered_);
  visitor.field("data_count", data_count_);
  visitor.field("command_waits", command_waits_);
  visitor.field("fifo", fifo_);
  visitor.field("first", first_);
  visitor.field("level", level_);
  s64 deadline = timer_->deadline();
  visitor.field("deadline", deadline);
  if (!visitor.restoring()) return;
  if (path_ > Path::busy) path_ = Path::idle;
  data_count_ = std::min(data_count_, 0xffffu);
  level_ = std::min(level_, u32{kFifoBytes});
  first_ = std::min(first_, u32{kFifoBytes} - level_);
  timer_->arm(deadline);
}

}  // namespace rhea::devices
