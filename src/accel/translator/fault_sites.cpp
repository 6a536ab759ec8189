// SPDX-License-Identifier: MIT
#include "accel/translator/fault_sites.h"

#include "host/x64/compiler.h"

namespace rhea::accel {

namespace {
constexpr u64 kSpacing = 4;
}

void FaultSites::open(const u8* run, u64 size) {
  Result<sys::MemoryMap> map = sys::map_anonymous(size / kSpacing * sizeof(Site));
  if (!map.ok()) return;
  map_ = map.take();
  run_ = reinterpret_cast<u64>(run);
  size_ = size;
  registration_ = std::make_unique<sys::FaultRegistration>(*this);
  if (!registration_->active()) registration_.reset();
}

FaultSites::Site& FaultSites::site(u64 offset) const { return reinterpret_cast<Site*>(map_.data())[offset / kSpacing]; }

void FaultSites::add(u32 at, u32 slow) {
  Site& site = this->site(at);
  site.slow.store(slow, std::memory_order_relaxed);
  site.faults.store(0, std::memory_order_relaxed);
  site.at.store(at + 1, std::memory_order_release);
}

void FaultSites::clear() {
  if (map_) sys::discard(map_.data(), map_.size());
}

u64 FaultSites::handle(const sys::HostFault& fault) noexcept {
  const u64 offset = fault.instruction - run_;
  if (offset >= size_) return 0;
  Site& site = this->site(offset);
  if (site.at.load(std::memory_order_acquire) != offset + 1) return 0;
  ir::StateHeader& state = *x64::Compiler::state_of(fault.registers);
  if (state.fault_site && state.fault_maps == state.window_maps) {
    Site& last = this->site(state.fault_site);
    if (last.faults.fetch_add(1, std::memory_order_relaxed) + 1 == kPatience) {
      state.worn_site = state.fault_site;
      state.poll.fetch_or(ir::kPollRequest, std::memory_order_seq_cst);
    }
  }
  state.fault_site = static_cast<u32>(offset);
  state.fault_maps = state.window_maps;
  return run_ + site.slow.load(std::memory_order_relaxed);
}

}  // namespace rhea::accel
