// SPDX-License-Identifier: MIT
// The short-descriptor translation table walk (DDI 0406C, B3.3 to B3.8).
//
// walk() gives one page's mapping at one privilege, or the fault with its status code as DFSR and IFSR have it:
// FS[3:0] in bits 3..0, FS[4] in bit 10, the domain in bits 7..4.
#include "guest/arm/cpu.h"

namespace rhea::arm {

namespace {

constexpr u32 kSctlrM = 1, kSctlrEe = 1u << 25, kSctlrTre = 1u << 28, kSctlrAfe = 1u << 29;

// Fault status by kind, at level 1 (sections) and level 2 (pages). B3.13.3.
struct Status {
  u32 section, page;
};
constexpr Status kTranslation{0x5, 0x7}, kAccessFlag{0x3, 0x6}, kDomain{0x9, 0xb}, kPermission{0xd, 0xf},
    kExternal{0xc, 0xe};

enum class MemoryType : u8 { strongly_ordered, device, normal };

// What a descriptor of either level says.
struct Entry {
  u64 physical = 0;  // of the address
  unsigned size_bits = 12;
  u32 domain = 0;
  u32 ap = 0;     // AP[2:0]
  u32 texcb = 0;  // TEX[2:0], C, B
  bool execute_never = false;
  bool not_global = false;
  bool nonsecure = false;
  bool page = false;  // level 2
};

struct Rights {
  bool read = false, write = false;
};

// AP[2:0] (B3.7.1). With the access flag enabled AP[0] is that flag and AP[2:1] decide.
Rights rights(u32 ap, bool access_flag_enabled, bool user) {
  if (access_flag_enabled) ap |= 1;
  switch (ap) {
    case 1: return {!user, !user};
    case 2: return {true, !user};
    case 3: return {true, true};
    case 5: return {!user, false};
    case 6:
    case 7: return {true, false};
    default: return {};
  }
}

MemoryType memory_type(u32 texcb, bool remap, const BankedRegs& regs) {
  if (remap) {  // PRRR.TRn, n from TEX[0], C, B
    const u32 type = regs.prrr >> (2 * (texcb & 7)) & 3;
    return type == 0 ? MemoryType::strongly_ordered : type == 1 ? MemoryType::device : MemoryType::normal;
  }
  switch (texcb) {
    case 0: return MemoryType::strongly_ordered;
    case 1:
    case 8: return MemoryType::device;
    default: return MemoryType::normal;
  }
}

Entry section_entry(u32 descriptor, u32 address) {
  Entry entry;
  const bool super = descriptor >> 18 & 1;
  entry.size_bits = super ? 24 : 20;
  if (super) {
    entry.physical = (descriptor & 0xff000000) | static_cast<u64>(descriptor >> 20 & 15) << 32 |
                     static_cast<u64>(descriptor >> 5 & 15) << 36 | (address & 0x00ffffff);
  } else {
    entry.physical = (descriptor & 0xfff00000) | (address & 0x000fffff);
    entry.domain = descriptor >> 5 & 15;
  }
  entry.ap = (descriptor >> 13 & 4) | (descriptor >> 10 & 3);
  entry.texcb = (descriptor >> 10 & 0x1c) | (descriptor >> 2 & 3);
  entry.execute_never = descriptor >> 4 & 1;
  entry.not_global = descriptor >> 17 & 1;
  entry.nonsecure = descriptor >> 19 & 1;
  return entry;
}

Entry page_entry(u32 first, u32 second, u32 address) {
  Entry entry;
  entry.page = true;
  entry.domain = first >> 5 & 15;
  entry.nonsecure = first >> 3 & 1;
  entry.ap = (second >> 7 & 4) | (second >> 4 & 3);
  entry.not_global = second >> 11 & 1;
  if ((second & 3) == 1) {  // large page
    entry.size_bits = 16;
    entry.physical = (second & 0xffff0000) | (address & 0xffff);
    entry.texcb = (second >> 10 & 0x1c) | (second >> 2 & 3);
    entry.execute_never = second >> 15 & 1;
  } else {
    entry.physical = (second & 0xfffff000) | (address & 0xfff);
    entry.texcb = (second >> 4 & 0x1c) | (second >> 2 & 3);
    entry.execute_never = second & 1;
  }
  return entry;
}

}  // namespace

struct Cpu::Walk {
  u32 address;
  ir::Access access;
  bool user;
  bool secure;
  const BankedRegs& regs;
};

bool Cpu::read_descriptor(const Walk& walk, u64 address, u32& value) const {
  u64 raw = 0;
  if (!hooks_ || !hooks_->read_physical(address, 4, raw)) return false;
  value = static_cast<u32>(raw);
  if (walk.regs.sctlr & kSctlrEe) value = byte_swap(value);
  return true;
}

bool Cpu::walk_with(const Walk& walk, ir::Mapping& mapping, ir::Fault& fault) const {
  const BankedRegs& regs = walk.regs;
  fault = {.address = walk.address, .access = walk.access};
  if (!(regs.sctlr & kSctlrM)) {
    mapping = {.physical = walk.address & ~0xfffu,
               .writable = true,
               .executable = true,
               .global = true,
               .secure = walk.secure};
    return true;
  }
  const auto fail = [&](Status status, bool page, u32 domain) {
    fault.code = (page ? status.page : status.section) | domain << 4;
    return false;
  };

  // Which table: TTBCR.N leading zeros select TTBR0.
  const u32 n = regs.ttbcr & 7;
  const bool upper = n && walk.address >> (32 - n);
  if (regs.ttbcr >> (upper ? 5 : 4) & 1) return fail(kTranslation, false, 0);
  const u32 root = upper ? regs.ttbr1 & ~0x3fffu : regs.ttbr0 & ~((1u << (14 - n)) - 1);
  const u32 index = walk.address >> 20 & (upper ? 0xfff : (1u << (12 - n)) - 1);
  u32 first;
  if (!read_descriptor(walk, root | index << 2, first)) {
    fault.external = true;
    return fail(kExternal, false, 0);
  }
  Entry entry;
  if ((first & 3) == 2) {
    entry = section_entry(first, walk.address);
  } else if ((first & 3) == 1) {
    const u32 domain = first >> 5 & 15;
    u32 second;
    if (!read_descriptor(walk, (first & ~0x3ffu) | (walk.address >> 12 & 0xff) << 2, second)) {
      fault.external = true;
      return fail(kExternal, true, domain);
    }
    if (!(second & 3)) return fail(kTranslation, true, domain);
    entry = page_entry(first, second, walk.address);
  } else {
    return fail(kTranslation, false, 0);
  }

  const bool access_flag_enabled = regs.sctlr & kSctlrAfe;
  if (access_flag_enabled && !(entry.ap & 1)) return fail(kAccessFlag, entry.page, entry.domain);
  const u32 domain_access = regs.dacr >> (2 * entry.domain) & 3;
  if (domain_access != 1 && domain_access != 3) return fail(kDomain, entry.page, entry.domain);
  const bool manager = domain_access == 3;
  const Rights allowed = manager ? Rights{true, true} : rights(entry.ap, access_flag_enabled, walk.user);
  const bool executable = allowed.read && (manager || !entry.execute_never);
  const bool permitted = walk.access == ir::Access::read    ? allowed.read
                         : walk.access == ir::Access::write ? allowed.write
                                                            : executable;
  if (!permitted) return fail(kPermission, entry.page, entry.domain);
  mapping = {.physical = entry.physical & ~u64{0xfff},
             .writable = allowed.write,
             .executable = executable,
             .global = !entry.not_global,
             .device = memory_type(entry.texcb, regs.sctlr & kSctlrTre, regs) != MemoryType::normal,
             .secure = walk.secure && !entry.nonsecure,
             .size_bits = static_cast<u8>(entry.size_bits)};
  return true;
}

bool Cpu::walk(u64 address, ir::Access access, bool user, ir::Mapping& mapping, ir::Fault& fault) {
  return walk_with({static_cast<u32>(address), access, user, secure(), bank()}, mapping, fault);
}

void Cpu::translate_to_par(u32 address, ir::Access access, bool user, bool nonsecure) {
  const bool as_secure = secure() && !nonsecure;
  ir::Mapping mapping;
  ir::Fault fault;
  u32 par;
  if (walk_with({address, access, user, as_secure, state_.cp15.bank[as_secure ? 0 : 1]}, mapping, fault)) {
    par = static_cast<u32>(mapping.physical) & ~0xfffu;
    if (mapping.size_bits == 24) par = (par & 0xff000000) | static_cast<u32>(mapping.physical >> 32 & 0xff) << 16 | 2;
    if (!mapping.secure) par |= 1u << 9;
    par |= mapping.device ? 3u << 4 : 7u << 4 | 3u << 2;  // Device; Normal, write-back
  } else {
    const u32 code = static_cast<u32>(fault.code);
    par = 1 | (code & 15) << 1 | (code >> 10 & 1) << 5;
  }
  bank().par = par;
}

}  // namespace rhea::arm
