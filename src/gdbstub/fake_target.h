// SPDX-License-Identifier: MIT
// For tests and the fuzz target: a machine of three CPUs with 4 KiB of memory, and a line to it.
#pragma once

#include <cstring>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "chardev/backend.h"
#include "core/debug_target.h"
#include "gdbstub/target_xml.h"
#include "util/bits.h"

namespace rhea::gdbstub {

class FakeLine final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override {
    output.append(reinterpret_cast<const char*>(data.data()), data.size());
  }
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "fake"; }
  std::string output;
};

class FakeTarget;

class FakeCpu final : public Cpu {
 public:
  FakeCpu(FakeTarget& target, unsigned index) : target_(target), index_(index) {
    RegisterFeature core{"org.gnu.gdb.arm.core", 0, {}, {}};
    for (unsigned i = 0; i < 16; ++i) core.registers.push_back({fmt::format("r{}", i), 32, "int", ""});
    features_ = {core, {"org.gnu.gdb.arm.core", 25, {{"cpsr", 32, "int", ""}}, {}}};
  }
  unsigned index() const override { return index_; }
  int thread_id() const override { return 1; }
  bool halted() const override { return false; }
  u64 pc() const override { return values[15]; }
  std::string registers_text() const override { return {}; }
  bool register_value(std::string_view, u64&) const override { return false; }
  std::string architecture() const override { return "arm"; }
  std::span<const RegisterFeature> register_features() const override { return features_; }
  bool read_register(unsigned number, std::vector<u8>& bytes) const override {
    if (number >= 16 && number != 25) return false;
    bytes.resize(4);
    store_le<u32>(bytes.data(), values[number]);
    return true;
  }
  bool write_register(unsigned number, std::span<const u8> bytes) override {
    if ((number >= 16 && number != 25) || bytes.size() != 4) return false;
    values[number] = load_le<u32>(bytes.data());
    return true;
  }
  bool read_virtual(u64 address, std::span<u8> data) const override;
  bool write_virtual(u64 address, std::span<const u8> data) override;
  Disassembly disassemble(u64, std::span<const u8>) const override { return {}; }
  u32 values[26] = {};

 private:
  FakeTarget& target_;
  unsigned index_;
  std::vector<RegisterFeature> features_;
};

class FakeTarget final : public DebugTarget {
 public:
  void attach(DebugClient* with) override {
    client = with;
    if (with) is_running = false;
    else breakpoints.clear();
  }
  unsigned cpus() const override { return 3; }
  Cpu& cpu(unsigned index) override { return cpus_[index]; }
  bool running() const override { return is_running; }
  void interrupt() override { interrupts++; }
  bool resume(std::span<const CpuAction> wanted) override {
    actions.assign(wanted.begin(), wanted.end());
    return is_running = true;
  }
  Result<void> reverse(bool, unsigned) override {
    if (!has_past) return Error("nothing is recorded");
    is_running = true;
    return {};
  }
  bool can_reverse() const override { return has_past; }
  StepMode& step_mode() override { return mode; }
  void set_breakpoint(u64 address) override { breakpoints.insert(address); }
  bool clear_breakpoint(u64 address) override { return breakpoints.erase(address); }
  Result<void> set_watchpoint(WatchKind kind, u64 address, u64 size) override {
    if (!size) return Error("nothing to watch");
    watchpoints.emplace(kind, address, size);
    return {};
  }
  bool clear_watchpoint(WatchKind kind, u64 address, u64 size) override {
    return watchpoints.erase({kind, address, size});
  }
  bool read_physical(u64, std::span<u8> data) override {
    std::memset(data.data(), 0xee, data.size());
    return true;
  }
  bool write_physical(u64, std::span<const u8>) override { return true; }
  std::string monitor_command(std::string_view text) override { return fmt::format("ran: {}\n", text); }
  void kill() override { kills++; }
  void restart() override {}

  void stop(const DebugStop& why) {
    is_running = false;
    if (client) client->stopped(why);
  }

  std::vector<u8> memory = std::vector<u8>(4096);
  std::vector<FakeCpu> cpus_ = {{*this, 0}, {*this, 1}, {*this, 2}};
  DebugClient* client = nullptr;
  bool is_running = false, has_past = false;
  unsigned interrupts = 0, kills = 0;
  std::vector<CpuAction> actions;
  std::set<u64> breakpoints;
  std::set<std::tuple<WatchKind, u64, u64>> watchpoints;
  StepMode mode;
};

inline bool FakeCpu::read_virtual(u64 address, std::span<u8> data) const {
  if (address > target_.memory.size() || data.size() > target_.memory.size() - address) return false;
  std::memcpy(data.data(), target_.memory.data() + address, data.size());
  return true;
}

inline bool FakeCpu::write_virtual(u64 address, std::span<const u8> data) {
  if (address > target_.memory.size() || data.size() > target_.memory.size() - address) return false;
  std::memcpy(target_.memory.data() + address, data.data(), data.size());
  return true;
}

}  // namespace rhea::gdbstub
