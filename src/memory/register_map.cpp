// SPDX-License-Identifier: MIT
#include "memory/register_map.h"

#include <algorithm>

namespace rhea::memory {

RegisterFile::RegisterFile(std::span<const Register> table, void* owner, std::string name, Log& log)
    : table_(table), owner_(owner), name_(std::move(name)), log_(log), values_(table.size()) {
  u32 last = 0;
  for (const Register& row : table) last = std::max(last, row.offset);
  index_.assign(last / 4 + 1, -1);
  for (usize i = 0; i < table.size(); ++i) index_[table[i].offset / 4] = static_cast<s16>(i);
  reset();
}

void RegisterFile::reset() {
  for (usize i = 0; i < table_.size(); ++i) values_[i] = table_[i].reset;
}

int RegisterFile::index_of(u64 offset) const { return offset / 4 < index_.size() ? index_[offset / 4] : -1; }

u32& RegisterFile::operator[](u32 offset) { return values_.at(static_cast<usize>(index_of(offset))); }
u32 RegisterFile::operator[](u32 offset) const { return values_.at(static_cast<usize>(index_of(offset))); }

u32 RegisterFile::read(u64 offset, unsigned size) {
  const int at = index_of(offset);
  const unsigned shift = 8 * (offset & 3);
  const u32 mask = size >= 4 ? ~0u : (1u << 8 * size) - 1;
  if (at < 0 || (offset & 3) + size > 4) {
    log_.guest_error("{}: read of {} bytes at 0x{:x}: no such register", name_, size, offset);
    return 0;
  }
  const Register& row = table_[at];
  const u32 value = row.read ? row.read(owner_) : values_[at];
  const u32 result = value >> shift & mask;
  log_.write(LogItem::trace, "{}: {} -> 0x{:x}", name_, row.name, result);
  return result;
}

void RegisterFile::write(u64 offset, u32 value, unsigned size) {
  const int at = index_of(offset);
  if (at < 0 || (offset & 3) + size > 4) {
    log_.guest_error("{}: write of 0x{:x}, {} bytes, at 0x{:x}: no such register", name_, value, size, offset);
    return;
  }
  const Register& row = table_[at];
  const unsigned shift = 8 * (offset & 3);
  const u32 lanes = (size >= 4 ? ~0u : (1u << 8 * size) - 1) << shift;
  const u32 written = value << shift & lanes;
  log_.write(LogItem::trace, "{}: {} <- 0x{:x}", name_, row.name, value);
  if (!row.writable && !row.write && !row.clear_on_one) {
    log_.guest_error("{}: write of 0x{:x} to {}, which is read-only", name_, value, row.name);
    return;
  }
  const u32 mask = row.writable & lanes;
  values_[at] = (values_[at] & ~mask) | (written & mask);
  values_[at] &= ~(written & row.clear_on_one);
  if (row.write) row.write(owner_, (values_[at] & row.writable & ~lanes) | written);
}

void RegisterFile::fields(Visitor& visitor) {
  for (usize i = 0; i < table_.size(); ++i) visitor.field(table_[i].name, values_[i]);
}

}  // namespace rhea::memory
