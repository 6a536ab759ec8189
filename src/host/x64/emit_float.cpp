// SPDX-License-Identifier: MIT
// Floating point.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

void Emitter::write_fp_class(FpClass from, FpClass to, u8 mode) {
  constexpr u32 kOffsets[] = {offsetof(StateHeader, mxcsr_ieee), offsetof(StateHeader, mxcsr_neon),
                              offsetof(StateHeader, mxcsr_other)};
  a_.stmxcsr(dword_state(kOffsets[static_cast<u8>(from)]));
  (void)mode;
  a_.ldmxcsr(dword_state(kOffsets[static_cast<u8>(to)]));
}

void Emitter::set_fp_class(FpClass fp, u8 mode) {
  if (fp_class_ == fp && (fp != FpClass::other || fp_other_mode_ == mode)) return;
  write_fp_class(fp_class_, fp, mode);
  fp_class_ = fp;
  fp_other_mode_ = mode;
}

bool Emitter::emit_float(const Inst& inst) { return false; }

}  // namespace rhea::x64
