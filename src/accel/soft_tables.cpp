// SPDX-License-Identifier: MIT
// The soft MMU's tables: sets and their reuse, entries, maintenance, records of write entries.
#include <cstring>

#include "accel/debugger.h"
#include "accel/soft_mmu.h"
#include "accel/table_set.h"
#include "accel/virtual_cpu.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr usize kUserSets = 16;
constexpr usize kPrivilegedSets = 6;
constexpr u64 kLookFills = 64;         // a program without interrupts is looked at when it has used so many new pages
constexpr usize kDiscardChunks = 512;  // from here on giving memory back is cheaper than clearing it

// Entries are read by generated code and cleared by other threads.
template <typename T>
void put(T& entry, T value) {
  __atomic_store_n(&entry, value, __ATOMIC_RELAXED);
}

}  // namespace

SoftMmu::SoftMmu(ir::Guest& guest, memory::AddressSpace& memory, MmuOwner& owner, Log& log, unsigned cpu,
                 bool use_tables, Windows windows)
    : guest_(guest), state_(guest.state()), memory_(memory), owner_(owner), log_(log), cpu_(static_cast<u16>(cpu)),
      use_tables_(use_tables), windows_(use_tables ? windows : Windows::off) {
  empty_ = map_set();
  learn_ram();
  records_.push_back({});  // 0 ends a list
}

SoftMmu::~SoftMmu() = default;

// Room for a set's tables, zeroed, and for its window.
sys::MemoryMap SoftMmu::map_set() const {
  if (windows_ != Windows::off) {
    Result<sys::MemoryMap> map = sys::reserve(kWindow + kWindowBytes + kWindowGuard);
    if (map.ok() && sys::place_anonymous(map->data(), kTableSetBytes)) return map.take();
  }
  Result<sys::MemoryMap> map = sys::map_anonymous(kTableSetBytes);
  return map.ok() ? map.take() : sys::MemoryMap();
}

void SoftMmu::learn_ram() {
  ram_.clear();
  u32 most = 0;
  for (const memory::Range& range : memory_.ranges()) {
    if (!range.ram) continue;
    ram_.push_back({range.ram, range.base, range.ram_offset, range.size});
    most = std::max(most, page_id(*range.ram, range.ram->size()));
  }
  std::lock_guard lock(mutex_);
  record_heads_.grow(most + 1);
}

SoftMmu::TableSet* SoftMmu::find_set(bool user, u64 key) {
  for (const auto& set : sets_) {
    if (set->user == user && set->key == key) return set.get();
  }
  return nullptr;
}

// A new set, or the least recently used one, emptied.
SoftMmu::TableSet* SoftMmu::make_set(bool user, u64 key) {
  TableSet* oldest = nullptr;
  usize count = 0;
  for (const auto& set : sets_) {
    if (set->user != user) continue;
    count++;
    if (!oldest || set->last_use < oldest->last_use) oldest = set.get();
  }
  if (count < (user ? kUserSets : kPrivilegedSets)) {
    sys::MemoryMap map = map_set();
    if (map) {
      std::lock_guard lock(mutex_);
      auto set = std::make_unique<TableSet>();
      set->map = std::move(map);
      set->user = user;
      set->index = static_cast<u32>(sets_.size());
      sets_.push_back(std::move(set));
      oldest = sets_.back().get();
    }
  } else {
    clear_set(*oldest);
  }
  if (!oldest) return nullptr;
  oldest->key = key;
  oldest->space = static_cast<u32>(guest_.space());
  return oldest;
}

// The set that an entry for the current space goes to; made when there is none.
SoftMmu::TableSet* SoftMmu::set_for(bool user) {
  TableSet*& current = user ? user_set_ : privileged_set_;
  if (!current) {
    const u64 space = guest_.space();
    current = make_set(user, user ? space : space >> 32);
    update_space();
  }
  return current;
}

void SoftMmu::update_space() {
  const u64 space = space_ = guest_.space();
  user_set_ = find_set(true, space);
  privileged_set_ = find_set(false, space >> 32);
  if (privileged_set_ && privileged_set_->space != static_cast<u32>(space)) {
    drop_local_entries(*privileged_set_);
    privileged_set_->space = static_cast<u32>(space);
  }
  clock_++;
  if (user_set_) user_set_->last_use = clock_;
  if (privileged_set_) privileged_set_->last_use = clock_;
  update_space_tables();
}

void SoftMmu::update_space_tables() {
  u64* empty = reinterpret_cast<u64*>(empty_.data());
  state_.user_read_table = user_set_ ? user_set_->base() : empty;
  privileged_ = guest_.privileged();
  TableSet* now = current_set(!privileged_);
  state_.read_table = now ? now->base() : empty;
  state_.exec_table = reinterpret_cast<u64>(state_.read_table) + kExecTable;
}

void SoftMmu::clear_set(TableSet& set) {
  // Another process has to earn its window. The kernel stays the same, and pays for what was mapped.
  if (set.user) set.heat = 0;
  else if (set.open) set.heat -= price_of(set.open->pieces);
  close_window(set);
  if (set.touched.count() > kDiscardChunks) {
    sys::discard(set.map.data(), kTableSetBytes);
  } else {
    for (usize chunk = set.touched._Find_first(); chunk < TableSet::kChunks; chunk = set.touched._Find_next(chunk)) {
      std::memset(set.map.data() + chunk * 4096, 0, 4096);
    }
  }
  set.touched.reset();
  set.large.reset();
  set.huge = false;
  set.local_pages.clear();
}

void SoftMmu::clear_page(TableSet& set, u64 page) {
  // Reading untouched memory is harmless; writing it would commit it.
  if (set.read()[page]) put(set.read()[page], u64{0});
  if (set.write()[page]) put(set.write()[page], u64{0});
  if (set.exec()[page]) put(set.exec()[page], u32{0});
  if (!set.open) return;
  set.open->local.reset(page);
  if (set.open->mapped.test(page)) leaving_.push_back({&set, static_cast<u32>(page)});
}

void SoftMmu::clear_address(TableSet& set, u64 address) {
  const u64 page = address >> memory::kPageBits;
  if (set.huge) return clear_set(set);
  if (!set.large.test(page / 512)) return clear_page(set, page);
  for (u64 p = page / 512 * 512, end = p + 512; p < end; p++) clear_page(set, p);
  set.large.reset(page / 512);
}

void SoftMmu::drop_local_entries(TableSet& set) {
  for (u32 page : set.local_pages) clear_page(set, page);
  set.local_pages.clear();
}

void SoftMmu::flush_all() {
  statistics_.flushes++;
  log_.write(LogItem::mmu, "cpu {}: all mappings dropped", cpu_);
  for (const auto& set : sets_) clear_set(*set);
  drop_device_pages();
  learn_ram();
  update_space();
  owner_.exec_mappings_dropped();
}

void SoftMmu::flush_space(u64 space) {
  statistics_.flushes++;
  log_.write(LogItem::mmu, "cpu {}: mappings of space {:#x} dropped", cpu_, static_cast<u32>(space));
  for (const auto& set : sets_) {
    if (set->user && static_cast<u32>(set->key) == static_cast<u32>(space)) clear_set(*set);
    if (!set->user && set->space == static_cast<u32>(space)) drop_local_entries(*set);
  }
  drop_device_pages();
  owner_.exec_mappings_dropped();
}

void SoftMmu::flush_page(u64 space, u64 address, bool all_spaces) {
  statistics_.page_flushes++;
  address &= 0xffffffff;
  log_.write(LogItem::mmu, "cpu {}: mappings of page {:#x} dropped", cpu_, align_down(address, memory::kPageSize));
  for (const auto& set : sets_) {
    if (!set->huge && !set->touches(address >> memory::kPageBits)) continue;
    // Global mappings of the page are meant too; a user's set may hold them for any space.
    const bool concerned = !set->user || all_spaces || static_cast<u32>(set->key) == static_cast<u32>(space) ||
                           set->huge || set->large.test(address >> 21) || set->read()[address >> memory::kPageBits] ||
                           set->exec()[address >> memory::kPageBits];
    if (concerned) clear_address(*set, address);
  }
  drop_device_pages(address);
  owner_.exec_mappings_dropped();
}

// ---- entries -------------------------------------------------------------------------------------------------------
void SoftMmu::enter(const Target& target, u64 address, ir::Access access, bool user) {
  if (!target.host || !target.range->ram || target.mapping.device) return;
  const u64 physical_page = align_down(target.physical, memory::kPageSize);
  if (physical_page < target.range->base || target.range->end() - physical_page < memory::kPageSize) return;
  if (!use_tables_ && access != ir::Access::execute) return;
  if (access != ir::Access::execute && debugger_ && debugger_->watches() && debugger_->watches_page(address)) return;
  TableSet* set = set_for(user);
  if (!set) return;
  if (!leaving_.empty()) finish_windows();
  const u64 page = address >> memory::kPageBits;
  memory::RamBlock& ram = *target.range->ram;
  const u64 offset = target.range->ram_offset + (physical_page - target.range->base);
  const u64 entry = reinterpret_cast<u64>(ram.data() + offset) - (page << memory::kPageBits);
  statistics_.fills++;
  if (windows_ == Windows::earned && statistics_.fills.get() % kLookFills == 0) ask_for_look();
  if (!set->user && !target.mapping.global) {
    set->local_pages.push_back(static_cast<u32>(page));
    if (set->open) set->open->local.set(page);
  }
  if (target.mapping.size_bits > 21) set->huge = true;
  if (target.mapping.size_bits > memory::kPageBits) set->large.set(page / 512);
  if (access == ir::Access::execute) {
    set->touch_exec(page);
    put(set->exec()[page], set->code_key(page_id(ram, offset)));
    return;
  }
  set->touch_read(page);
  if (set->read()[page] && set->read()[page] != entry) {
    clear_page(*set, page);
    finish_windows();
  }
  put(set->read()[page], entry);
  if (access == ir::Access::write && !target.range->read_only) {
    enter_write(*set, page, entry, ram, offset);
  } else if (set->open && !entering_around_) {
    std::lock_guard lock(mutex_);
    map_page(*set, page, ram, offset, false);
  }
}

void SoftMmu::enter_write(TableSet& set, u64 page, u64 entry, memory::RamBlock& ram, u64 offset) {
  std::lock_guard lock(mutex_);
  std::atomic<u8>& flags = ram.page_flags(offset);
  const bool has_code = flags.load(std::memory_order_seq_cst) & memory::kPageHasCode;
  if (set.open && !entering_around_) map_page(set, page, ram, offset, !has_code);
  if (has_code) return;
  set.touch_write(page);
  put(set.write()[page], entry);
  const u32 id = page_id(ram, offset);
  record_heads_.grow(id + 1);
  // Known already? Stale records of the page are dropped on the way.
  const u64 host = reinterpret_cast<u64>(ram.data() + offset);
  for (u32* link = &record_heads_[id]; *link;) {
    WriteRecord& record = records_[*link];
    if (record.set == set.index && record.page == page) return;
    const TableSet& other = *sets_[record.set];
    if (other.write()[record.page] + (u64{record.page} << memory::kPageBits) == host) {
      link = &record.next;
      continue;
    }
    const u32 unused = *link;
    *link = record.next;
    record.next = free_record_;
    free_record_ = unused;
  }
  u32 fresh = free_record_;
  if (fresh) free_record_ = records_[fresh].next;
  else {
    fresh = static_cast<u32>(records_.size());
    records_.push_back({});
  }
  records_[fresh] = {record_heads_[id], static_cast<u32>(page), set.index};
  record_heads_[id] = fresh;
}

void SoftMmu::drop_write_entries(u32 id, const u8* host_page) {
  std::lock_guard lock(mutex_);
  if (id >= record_heads_.size()) return;
  while (u32 at = record_heads_[id]) {
    WriteRecord& record = records_[at];
    TableSet& set = *sets_[record.set];
    u64& entry = set.write()[record.page];
    const u64 host = __atomic_load_n(&entry, __ATOMIC_RELAXED) + (u64{record.page} << memory::kPageBits);
    if (host == reinterpret_cast<u64>(host_page)) {
      put(entry, u64{0});
      if (set.open) forbid_writes(set, record.page);
    }
    record_heads_[id] = record.next;
    record.next = free_record_;
    free_record_ = at;
  }
}

void SoftMmu::page_becomes_code(memory::RamBlock& ram, u64 offset, std::span<SoftMmu* const> mmus) {
  offset = align_down(offset, memory::kPageSize);
  if (ram.page_flags(offset).fetch_or(memory::kPageHasCode, std::memory_order_seq_cst) & memory::kPageHasCode) return;
  for (SoftMmu* mmu : mmus) mmu->drop_write_entries(page_id(ram, offset), ram.data() + offset);
}

// ---- entry points for generated code -------------------------------------------------------------------------------
namespace {
SoftMmu& mmu_of(ir::StateHeader* state) { return VirtualCpu::of(*state).mmu(); }
unsigned bytes_of(u64 descriptor) { return descriptor & 0xff; }
u8 flags_of(u64 descriptor) { return static_cast<u8>(descriptor >> 8); }
}  // namespace

extern "C" {

u64 rhea_soft_load(ir::StateHeader* state, u64 address, u64 descriptor) {
  ir::Value value;
  mmu_of(state).load(address, bytes_of(descriptor), flags_of(descriptor), value);
  return value.lo;
}
ir::Value rhea_soft_load128(ir::StateHeader* state, u64 address, u64 descriptor) {
  ir::Value value;
  mmu_of(state).load(address, bytes_of(descriptor), flags_of(descriptor), value);
  return value;
}
void rhea_soft_store(ir::StateHeader* state, u64 address, u64 descriptor, u64 value) {
  mmu_of(state).store(address, bytes_of(descriptor), flags_of(descriptor), {value});
}
void rhea_soft_store128(ir::StateHeader* state, u64 address, u64 descriptor, u64 low, u64 high) {
  mmu_of(state).store(address, bytes_of(descriptor), flags_of(descriptor), {low, high});
}
u64 rhea_group_read(ir::StateHeader* state, u64 address, u64 descriptor) {
  return mmu_of(state).group_read(address, bytes_of(descriptor), flags_of(descriptor));
}
u64 rhea_group_write(ir::StateHeader* state, u64 address, u64 descriptor) {
  return mmu_of(state).group_write(address, bytes_of(descriptor), flags_of(descriptor));
}
void rhea_group_commit(ir::StateHeader* state, u64 pointer) { mmu_of(state).group_commit(pointer); }
u64 rhea_load_exclusive(ir::StateHeader* state, u64 address, u64 descriptor) {
  u64 value = 0;
  mmu_of(state).load_exclusive(address, bytes_of(descriptor), flags_of(descriptor), value);
  return value;
}
u64 rhea_store_exclusive(ir::StateHeader* state, u64 address, u64 descriptor, u64 value) {
  u32 failed = 1;
  mmu_of(state).store_exclusive(address, bytes_of(descriptor), flags_of(descriptor), value, failed);
  return failed;
}

}  // extern "C"

}  // namespace rhea::accel
