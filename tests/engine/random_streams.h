// SPDX-License-Identifier: MIT
// Differential test of the ARM front end and the engines: random instruction streams, made from the decode tables'
// patterns, run by a peer (qemu-arm) and by Rhea; registers, flags, FPSCR, D registers and memory are compared.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "guest/arm/decode.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::streams {

// Addresses and layouts of harness.S.
constexpr u32 kBatch = 0x01000000;
constexpr u32 kResults = 0x03000000;
constexpr u32 kWindow = 0x05008000;
constexpr u32 kDone = 0x05020000;
constexpr u32 kBareStart = 0x00010004;
constexpr u32 kFinish = 0x00010008;
constexpr u32 kBatchHeader = 16;
constexpr usize kCodeWords = 44;

struct Test {
  std::array<u32, 15> r;
  u32 cpsr;
  u32 fpscr;
  u32 entry;  // bit 0: T32
  u32 unused[2];
  std::array<u64, 32> d;
  std::array<u8, 256> window;        // memory from kWindow - 128 on
  std::array<u32, kCodeWords> code;  // ends with a jump to kFinish
};
static_assert(sizeof(Test) == 768);

struct Outcome {
  std::array<u32, 15> r;
  u32 cpsr;
  u32 fpscr;
  u32 marker;    // 0, or the number of the signal: 4 undefined, 7 or 11 abort
  u32 fault_pc;  // of the peer: the instruction; of Rhea: the exception's LR
  u32 unused;
  std::array<u64, 32> d;
  std::array<u8, 256> window;
};
static_assert(sizeof(Outcome) == 592);

struct Instruction {
  const arm::Row* row = nullptr;
  u32 bits = 0;  // as encoded in its instruction set (T32: first half-word high)
  u8 size = 4;
  bool may_end = true;  // a stream may be cut behind it
};

struct Stream {
  bool thumb = false;
  bool big_endian = false;  // data accesses: SETEND BE first, SETEND LE at the end
  std::vector<Instruction> instructions;
  Test test{};
  u32 target = 0;  // of an indirect branch at its start: the address that r12 and memory have
};

// What is generated.
struct Scope {
  std::string rows;  // substring of "table:NAME", empty: all
  unsigned max_instructions = 6;
  bool fused = false;  // the model has VFPv4's fused operations
};

// Values where results change their kind: zeros, denormals, around one, the largest, infinities, NaNs, the limits of
// integers and of the other precisions. Each also with its sign set.
inline constexpr u32 kSingleEdges[] = {
    0,          1,          0x007fffff, 0x00800000, 0x00800001, 0x3f800000, 0x3f7fffff, 0x40000000, 0x3f000000,
    0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fa00000, 0x7fc00000, 0x7fffffff, 0x4f000000, 0x4effffff, 0x4f7fffff,
    0x47000000, 0x477fff00, 0x477fefff, 0x33000000, 0x38800000, 0x387fc000, 0x7e800000, 0x7e800001, 0x40400000};
inline constexpr u64 kDoubleEdges[] = {0,
                                       1,
                                       0x000fffffffffffff,
                                       0x0010000000000000,
                                       0x3ff0000000000000,
                                       0x7fefffffffffffff,
                                       0x7ff0000000000000,
                                       0x7ff0000000000001,
                                       0x7ff8000000000000,
                                       0x7ff4000000000000,
                                       0x41e0000000000000,
                                       0x41dfffffffc00000,
                                       0x41efffffffe00000,
                                       0x3690000000000000,
                                       0x380fffffffffffff,
                                       0x3810000000000000,
                                       0x47efffffe0000000,
                                       0x47effffff0000000};

// The bits of a field of a row, by its letter in the pattern; and a field's value in its place.
u32 mask_of(const arm::Row& row, char letter);
u32 deposit(u32 value, u32 mask);

class Generator {
 public:
  Generator(u64 seed, Scope scope);
  // `index`: of the test in its batch, which decides its address.
  Stream next(usize index);
  // Given code, "T32" or "A32" and hexadecimal encodings with commas between, and random inputs.
  Stream given(const std::string& code, usize index);
  // The same inputs with the first `count` instructions alone.
  static Stream prefix(const Stream& stream, usize count, usize index);
  // Whether the manual says what these bits of a row do, where the fields alone do not tell.
  static bool predictable(const arm::Row& row, u32 insn);
  // Writes the code of the stream's instructions into its test.
  static void encode(Stream& stream, usize index);
  usize testable_rows() const { return testable_.size(); }
  const std::map<const arm::Row*, unsigned>& hits() const { return hits_; }
  std::vector<const arm::Row*> missed() const;

 private:
  u32 below(u32 limit) { return static_cast<u32>(random_() % limit); }
  bool chance(u32 percent) { return below(100) < percent; }
  u32 interesting();
  u32 float_bits();
  u64 double_bits();
  void inputs(Test& test);
  Instruction make(const arm::Row& row, bool thumb, bool in_it);
  u32 field(const arm::Row& row, char letter, unsigned width, std::set<u32>& used);
  u32 integer_field(const arm::Row& row, char letter, unsigned width, std::set<u32>& used);
  u32 vector_field(const arm::Row& row, char letter, unsigned width, std::set<u32>& used);
  u32 memory_immediate(const arm::Row& row, char letter, unsigned width);
  const arm::Row& pick(bool thumb);
  void add_it_block(Stream& stream);
  void add_branch(Stream& stream);
  void add_indirect(Stream& stream, usize index);

  std::mt19937_64 random_;
  Scope scope_;
  std::vector<const arm::Row*> testable_, a32_, thumb_;
  std::vector<const arm::Row*> a32_branches_, thumb_branches_;
  std::map<const arm::Row*, unsigned> hits_;
};

// Every VFP and Advanced SIMD floating-point operation over all pairs of edge values, in each rounding mode, with
// flush-to-zero and default NaN on and off: one instruction a test, one after the other (sweep.cpp).
class Sweep {
 public:
  // `step`: every step-th test only (1: all).
  Sweep(const Scope& scope, unsigned step);
  bool next(Stream& stream, usize index);  // false: that was all
  usize operations() const { return cases_.size(); }

 private:
  struct Case {
    const arm::Row* row = nullptr;
    u32 bits = 0;
    unsigned operands = 0, modes = 0, pairs = 0;
    enum class Kind : u8 { single, dual, vector } kind = Kind::single;
  };
  void add_cases(const arm::Row& row);
  void fill(Test& test, const Case& operation, unsigned mode, unsigned pair) const;

  std::vector<Case> cases_;
  unsigned step_ = 1;
  usize case_ = 0;
  unsigned mode_ = 0, pair_ = 0;
};

// The batch as harness.S reads it.
std::vector<u8> make_batch(std::span<const Stream> streams);

// Runs a batch under the peer, with a CPU model of its own names.
Result<std::vector<Outcome>> run_peer(const std::string& peer, const std::string& harness, const std::string& model,
                                      std::span<const Stream> streams);
// Runs it on an engine of Rhea ("interp", "tcg"). Outcomes are brought to the peer's form.
Result<std::vector<Outcome>> run_rhea(const std::string& harness, const std::string& engine, const std::string& model,
                                      u32 log_mask, std::span<const Stream> streams);

// What differs, in words; empty: nothing, or only what is known (deviations.cpp).
std::string difference(const Stream& stream, const Outcome& peer, const Outcome& rhea);
std::string known_deviation(const Stream& stream, const Outcome& peer, const Outcome& rhea);
std::string describe(const Stream& stream);

}  // namespace rhea::streams
