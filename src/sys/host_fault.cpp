// SPDX-License-Identifier: MIT
#include "sys/host_fault.h"

#include <signal.h>
#include <ucontext.h>

#include <array>
#include <fstream>
#include <mutex>

namespace rhea::sys {

namespace {

// A signal's handler has nothing but what is global.
std::array<std::atomic<FaultHandler*>, 16> handlers;
struct sigaction old_segv, old_bus;
std::mutex mutex;  // the number of registrations
unsigned registrations = 0;

u64 ask(const ucontext_t& context) {
  constexpr int kNumbers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  u64 registers[16];
  for (unsigned i = 0; i < 16; i++) registers[i] = static_cast<u64>(context.uc_mcontext.gregs[kNumbers[i]]);
  const HostFault fault{static_cast<u64>(context.uc_mcontext.gregs[REG_RIP]), registers};
  for (const std::atomic<FaultHandler*>& slot : handlers) {
    FaultHandler* handler = slot.load(std::memory_order_acquire);
    const u64 next = handler ? handler->handle(fault) : 0;
    if (next) return next;
  }
  return 0;
}

void on_fault(int number, siginfo_t* info, void* data) {
  ucontext_t& context = *static_cast<ucontext_t*>(data);
  if (const u64 next = ask(context)) {
    context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(next);
    return;
  }
  const struct sigaction& old = number == SIGSEGV ? old_segv : old_bus;
  if (old.sa_flags & SA_SIGINFO) old.sa_sigaction(number, info, data);
  else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) old.sa_handler(number);
  else ::sigaction(number, &old, nullptr);  // the instruction is done again, and ends the process
}

void take_signals() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGSEGV, &action, &old_segv);
  ::sigaction(SIGBUS, &action, &old_bus);
}

}  // namespace

FaultRegistration::FaultRegistration(FaultHandler& handler) {
  std::lock_guard lock(mutex);
  for (std::atomic<FaultHandler*>& slot : handlers) {
    if (slot.load(std::memory_order_relaxed)) continue;
    if (registrations++ == 0) take_signals();
    slot.store(&handler, std::memory_order_release);
    slot_ = &slot;
    return;
  }
}

FaultRegistration::~FaultRegistration() {
  if (!slot_) return;
  std::lock_guard lock(mutex);
  slot_->store(nullptr, std::memory_order_release);
  if (--registrations) return;
  ::sigaction(SIGSEGV, &old_segv, nullptr);
  ::sigaction(SIGBUS, &old_bus, nullptr);
}

u64 most_mappings() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  u64 most = 65530;
  file >> most;
  return most;
}

}  // namespace rhea::sys
