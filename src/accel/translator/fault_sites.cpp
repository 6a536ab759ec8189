// SPDX-License-Identifier: MIT
#include "accel/translator/fault_sites.h"

#include "host/x64/compiler.h"

namespace rhea::accel {

namespace {
constexpr u64 kSpacing = 4;
}

void FaultSites::open(const u8* run, u64 size) {
  Result<sys::MemoryMap> map = sys::map_anonymous(size / kSpacing * sizeof(u32));
  if (!map.ok()) return;
  map_ = map.take();
  run_ = reinterpret_cast<u64>(run);
  size_ = size;
  registration_ = std::make_unique<sys::FaultRegistration>(*this);
  if (!registration_->active()) registration_.reset();
}

std::atomic<u32>& FaultSites::word(u64 offset) const {
  return reinterpret_cast<std::atomic<u32>*>(map_.data())[offset / kSpacing];
}

void FaultSites::add(u32 at, u32 slow) {
  counter(at).store(0, std::memory_order_relaxed);
  word(at).store(word_of(at, slow), std::memory_order_release);
}

void FaultSites::clear() {
  if (map_) sys::discard(map_.data(), map_.size());
}

u64 FaultSites::handle(const sys::HostFault& fault) noexcept {
  const u64 offset = fault.instruction - run_;
  if (offset >= size_) return 0;
  const u32 word = this->word(offset).load(std::memory_order_acquire);
  const u32 at = static_cast<u32>(offset), slow = word >> kPlaceBits;
  if (!word || word != word_of(at, slow)) return 0;
  ir::StateHeader& state = *x64::Compiler::state_of(fault.registers);
  if (state.fault_site && state.fault_maps == state.window_maps) {
    if (counter(state.fault_site).fetch_add(1, std::memory_order_relaxed) + 1 == kPatience) {
      state.worn_site = state.fault_site;
      state.poll.fetch_or(ir::kPollRequest, std::memory_order_seq_cst);
    }
  }
  state.fault_site = at;
  state.fault_maps = state.window_maps;
  return run_ + slow;
}

}  // namespace rhea::accel
