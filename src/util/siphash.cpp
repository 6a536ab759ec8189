// SPDX-License-Identifier: MIT
#include "util/siphash.h"

#include <bit>

#include "util/bits.h"

namespace rhea {

namespace {

// Section 2.1: the state, and one round of it.
struct State {
  u64 v0, v1, v2, v3;

  void rounds(unsigned count) {
    while (count--) {
      v0 += v1;
      v2 += v3;
      v1 = std::rotl(v1, 13) ^ v0;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 = std::rotl(v0, 32);
      v2 += v1;
      v0 += v3;
      v1 = std::rotl(v1, 17) ^ v2;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 = std::rotl(v2, 32);
    }
  }
  void compress(u64 word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
};

}  // namespace

u64 siphash24(const std::array<u64, 2>& key, std::span<const u8> data) {
  State state{key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
              key[1] ^ 0x7465646279746573u};
  usize at = 0;
  for (; at + 8 <= data.size(); at += 8) state.compress(load_le<u64>(data.data() + at));
  u64 last = static_cast<u64>(data.size()) << 56;
  for (usize i = 0; at + i < data.size(); ++i) last |= u64{data[at + i]} << (8 * i);
  state.compress(last);
  state.v2 ^= 0xff;
  state.rounds(4);
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace rhea
