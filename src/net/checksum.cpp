// SPDX-License-Identifier: MIT
// Words are added in the order that the host loads them; the sum commutes with swapping bytes, so it is
// swapped once at the end. Vectors of 64-bit lanes take 32-bit halves, so that no carry is lost: a lane holds
// 2^32 of them. Where the host has AVX2 the vectors are of twice the size.
#include "net/checksum.h"

#include <bit>

namespace rhea::net {

static_assert(std::endian::native == std::endian::little, "sums are of little-endian loads");

namespace {

using Lanes [[gnu::vector_size(16)]] = u64;
using WideLanes [[gnu::vector_size(32)]] = u64;

u64 fold64(u64 sum) { return (sum & 0xffffffff) + (sum >> 32); }

// Of as many bytes as go by two vectors each; `data` and `size` move on.
template <typename Vector>
[[gnu::always_inline]] inline u64 add_vectors(const u8*& data, usize& size) {
  Vector low{}, high{};
  for (; size >= 2 * sizeof(Vector); data += 2 * sizeof(Vector), size -= 2 * sizeof(Vector)) {
    Vector first, second;
    std::memcpy(&first, data, sizeof first);
    std::memcpy(&second, data + sizeof first, sizeof second);
    low += (first & 0xffffffff) + (second & 0xffffffff);
    high += (first >> 32) + (second >> 32);
  }
  const Vector both = low + high;
  u64 sum = 0;
  for (usize i = 0; i < sizeof both / 8; ++i) sum += fold64(both[i]);
  return sum;
}

[[gnu::target("avx2")]] u64 add_wide(const u8*& data, usize& size) { return add_vectors<WideLanes>(data, size); }

u64 add_bytes(const u8* data, usize size) {
  static const bool wide = __builtin_cpu_supports("avx2");
  u64 sum = wide && size >= 256 ? add_wide(data, size) : 0;
  sum += add_vectors<Lanes>(data, size);
  for (; size >= 4; data += 4, size -= 4) sum += load_raw<u32>(data);
  if (size >= 2) {
    sum += load_raw<u16>(data);
    data += 2;
    size -= 2;
  }
  if (size) sum += *data;
  return sum;
}

u16 fold16(u64 sum) {
  sum = fold64(sum);
  sum = fold64(sum);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>((sum & 0xffff) + (sum >> 16));
}

}  // namespace

void ChecksumSum::add(const u8* data, usize size) {
  u64 part = add_bytes(data, size);
  if (odd_) part = byte_swap(fold16(part));
  sum_ = fold64(sum_) + fold64(part);
  odd_ ^= size & 1;
}

void ChecksumSum::add(std::span<const Piece> pieces) {
  for (const Piece& piece : pieces) add(piece.data, piece.size);
}

void ChecksumSum::add_pseudo_header(const IpAddress& from, const IpAddress& to, u8 protocol, usize length) {
  add(from.wire(), from.wire_size());
  add(to.wire(), to.wire_size());
  add_word(protocol);
  add_word(static_cast<u16>(length >> 16));
  add_word(static_cast<u16>(length));
}

u16 ChecksumSum::folded() const { return byte_swap(fold16(sum_)); }

u16 checksum(const u8* data, usize size) {
  ChecksumSum sum;
  sum.add(data, size);
  return sum.checksum();
}

}  // namespace rhea::net
