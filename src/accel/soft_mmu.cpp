// SPDX-License-Identifier: MIT
// The soft MMU's slow path: translation of one access, entries made of it, accesses to RAM and devices.
//
// An access is translated whole before anything of it is done: where it crosses a page both pages are, so that a
// fault leaves no half of a store behind. The tables themselves (sets, maintenance, records of write entries) are in
// soft_tables.cpp.
#include "accel/soft_mmu.h"

#include <algorithm>

#include "accel/debugger.h"
#include "accel/table_set.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr u64 kAddressMask = 0xffffffff;

u64 swapped(u64 value, unsigned size) {
  switch (size) {
    case 2: return byte_swap(static_cast<u16>(value));
    case 4: return byte_swap(static_cast<u32>(value));
    case 8: return byte_swap(value);
    default: return value;
  }
}

u64 load_host(const u8* host, unsigned size) {
  switch (size) {
    case 1: return *host;
    case 2: return load_raw<u16>(host);
    case 4: return load_raw<u32>(host);
    default: return load_raw<u64>(host);
  }
}

void store_host(u8* host, unsigned size, u64 value) {
  switch (size) {
    case 1: *host = static_cast<u8>(value); break;
    case 2: store_raw(host, static_cast<u16>(value)); break;
    case 4: store_raw(host, static_cast<u32>(value)); break;
    default: store_raw(host, value); break;
  }
}

}  // namespace

bool SoftMmu::fault(const ir::Fault& fault) {
  guest_.restore_location(state_.location);
  guest_.raise_fault(fault);
  state_.exception = 1;
  return false;
}

bool SoftMmu::external(u64 address, ir::Access access) {
  return fault({.address = address, .access = access, .external = true});
}

// Whether an access that would succeed is one that a debugger waits for: then the block is left before it.
bool SoftMmu::stops_at(u64 address, u64 size, bool write) {
  if (!debugger_ || !debugger_->watches() || !owner_.watch_reached(address, size, write)) return false;
  guest_.restore_location(state_.location);
  state_.exception = 1;
  state_.ahead++;  // it does not count as done
  return true;
}

bool SoftMmu::misaligned(u64 address, unsigned size, u8 flags) const {
  if (!(address & (size - 1))) return false;
  if (flags & ir::kAligned) return true;
  return size <= 4 && !guest_.allows_unaligned();
}

bool SoftMmu::translate(u64 address, ir::Access access, bool user, Target& target) {
  if (const DevicePage* page = find_device(address, 1, access, user)) {
    target = page->target;
    target.physical = page->physical(address);
    return true;
  }
  ir::Fault reason{.address = address, .access = access};
  target.mapping = {};
  if (!guest_.walk(address, access, user, target.mapping, reason)) return fault(reason);
  target.physical = align_down(target.mapping.physical, memory::kPageSize) | (address & (memory::kPageSize - 1));
  target.range = memory_.find(target.physical);
  target.attributes = {
      .secure = target.mapping.secure, .privileged = !user, .debug = false, .cpu = cpu_, .gate = owner_.gate()};
  if (!target.range) {
    log_.write(LogItem::guest_errors, "cpu {}: nothing at physical address {:#x} (virtual {:#x})", cpu_,
               target.physical, address);
    return external(address, access);
  }
  const bool plain = access == ir::Access::write ? target.range->writes_ram() : target.range->reads_ram();
  target.host = plain ? target.range->host(target.physical) : nullptr;
  keep_device(target, address, access, user);
  return true;
}

// ---- pages of devices ---------------------------------------------------------------------------------------------
namespace {

constexpr u64 kSpaceLow = 0xffffffff;

u64 device_key(u64 address, ir::Access access, bool user) {
  return address >> memory::kPageBits << 3 | static_cast<u64>(access) << 1 | (user ? 1 : 0);
}

}  // namespace

SoftMmu::DevicePage& SoftMmu::device_slot(u64 address) {
  return device_pages_[(address >> memory::kPageBits) % device_pages_.size()];
}

const SoftMmu::DevicePage* SoftMmu::find_device(u64 address, unsigned size, ir::Access access, bool user) {
  const DevicePage& page = device_slot(address);
  const bool known = page.key == device_key(address, access, user) && !((page.space ^ space_) & page.space_mask);
  return known && page.holds(page.physical(address), size) ? &page : nullptr;
}

// The page of an access for which there is nothing to be done but to make it: aligned, to one device, not watched.
const SoftMmu::DevicePage* SoftMmu::plain_device(u64 address, unsigned size, ir::Access access, u8 flags) {
  if (size > 8 || address & (size - 1) || (flags & ir::kBigEndian) || (debugger_ && debugger_->watches()))
    return nullptr;
  return find_device(address, size, access, is_user(flags));
}

// Of ranges that are a device and nothing else.
void SoftMmu::keep_device(const Target& target, u64 address, ir::Access access, bool user) {
  if (!use_tables_ || target.range->ram) return;
  DevicePage& page = device_slot(address);
  page.key = device_key(address, access, user);
  page.space = space_;
  page.space_mask = target.mapping.global && !user ? ~kSpaceLow : ~u64{0};
  page.target = target;
  page.target.physical = align_down(target.physical, memory::kPageSize);
  const u64 size = page.mapped_bytes(), begin = align_down(address, size);
  devices_begin_ = std::min(devices_begin_, begin);
  devices_end_ = std::max(devices_end_, begin + size);
}

void SoftMmu::drop_device_pages() {
  for (DevicePage& page : device_pages_) page.key = ~u64{0};
  devices_begin_ = ~u64{0};
  devices_end_ = 0;
}

// Those that the translation entry of an address maps.
void SoftMmu::drop_device_pages(u64 address) {
  if (address < devices_begin_ || address >= devices_end_) return;
  for (DevicePage& page : device_pages_) {
    const u64 at = page.key >> 3 << memory::kPageBits;
    if ((at ^ address) < page.mapped_bytes()) page.key = ~u64{0};
  }
}

// Both pages of an access; parts[1] counts only where it crosses.
bool SoftMmu::translate_range(u64 address, unsigned bytes, ir::Access access, u8 flags, std::array<Target, 2>& parts) {
  const bool user = is_user(flags);
  const u64 last = address + bytes - 1;
  if (!translate(address, access, user, parts[0])) return false;
  if ((address ^ last) >> memory::kPageBits) {
    const u64 next = align_down(last, memory::kPageSize) & kAddressMask;
    if (!translate(next, access, user, parts[1])) return false;
    enter(parts[1], next, access, user);
  }
  entering_around_ = true;  // mapped below, with its neighbours
  enter(parts[0], address, access, user);
  entering_around_ = false;
  const TableSet* set = current_set(user);
  // A group that crosses into the next page comes here, too, and has all it can get.
  if (set && set->open && !window_has(*set, address >> memory::kPageBits, access)) enter_around(address, user);
  return true;
}

// One access to the device of a target's range, at a physical address in it; one that does not fit goes to the space,
// which refuses it.
memory::ReadResult SoftMmu::read_device(const Target& target, u64 physical, unsigned size) {
  statistics_.device_accesses++;
  const bool whole = target.range->end() - physical >= size;
  const memory::ReadResult result = whole ? memory::read_device(*target.range, physical, size, target.attributes)
                                          : memory_.read(physical, size, target.attributes);
  owner_.device_accessed();
  return result;
}

bool SoftMmu::write_device(const Target& target, u64 physical, unsigned size, u64 value) {
  statistics_.device_accesses++;
  const bool whole = target.range->end() - physical >= size;
  const bool done = whole ? memory::write_device(*target.range, physical, value, size, target.attributes)
                          : memory_.write(physical, value, size, target.attributes);
  owner_.device_accessed();
  return done;
}

bool SoftMmu::read_part(const Target& target, u64 address, unsigned size, u64& value) {
  if (target.host) {
    value = load_host(target.host, size);
    return true;
  }
  const memory::ReadResult result = read_device(target, target.physical, size);
  value = result.value;
  return result.ok || external(address, ir::Access::read);
}

void SoftMmu::announce(const Target& target, unsigned size) {
  memory::RamBlock& ram = *target.range->ram;
  const u64 offset = target.range->ram_offset + (target.physical - target.range->base);
  if (!(ram.page_flags(offset).load(std::memory_order_relaxed) & memory::kPageHasCode)) return;
  statistics_.code_stores++;
  if (tracker_) tracker_->code_written(ram, offset, size);
}

// To RAM or a device; false: nothing took it.
bool SoftMmu::put_part(const Target& target, unsigned size, u64 value) {
  if (target.host) {
    if (target.range->read_only) return true;
    store_host(target.host, size, value);
    announce(target, size);
    return true;
  }
  return write_device(target, target.physical, size, value);
}

bool SoftMmu::write_part(const Target& target, u64 address, unsigned size, u64 value) {
  return put_part(target, size, value) || external(address, ir::Access::write);
}

// Bytes in memory order. RAM is copied; a device sees words where they are aligned, else bytes.
bool SoftMmu::read_bytes(const std::array<Target, 2>& parts, u64 address, unsigned bytes, u8* data) {
  for (unsigned done = 0; done < bytes;) {
    const u64 at = address + done;
    const bool second = (address ^ at) >> memory::kPageBits;
    Target target = parts[second];
    const u64 skip = second ? at & (memory::kPageSize - 1) : done;
    target.physical += skip;
    const unsigned left =
        static_cast<unsigned>(std::min<u64>(bytes - done, memory::kPageSize - (at & (memory::kPageSize - 1))));
    if (target.host) {
      std::memcpy(data + done, target.host + skip, left);
      done += left;
      continue;
    }
    const unsigned size = !(at & 3) && left >= 4 ? 4 : 1;
    u64 value = 0;
    if (!read_part(target, at, size, value)) return false;
    std::memcpy(data + done, &value, size);
    done += size;
  }
  return true;
}

bool SoftMmu::write_bytes(const std::array<Target, 2>& parts, u64 address, unsigned bytes, const u8* data,
                          bool may_fault) {
  for (unsigned done = 0; done < bytes;) {
    const u64 at = address + done;
    const bool second = (address ^ at) >> memory::kPageBits;
    Target target = parts[second];
    const u64 skip = second ? at & (memory::kPageSize - 1) : done;
    target.physical += skip;
    const unsigned left =
        static_cast<unsigned>(std::min<u64>(bytes - done, memory::kPageSize - (at & (memory::kPageSize - 1))));
    if (target.host) {
      if (!target.range->read_only) {
        std::memcpy(target.host + skip, data + done, left);
        announce(target, left);
      }
      done += left;
      continue;
    }
    const unsigned size = !(at & 3) && left >= 4 ? 4 : 1;
    u64 value = 0;
    std::memcpy(&value, data + done, size);
    if (!put_part(target, size, value) && may_fault) return external(at, ir::Access::write);
    done += size;
  }
  return true;
}

bool SoftMmu::load(u64 address, unsigned size, u8 flags, ir::Value& value) {
  address &= kAddressMask;
  statistics_.slow_loads++;
  value = {};
  if (const DevicePage* page = plain_device(address, size, ir::Access::read, flags)) {
    const memory::ReadResult result = read_device(page->target, page->physical(address), size);
    value.lo = result.value;
    return result.ok || external(address, ir::Access::read);
  }
  if (misaligned(address, size, flags))
    return fault({.address = address, .access = ir::Access::read, .alignment = true});
  std::array<Target, 2> parts;
  if (!translate_range(address, size, ir::Access::read, flags, parts)) return false;
  if (stops_at(address, size, false)) return false;
  const bool within_word = !(address & (std::min(size, 4u) - 1));
  if (parts[0].mapping.device && !within_word)
    return fault({.address = address, .access = ir::Access::read, .alignment = true});
  const bool one_piece = size <= 8 && ((address & (memory::kPageSize - 1)) + size <= memory::kPageSize) && within_word;
  if (one_piece) {
    if (!read_part(parts[0], address, size, value.lo)) return false;
  } else if (!read_bytes(parts, address, size, reinterpret_cast<u8*>(&value))) {
    return false;
  }
  if (flags & ir::kBigEndian) {
    value.lo = swapped(value.lo, std::min(size, 8u));
    value.hi = swapped(value.hi, 8);
  }
  return true;
}

bool SoftMmu::store(u64 address, unsigned size, u8 flags, ir::Value value) {
  address &= kAddressMask;
  statistics_.slow_stores++;
  if (const DevicePage* page = plain_device(address, size, ir::Access::write, flags)) {
    return write_device(page->target, page->physical(address), size, value.lo) || external(address, ir::Access::write);
  }
  if (misaligned(address, size, flags))
    return fault({.address = address, .access = ir::Access::write, .alignment = true});
  std::array<Target, 2> parts;
  if (!translate_range(address, size, ir::Access::write, flags, parts)) return false;
  if (stops_at(address, size, true)) return false;
  const bool within_word = !(address & (std::min(size, 4u) - 1));
  if (parts[0].mapping.device && !within_word)
    return fault({.address = address, .access = ir::Access::write, .alignment = true});
  if (flags & ir::kBigEndian) {
    value.lo = swapped(value.lo, std::min(size, 8u));
    value.hi = swapped(value.hi, 8);
  }
  if (size <= 8 && ((address & (memory::kPageSize - 1)) + size <= memory::kPageSize) && within_word) {
    return write_part(parts[0], address, size, value.lo);
  }
  return write_bytes(parts, address, size, reinterpret_cast<const u8*>(&value), true);
}

// ---- groups --------------------------------------------------------------------------------------------------------
u64 SoftMmu::group_read(u64 address, unsigned bytes, u8 flags) {
  address &= kAddressMask;
  bytes = std::min(bytes, ir::kMaxGroup);
  statistics_.slow_loads++;
  const bool unaligned = address & 3;
  const ir::Fault alignment{.address = address, .access = ir::Access::read, .alignment = true};
  if (unaligned && ((flags & ir::kAligned) || !guest_.allows_unaligned())) return fault(alignment), 0;
  std::array<Target, 2> parts;
  if (!translate_range(address, bytes, ir::Access::read, flags, parts)) return 0;
  if (stops_at(address, bytes, false)) return 0;
  if (unaligned && parts[0].mapping.device) return fault(alignment), 0;
  const bool crosses = (address & (memory::kPageSize - 1)) + bytes > memory::kPageSize;
  if (parts[0].host && !crosses) return reinterpret_cast<u64>(parts[0].host);
  if (!read_bytes(parts, address, bytes, read_bounce_.data())) return 0;
  return reinterpret_cast<u64>(read_bounce_.data());
}

u64 SoftMmu::group_write(u64 address, unsigned bytes, u8 flags) {
  address &= kAddressMask;
  bytes = std::min(bytes, ir::kMaxGroup);
  statistics_.slow_stores++;
  const bool unaligned = address & 3;
  const ir::Fault alignment{.address = address, .access = ir::Access::write, .alignment = true};
  if (unaligned && ((flags & ir::kAligned) || !guest_.allows_unaligned())) return fault(alignment), 0;
  if (!translate_range(address, bytes, ir::Access::write, flags, group_.parts)) return 0;
  if (stops_at(address, bytes, true)) return 0;
  const Target& first = group_.parts[0];
  if (unaligned && first.mapping.device) return fault(alignment), 0;
  const bool crosses = (address & (memory::kPageSize - 1)) + bytes > memory::kPageSize;
  if (first.host && !crosses && !first.range->read_only) {
    const u64 offset = first.range->ram_offset + (first.physical - first.range->base);
    const u8 page = first.range->ram->page_flags(offset).load(std::memory_order_relaxed);
    if (!(page & memory::kPageHasCode)) return reinterpret_cast<u64>(first.host);
  }
  group_.address = address;
  group_.bytes = bytes;
  return reinterpret_cast<u64>(write_bounce_.data());
}

// A device that refuses a write of the group is ignored here: the fault could not be precise any more.
void SoftMmu::group_commit(u64 pointer) {
  if (pointer != reinterpret_cast<u64>(write_bounce_.data()) || !group_.bytes) return;
  const unsigned bytes = group_.bytes;
  group_.bytes = 0;
  write_bytes(group_.parts, group_.address, bytes, write_bounce_.data(), false);
}

// ---- exclusives: by value, with the host's compare and exchange ----------------------------------------------------
bool SoftMmu::load_exclusive(u64 address, unsigned size, u8 flags, u64& value) {
  address &= kAddressMask;
  ir::Value loaded;
  if (!load(address, size, flags | ir::kAligned, loaded)) return false;
  value = loaded.lo;
  state_.exclusive_address = address;
  state_.exclusive_value = loaded.lo;
  state_.exclusive_size = size;
  return true;
}

namespace {

template <typename T>
bool exchange_host(u8* host, u64 expected, u64 wanted) {
  T old = static_cast<T>(expected);
  return __atomic_compare_exchange_n(reinterpret_cast<T*>(host), &old, static_cast<T>(wanted), false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

bool exchange_host(u8* host, unsigned size, u64 expected, u64 wanted) {
  switch (size) {
    case 1: return exchange_host<u8>(host, expected, wanted);
    case 2: return exchange_host<u16>(host, expected, wanted);
    case 4: return exchange_host<u32>(host, expected, wanted);
    default: return exchange_host<u64>(host, expected, wanted);
  }
}

}  // namespace

bool SoftMmu::store_exclusive(u64 address, unsigned size, u8 flags, u64 value, u32& failed) {
  address &= kAddressMask;
  const ir::Access write = ir::Access::write;
  failed = 1;
  if (address & (size - 1)) return fault({.address = address, .access = write, .alignment = true});
  const bool armed = state_.exclusive_address == address && state_.exclusive_size == size;
  std::array<Target, 2> parts;
  if (armed) {
    if (!translate_range(address, size, write, flags, parts)) return state_.exclusive_address = ~u64{0}, false;
    if (stops_at(address, size, true)) return false;  // the reservation stays: it will be done again
  }
  state_.exclusive_address = ~u64{0};
  if (!armed) return true;
  u64 expected = state_.exclusive_value;
  if (flags & ir::kBigEndian) {
    expected = swapped(expected, size);
    value = swapped(value, size);
  }
  if (!parts[0].host) {  // no monitor there: an ordinary store
    failed = 0;
    return write_part(parts[0], address, size, value);
  }
  if (parts[0].range->read_only) return true;
  failed = !exchange_host(parts[0].host, size, expected, value);
  if (!failed) announce(parts[0], size);
  return true;
}

// ---- execution -----------------------------------------------------------------------------------------------------
bool SoftMmu::code_page(u64 address, CodePage& page, ir::Fault& fault) {
  address &= kAddressMask;
  const bool user = !guest_.privileged();
  const u64 number = address >> memory::kPageBits;
  const u32 key = reinterpret_cast<const u32*>(state_.exec_table)[number];
  const u32 id = key & ~kWindowedCode;
  for (const Ram& ram : ram_) {
    if (!id) break;
    const u64 offset = u64{id - 1 - ram.block->first_page_index} << memory::kPageBits;
    if (id - 1 < ram.block->first_page_index || offset < ram.offset || offset >= ram.offset + ram.size) continue;
    page = {id, key, ram.block, offset, ram.base + (offset - ram.offset), ram.block->data() + offset};
    return true;
  }
  fault = {.address = address, .access = ir::Access::execute};
  Target target;
  if (!guest_.walk(address, ir::Access::execute, user, target.mapping, fault)) return false;
  target.physical = align_down(target.mapping.physical, memory::kPageSize);
  target.range = memory_.find(target.physical);
  if (!target.range || !target.range->ram || target.range->end() - target.physical < memory::kPageSize) {
    fault = {.address = address, .access = ir::Access::execute, .external = true};
    return false;
  }
  target.host = target.range->host(target.physical);
  const u64 offset = target.range->ram_offset + (target.physical - target.range->base);
  enter(target, address, ir::Access::execute, user);
  const TableSet* set = current_set(user);
  const u32 new_id = page_id(*target.range->ram, offset);
  page = {new_id, set ? set->code_key(new_id) : new_id, target.range->ram, offset, target.physical, target.host};
  return true;
}

void SoftMmu::raise_fetch_fault(const ir::Fault& fault) { guest_.raise_fault(fault); }

bool SoftMmu::debug_translate(u64 address, u64& physical) {
  address &= kAddressMask;
  ir::Mapping mapping;
  ir::Fault ignored;
  if (!guest_.walk(address, ir::Access::read, false, mapping, ignored)) return false;
  physical = align_down(mapping.physical, memory::kPageSize) | (address & (memory::kPageSize - 1));
  return true;
}

bool SoftMmu::debug_access(u64 address, void* data, u64 size, bool write) {
  u8* bytes = static_cast<u8*>(data);
  while (size) {
    u64 physical;
    if (!debug_translate(address, physical)) return false;
    const u64 in_page = physical & (memory::kPageSize - 1);
    const memory::Range* range = memory_.find(physical);
    if (!range || !range->ram) return false;
    const u64 run = std::min<u64>({size, memory::kPageSize - in_page, range->end() - physical});
    if (write) {
      if (!memory_.write_bytes(physical, {bytes, run})) return false;
    } else {
      std::memcpy(bytes, range->host(physical), run);
    }
    bytes += run;
    address += run;
    size -= run;
  }
  return true;
}

}  // namespace rhea::accel
