// SPDX-License-Identifier: MIT
// The LAN9118 Ethernet controller without bus and network (SMSC datasheet revision 1.5): registers, FIFOs,
// interrupts. Frames come by receive() and leave through Wiring::transmit.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/clock.h"
#include "devices/net/lan9118_mac.h"
#include "devices/net/lan9118_rx_fifo.h"
#include "devices/net/lan9118_tx_fifo.h"
#include "devices/timer/down_counter.h"
#include "memory/register_map.h"

namespace rhea::devices {

class Lan9118Chip {
 public:
  struct Wiring {
    std::function<bool(std::span<const u8>)> transmit;  // false: not now; transmit_again() when it may be tried
    std::function<void(bool)> set_irq;                  // the level of the pin
    std::function<void()> fifo_has_room;                // the guest took a frame out of the receive FIFO
    std::function<void()> receiver_changed;             // it was started or stopped
    std::function<void()> was_reset;
  };
  Lan9118Chip(Clock& clock, std::string name, std::array<u8, 6> address, bool bus_16bit, Wiring wiring, Log& log);

  void reset(bool power_on);
  void fields(Visitor& visitor);

  // Accesses of the bus; the FIFO ports take the short way.
  u32 read(u32 offset, unsigned size) {
    if (offset < kRxFifoEnd && size == 4) return read_rx_data();
    return read_slow(offset, size);
  }
  void write(u32 offset, u32 value, unsigned size) {
    if (offset - kTxFifoBegin < kTxFifoEnd - kTxFifoBegin && size == 4) write_tx_data(value);
    else write_slow(offset, value, size);
  }

  bool receiver_on() const { return mac_.receives(); }
  bool can_receive(usize frame_size) const;
  // A frame from the wire; it must fit (can_receive). What the filters refuse is dropped here.
  void receive(std::span<const u8> frame);
  void transmit_again();
  void set_link(bool up);
  u64 frames_filtered() const { return filtered_; }

 private:
  static constexpr u32 kRxFifoEnd = 0x20, kTxFifoBegin = 0x20, kTxFifoEnd = 0x40;

  static std::span<const memory::Register> table();
  u32 read_slow(u32 offset, unsigned size);
  void write_slow(u32 offset, u32 value, unsigned size);
  u32 read_half(u32 offset);
  void write_half(u32 offset, u32 value);
  u32 read_rx_data();
  void write_tx_data(u32 word);
  void tx_event(const Lan9118TxFifo::Event& event);

  // Hooks of the register table.
  u32 pop_rx_status();
  u32 peek_rx_status() { return rx_.peek_status(); }
  u32 pop_tx_status();
  u32 peek_tx_status() { return tx_.peek_status(); }
  void write_int_cfg(u32 value);
  u32 read_int_cfg();
  void write_int_sts(u32 value);
  void write_int_en(u32 value);
  u32 read_byte_test() { return 0x87654321; }
  void write_byte_test(u32 value);
  void write_fifo_int(u32 value);
  void write_rx_cfg(u32 value);
  void write_tx_cfg(u32 value);
  u32 read_hw_cfg();
  void write_hw_cfg(u32 value);
  void write_rx_dp_ctrl(u32 value);
  u32 read_rx_fifo_inf();
  u32 read_tx_fifo_inf();
  u32 read_pmt_ctrl();
  void write_pmt_ctrl(u32 value);
  void write_gpt_cfg(u32 value);
  u32 read_gpt_cnt();
  u32 read_free_run();
  u32 read_rx_drop();
  void write_mac_cmd(u32 value);
  void write_e2p_cmd(u32 value);

  void soft_reset();
  void load_address();
  void set_fifo_sizes();
  void transmit_pending();
  bool send_front();
  void loop_back(std::span<const u8> frame);
  void eeprom_command(u32 command, u32 address);
  void raise(u32 interrupts);
  void update_levels();
  void update_irq();
  void set_pin(bool level);

  Clock& clock_;
  Wiring wiring_;
  Log& log_;
  bool bus_16bit_;
  memory::RegisterFile registers_;
  Lan9118Mac mac_;
  Lan9118RxFifo rx_;
  Lan9118TxFifo tx_;
  std::array<u8, 128> eeprom_{};
  bool eeprom_writable_ = false;
  DownCounter general_timer_;
  std::unique_ptr<Timer> deassert_timer_;
  s64 deasserted_until_ = 0;
  bool asserted_ = false;  // the interrupt is signalled; the pin's level depends on the polarity
  bool pin_ = false;
  u32 rx_dropped_ = 0;
  u32 rx_dma_count_ = 0;
  u32 read_latch_ = 0;  // 16-bit mode: the half that was not read or is not yet written
  u32 write_latch_ = 0;
  s64 free_run_base_ = 0;
  u64 filtered_ = 0;
  std::vector<u8> padded_;
};

}  // namespace rhea::devices
