// SPDX-License-Identifier: MIT
// The sweep of floating-point operations. Registers are the same in every test: the result (and what is added to) in
// d0 (q0), the operands in d1 and d2 (q1 and q2), so that singles, doubles and vectors lie at the same places.
#include <algorithm>
#include <bit>

#include "random_streams.h"
#include "util/text.h"

namespace rhea::streams {

using arm::Row;
using arm::Table;

namespace {

// Rounding mode, flush-to-zero, default NaN, and the alternative half precision.
constexpr unsigned kModes = 32;
constexpr unsigned kRegisterD = 0, kRegisterN = 1, kRegisterM = 2;
constexpr usize kSingles = 2 * std::size(kSingleEdges), kDoubles = 2 * std::size(kDoubleEdges);

u32 single_edge(usize index) {
  index %= kSingles;
  return kSingleEdges[index / 2] | static_cast<u32>(index & 1) << 31;
}
u64 double_edge(usize index) {
  index %= kDoubles;
  return kDoubleEdges[index / 2] | u64{index & 1} << 63;
}

u32 fpscr_of(unsigned mode) {
  return (mode & 3) << 22 | (mode >> 2 & 1) << 24 | (mode >> 3 & 1) << 25 | (mode >> 4 & 1) << 26;
}

bool computes(const Row& row) {
  static constexpr std::string_view kVfp[] = {"VMLA", "VMLS", "VNML", "VMUL", "VNMU", "VADD", "VSUB", "VDIV",
                                              "VFMA", "VFMS", "VFNM", "VABS", "VNEG", "VSQR", "VCVT", "VCMP"};
  const std::string_view start = row.name.substr(0, 4);
  if (row.table == Table::vfp) return std::find(std::begin(kVfp), std::end(kVfp), start) != std::end(kVfp);
  if (row.table != Table::neon) return false;
  return row.name.find("floating-point") != std::string_view::npos || start == "VCVT" || start == "VACG" ||
         start == "VREC" || start == "VRSQ" || start == "VFMA" || start == "VFMS";
}

// What is tried of a field that is no register.
std::vector<u32> values(char letter, unsigned width) {
  if (letter == 'c') return {14};
  if (letter == 'e' && width == 2) return {1, 2};  // of halves (VCVT) and words; others are undefined or integers
  std::vector<u32> list;
  const u32 limit = 1u << width;
  if (width <= 2) {
    for (u32 value = 0; value < limit; value++) list.push_back(value);
  } else {
    list = {0, 1, limit / 2 - 1, limit / 2, limit - 1};
  }
  return list;
}

}  // namespace

Sweep::Sweep(const Scope& scope, unsigned step) : step_(std::max(step, 1u)) {
  for (Table table : {Table::vfp, Table::neon}) {
    for (const Row& row : arm::decode_rows(table)) {
      const std::string name = (table == Table::vfp ? "vfp:" : "neon:") + std::string(row.name);
      if (!computes(row) || name.find(scope.rows) == std::string::npos) continue;
      const bool fused = row.name.substr(0, 3) == "VFM" || row.name.substr(0, 3) == "VFN";
      if (!fused || scope.fused) add_cases(row);
    }
  }
}

void Sweep::add_cases(const Row& row) {
  const bool vector = row.table == Table::neon;
  const u32 scale = vector ? 2 : 1;  // of register numbers
  std::vector<u32> all{row.value | deposit(kRegisterD * scale, mask_of(row, 'v')) |
                       deposit(kRegisterN * scale, mask_of(row, 'n')) | deposit(kRegisterM * scale, mask_of(row, 'm'))};
  std::string done = "01vnmDNM";
  for (const char letter : row.pattern) {
    if (done.find(letter) != std::string::npos) continue;
    done += letter;
    const u32 mask = mask_of(row, letter);
    std::vector<u32> more;
    for (const u32 bits : all) {
      for (const u32 value : values(letter, static_cast<unsigned>(std::popcount(mask))))
        more.push_back(bits | deposit(value, mask));
    }
    all = std::move(more);
  }
  for (const u32 bits : all) {
    u32 copy = bits;
    if (arm::decode_a32(copy) != &row || !Generator::predictable(row, bits)) continue;
    Case operation{.row = &row, .bits = bits, .operands = mask_of(row, 'n') ? 2u : 1u};
    operation.kind = vector ? Case::Kind::vector : (bits >> 8 & 1) ? Case::Kind::dual : Case::Kind::single;
    const usize edges = operation.kind == Case::Kind::dual ? kDoubles : kSingles;
    operation.pairs = static_cast<unsigned>(operation.operands == 2 ? edges * edges : edges);
    if (vector) operation.pairs = (operation.pairs + 3) / 4;
    operation.modes = row.name.find("half") != std::string_view::npos ? kModes : kModes / 2;
    cases_.push_back(operation);
  }
}

// The pairs in the order of their number: the second operand changes first. A vector has four of them.
void Sweep::fill(Test& test, const Case& operation, unsigned mode, unsigned pair) const {
  const auto set_single = [&](unsigned at, u32 value) {
    u64& d = test.d[at / 2];
    d = at & 1 ? (d & 0xffffffff) | u64{value} << 32 : (d & ~u64{0xffffffff}) | value;
  };
  if (operation.kind == Case::Kind::dual) {
    test.d[kRegisterN] = double_edge(pair / kDoubles);
    test.d[kRegisterM] = double_edge(pair);
    test.d[kRegisterD] = double_edge(pair * 7 + mode);
    return;
  }
  const unsigned lanes = operation.kind == Case::Kind::vector ? 4 : 1;
  const unsigned scale = operation.kind == Case::Kind::vector ? 4 : 2;  // singles of a register
  for (unsigned lane = 0; lane < lanes; lane++) {
    const usize number = usize{pair} * lanes + lane;
    set_single(kRegisterN * scale + lane, single_edge(number / kSingles));
    set_single(kRegisterM * scale + lane, single_edge(number));
    set_single(kRegisterD * scale + lane, single_edge(number * 7 + mode));
  }
}

bool Sweep::next(Stream& stream, usize index) {
  if (case_ >= cases_.size()) return false;
  const Case& operation = cases_[case_];
  stream = {};
  stream.instructions.push_back({operation.row, operation.bits, 4});
  stream.test.cpsr = 0;
  stream.test.fpscr = fpscr_of(mode_);
  for (usize i = 0; i < stream.test.d.size(); i++) stream.test.d[i] = 0x0123456789abcdef * (i + 1);
  fill(stream.test, operation, mode_, pair_);
  Generator::encode(stream, index);
  pair_ += step_;
  if (pair_ >= operation.pairs) {
    pair_ = (pair_ - operation.pairs) % step_;  // another set in the next mode, where not all are taken
    if (++mode_ >= operation.modes) {
      mode_ = 0;
      case_++;
    }
  }
  return true;
}

}  // namespace rhea::streams
