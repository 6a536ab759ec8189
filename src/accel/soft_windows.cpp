// SPDX-License-Identifier: MIT
// The soft MMU's windows: which sets have one, and what is mapped in it.
//
// A set earns its window by running: what look_around() finds the CPU in gets the time since the last look. Opening
// maps what the tables have, in runs of pages that lie side by side on both sides; after that enter() maps each page
// that comes, and what drops entries drops mappings. A system call for each of these is 50 times dearer than an entry
// of a table, so a set whose mappings change all the time (a process that forks, or that touches ever new memory) loses
// its window again, and has to earn more for the next one.
//
// The host allows a process a number of mappings only (vm.max_map_count); each CPU has its share of two thirds of them,
// and a window for which they do not suffice is closed.
#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "accel/debugger.h"
#include "accel/soft_mmu.h"
#include "accel/table_set.h"
#include "sys/host_fault.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr s64 kLongestLook = 10'000'000;  // ns that count of the time between two looks: the CPU may have slept
constexpr s64 kEarned = 50'000'000;       // heat that opens a window
constexpr s64 kLost = -400'000'000;       // heat of a set that lost its window
// A mapping's price in ns, with the faults that it brings, and the part of the time that may go into them.
constexpr s64 kPrice = 20'000;
constexpr s64 kWorth = 4;
// So many slow accesses between two looks are a window that does harm: it is closed, and for long.
constexpr u32 kMostFaults = 300;
constexpr s64 kHarmful = -8'000'000'000;
// Bytes that are entered around an access: of a process, of a kernel that maps by sections.
constexpr u64 kAround = 16 * memory::kPageSize, kSection = u64{1} << 20;

}  // namespace

void SoftMmu::look_around(s64 now) {
  if (windows_ == Windows::off) return;
  finish_windows();
  const s64 elapsed = std::min(now - looked_at_, kLongestLook);
  looked_at_ = now;
  TableSet* set = current_set(!privileged_);
  if (!set || !set->has_window_space()) return;
  if (set->open) return judge_window(*set, elapsed);
  set->heat += elapsed;
  if (set->heat >= kEarned || (eager() && set->heat >= 0)) open_window(*set);
}

// Heat rises to kEarned while the mappings are worth it, and the window is closed when it is used up.
void SoftMmu::judge_window(TableSet& set, s64 elapsed) {
  set.heat = std::min(set.heat + elapsed - price_of(set.open->changes.exchange(0)), kEarned);
  const bool harmful = std::exchange(set.open->faults, 0) > kMostFaults;
  if (!set.open->full && ((set.heat >= -kEarned && !harmful) || eager())) return;
  log_.write(LogItem::mmu, "cpu {}: window of space {:#x} is lost: {}", cpu_, set.key,
             harmful          ? "too many slow accesses"
             : set.open->full ? "too many mappings"
                              : "changes too often");
  lose_window(set, harmful ? kHarmful : kLost);
}

s64 SoftMmu::price_of(usize changes) { return static_cast<s64>(changes) * kPrice * kWorth; }

// Its space goes on with the tables, from this heat on.
void SoftMmu::lose_window(TableSet& set, s64 heat) {
  close_window(set);
  set.heat = heat;
  forget_code(set);
}

// Processes that have ended leave their windows behind: the least recently used ones give way to one that is wanted
// now. False: there are too many mappings all the same, and a window without room would fault at every access.
bool SoftMmu::make_room(const TableSet& wanted) {
  while (window_pieces_ > window_budget_ / 2) {
    TableSet* oldest = nullptr;
    for (const auto& set : sets_) {
      if (!set->open || set.get() == &wanted || set.get() == user_set_ || set.get() == privileged_set_) continue;
      if (!oldest || set->last_use < oldest->last_use) oldest = set.get();
    }
    if (!oldest) return false;
    lose_window(*oldest, 0);
  }
  return true;
}

// Code is looked up anew, and found with its other ids.
void SoftMmu::forget_code(TableSet& set) {
  for (usize chunk = 0; chunk < TableSet::kExecChunks; chunk++) {
    if (!set.touched.test(2 * TableSet::kReadChunks + chunk)) continue;
    std::memset(set.map.data() + kExecTable + chunk * 4096, 0, 4096);
  }
  owner_.exec_mappings_dropped();
}

void SoftMmu::open_window(TableSet& set) {
  // Accesses through a window cross pages and look at no alignment; a watched page has no entry by itself.
  if (!guest_.allows_unaligned() || (debugger_ && debugger_->attached())) return;
  if (!window_budget_) window_budget_ = std::max<usize>(sys::most_mappings() / 3 * 2 / owner_.cpu_count(), 1);
  if (!eager() && !make_room(set)) {
    set.heat = kLost;
    return;
  }
  {
    std::lock_guard lock(mutex_);
    set.open = std::make_unique<TableSet::Window>();
    for (const u32 page : set.local_pages) set.open->local.set(page);
    for (usize chunk = 0; chunk < TableSet::kReadChunks; chunk++) {
      if (set.touched.test(chunk)) map_range(set, chunk * 512, chunk * 512 + 512);
    }
  }
  statistics_.windows_opened++;
  set.heat = kEarned;
  set.open->changes = 0;
  forget_code(set);
  log_.write(LogItem::mmu, "cpu {}: window of space {:#x} opened with {} mappings", cpu_, set.key,
             set.open->pieces.load());
}

// Unmaps all of it. From now on accesses of code that was made for it fault, and take the slow path.
void SoftMmu::close_window(TableSet& set) {
  if (!set.open) return;
  log_.write(LogItem::mmu,
             "cpu {}: window of space {:#x} closed: {} mappings, {} changes and {} slow accesses not judged", cpu_,
             set.key, set.open->pieces.load(), set.open->changes.load(), set.open->faults);
  std::erase_if(leaving_, [&](const Leaving& page) { return page.set == &set; });
  std::lock_guard lock(mutex_);
  if (set.open->pieces) sys::place_nothing(set.window(), kWindowBytes);
  window_pieces_ -= set.open->pieces;
  set.open.reset();
  statistics_.windows_closed++;
}

// Pages of [begin, end) that have entries and are not there as these say, in runs.
void SoftMmu::map_range(TableSet& set, u64 begin, u64 end) {
  const TableSet::Window& window = *set.open;
  const auto host_of = [&](u64 page) { return set.read()[page] + (page << memory::kPageBits); };
  const auto writable = [&](u64 page) { return set.write()[page] != 0; };
  const auto wanted = [&](u64 page) {
    return set.read()[page] && !window.local.test(page) &&
           (!window.mapped.test(page) || (writable(page) && !window.writable.test(page)));
  };
  for (u64 page = begin; page < end; page++) {
    if (!wanted(page)) continue;
    const u64 host = host_of(page);
    u64 next = page + 1;
    while (next < end && wanted(next) && host_of(next) == host + ((next - page) << memory::kPageBits) &&
           writable(next) == writable(page)) {
      next++;
    }
    u64 offset;
    memory::RamBlock* ram = ram_at(reinterpret_cast<const u8*>(host), offset);
    if (ram && !place(set, page, next - page, *ram, offset, writable(page))) return;
    page = next - 1;
  }
}

memory::RamBlock* SoftMmu::ram_at(const u8* host, u64& offset) {
  for (const Ram& ram : ram_) {
    if (host < ram.block->data() || host >= ram.block->data() + ram.block->size()) continue;
    offset = static_cast<u64>(host - ram.block->data());
    return ram.block;
  }
  return nullptr;
}

bool SoftMmu::place(TableSet& set, u64 page, usize count, memory::RamBlock& ram, u64 offset, bool writable) {
  TableSet::Window& window = *set.open;
  window.full = window.full || window_pieces_ >= window_budget_;
  if (window.full) return false;
  count_change(set);
  statistics_.window_maps++;
  u8* at = set.window() + (page << memory::kPageBits);
  if (!sys::place_shared(at, count << memory::kPageBits, ram.fd(), offset, writable)) {
    window.full = true;
    sys::place_nothing(at, count << memory::kPageBits);
    return false;
  }
  for (u64 p = page; p < page + count; p++) {
    window.mapped.set(p);
    window.writable.set(p, writable);
  }
  state_.window_maps++;
  return true;
}

void SoftMmu::count_change(TableSet& set) {
  set.open->changes++;
  set.open->pieces++;
  window_pieces_++;
}

// The page is there for an access, or never comes in: a device's, or one that is not global.
bool SoftMmu::window_has(const TableSet& set, u64 page, ir::Access access) {
  std::lock_guard lock(mutex_);
  const TableSet::Window& window = *set.open;
  return !set.read()[page] || window.local.test(page) ||
         (access == ir::Access::write ? window.writable : window.mapped).test(page);
}

void SoftMmu::map_page(TableSet& set, u64 page, memory::RamBlock& ram, u64 offset, bool writable) {
  if (set.open->local.test(page)) return;
  if (set.open->mapped.test(page) && (!writable || set.open->writable.test(page))) return;
  place(set, page, 1, ram, offset, writable);
}

// A fault on the host is dearer than a look into the guest's tables: the pages around one that was just entered come
// along where they are there.
void SoftMmu::enter_around(u64 address, bool user) {
  TableSet* entered = current_set(user);
  if (++entered->open->faults == kMostFaults + 1 && !eager()) ask_for_look();
  // A kernel's RAM comes by sections.
  const bool section = !entered->user && entered->large.test(address >> 21);
  const u64 size = section ? kSection : kAround, first = align_down(address, size);
  entering_around_ = true;
  for (u64 at = first; at < first + size; at += memory::kPageSize) {
    TableSet* set = current_set(user);
    if (!set || !set->open || set->read()[at >> memory::kPageBits]) continue;
    Target target;
    ir::Fault ignored;
    if (!guest_.walk(at, ir::Access::read, user, target.mapping, ignored)) continue;
    target.physical = align_down(target.mapping.physical, memory::kPageSize);
    target.range = memory_.find(target.physical);
    if (!target.range || !target.range->ram || !target.range->reads_ram()) continue;
    target.host = target.range->host(target.physical);
    const bool write = target.mapping.writable && target.range->writes_ram();
    enter(target, at, write ? ir::Access::write : ir::Access::read, user);
  }
  entering_around_ = false;
  TableSet* set = current_set(user);
  if (!set || !set->open) return;
  std::lock_guard lock(mutex_);
  map_range(*set, first >> memory::kPageBits, (first + size) >> memory::kPageBits);
}

void SoftMmu::ask_for_look() { state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed); }

void SoftMmu::finish_windows() {
  if (leaving_.empty()) return;
  constexpr u32 kGap = 16;  // pages between two runs that are undone together
  std::lock_guard lock(mutex_);
  std::sort(leaving_.begin(), leaving_.end(),
            [](const Leaving& a, const Leaving& b) { return std::tie(a.set, a.page) < std::tie(b.set, b.page); });
  const auto gap_is_empty = [](const TableSet& set, u32 from, u32 to) {
    while (from < to && !set.open->mapped.test(from)) from++;
    return from >= to;
  };
  for (usize i = 0; i < leaving_.size();) {
    TableSet& set = *leaving_[i].set;
    const u32 first = leaving_[i].page;
    u32 last = first;
    for (i++; i < leaving_.size() && leaving_[i].set == &set && leaving_[i].page - last <= kGap &&
              gap_is_empty(set, last + 1, leaving_[i].page);
         i++) {
      last = leaving_[i].page;
    }
    unmap(set, first, last - first + 1);
  }
  leaving_.clear();
}

void SoftMmu::unmap(TableSet& set, u64 page, usize count) {
  TableSet::Window& window = *set.open;
  count_change(set);
  statistics_.window_unmaps++;
  if (sys::place_nothing(set.window() + (page << memory::kPageBits), count << memory::kPageBits)) {
    for (u64 p = page; p < page + count; p++) window.mapped.reset(p);
    return;
  }
  // The host has no room for one mapping more; for fewer it has.
  window.full = true;
  sys::place_nothing(set.window(), kWindowBytes);
  window.mapped.reset();
}

void SoftMmu::forbid_writes(TableSet& set, u64 page) {
  TableSet::Window& window = *set.open;
  if (!window.mapped.test(page) || !window.writable.test(page)) return;
  count_change(set);
  window.writable.reset(page);
  if (!sys::write_protect(set.window() + (page << memory::kPageBits), memory::kPageSize)) unmap(set, page, 1);
}

}  // namespace rhea::accel
