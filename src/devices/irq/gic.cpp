// SPDX-License-Identifier: MIT
// How it works: inputs and register writes change the words of 32 interrupts; then update() finds each CPU's best
// pending interrupt and drives its IRQ and FIQ lines where they changed. An acknowledge moves an interrupt from
// pending to active and marks its group priority in the CPU's active priorities, whose lowest set bit is the
// running priority; the end of interrupt undoes both (IHI 0048B sections 3.2 and 3.3).
//
// Non-secure accesses see group 1 interrupts alone, and priorities shifted by one bit (section 3.5).
#include "devices/irq/gic.h"

#include <algorithm>
#include <bit>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// Distributor, IHI 0048B table 4-1.
enum DistributorOffset : u32 {
  kGicdCtlr = 0x000,
  kGicdTyper = 0x004,
  kGicdIidr = 0x008,
  kGicdIgroupr = 0x080,
  kGicdIsenabler = 0x100,
  kGicdIcenabler = 0x180,
  kGicdIspendr = 0x200,
  kGicdIcpendr = 0x280,
  kGicdIsactiver = 0x300,
  kGicdIcactiver = 0x380,
  kGicdIpriorityr = 0x400,
  kGicdItargetsr = 0x800,
  kGicdIcfgr = 0xc00,
  kPpiStatus = 0xd00,
  kSpiStatus = 0xd04,  // DDI 0407I section 3.3.8
  kGicdSgir = 0xf00,
  kPeripheralId = 0xfd0
};
// CPU interface, table 4-2.
enum InterfaceOffset : u32 {
  kGiccCtlr = 0x00,
  kGiccPmr = 0x04,
  kGiccBpr = 0x08,
  kGiccIar = 0x0c,
  kGiccEoir = 0x10,
  kGiccRpr = 0x14,
  kGiccHppir = 0x18,
  kGiccAbpr = 0x1c,
  kGiccIidr = 0xfc
};
// GICC_CTLR as secure accesses see it.
enum InterfaceControl : u32 { kEnableGroup0 = 1, kEnableGroup1 = 2, kAckCtl = 4, kFiqEn = 8, kCbpr = 16 };

constexpr u32 kInterfaceControlMask = 0x1f;
constexpr u32 kIdentification = 0x0102043b;           // DDI 0407I section 3.3.3
constexpr u32 kInterfaceIdentification = 0x3901243b;  // section 3.4.2
constexpr std::array<u8, 12> kPeripheralIds = {0x04, 0, 0, 0, 0x90, 0xb3, 0x1b, 0, 0x0d, 0xf0, 0x05, 0xb1};
constexpr u8 kPriorityMask = 0xf8;  // 5 bits
constexpr u8 kIdle = 0xff;          // running priority when nothing is active
constexpr u32 kMinBinaryPoint = 2;
constexpr u32 kMinBinaryPointNs = 3;
constexpr u32 kSgiEdges = 0x0000ffff;

}  // namespace

Gic::Gic(unsigned cpus, Outputs outputs, Log& log)
    : cpus_(std::clamp(cpus, 1u, kMaxCpus)), outputs_(outputs), log_(log) {
  reset();
}

void Gic::reset() {
  std::lock_guard lock(mutex_);
  control_ = 0;
  const auto reset_word = [](Word& word, u32 edge) {
    const u32 level = word.level;  // the lines are their drivers'
    word = Word{};
    word.level = level;
    word.edge = edge;
  };
  for (Word& word : banked_) reset_word(word, kSgiEdges);
  for (Word& word : shared_) reset_word(word, 0);
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu) {
    // SGIs are always enabled (DDI 0407I section 3.3.5 leaves it to the implementation; kernels rely on either).
    banked_[cpu].enabled = kSgiEdges;
    Interface& interface = interfaces_[cpu];
    const bool irq = interface.irq, fiq = interface.fiq;
    interface = Interface{};
    interface.irq = irq;
    interface.fiq = fiq;
    interface.binary_point = kMinBinaryPoint;
    interface.binary_point_ns = kMinBinaryPointNs;
  }
  priority_.fill(0);
  targets_.fill(cpus_ == 1 ? 1 : 0);
  update();
}

void Gic::fields(Visitor& visitor) {
  std::lock_guard lock(mutex_);
  visitor.begin("gic", 1);
  visitor.field("control", control_);
  const auto visit_word = [&](std::string_view name, Word& word) {
    visitor.begin(name, 1);
    visitor.field("enabled", word.enabled);
    visitor.field("latched", word.latched);
    visitor.field("level", word.level);
    visitor.field("active", word.active);
    visitor.field("group", word.group);
    visitor.field("edge", word.edge);
    visitor.end();
  };
  for (unsigned index = 0; index < shared_.size(); ++index)
    visit_word(fmt::format("spi{}", index * 32), shared_[index]);
  visitor.field("priority", priority_);
  visitor.field("targets", targets_);
  for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
    Interface& interface = interfaces_[cpu];
    visitor.begin(fmt::format("cpu{}", cpu), 1);
    visit_word("private", banked_[cpu]);
    visitor.field("control", interface.control);
    visitor.field("mask", interface.mask);
    visitor.field("binary_point", interface.binary_point);
    visitor.field("binary_point_ns", interface.binary_point_ns);
    if (visitor.restoring()) {
      interface.binary_point = std::clamp(interface.binary_point, kMinBinaryPoint, 7u);
      interface.binary_point_ns = std::clamp(interface.binary_point_ns, kMinBinaryPointNs, 7u);
    }
    visitor.field("active_priorities", interface.active_priorities);
    visitor.field("sgi_sources", interface.sgi_sources);
    visitor.field("sgi_active_source", interface.sgi_active_source);
    visitor.field("priority", interface.priority);
    visitor.end();
  }
  visitor.end();
  if (visitor.restoring()) update();
}

// --- inputs -----------------------------------------------------------------------------------------------------

void Gic::set_line(unsigned cpu, unsigned index, u32 bit, bool level) {
  Word& target = word(cpu, index);
  if (static_cast<bool>(target.level & bit) == level) return;
  if (level) {
    target.level |= bit;
    if (target.edge & bit) target.latched |= bit;
    ++counts_[index * 32 + static_cast<unsigned>(std::countr_zero(bit))];
  } else {
    target.level &= ~bit;
  }
  update();
}

std::array<u64, Gic::kIds> Gic::counts() {
  std::lock_guard lock(mutex_);
  return counts_;
}

void Gic::set_spi(unsigned spi, bool level) {
  if (spi >= kSpis) return;
  std::lock_guard lock(mutex_);
  set_line(0, 1 + spi / 32, 1u << (spi % 32), level);
}

void Gic::set_ppi(unsigned cpu, unsigned id, bool level) {
  if (cpu >= cpus_ || id < 16 || id >= 32) return;
  std::lock_guard lock(mutex_);
  set_line(cpu, 0, 1u << id, level);
}

// --- priorities (section 3.3) -----------------------------------------------------------------------------------

// The interrupts of a word that are for this CPU.
u32 Gic::targeted(unsigned cpu, unsigned index) {
  if (index == 0) return ~0u;
  Word& candidates = shared_[index - 1];
  u32 result = 0;
  for (u32 rest = candidates.pending() & candidates.enabled; rest; rest &= rest - 1) {
    const unsigned bit = static_cast<unsigned>(std::countr_zero(rest));
    if (targets_[(index - 1) * 32 + bit] >> cpu & 1) result |= 1u << bit;
  }
  return result;
}

Gic::Best Gic::best_pending(unsigned cpu) {
  Best best;
  for (unsigned index = 0; index < kWords; ++index) {
    const Word& from = word(cpu, index);
    u32 candidates = from.pending() & from.enabled & ~from.active;
    candidates &= ((control_ & 1) ? ~from.group : 0) | ((control_ & 2) ? from.group : 0);
    if (candidates) candidates &= targeted(cpu, index);
    for (; candidates; candidates &= candidates - 1) {
      const unsigned bit = static_cast<unsigned>(std::countr_zero(candidates));
      const u32 id = index * 32 + bit;
      if (best.id == kSpurious || priority(cpu, id) < best.priority)
        best = {id, priority(cpu, id), (from.group >> bit & 1) != 0};
    }
  }
  return best;
}

bool Gic::group_enabled(unsigned cpu, bool group1) {
  return interfaces_[cpu].control & (group1 ? kEnableGroup1 : kEnableGroup0);
}

u8 Gic::running_priority(unsigned cpu) {
  const auto& active = interfaces_[cpu].active_priorities;
  const u32 all = active[0] | active[1];
  return all ? static_cast<u8>(std::countr_zero(all) * 8) : kIdle;
}

// The bits of a priority that decide preemption (table 3-2; for group 1 the non-secure binary point counts from
// one bit higher, section 3.5.4).
u8 Gic::group_mask(unsigned cpu, bool group1) {
  const Interface& interface = interfaces_[cpu];
  if (group1 && !(interface.control & kCbpr)) return static_cast<u8>(0xff << interface.binary_point_ns);
  return static_cast<u8>(0xfe << interface.binary_point);
}

bool Gic::can_preempt(unsigned cpu, const Best& best) {
  if (best.id == kSpurious || best.priority >= interfaces_[cpu].mask) return false;
  const u8 running = running_priority(cpu);
  const u8 mask = group_mask(cpu, best.group1);
  return running == kIdle || (best.priority & mask) < (running & mask);
}

void Gic::update() {
  for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
    Interface& interface = interfaces_[cpu];
    bool irq = false, fiq = false;
    if (interface.control & (kEnableGroup0 | kEnableGroup1)) {
      const Best best = best_pending(cpu);
      if (can_preempt(cpu, best) && group_enabled(cpu, best.group1)) {
        fiq = !best.group1 && (interface.control & kFiqEn);
        irq = !fiq;
      }
    }
    if (irq != interface.irq) {
      interface.irq = irq;
      outputs_.irq[cpu].set(irq);
    }
    if (fiq != interface.fiq) {
      interface.fiq = fiq;
      outputs_.fiq[cpu].set(fiq);
    }
  }
}

// --- acknowledge and end (sections 4.4.4 to 4.4.7) ----------------------------------------------------------------

u32 Gic::highest_pending(unsigned cpu, bool secure) {
  const Best best = best_pending(cpu);
  if (best.id == kSpurious) return kSpurious;
  if (!secure && !best.group1) return kSpurious;
  if (secure && best.group1 && !(interfaces_[cpu].control & kAckCtl)) return kOtherGroup;
  u32 source = 0;
  if (best.id < 16) source = static_cast<u32>(std::countr_zero(interfaces_[cpu].sgi_sources[best.id])) & 7;
  return best.id | source << 10;
}

u32 Gic::acknowledge(unsigned cpu, bool secure, bool debug) {
  Interface& interface = interfaces_[cpu];
  const Best best = best_pending(cpu);
  if (!can_preempt(cpu, best) || !group_enabled(cpu, best.group1)) return kSpurious;
  const u32 answer = highest_pending(cpu, secure);
  if (debug || answer == kSpurious || answer == kOtherGroup) return answer;
  Word& from = word(cpu, best.id / 32);
  const u32 bit = 1u << (best.id % 32);
  from.active |= bit;
  if (best.id < 16) {
    u8& sources = interface.sgi_sources[best.id];
    sources = static_cast<u8>(sources & (sources - 1));
    interface.sgi_active_source[best.id] = static_cast<u16>(answer >> 10);
    if (!sources) from.latched &= ~bit;
  } else {
    from.latched &= ~bit;
  }
  const u8 level = best.priority & group_mask(cpu, best.group1);
  interface.active_priorities[best.group1] |= 1u << (level / 8);
  update();
  return answer;
}

void Gic::end_of_interrupt(unsigned cpu, bool secure, u32 value) {
  const u32 id = value & 0x3ff;
  if (id >= kIds) {
    if (id != kSpurious && id != kOtherGroup)
      log_.guest_error("gic: end of interrupt {}: the greatest is {}", id, kIds - 1);
    return;
  }
  const bool group1 = is_group1(cpu, id);
  if (!secure && !group1) return;
  Word& from = word(cpu, id / 32);
  const u32 bit = 1u << (id % 32);
  if (!(from.active & bit)) {
    log_.guest_error("gic: end of interrupt {}, which is not active", id);
    return;
  }
  // (the other group's where the interrupt changed its group while it was active)
  auto& by_group = interfaces_[cpu].active_priorities;
  u32& active = by_group[by_group[group1] ? group1 : !group1];
  active &= active - 1;  // the running priority drops; the highest active one is the first bit
  from.active &= ~bit;
  update();
}

void Gic::send_sgi(unsigned cpu, bool secure, u32 value) {
  const u32 id = value & 15;
  u32 list = value >> 16 & 0xff;
  switch (value >> 24 & 3) {
    case 0: break;
    case 1: list = ~(1u << cpu); break;
    case 2: list = 1u << cpu; break;
    default: log_.guest_error("gic: GICD_SGIR with the reserved target filter 3"); return;
  }
  const bool for_group1 = value >> 15 & 1;  // NSATT: secure senders choose the group (section 4.3.15)
  for (unsigned target = 0; target < cpus_; ++target) {
    if (!(list >> target & 1)) continue;
    const bool group1 = is_group1(target, id);
    if (secure ? group1 != for_group1 : !group1) continue;
    interfaces_[target].sgi_sources[id] |= static_cast<u8>(1u << cpu);
    banked_[target].latched |= 1u << id;
    ++counts_[id];
  }
  update();
}

// --- distributor (section 4.3) ------------------------------------------------------------------------------------

// The bits of a word that this access may see and change.
u32 Gic::visible(unsigned cpu, bool secure, unsigned index) { return secure ? ~0u : word(cpu, index).group; }

u32 Gic::read_bitmap(unsigned cpu, bool secure, u32 offset) {
  const unsigned index = (offset & 0x7f) / 4;
  if (index >= kWords) return 0;
  const Word& from = word(cpu, index);
  const u32 mask = visible(cpu, secure, index);
  switch (offset & ~0x7fu) {
    case kGicdIgroupr: return secure ? from.group : 0;
    case kGicdIsenabler:
    case kGicdIcenabler: return from.enabled & mask;
    case kGicdIspendr:
    case kGicdIcpendr: return from.pending() & mask;
    default: return from.active & mask;  // GICD_ISACTIVER (ICDABR), GICD_ICACTIVER
  }
}

void Gic::write_bitmap(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask) {
  const unsigned index = (offset & 0x7f) / 4;
  if (index >= kWords) return;
  Word& to = word(cpu, index);
  const u32 change = value & mask & visible(cpu, secure, index);
  const u32 no_sgi = index ? ~0u : ~kSgiEdges;  // SGIs: enable is fixed, pending is read only in version 1
  switch (offset & ~0x7fu) {
    case kGicdIgroupr:
      if (secure) to.group = (to.group & ~mask) | (value & mask);
      break;
    case kGicdIsenabler: to.enabled |= change; break;
    case kGicdIcenabler: to.enabled &= ~(change & no_sgi); break;
    case kGicdIspendr: to.latched |= change & no_sgi; break;
    case kGicdIcpendr: to.latched &= ~(change & no_sgi); break;
    case kGicdIcactiver: return;  // comes with version 2; drivers of both write it
    default: log_.guest_error("gic: write to the read-only active register at {:#x}", offset); return;
  }
  update();
}

// Priorities and targets: one byte an interrupt.
u32 Gic::read_bytes(unsigned cpu, bool secure, u32 offset) {
  u32 value = 0;
  const bool targets = offset >= kGicdItargetsr;
  for (unsigned byte = 0; byte < 4; ++byte) {
    const unsigned id = (offset & 0x3ff) + byte;
    if (id >= kIds || (!secure && !is_group1(cpu, id))) continue;
    u32 part;
    if (targets) {
      // With one CPU everything goes to it, whatever is written. (Version 1 lets the fields read as zero then;
      // kernels take that for a broken controller when their device tree names more CPUs.)
      part = id < 32 ? 1u << cpu : targets_[id - 32];
    } else {
      part = priority(cpu, id);
      if (!secure) part = part << 1 & 0xff;
    }
    value |= part << (byte * 8);
  }
  return value;
}

void Gic::write_bytes(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask) {
  const bool targets = offset >= kGicdItargetsr;
  for (unsigned byte = 0; byte < 4; ++byte) {
    const unsigned id = (offset & 0x3ff) + byte;
    if (!(mask >> (byte * 8) & 0xff) || id >= kIds || (!secure && !is_group1(cpu, id))) continue;
    const u32 part = value >> (byte * 8) & 0xff;
    if (targets) {
      if (id >= 32 && cpus_ > 1) targets_[id - 32] = static_cast<u8>(part & ((1u << cpus_) - 1));
    } else {
      priority(cpu, id) = static_cast<u8>((secure ? part : 0x80 | part >> 1) & kPriorityMask);
    }
  }
  update();
}

// GICD_ICFGR: two bits an interrupt, the upper one says edge (section 4.3.13).
u32 Gic::read_config(unsigned cpu, bool secure, unsigned index) {
  if (index / 2 >= kWords) return 0;
  const u32 edges = (word(cpu, index / 2).edge & visible(cpu, secure, index / 2)) >> (index % 2 * 16);
  u32 value = 0;
  for (unsigned i = 0; i < 16; ++i) value |= (edges >> i & 1) << (i * 2 + 1);
  return value;
}

void Gic::write_config(unsigned cpu, bool secure, unsigned index, u32 value, u32 mask) {
  if (index == 0 || index / 2 >= kWords) return;  // SGIs are edge triggered
  Word& to = word(cpu, index / 2);
  const u32 may = visible(cpu, secure, index / 2);
  for (unsigned i = 0; i < 16; ++i) {
    const u32 bit = 1u << (index % 2 * 16 + i);
    const u32 field = 2u << (i * 2);
    if (!(may & bit) || !(mask & field)) continue;
    to.edge = (value & field) ? to.edge | bit : to.edge & ~bit;
  }
  update();
}

u32 Gic::read_distributor(unsigned cpu, bool secure, u32 offset) {
  if (cpu >= cpus_) cpu = 0;
  std::lock_guard lock(mutex_);
  if (offset >= kGicdIgroupr && offset < kGicdIpriorityr) return read_bitmap(cpu, secure, offset);
  if (offset >= kGicdIpriorityr && offset < kGicdIcfgr) return read_bytes(cpu, secure, offset);
  if (offset >= kGicdIcfgr && offset < kPpiStatus) return read_config(cpu, secure, (offset - kGicdIcfgr) / 4);
  if (offset >= kPeripheralId) return kPeripheralIds[(offset - kPeripheralId) / 4];
  switch (offset) {
    case kGicdCtlr: return secure ? control_ : control_ >> 1;
    case kGicdTyper: return (kWords - 1) | (cpus_ - 1) << 5 | 1u << 10;
    case kGicdIidr: return kIdentification;
    case kPpiStatus: return banked_[cpu].level & visible(cpu, secure, 0) & ~kSgiEdges;
    case kSpiStatus: return shared_[0].level & visible(cpu, secure, 1);
    case kSpiStatus + 4: return shared_[1].level & visible(cpu, secure, 2);
    case kGicdSgir: return 0;
    default: log_.guest_error("gic: read of the distributor at {:#x}, where no register is", offset); return 0;
  }
}

void Gic::write_distributor(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask) {
  if (cpu >= cpus_) cpu = 0;
  std::lock_guard lock(mutex_);
  if (offset >= kGicdIgroupr && offset < kGicdIpriorityr) {
    write_bitmap(cpu, secure, offset, value, mask);
  } else if (offset >= kGicdIpriorityr && offset < kGicdIcfgr) {
    write_bytes(cpu, secure, offset, value, mask);
  } else if (offset >= kGicdIcfgr && offset < kPpiStatus) {
    write_config(cpu, secure, (offset - kGicdIcfgr) / 4, value, mask);
  } else if (offset == kGicdCtlr) {
    const u32 written = value & mask;
    if (secure) control_ = written & 3;
    else control_ = (control_ & 1) | (written & 1) << 1;
    update();
  } else if (offset == kGicdSgir) {
    send_sgi(cpu, secure, value & mask);
  } else {
    log_.guest_error("gic: write of {:#x} to the distributor at {:#x}, where nothing can be written", value, offset);
  }
}

// --- CPU interface (section 4.4) ----------------------------------------------------------------------------------

u32 Gic::read_control(unsigned cpu, bool secure) {
  const u32 control = interfaces_[cpu].control;
  return secure ? control : (control & kEnableGroup1 ? 1 : 0);
}

void Gic::write_control(unsigned cpu, bool secure, u32 value) {
  u32& control = interfaces_[cpu].control;
  if (secure) control = value & kInterfaceControlMask;
  else control = (control & ~u32{kEnableGroup1}) | bits_if(value & 1, kEnableGroup1);
}

u32 Gic::read_mask(unsigned cpu, bool secure) {
  const u32 mask = interfaces_[cpu].mask;
  if (secure) return mask;
  return mask & 0x80 ? mask << 1 & 0xff : 0;
}

void Gic::write_mask(unsigned cpu, bool secure, u32 value) {
  u32& mask = interfaces_[cpu].mask;
  if (secure) mask = value & kPriorityMask;
  else if (mask & 0x80) mask = (0x80 | (value & 0xff) >> 1) & kPriorityMask;
}

u32 Gic::read_interface(unsigned cpu, bool secure, u32 offset, bool debug) {
  if (cpu >= cpus_) cpu = 0;
  std::lock_guard lock(mutex_);
  const Interface& interface = interfaces_[cpu];
  switch (offset) {
    case kGiccCtlr: return read_control(cpu, secure);
    case kGiccPmr: return read_mask(cpu, secure);
    case kGiccBpr:
      if (secure) return interface.binary_point;
      if (interface.control & kCbpr) return std::min(interface.binary_point + 1, 7u);
      return interface.binary_point_ns;
    case kGiccIar: return acknowledge(cpu, secure, debug);
    case kGiccRpr: {
      const u8 running = running_priority(cpu);
      if (secure || running == kIdle) return running;
      return running & 0x80 ? running << 1 & 0xff : 0;
    }
    case kGiccHppir: return highest_pending(cpu, secure);
    case kGiccAbpr: return secure ? interface.binary_point_ns : 0;
    case kGiccIidr: return kInterfaceIdentification;
    case kGiccEoir: return 0;
    default: log_.guest_error("gic: read of the CPU interface at {:#x}, where no register is", offset); return 0;
  }
}

void Gic::write_interface(unsigned cpu, bool secure, u32 offset, u32 value, u32 mask) {
  if (cpu >= cpus_) cpu = 0;
  std::lock_guard lock(mutex_);
  Interface& interface = interfaces_[cpu];
  value &= mask;
  switch (offset) {
    case kGiccCtlr: write_control(cpu, secure, value); break;
    case kGiccPmr: write_mask(cpu, secure, value); break;
    case kGiccBpr:
      if (secure) interface.binary_point = std::max(value & 7, kMinBinaryPoint);
      else if (!(interface.control & kCbpr)) interface.binary_point_ns = std::max(value & 7, kMinBinaryPointNs);
      break;
    case kGiccEoir: end_of_interrupt(cpu, secure, value); return;
    case kGiccAbpr:
      if (secure) interface.binary_point_ns = std::max(value & 7, kMinBinaryPointNs);
      break;
    default:
      log_.guest_error("gic: write of {:#x} to the CPU interface at {:#x}, where nothing can be written", value,
                       offset);
      return;
  }
  update();
}

}  // namespace rhea::devices
