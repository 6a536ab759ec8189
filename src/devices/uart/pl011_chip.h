// SPDX-License-Identifier: MIT
// The chip of the ARM PL011 UART (DDI 0183G), without bus and host: FIFOs, interrupts, loopback, break.
//
// Characters are sent at once, whatever the baud rate: the transmit FIFO is always empty when it is looked at.
// Received ones wait in the FIFO; the sender asks room() before it sends, so that nothing is lost.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/clock.h"
#include "memory/register_map.h"

namespace rhea::devices {

class Pl011Chip {
 public:
  // UARTRIS bits (DDI 0183G table 3-15).
  enum Interrupt : u32 {
    kRi = 1u << 0,
    kCts = 1u << 1,
    kDcd = 1u << 2,
    kDsr = 1u << 3,
    kRx = 1u << 4,
    kTx = 1u << 5,
    kRt = 1u << 6,
    kFe = 1u << 7,
    kPe = 1u << 8,
    kBe = 1u << 9,
    kOe = 1u << 10,
    kAllInterrupts = 0x7ff
  };
  struct Wiring {
    std::function<void(u8)> transmit;        // a character leaves
    std::function<void(u32)> set_interrupt;  // the masked interrupts: UARTMIS
    std::function<void()> have_room;         // room() was 0 and no longer is
  };
  Pl011Chip(Clock& clock, std::string name, Wiring wiring, Log& log);

  void reset();
  void fields(Visitor& visitor);
  memory::RegisterFile& registers() { return registers_; }

  usize room() const;
  void receive(std::span<const u8> data);
  void receive_break();

 private:
  enum Offset : u32 {
    kDr = 0x00,
    kRsr = 0x04,
    kFr = 0x18,
    kLcrH = 0x2c,
    kCr = 0x30,
    kIfls = 0x34,
    kImsc = 0x38,
    kRis = 0x3c
  };
  static constexpr usize kFifoSize = 16;

  static std::span<const memory::Register> table();
  u32 read_data();
  void write_data(u32 value);
  void clear_errors(u32 value);
  u32 read_flags();
  void write_line_control(u32 value);
  void write_control(u32 value);
  void write_interrupt_setup(u32 value);
  u32 read_masked();
  void clear_interrupts(u32 value);

  usize depth() const;
  usize receive_trigger() const;
  bool loopback() const;
  u32 modem_flags() const;
  void push(u16 character);
  void end_of_burst();
  void raise(u32 interrupts);
  void update();
  void announce_room(usize before);

  std::unique_ptr<Timer> timeout_;
  Wiring wiring_;
  memory::RegisterFile registers_;
  std::array<u16, kFifoSize> fifo_{};  // characters with their error flags as in UARTDR
  u32 first_ = 0, count_ = 0;
  u32 modem_ = 0;
  Clock& clock_;
};

}  // namespace rhea::devices
