// SPDX-License-Identifier: MIT
#include "machine/debug_port.h"

#include <algorithm>
#include <cstring>

#include "accel/debugger.h"
#include "machine/replay.h"

namespace rhea::machine {

namespace {
constexpr u64 kMostWatched = u64{1} << 20;  // bytes of one watchpoint: its pages are slow
}

DebugPort::DebugPort(Machine& machine) : machine_(machine) {
  machine_.on_state_change([this](RunState state) { state_changed(state); });
  machine_.engine_->debugger().on_stop = [this] { machine_.loop().post([this] { take_stop(); }); };
}

void DebugPort::attach(DebugClient* client) {
  if (client && !client_) {
    own_stop_ = true;
    machine_.stop();
    own_stop_ = false;
  }
  if (!client != !client_) {
    machine_.engine_->set_debugging(client != nullptr);
    if (machine_.replay_) machine_.replay_->set_checkpoints(client != nullptr);
  }
  client_ = client;
}

void DebugPort::interrupt() {
  if (running()) machine_.engine_->debugger().request_stop({.why = DebugStop::Why::interrupted});
}

bool DebugPort::resume(std::span<const CpuAction> actions) {
  if (machine_.state() == RunState::shutdown) return false;
  machine_.next_actions_.assign(actions.begin(), actions.end());
  machine_.cont();
  return true;
}

void DebugPort::take_stop() {
  std::optional<DebugStop> stop = machine_.engine_->debugger().take_stop();
  if (!stop) return;
  own_stop_ = true;
  machine_.stop();
  own_stop_ = false;
  if (stop->why == DebugStop::Why::reached) {
    if (machine_.replay_ && machine_.replay_->reached()) return;
    stop->why = DebugStop::Why::interrupted;
  }
  if (client_) client_->stopped(*stop);
}

void DebugPort::state_changed(RunState state) {
  if (!client_ || own_stop_ || (machine_.replay_ && machine_.replay_->moving())) return;
  if (state == RunState::shutdown) client_->ended(machine_.exit_status());
  else if (state != RunState::running) client_->stopped({.why = DebugStop::Why::interrupted});
}

bool DebugPort::can_reverse() const { return machine_.replay_ != nullptr; }

// Back to the client on the loop, when the machine stands where it was brought to.
Result<void> DebugPort::reverse(bool step, unsigned cpu) {
  if (!machine_.replay_) return Error("nothing is recorded: -icount rr=record,rrfile=FILE does");
  const auto done = [this, cpu](DebugStop stop) {
    if (stop.why == DebugStop::Why::stepped || stop.why == DebugStop::Why::history_start) stop.cpu = cpu;
    if (client_) client_->stopped(stop);
  };
  own_stop_ = true;
  const Result<void> went = step ? machine_.replay_->reverse_step(done) : machine_.replay_->reverse_continue(done);
  own_stop_ = false;
  return went;
}

DebugTarget::StepMode& DebugPort::step_mode() { return machine_.engine_->debugger().step_mode; }

Result<void> DebugPort::set_watchpoint(WatchKind kind, u64 address, u64 size) {
  if (size == 0 || size > kMostWatched)
    return Error("a watchpoint of {} bytes: 1 to {} are possible", size, kMostWatched);
  machine_.engine_->set_watchpoint(kind, address, size);
  return {};
}

bool DebugPort::read_physical(u64 address, std::span<u8> data) {
  memory::Attributes attributes;
  attributes.debug = true;
  for (usize done = 0; done < data.size();) {
    const u64 at = address + done;
    const memory::Range* range = machine_.memory_->find(at);
    if (!range || range->name == "unassigned") return false;
    if (range->ram) {
      const usize part = static_cast<usize>(std::min<u64>(data.size() - done, range->end() - at));
      std::memcpy(data.data() + done, range->host(at), part);
      done += part;
      continue;
    }
    unsigned size = 4;
    while (size > data.size() - done || at % size) size /= 2;
    const memory::ReadResult got = machine_.memory_->read(at, size, attributes);
    if (!got.ok) return false;
    std::memcpy(data.data() + done, &got.value, size);
    done += size;
  }
  return true;
}

bool DebugPort::write_physical(u64 address, std::span<const u8> data) {
  memory::Attributes attributes;
  attributes.debug = true;
  for (usize done = 0; done < data.size();) {
    const u64 at = address + done;
    const memory::Range* range = machine_.memory_->find(at);
    if (!range || range->name == "unassigned") return false;
    if (range->ram) {  // ROM too
      const usize part = static_cast<usize>(std::min<u64>(data.size() - done, range->end() - at));
      u8* host = range->host(at);
      std::memcpy(host, data.data() + done, part);
      machine_.memory_->wrote({host, part}, at);
      done += part;
      continue;
    }
    unsigned size = 4;
    while (size > data.size() - done || at % size) size /= 2;
    u64 value = 0;
    std::memcpy(&value, data.data() + done, size);
    if (!machine_.memory_->write(at, value, size, attributes)) return false;
    done += size;
  }
  return true;
}

std::string DebugPort::monitor_command(std::string_view line) {
  if (!machine_.monitor_command) return "this machine has no monitor\n";
  return machine_.monitor_command(line);
}

}  // namespace rhea::machine
