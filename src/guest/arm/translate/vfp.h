// SPDX-License-Identifier: MIT
// What the translations of VFP and NEON instructions share: whether they may execute, register fields, modes.
#pragma once

#include "guest/arm/translator.h"
#include "util/bits.h"

namespace rhea::arm {

// FPEXC
constexpr u32 kFpexcEnable = 1u << 30;
constexpr u32 kFpexcDex = 1u << 29;

// Whether floating-point instructions may execute (CPACR, NSACR, FPEXC.EN); if not, the exception is in the block.
bool fp_enabled(Translator& t);
// The same for Advanced SIMD (CPACR.ASEDIS too).
bool neon_enabled(Translator& t);

// ir::FpMode from FPSCR's RMode, FZ and DN in the mode word: they have the same numbers.
inline u8 fp_mode(const Translator& t) { return static_cast<u8>(bits(t.mode, 22, 4)); }
static_assert(ir::kFpRoundMask == 3 && ir::kFpFlushToZero == 4 && ir::kFpDefaultNan == 8);
// FPSCR.AHP
inline bool alternative_half(const Translator& t) { return bit(t.mode, 26); }

// Register numbers of the fields D:Vd, N:Vn, M:Vm: of doublewords, and of single-precision registers.
inline unsigned field_d(u32 insn) { return bit(insn, 22) << 4 | bits(insn, 12, 4); }
inline unsigned field_n(u32 insn) { return bit(insn, 7) << 4 | bits(insn, 16, 4); }
inline unsigned field_m(u32 insn) { return bit(insn, 5) << 4 | bits(insn, 0, 4); }
inline unsigned single_d(u32 insn) { return bits(insn, 12, 4) << 1 | bit(insn, 22); }
inline unsigned single_n(u32 insn) { return bits(insn, 16, 4) << 1 | bit(insn, 7); }
inline unsigned single_m(u32 insn) { return bits(insn, 0, 4) << 1 | bit(insn, 5); }

// VFPExpandImm (A7.5.1).
u64 vfp_expand_immediate(u32 imm8, bool is_double);

// Half-precision conversions, out of line. `mode`: FpMode.
Ref half_to_single(Translator& t, Ref value, u8 mode);
Ref single_to_half(Translator& t, Ref value, u8 mode);

// The argument of the fixed-point helpers.
struct FixedFormat {
  u8 bits;      // 16 or 32
  u8 fraction;  // 0..32
  bool is_signed;
  u8 mode;  // FpMode
  u32 number() const { return bits | fraction << 8 | is_signed << 16 | mode << 24; }
  static FixedFormat from_number(u32 n) {
    return {static_cast<u8>(n), static_cast<u8>(n >> 8), bit(n, 16), static_cast<u8>(n >> 24)};
  }
};

// Takes an alignment fault unless `address` is a multiple of `alignment`, a power of two.
void check_alignment(Translator& t, Ref address, u32 alignment, bool store);

}  // namespace rhea::arm
