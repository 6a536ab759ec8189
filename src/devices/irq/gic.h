// SPDX-License-Identifier: MIT
// ARM Generic Interrupt Controller, version 1 with the security extensions, as the Cortex-A9 MPCore has it
// (ARM IHI 0048B for what the registers do; DDI 0407I chapter 3 for this implementation: 5 priority bits).
//
// Interrupt ids: 0..15 SGIs and 16..31 PPIs, banked by CPU; from 32 on SPIs, shared. State is kept as words of 32
// interrupts, so that the search for the best pending one costs a few operations for each word. Everything is
// guarded by the chip's own mutex: lines may be raised from any thread.
#pragma once

#include <array>
#include <mutex>

#include "core/irq.h"
#include "core/snapshot.h"
#include "util/log.h"
#include "util/types.h"

namespace rhea::devices {

class Gic {
 public:
  static constexpr unsigned kMaxCpus = 8;
  static constexpr unsigned kWords = 3;  // 96 interrupts
  static constexpr unsigned kIds = kWords * 32;
  static constexpr unsigned kSpis = kIds - 32;
  static constexpr u32 kSpurious = 1023;    // nothing to acknowledge
  static constexpr u32 kOtherGroup = 1022;  // a group 1 interrupt is pending; secure access without AckCtl

  // `irq` and `fiq` hold one line a CPU.
  struct Outputs {
    std::array<IrqLine, kMaxCpus> irq;
    std::array<IrqLine, kMaxCpus> fiq;
  };
  Gic(unsigned cpus, Outputs outputs, Log& log);

  void reset();
  void fields(Visitor& visitor);

  // Inputs. SPIs are numbered from 0 (id 32), PPIs by their id (16..31).
  void set_spi(unsigned spi, bool level);
  void set_ppi(unsigned cpu, unsigned id, bool level);
  // By ID, how often each was raised since the start: inputs that went up, and software's own.
  std::array<u64, kIds> counts();

  // Registers: `offset` is a multiple of 4, `mask` has the bits of the bytes that are accessed.
  u32 read_distributor(unsigned cpu, bool secure, u32 offset);
  void write_distributor(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask);
  // `debug` reads change nothing (GICC_IAR then answers as GICC_HPPIR).
  u32 read_interface(unsigned cpu, bool secure, u32 offset, bool debug);
  void write_interface(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask);

 private:
  // 32 interrupts. For word 0 each CPU has its own.
  struct Word {
    u32 enabled = 0;
    u32 latched = 0;  // pending by an edge or by software
    u32 level = 0;    // the input lines
    u32 active = 0;
    u32 group = 0;  // 1: group 1 (non-secure)
    u32 edge = 0;   // 1: edge triggered
    u32 pending() const { return latched | (level & ~edge); }
  };
  struct Interface {  // of one CPU
    u32 control = 0;
    u32 mask = 0;                            // GICC_PMR
    u32 binary_point = 0;                    // group 0
    u32 binary_point_ns = 0;                 // group 1
    std::array<u32, 2> active_priorities{};  // by group; bit n: priority n * 8 is active
    std::array<u8, 16> sgi_sources{};        // who sent each pending SGI
    std::array<u8, 32> priority{};           // of the banked interrupts
    std::array<u16, 16> sgi_active_source{};
    bool irq = false, fiq = false;  // what the outputs carry
  };
  struct Best {
    u32 id = kSpurious;
    u8 priority = 0xff;
    bool group1 = false;
  };

  Word& word(unsigned cpu, unsigned index) { return index ? shared_[index - 1] : banked_[cpu]; }
  u8& priority(unsigned cpu, unsigned id) { return id < 32 ? interfaces_[cpu].priority[id] : priority_[id - 32]; }
  bool is_group1(unsigned cpu, unsigned id) { return word(cpu, id / 32).group >> (id % 32) & 1; }
  u32 visible(unsigned cpu, bool secure, unsigned index);
  u32 targeted(unsigned cpu, unsigned index);

  Best best_pending(unsigned cpu);
  bool group_enabled(unsigned cpu, bool group1);
  u8 running_priority(unsigned cpu);
  u8 group_mask(unsigned cpu, bool group1);
  bool can_preempt(unsigned cpu, const Best& best);
  void update();
  void set_line(unsigned cpu, unsigned index, u32 bit, bool level);

  u32 acknowledge(unsigned cpu, bool secure, bool debug);
  u32 highest_pending(unsigned cpu, bool secure);
  void end_of_interrupt(unsigned cpu, bool secure, u32 value);
  void send_sgi(unsigned cpu, bool secure, u32 value);
  u32 read_bitmap(unsigned cpu, bool secure, u32 offset);
  void write_bitmap(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask);
  u32 read_bytes(unsigned cpu, bool secure, u32 offset);
  void write_bytes(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask);
  u32 read_config(unsigned cpu, bool secure, unsigned index);
  void write_config(unsigned cpu, bool secure, unsigned index, u32 value, u32 mask);
  u32 read_control(unsigned cpu, bool secure);
  void write_control(unsigned cpu, bool secure, u32 value);
  u32 read_mask(unsigned cpu, bool secure);
  void write_mask(unsigned cpu, bool secure, u32 value);

  std::mutex mutex_;
  unsigned cpus_;
  Outputs outputs_;
  Log& log_;
  u32 control_ = 0;  // GICD_CTLR: bit 0 group 0, bit 1 group 1
  std::array<Word, kMaxCpus> banked_;
  std::array<Word, kWords - 1> shared_;
  std::array<u8, kSpis> priority_{};
  std::array<u8, kSpis> targets_{};
  std::array<Interface, kMaxCpus> interfaces_;
  std::array<u64, kIds> counts_{};  // no part of the state
};

}  // namespace rhea::devices
