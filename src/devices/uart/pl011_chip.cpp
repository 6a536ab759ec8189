// SPDX-License-Identifier: MIT
#include "devices/uart/pl011_chip.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// UARTFR, DDI 0183G table 3-4.
enum Flag : u32 {
  kFlagCts = 1u << 0,
  kFlagDsr = 1u << 1,
  kFlagDcd = 1u << 2,
  kBusy = 1u << 3,
  kRxFe = 1u << 4,
  kTxFf = 1u << 5,
  kRxFf = 1u << 6,
  kTxFe = 1u << 7,
  kFlagRi = 1u << 8
};
// UARTCR, table 3-11.
enum Control : u32 {
  kLbe = 1u << 7,
  kRxe = 1u << 9,
  kDtr = 1u << 10,
  kRts = 1u << 11,
  kOut1 = 1u << 12,
  kOut2 = 1u << 13
};
constexpr u32 kFifoEnable = 1u << 4;             // UARTLCR_H.FEN
constexpr u16 kBreakFlag = 1u << 10;             // UARTDR.BE
constexpr u16 kOverrunFlag = 1u << 11;           // UARTDR.OE
constexpr s64 kTimeout = 32 * kSecond / 115200;  // 32 bit periods (section 2.4.3) at a usual rate

}  // namespace

std::span<const memory::Register> Pl011Chip::table() {  // DDI 0183G table 3-1
  using D = Pl011Chip;
  using memory::hook;
  static constexpr memory::Register table[] = {
      {kDr, "UARTDR", 0, 0, hook<D, &D::read_data>(), hook<D, &D::write_data>()},
      {kRsr, "UARTRSR", 0, 0, nullptr, hook<D, &D::clear_errors>()},
      {kFr, "UARTFR", 0x90, 0, hook<D, &D::read_flags>()},
      {0x20, "UARTILPR", 0, 0xff},
      {0x24, "UARTIBRD", 0, 0xffff},
      {0x28, "UARTFBRD", 0, 0x3f},
      {kLcrH, "UARTLCR_H", 0, 0xff, nullptr, hook<D, &D::write_line_control>()},
      {kCr, "UARTCR", 0x300, 0xff87, nullptr, hook<D, &D::write_control>()},
      {kIfls, "UARTIFLS", 0x12, 0x3f, nullptr, hook<D, &D::write_interrupt_setup>()},
      {kImsc, "UARTIMSC", 0, kAllInterrupts, nullptr, hook<D, &D::write_interrupt_setup>()},
      {kRis, "UARTRIS", 0, 0},
      {0x40, "UARTMIS", 0, 0, hook<D, &D::read_masked>()},
      {0x44, "UARTICR", 0, 0, nullptr, hook<D, &D::clear_interrupts>()},
      {0x48, "UARTDMACR", 0, 7},
      {0xfe0, "UARTPeriphID0", 0x11, 0},
      {0xfe4, "UARTPeriphID1", 0x10, 0},
      {0xfe8, "UARTPeriphID2", 0x14, 0},
      {0xfec, "UARTPeriphID3", 0x00, 0},
      {0xff0, "UARTPCellID0", 0x0d, 0},
      {0xff4, "UARTPCellID1", 0xf0, 0},
      {0xff8, "UARTPCellID2", 0x05, 0},
      {0xffc, "UARTPCellID3", 0xb1, 0},
  };
  return table;
}

Pl011Chip::Pl011Chip(Clock& clock, std::string name, Wiring wiring, Log& log)
    : timeout_(clock.timer([this] { end_of_burst(); })), wiring_(std::move(wiring)),
      registers_(table(), this, std::move(name), log), clock_(clock) {
  modem_ = modem_flags();
}

void Pl011Chip::reset() {
  const usize before = room();
  registers_.reset();
  first_ = count_ = 0;
  modem_ = modem_flags();
  timeout_->cancel();
  update();
  announce_room(before);
}

void Pl011Chip::fields(Visitor& visitor) {
  registers_.fields(visitor);
  visitor.field("fifo", fifo_);
  visitor.field("first", first_);
  visitor.field("count", count_);
  if (visitor.restoring()) {
    first_ %= kFifoSize;
    count_ = std::min<u32>(count_, kFifoSize);
    modem_ = modem_flags();
    update();
  }
}

usize Pl011Chip::depth() const { return registers_[kLcrH] & kFifoEnable ? kFifoSize : 1; }
bool Pl011Chip::loopback() const { return registers_[kCr] & kLbe; }

// How many characters make the receive interrupt (UARTIFLS, table 3-12).
usize Pl011Chip::receive_trigger() const {
  static constexpr std::array<u8, 8> kTriggers = {2, 4, 8, 12, 14, 14, 14, 14};
  return depth() == 1 ? 1 : kTriggers[registers_[kIfls] >> 3 & 7];
}

// The modem's lines: a peer that is always there, or one's own outputs (section 2.4.7).
u32 Pl011Chip::modem_flags() const {
  if (!loopback()) return kFlagCts | kFlagDsr | kFlagDcd;
  const u32 control = registers_[kCr];
  return bits_if(control & kRts, kFlagCts) | bits_if(control & kDtr, kFlagDsr) | bits_if(control & kOut1, kFlagDcd) |
         bits_if(control & kOut2, kFlagRi);
}

usize Pl011Chip::room() const {
  if (!(registers_[kCr] & kRxe) || loopback() || count_ >= depth()) return 0;
  return depth() - count_;
}

void Pl011Chip::announce_room(usize before) {
  if (before == 0 && room() > 0) wiring_.have_room();
}

void Pl011Chip::push(u16 character) {
  if (count_ >= depth()) {
    if (count_) fifo_[(first_ + count_ - 1) % kFifoSize] |= kOverrunFlag;
    raise(kOe);
    return;
  }
  fifo_[(first_ + count_) % kFifoSize] = character;
  ++count_;
  if (count_ >= receive_trigger()) raise(kRx);
}

void Pl011Chip::receive(std::span<const u8> data) {
  for (u8 byte : data) push(byte);
  end_of_burst();
}

void Pl011Chip::receive_break() {
  if (count_ < depth()) push(kBreakFlag);
  raise(kBe);
  end_of_burst();
}

// No more characters come for now: what lies below the trigger level is announced by the receive timeout.
void Pl011Chip::end_of_burst() {
  if (count_ > 0 && count_ < receive_trigger()) raise(kRt);
}

void Pl011Chip::raise(u32 interrupts) {
  registers_[kRis] |= interrupts;
  update();
}

void Pl011Chip::update() { wiring_.set_interrupt(read_masked()); }

u32 Pl011Chip::read_masked() { return registers_[kRis] & registers_[kImsc]; }

u32 Pl011Chip::read_data() {
  if (count_ == 0) return 0;
  const usize before = room();
  const u16 character = fifo_[first_];
  first_ = (first_ + 1) % kFifoSize;
  --count_;
  registers_[kRsr] = character >> 8;
  u32 gone = 0;
  if (count_ < receive_trigger()) gone |= kRx;
  if (count_ == 0) gone |= kRt;
  if (registers_[kRis] & gone) {
    registers_[kRis] &= ~gone;
    update();
  }
  announce_room(before);
  return character;
}

void Pl011Chip::write_data(u32 value) {
  if (loopback()) {
    push(static_cast<u8>(value));
    end_of_burst();
  } else {
    wiring_.transmit(static_cast<u8>(value));
  }
  raise(kTx);  // the FIFO has drained through its trigger level
}

void Pl011Chip::clear_errors(u32) { registers_[kRsr] = 0; }

u32 Pl011Chip::read_flags() {
  return kTxFe | bits_if(count_ == 0, kRxFe) | bits_if(count_ >= depth(), kRxFf) | modem_flags();
}

void Pl011Chip::write_line_control(u32) {
  const usize before = room();
  // Turning the FIFOs off or on flushes them down to what the holding register keeps.
  count_ = static_cast<u32>(std::min<usize>(count_, depth()));
  announce_room(before);
}

void Pl011Chip::write_control(u32) {
  // Changes of the modem lines set their interrupts (section 2.8.3).
  const u32 modem = modem_flags();
  const u32 changed = modem ^ modem_;
  modem_ = modem;
  raise(bits_if(changed & kFlagRi, kRi) | bits_if(changed & kFlagCts, kCts) | bits_if(changed & kFlagDcd, kDcd) |
        bits_if(changed & kFlagDsr, kDsr));
  if (room() > 0) wiring_.have_room();
}

void Pl011Chip::write_interrupt_setup(u32) { update(); }

void Pl011Chip::clear_interrupts(u32 value) {
  registers_[kRis] &= ~value;
  // Characters that stay unread time out again.
  if ((value & (kRt | kRx)) && count_ > 0) timeout_->arm(clock_.now() + kTimeout);
  update();
}

}  // namespace rhea::devices
