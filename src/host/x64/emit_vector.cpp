// SPDX-License-Identifier: MIT
// Vectors.
#include "host/x64/emitter.h"

namespace rhea::x64 {

bool Emitter::emit_vector(const Inst& inst) { return false; }

}  // namespace rhea::x64
