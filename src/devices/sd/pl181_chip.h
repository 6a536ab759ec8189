// SPDX-License-Identifier: MIT
// The chip of the ARM PL181 MultiMedia Card Interface (DDI 0205B), without bus and interrupt wiring: command path,
// data path and the FIFO of 16 words between it and the processor.
//
// Commands are answered at once. Data moves as fast as the processor takes or gives it; the FIFO never overruns or
// underruns, the card waits instead. While the card waits for its image the data path waits too, however long the
// data timer is: only a card that will not send or take anything times out.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "core/clock.h"
#include "devices/sd/sd_card.h"
#include "memory/register_map.h"

namespace rhea::devices {

class Pl181Chip {
 public:
  // MCIStatus (DDI 0205B table 3-14).
  enum Status : u32 {
    kCmdCrcFail = 1u << 0,
    kDataCrcFail = 1u << 1,
    kCmdTimeOut = 1u << 2,
    kDataTimeOut = 1u << 3,
    kTxUnderrun = 1u << 4,
    kRxOverrun = 1u << 5,
    kCmdRespEnd = 1u << 6,
    kCmdSent = 1u << 7,
    kDataEnd = 1u << 8,
    kStartBitErr = 1u << 9,
    kDataBlockEnd = 1u << 10,
    kCmdActive = 1u << 11,
    kTxActive = 1u << 12,
    kRxActive = 1u << 13,
    kTxFifoHalfEmpty = 1u << 14,
    kRxFifoHalfFull = 1u << 15,
    kTxFifoFull = 1u << 16,
    kRxFifoFull = 1u << 17,
    kTxFifoEmpty = 1u << 18,
    kRxFifoEmpty = 1u << 19,
    kTxDataAvlbl = 1u << 20,
    kRxDataAvlbl = 1u << 21
  };
  static constexpr u32 kFifoFirst = 0x80, kFifoLast = 0xbf;  // the FIFO's addresses

  // `set_interrupts` gets the levels of MCIINTR0 and MCIINTR1.
  Pl181Chip(Clock& clock, sd::SdCard& card, std::string name, std::function<void(bool, bool)> set_interrupts, Log& log);

  void reset();
  void fields(Visitor& visitor);
  memory::RegisterFile& registers() { return registers_; }
  u32 read_fifo();
  void write_fifo(u32 word);
  // The card has news.
  void card_changed();

 private:
  enum Offset : u32 {
    kPower = 0x00,
    kClock = 0x04,
    kArgument = 0x08,
    kCommand = 0x0c,
    kRespCmd = 0x10,
    kResponse0 = 0x14,
    kDataTimer = 0x24,
    kDataLength = 0x28,
    kDataCtrl = 0x2c,
    kMask0 = 0x3c,
    kMask1 = 0x40
  };
  enum Control : u32 {
    kCmdResponse = 1u << 6,
    kCmdLongResponse = 1u << 7,
    kCmdPending = 1u << 9,
    kCmdEnable = 1u << 10,
    kDataEnable = 1u << 0,
    kDataFromCard = 1u << 1,
    kDataStream = 1u << 2
  };
  enum class Path : u8 { idle, receive, send, busy };
  static constexpr usize kFifoBytes = 64;

  static std::span<const memory::Register> table();
  void write_power(u32 value);
  void write_command(u32 value);
  void write_data_control(u32 value);
  void write_clear(u32 value);
  void write_mask(u32 value);
  u32 read_count();
  u32 read_status();
  u32 read_fifo_count();

  void send_command();
  void pump();
  void receive();
  void send();
  void count(usize bytes);
  void end_data(u32 flags);
  void timed_out();
  void arm_timer();
  u32 usable() const { return path_ == Path::receive ? level_ & ~3u : level_; }  // bytes that the processor can read
  u32 status() const;
  void update();

  Clock& clock_;
  sd::SdCard& card_;
  std::function<void(bool, bool)> set_interrupts_;
  memory::RegisterFile registers_;
  std::unique_ptr<Timer> timer_;
  u32 flags_ = 0;  // the static ones: bits 10 to 0
  Path path_ = Path::idle;
  bool from_card_ = false;      // of the last transfer: whose the FIFO is
  u32 data_count_ = 0;          // bytes that have not passed the card's side
  bool command_waits_ = false;  // for the end of the data (MCICommand.Pending)
  std::array<u8, kFifoBytes> fifo_{};
  u32 first_ = 0, level_ = 0;  // bytes; read data always begins at a word
  bool powered_ = false;       // MCIPower
  bool in_pump_ = false;
};

}  // namespace rhea::devices
