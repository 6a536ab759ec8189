// SPDX-License-Identifier: MIT
// For tests: a guest small enough to be read at once. Instructions are half-words, op << 12 | a << 8 | k:
//   0 r[a] += k          1 jump back k half-words (polls)     2 wait for an interrupt    3 r[a] = k
//   4 store r[a] at 4*k  5 r[a] = load from 4*k               6 jump to r[a]             7 wait for an event
//   8 send an event      9 if r[a] == 0 skip one instruction  10 r[a] -= 1               11 flush all CPUs' tables,
//   wait 12 store half-word r[a] at address r[k]                   13 return from interrupt
//   14 r[a] += 1 where the exclusive store of one more than the word at r[k] succeeds
// An interrupt goes to address 0x80 and keeps the old pc in `link`; pins are masked until op 13.
// Translation: identity, or by `pages` when `mapped` is set.
#pragma once

#include <map>

#include "accel/virtual_cpu.h"
#include "ir/builder.h"

namespace rhea::accel {

struct MiniState {
  ir::StateHeader header;
  u32 r[16] = {};
  u32 link = 0;
  u32 masked = 0;
  std::atomic<u32> pin{0};
};

class MiniGuest final : public ir::Guest {
 public:
  struct Page {
    ir::Mapping mapping;
    bool user = true;  // unprivileged access allowed
    bool readable = true;
  };
  static constexpr u32 kVector = 0x80;
  MiniState s;
  bool mapped = false;
  bool is_privileged = true;
  bool unaligned = true;
  u64 current_space = 0;
  std::map<std::pair<u64, u64>, Page> pages;  // (space, page number); global ones under every space
  std::vector<ir::Fault> faults;
  unsigned walks = 0;
  ir::EngineHooks* hooks = nullptr;

  const ir::StateLayout& layout() const override { return layout_; }
  ir::StateHeader& state() override { return s.header; }
  std::span<const ir::Helper> helpers() const override {
    // clang-format off
    static constexpr ir::Helper kHelpers[] = {
        {"wfi", [](void* p, u64, u64, u64) -> u64 { return of(p).hooks->wait_for_interrupt(), 0; }, ir::kReadsState},
        {"wfe", [](void* p, u64, u64, u64) -> u64 { return of(p).hooks->wait_for_event(), 0; }, ir::kReadsState},
        {"sev", [](void* p, u64, u64, u64) -> u64 { return of(p).hooks->send_event(), 0; }, 0},
        {"flush", [](void* p, u64, u64, u64) -> u64 { of(p).hooks->flush_all(true); of(p).hooks->synchronize(); return 0; }, ir::kReadsState},
        {"rfi", [](void* p, u64, u64, u64) -> u64 {
           MiniGuest& guest = of(p);
           guest.s.masked = 0;
           guest.s.header.pc = guest.s.link;
           if (guest.s.pin) guest.s.header.poll |= ir::kPollInterrupt;
           return 0;
         }, ir::kReadsState | ir::kWritesState},
    };
    // clang-format on
    return kHelpers;
  }
  static MiniGuest& of(void* state);
  void set_engine(ir::EngineHooks& engine) override { hooks = &engine; }
  void reset() override {
    std::memset(s.r, 0, sizeof s.r);
    s.header.pc = s.header.mode = 0;
    s.masked = 0;
  }

  void translate(const ir::Key& key, ir::CodeReader& code, unsigned max_insns, ir::Block& block) override {
    ir::Builder b(block);
    block.key = key;
    u64 pc = key.pc;
    while (block.guest_insns < max_insns && ((pc ^ key.pc) >> 12) == 0) {
      u16 insn;
      if (!code.fetch16(pc, insn)) return;
      block.guest_insns++;
      pc += 2;
      block.guest_bytes += 2;
      if (one(b, insn, pc, block.guest_insns)) return;
    }
    b.exit({.target = {pc, key.mode}, .insns = block.guest_insns});
  }
  void restore_location(u64 location) override { s.header.pc = location; }

  bool walk(u64 address, ir::Access access, bool user, ir::Mapping& mapping, ir::Fault& fault) override {
    walks++;
    fault = {.address = address, .access = access};
    if (!mapped) {
      mapping = {.physical = address & ~u64{0xfff}, .writable = true, .executable = true, .global = true};
      return true;
    }
    auto found = pages.find({current_space & 0xffffffff, address >> 12});
    if (found == pages.end()) return false;
    const Page& page = found->second;
    if ((user && !page.user) || !page.readable || (access == ir::Access::write && !page.mapping.writable) ||
        (access == ir::Access::execute && !page.mapping.executable)) {
      return false;
    }
    mapping = page.mapping;
    return true;
  }
  bool allows_unaligned() const override { return unaligned; }
  bool privileged() const override { return is_privileged; }
  u64 space() const override { return current_space; }
  void raise_fault(const ir::Fault& fault) override {
    faults.push_back(fault);
    s.link = static_cast<u32>(s.header.pc);
    s.header.pc = kVector;
  }
  bool take_interrupt() override {
    if (!s.pin || s.masked) return false;
    s.masked = 1;
    s.link = static_cast<u32>(s.header.pc);
    s.header.pc = kVector;
    return true;
  }
  bool has_wakeup() const override { return s.pin; }
  void set_pin(unsigned, bool level) override { s.pin = level; }

 private:
  static u32 offset_r(unsigned n) { return static_cast<u32>(offsetof(MiniState, r)) + 4 * n; }

  // True: ends the block.
  bool one(ir::Builder& b, u16 insn, u64 next, u16 count) {
    using ir::Op;
    using ir::Type;
    const unsigned a = insn >> 8 & 15;
    const u32 k = insn & 0xff;
    b.loc(next - 2);
    const ir::ExitInfo after{.target = {next, 0}, .poll = true, .insns = count};
    auto helper = [&](u64 index) {
      b.set(Type::I64, offsetof(MiniState, header.pc), b.const64(next));
      b.emit(Op::Call0, Type::I32, ir::kNoRef, ir::kNoRef, ir::kNoRef, index);
      b.exit_dispatch(after);
      return true;
    };
    switch (insn >> 12) {
      case 0: b.set(Type::I32, offset_r(a), b.add(b.get(Type::I32, offset_r(a)), k)); return false;
      case 1: b.exit({.target = {next - 2 * k, 0}, .poll = true, .insns = count}); return true;
      case 2: return helper(0);
      case 3: b.set(Type::I32, offset_r(a), b.const32(k)); return false;
      case 4: b.store(32, b.const32(4 * k), b.get(Type::I32, offset_r(a))); return false;
      case 5: b.set(Type::I32, offset_r(a), b.load(32, b.const32(4 * k))); return false;
      case 6: b.exit_indirect(b.get(Type::I32, offset_r(a)), b.const32(0), after); return true;
      case 7: return helper(1);
      case 8: return helper(2);
      case 9: {
        b.exit_if_zero(b.get(Type::I32, offset_r(a)), true,
                       {.target = {next + 2, 0}, .insns = count, .has_next = true, .next = {next, 0}});
        return false;
      }
      case 10: b.set(Type::I32, offset_r(a), b.sub(b.get(Type::I32, offset_r(a)), b.const32(1))); return false;
      case 11: return helper(3);
      case 12: b.store(16, b.get(Type::I32, offset_r(k & 15)), b.get(Type::I32, offset_r(a))); return false;
      case 14: {
        const ir::Ref address = b.get(Type::I32, offset_r(k & 15));
        const ir::Ref old = b.emit(Op::LoadExclusive, Type::I32, address, ir::kNoRef, ir::kNoRef, 0, 32);
        const ir::Ref failed = b.emit(Op::StoreExclusive, Type::I32, address, b.add(old, 1), ir::kNoRef, 0, 32);
        b.set(Type::I32, offset_r(a), b.sub(b.add(b.get(Type::I32, offset_r(a)), 1), failed));
        return false;
      }
      default: return helper(4);
    }
  }

  static constexpr ir::Pin kPins[] = {{offsetof(MiniState, r), ir::Type::I32, "r0"},
                                      {offsetof(MiniState, r) + 4, ir::Type::I32, "r1"}};
  ir::StateLayout layout_{.size = sizeof(MiniState), .pins = kPins};
};

inline MiniGuest& MiniGuest::of(void* state) {
  return static_cast<MiniGuest&>(VirtualCpu::of(*static_cast<ir::StateHeader*>(state)).guest());
}

class MiniCpu final : public GuestCpu {
 public:
  ir::Guest& guest() override { return guest_; }
  MiniGuest& mini() { return guest_; }
  std::string registers_text() const override { return "r0\n"; }
  bool register_value(std::string_view name, u64& value) const override {
    if (name != "r0") return false;
    value = guest_.s.r[0];
    return true;
  }
  Cpu::Disassembly disassemble(u64, std::span<const u8>) const override { return {"mini", 2}; }
  void set_reset_pc(u64) override {}
  void fields(Visitor&) override {}

 private:
  MiniGuest guest_;
};

constexpr u16 mini(unsigned op, unsigned a = 0, unsigned k = 0) { return static_cast<u16>(op << 12 | a << 8 | k); }

}  // namespace rhea::accel
