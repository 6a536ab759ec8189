// SPDX-License-Identifier: MIT
// SipHash-2-4, a keyed hash that cannot be foretold without the key (J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast
// short-input PRF", 2012).
#pragma once

#include <array>
#include <span>

#include "util/types.h"

namespace rhea {

// `key`: its 16 bytes as two little-endian words.
u64 siphash24(const std::array<u64, 2>& key, std::span<const u8> data);

}  // namespace rhea
