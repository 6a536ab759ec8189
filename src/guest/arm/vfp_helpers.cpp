// SPDX-License-Identifier: MIT
// What VFP and NEON instructions do out of line: the FP control registers, conversions that are rare, alignment
// faults of accesses that state their alignment.
#include "guest/arm/cpu.h"
#include "guest/arm/helpers.h"
#include "guest/arm/translate/vfp.h"
#include "ir/fp.h"

namespace rhea::arm {

namespace {

// Runs a conversion and adds its cumulative flags to FPSCR's.
template <typename Convert>
u64 convert(Cpu& cpu, u8 mode, Convert convert) {
  ir::FpContext context{.mode = mode};
  const u64 result = convert(context);
  cpu.s().header.fp_flags |= context.flags;
  return result;
}

template <typename Bits>
u64 to_fixed(Cpu& cpu, u64 value, u64 format) {
  const FixedFormat f = FixedFormat::from_number(static_cast<u32>(format));
  return convert(cpu, f.mode, [&](ir::FpContext& context) {
    return ir::fp_to_fixed<Bits>(static_cast<Bits>(value), f.bits, f.fraction, f.is_signed, true, context);
  });
}

constexpr u32 kFpscrCumulative = 0x9f;
constexpr u32 kFpscrQc = 1u << 27;

}  // namespace

// The flags come from where the block has them: state that was written before need not be in its slots.
u64 helper_vfp_read_fpscr(Cpu& cpu, u64 a, u64, u64) {
  cpu.hooks().sync_fp_flags();
  return cpu.fpscr(static_cast<u32>(a));
}

u64 helper_vfp_write_fpscr(Cpu& cpu, u64 a, u64 b, u64 c) {
  const u32 value = static_cast<u32>(a);
  cpu.hooks().sync_fp_flags();
  State& s = cpu.s();
  s.fpscr_control = value & kFpscrControl;
  s.fpscr_nzcv = nzcv_to_image(value);
  s.header.fp_flags = value & kFpscrCumulative;
  s.header.saturated = (value & kFpscrQc) != 0;
  s.header.pc = c;
  s.header.mode = b;
  cpu.update_mode();
  cpu.hooks().sync_fp_flags();
  return 0;
}

u64 helper_vfp_write_fpexc(Cpu& cpu, u64 a, u64 b, u64 c) {
  State& s = cpu.s();
  s.fpexc = static_cast<u32>(a) & (kFpexcEnable | kFpexcDex);
  s.header.pc = c;
  s.header.mode = b;
  cpu.update_mode();
  return 0;
}

u64 helper_vfp_half_to_single(Cpu& cpu, u64 a, u64 b, u64) {
  return convert(cpu, static_cast<u8>(b), [&](ir::FpContext& context) {
    return ir::fp_half_to_single(static_cast<u16>(a), (b >> 8) & 1, context);
  });
}

u64 helper_vfp_single_to_half(Cpu& cpu, u64 a, u64 b, u64) {
  return convert(cpu, static_cast<u8>(b), [&](ir::FpContext& context) {
    return ir::fp_single_to_half(static_cast<u32>(a), (b >> 8) & 1, context);
  });
}

u64 helper_vfp_single_to_fixed(Cpu& cpu, u64 a, u64 b, u64) { return to_fixed<u32>(cpu, a, b); }
u64 helper_vfp_double_to_fixed(Cpu& cpu, u64 a, u64 b, u64) { return to_fixed<u64>(cpu, a, b); }

u64 helper_alignment_fault(Cpu& cpu, u64 a, u64 b, u64) {
  State& s = cpu.s();
  cpu.restore_location(s.header.location);
  cpu.raise_fault({.address = a, .access = b ? ir::Access::write : ir::Access::read, .alignment = true});
  s.header.exception = 1;
  return 0;
}

}  // namespace rhea::arm
