// SPDX-License-Identifier: MIT
// What may differ between the peer and Rhea, with the reason. Everything else is an error of ours.
#include "random_streams.h"
#include "util/bits.h"

namespace rhea::streams {

namespace {

// The peer went on at an instruction that stopped Rhea.
bool went_on(const Outcome& peer, const Outcome& rhea) { return !peer.marker || peer.fault_pc > rhea.fault_pc; }

bool stopped_at(const Outcome& rhea, const Stream& stream, usize index) {
  u32 pc = stream.test.entry & ~1u;
  for (usize i = 0; i < index; i++) pc += stream.instructions[i].size;
  return rhea.marker && rhea.fault_pc == pc;
}

// LEN and STRIDE that no vector of doubles has room for, or that are reserved (DDI 0406C, F2.3).
bool unpredictable_vectors(u32 fpscr) {
  const u32 length = bits(fpscr, 16, 3) + 1, stride = bits(fpscr, 20, 2);
  return stride == 1 || stride == 2 || length * (stride ? 2 : 1) > 4;
}

// A store-exclusive whose size is not that of the load-exclusive before it (DDI 0406C, A3.4.5: UNPREDICTABLE).
bool mixed_exclusives(const Stream& stream) {
  std::string_view reserved;
  for (const Instruction& insn : stream.instructions) {
    if (!insn.row) continue;
    const std::string_view name = insn.row->name;
    if (name.substr(0, 5) == "LDREX") reserved = name.substr(5);
    if (name.substr(0, 5) == "STREX" && reserved.data() && name.substr(5) != reserved) return true;
  }
  return false;
}

bool is_unary(std::string_view name) {
  return name == "VABS" || name == "VNEG" || name == "VSQRT" || name == "VMOV (register)";
}

}  // namespace

std::string known_deviation(const Stream& stream, const Outcome& peer, const Outcome& rhea) {
  if (mixed_exclusives(stream)) return "a store-exclusive of another size than the load-exclusive: UNPREDICTABLE";
  for (usize i = 0; i < stream.instructions.size(); i++) {
    const Instruction& insn = stream.instructions[i];
    if (insn.row && insn.row->table == arm::Table::vfp && is_unary(insn.row->name) && bits(insn.bits, 8, 1) &&
        bits(stream.test.fpscr, 16, 3)) {
      return "the peer steps the wrong register in vectors of doubles with one operand";
    }
    if (insn.row && insn.row->name == "VMSR" && unpredictable_vectors(rhea.fpscr)) {
      return "UNPREDICTABLE FPSCR.LEN and STRIDE";
    }
    if (insn.row && insn.row->table == arm::Table::vfp && bits(insn.bits, 8, 1) == 0 && bits(insn.bits, 24, 4) == 14 &&
        bits(stream.test.fpscr, 16, 3) && bits(stream.test.fpscr, 20, 2) == 3) {
      return "the peer takes STRIDE = 3 as 4 single-precision registers (DDI 0406C, F2.3: it is 2)";
    }
    if (!insn.row || !stopped_at(rhea, stream, i)) continue;
    const bool neon = insn.row->table == arm::Table::neon;
    if (neon && rhea.marker == 4 && (insn.row->name == "VFMA" || insn.row->name == "VFMS") && went_on(peer, rhea)) {
      return "the peer has Advanced SIMD VFMA and VFMS on cores without VFPv4 (DDI 0406C, A8.8.317: VFPv4 only)";
    }
    if (neon && rhea.marker == 7 && (insn.row->flags & arm::kMemory) && bits(insn.bits, 4, 2) == 3) {
      return "the peer checks 32-byte alignment as 16-byte alignment (DDI 0406C, A8.8.320: alignment = 4 << align)";
    }
    if (rhea.marker == 7 && went_on(peer, rhea) && insn.row->name.substr(0, 5) == "STREX") {
      return "a misaligned store-exclusive without a reservation faults or fails (DDI 0406C, A3.4.5: IMPLEMENTATION "
             "DEFINED)";
    }
  }
  return {};
}

}  // namespace rhea::streams
