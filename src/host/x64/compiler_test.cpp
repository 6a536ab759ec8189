// SPDX-License-Identifier: MIT
// Random blocks: what generated code does is what the plain machine does.
#include "host/x64/compiler.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "host/x64/assembler.h"
#include "ir/op_kinds.h"
#include "ir/test_machine.h"
#include "sys/host_fault.h"
#include "sys/memory_map.h"

namespace rhea::x64 {
namespace {

using ir::kNoRef;
using ir::Op;
using ir::Ref;
using ir::StateHeader;
using ir::TestMachine;
using ir::Type;

constexpr u32 kTable = 1u << 20;
constexpr usize kCodeSize = 8u << 20;

struct Machine {
  alignas(64) std::array<u8, sizeof(TestMachine::state)> state{};
  alignas(4096) std::array<u8, 4096> memory{};
  std::array<u8, 256> bounce{};
  u64 group_address = 0;
  unsigned group_bytes = 0;
  StateHeader& header() { return *reinterpret_cast<StateHeader*>(state.data()); }
  void read(u64 address, void* to, usize size) {
    for (usize i = 0; i < size; i++) static_cast<u8*>(to)[i] = memory[(address + i) & 4095];
  }
  void write(u64 address, const void* from, usize size) {
    for (usize i = 0; i < size; i++) memory[(address + i) & 4095] = static_cast<const u8*>(from)[i];
  }
};
Machine& machine_of(StateHeader* state) { return *static_cast<Machine*>(state->engine); }

// Clobbers what a function may clobber.
void trash() {
  if (detect_features() & kAvx512) {
    // Registers that this file's code, compiled for any CPU, does not use.
    asm volatile(
        "vpternlogd $0xff, %zmm16, %zmm16, %zmm16\n vmovdqa64 %zmm16, %zmm17\n vmovdqa64 %zmm16, %zmm18\n"
        "vmovdqa64 %zmm16, %zmm23\n vmovdqa64 %zmm16, %zmm24\n vmovdqa64 %zmm16, %zmm30\n vmovdqa64 %zmm16, %zmm31");
  }
  asm volatile(
      "pcmpeqd %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm1\n movaps %%xmm0, %%xmm5\n mov $-1, %%rsi\n mov $-1, %%r8\n"
      "mov $-1, %%r9\n mov $-1, %%r10\n mov $-1, %%r11\n mov $-1, %%rcx\n mov $-1, %%rdi\n" ::
          : "rsi", "r8", "r9", "r10", "r11", "rcx", "rdi", "xmm0", "xmm1", "xmm5", "cc");
}
bool swaps(u64 descriptor) { return descriptor >> 8 & ir::kBigEndian; }
u64 in_order(u64 descriptor, u64 value) {
  return swaps(descriptor) ? __builtin_bswap64(value) >> (64 - 8 * (descriptor & 0xff)) : value;
}
u64 load(StateHeader* state, u64 address, u64 descriptor) {
  ir::Value value;
  machine_of(state).read(address, &value, descriptor & 0xff);
  value.lo = in_order(descriptor, value.lo);
  trash();
  return value.lo;
}
ir::Value load128(StateHeader* state, u64 address, u64 descriptor) {
  ir::Value value;
  machine_of(state).read(address, &value, 16);
  if (swaps(descriptor)) value = {__builtin_bswap64(value.lo), __builtin_bswap64(value.hi)};
  trash();
  return value;
}
void store(StateHeader* state, u64 address, u64 descriptor, u64 value) {
  value = in_order(descriptor, value);
  machine_of(state).write(address, &value, descriptor & 0xff);
  trash();
}
void store128(StateHeader* state, u64 address, u64 descriptor, u64 low, u64 high) {
  u64 value[] = {low, high};
  if (swaps(descriptor))
    for (u64& half : value) half = __builtin_bswap64(half);
  machine_of(state).write(address, value, 16);
  trash();
}
u64 group_read(StateHeader* state, u64 address, u64 descriptor) {
  Machine& machine = machine_of(state);
  machine.read(address, machine.bounce.data(), descriptor & 0xff);
  trash();
  return reinterpret_cast<u64>(machine.bounce.data());
}
u64 group_write(StateHeader* state, u64 address, u64 descriptor) {
  Machine& machine = machine_of(state);
  machine.group_address = address;
  machine.group_bytes = descriptor & 0xff;
  trash();
  return reinterpret_cast<u64>(machine.bounce.data());
}
void group_commit(StateHeader* state, u64 pointer) {
  Machine& machine = machine_of(state);
  EXPECT_EQ(pointer, reinterpret_cast<u64>(machine.bounce.data()));
  machine.write(machine.group_address, machine.bounce.data(), machine.group_bytes);
  trash();
}

class Harness final : public sys::FaultHandler {
 public:
  // `windows`: plain accesses go through a window in which nothing is mapped, so that each of them faults.
  explicit Harness(u32 features, bool pin = true, bool lazy_flags = true, bool inline_fp = true, bool windows = false)
      : windows_(windows), code_(static_cast<u8*>(std::aligned_alloc(4096, kCodeSize))), tables_(kTable * 20 / 8) {
    EXPECT_TRUE(Xbyak::CodeArray::protect(code_, kCodeSize, Xbyak::CodeArray::PROTECT_RWE));
    for (unsigned i = 0; i < 16; i++) pins_.push_back({TestMachine::kSlots + 4 * ((i * 5) % 16), Type::I32, "r"});
    for (unsigned i = 0; i < 8; i++) pins_.push_back({TestMachine::kVectors + 16 * (7 - i), Type::V128, "v"});
    Settings settings;
    settings.layout = {sizeof(TestMachine::state), pins_};
    settings.runtime = {load, load128, store, store128, group_read, group_write, group_commit, load, nullptr};
    settings.features = features & detect_features();
    settings.write_table = kTable * 8;
    settings.exec_table = kTable * 16;
    settings.pin = pin;
    settings.lazy_flags = lazy_flags;
    settings.inline_fp = inline_fp;
    if (windows) {
      settings.window = kWindow;
      room_ = sys::reserve(kWindow + (u64{1} << 32) + kWindow).take();
      EXPECT_TRUE(sys::place_anonymous(room_.data(), kTable * 20));
      faults_ = std::make_unique<sys::FaultRegistration>(*this);
    }
    compiler_ = std::make_unique<Compiler>(settings, code_, code_, kCodeSize);
    for (u32 page = 0; page < kTable; page++) {
      if (page % 3 == 1) continue;
      const u64 entry = reinterpret_cast<u64>(machine.memory.data()) - (u64{page} << 12);
      tables_[page] = entry;
      tables_[kTable + page] = entry;
    }
    if (windows) std::memcpy(room_.data(), tables_.data(), kTable * 16);
  }
  ~Harness() {
    Xbyak::CodeArray::protect(code_, kCodeSize, Xbyak::CodeArray::PROTECT_RW);
    std::free(code_);
  }

  void compile(const ir::Block& block) {
    CompiledBlock compiled;
    Compiler::Outcome outcome = compiler_->compile(block, {.windowed = windows_}, compiled);
    if (outcome == Compiler::Outcome::full) {
      compiler_->reset();
      outcome = compiler_->compile(block, {.windowed = windows_}, compiled);
    }
    EXPECT_EQ(outcome, Compiler::Outcome::done);
    last = compiled;
  }

  // Runs the block compiled last with the state and memory of `machine`; the exit's index.
  u16 run() {
    StateHeader& header = machine.header();
    header.engine = &machine;
    header.read_table = header.user_read_table = tables_.data();
    if (windows_) header.read_table = reinterpret_cast<u64*>(room_.data());
    header.mxcsr_ieee = header.mxcsr_other = 0x1f80;
    header.mxcsr_neon = 0x9fc0;
    const u64 left = compiler_->enter(header, compiler_->address(last.entry));
    Compiler::sync_fp_flags(header);
    const u32 id = static_cast<u32>(left);
    EXPECT_TRUE(id >= 1 && id <= last.sites.size());
    return last.sites.at(id - 1).exit;
  }
  u64 handle(const sys::HostFault& fault) noexcept override {
    const u64 at = fault.instruction - reinterpret_cast<u64>(code_);
    for (const FaultSite& site : last.faults) {
      if (site.at == at && Compiler::state_of(fault.registers) == &machine.header())
        return reinterpret_cast<u64>(code_) + site.slow;
    }
    return 0;
  }
  std::string code() const { return compiler_->disassemble(last); }

  Machine machine;
  CompiledBlock last;

 private:
  static constexpr u64 kWindow = u64{32} << 20;
  const bool windows_;
  u8* code_;
  sys::MemoryMap room_;
  std::unique_ptr<sys::FaultRegistration> faults_;
  std::vector<u64> tables_;
  std::vector<ir::Pin> pins_;
  std::unique_ptr<Compiler> compiler_;
};

constexpr usize kFirst = TestMachine::kSlots;  // the header's own contents are not compared

::testing::AssertionResult same(Harness& harness, const TestMachine& plain, const ir::Block& block, u16 exit) {
  Machine& machine = harness.machine;
  std::string wrong;
  if (exit != plain.exit) wrong += fmt::format("exit {} instead of {}\n", exit, plain.exit);
  for (usize i = kFirst; i < machine.state.size(); i += 4) {
    const u32 got = load_raw<u32>(&machine.state[i]), want = load_raw<u32>(&plain.state[i]);
    if (got != want) wrong += fmt::format("slot at {}: {:08x} instead of {:08x}\n", i, got, want);
  }
  for (usize i = 0; machine.memory != plain.memory && i < 4096; i++) {
    if (machine.memory[i] != plain.memory[i]) wrong += fmt::format("memory at {:x}\n", i);
  }
  const u32 mask = exit < block.exits.size() ? ir::image_mask(block.exits[exit].live_flags) : 0;
  if ((machine.header().flags & mask) != (plain.flags & mask)) {
    wrong += fmt::format("flags {:08x} instead of {:08x}, mask {:08x}\n", machine.header().flags, plain.flags, mask);
  }
  if (machine.header().fp_flags != plain.fp_flags) {
    wrong += fmt::format("FP flags {:x} instead of {:x}\n", machine.header().fp_flags, plain.fp_flags);
  }
  if ((machine.header().saturated != 0) != (plain.saturated != 0))
    wrong += fmt::format("saturated {}\n", machine.header().saturated);
  if (wrong.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong << ir::print(block) << harness.code();
}

void fill(std::mt19937& random, Harness& harness, TestMachine& plain, bool memory = true) {
  for (usize i = kFirst; i < plain.state.size(); i++) plain.state[i] = static_cast<u8>(random());
  // Edge values in the integers now and then.
  for (unsigned i = 0; i < 16; i++) {
    constexpr u32 kEdges[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xff, 31, 32};
    if (random() % 3 == 0) store_raw<u32>(&plain.state[kFirst + 4 * i], kEdges[random() % 8]);
  }
  if (memory) {
    for (u8& byte : plain.memory) byte = static_cast<u8>(random());
  }
  plain.flags = random() & ir::kImageMask;
  std::memcpy(&harness.machine.state[kFirst], &plain.state[kFirst], plain.state.size() - kFirst);
  harness.machine.memory = plain.memory;
  StateHeader& header = harness.machine.header();
  header.flags = plain.flags;
  header.fp_flags = header.saturated = 0;
  header.unaligned = random() & 1;
}

void compare_random(u32 features, bool pin, bool lazy, bool passes, unsigned count, bool windows = false) {
  auto harness = std::make_unique<Harness>(features, pin, lazy, true, windows);
  for (unsigned seed = 0; seed < count; seed++) {
    std::mt19937 random(seed * 7 + 1);
    ir::Block block = ir::RandomBlock(seed).make(4 + seed * 60 / count);
    block.key = {0x1000, 0};
    ASSERT_EQ(ir::verify(block), "");
    if (passes) ir::run_passes(block, {}, {});
    harness->compile(block);
    for (unsigned round = 0; round < 3; round++) {
      TestMachine plain;
      fill(random, *harness, plain);
      plain.run(block);
      const u16 exit = harness->run();
      ASSERT_TRUE(same(*harness, plain, block, exit)) << "seed " << seed;
    }
  }
}

TEST(Compiler, RandomBlocks) { compare_random(~0u, true, true, false, 4000); }
TEST(Compiler, RandomBlocksAfterPasses) { compare_random(~0u, true, true, true, 4000); }
TEST(Compiler, RandomBlocksBaseline) { compare_random(0, true, true, true, 3000); }
TEST(Compiler, RandomBlocksWithoutPins) { compare_random(~0u, false, true, true, 1500); }
TEST(Compiler, RandomBlocksThroughWindows) { compare_random(~0u, true, true, true, 3000, true); }
TEST(Compiler, RandomBlocksThroughWindowsWithoutPins) { compare_random(~0u, false, true, false, 1500, true); }
TEST(Compiler, RandomBlocksWithoutLazyFlags) { compare_random(~0u, true, false, true, 1500); }

// More values live than there are registers while some loads go the slow way: what was spilled there has to be there
// on both ways.
TEST(Compiler, SpillsWithSlowLoads) {
  for (const u8 flags : {u8{0}, u8{ir::kBigEndian}}) {
    ir::Block block;
    block.key = {0x1000, 0};
    ir::Builder b(block);
    std::vector<Ref> vectors, words;
    const Ref base = b.get(Type::I32, TestMachine::kSlots + 4);
    for (u32 i = 0; i < 24; i++) {
      vectors.push_back(b.emit(Op::LoadV, Type::V128, b.add(base, i * 0x1010), kNoRef, kNoRef, 0, 128, flags));
      words.push_back(b.load(32, b.add(base, i * 0x1004), flags));
      b.store(16, b.add(base, i * 0x1020), words.back(), flags);
    }
    for (u32 i = 0; i < 24; i++) {
      b.emit(Op::StoreV, Type::Void, b.add(base, 0x200 + i * 0x1010), vectors[i], kNoRef, 0, 128, flags);
      b.store(32, b.add(base, 0x800 + i * 0x1004), words[i], flags);
    }
    b.exit({.target = {.pc = 0x2000, .mode = 0}, .live_flags = 0, .insns = 1});
    block.guest_insns = 1;
    ASSERT_EQ(ir::verify(block), "");
    Harness harness(~0u);
    harness.compile(block);
    std::mt19937 random(1);
    for (unsigned round = 0; round < 200; round++) {
      TestMachine plain;
      fill(random, harness, plain);
      plain.run(block);
      const u16 exit = harness.run();
      ASSERT_TRUE(same(harness, plain, block, exit)) << "flags " << int{flags};
    }
  }
}

// Slots of vectors, doubles, floats and integers written over each other and read as another, with slow accesses
// between.
TEST(Compiler, FloatPins) {
  constexpr Type kTypes[] = {Type::F64, Type::F32, Type::F64, Type::V64, Type::V128, Type::I32, Type::I64};
  auto harness = std::make_unique<Harness>(~0u);
  for (const bool passes : {false, true}) {
    for (unsigned seed = 0; seed < 1500; seed++) {
      std::mt19937 random(seed);
      ir::Block block;
      block.key = {0x1000, 0};
      ir::Builder b(block);
      std::array<std::vector<Ref>, 7> values;  // by Type
      const auto slot = [&](Type type) {
        const u32 size = type == Type::V128 ? 16 : type == Type::F32 || type == Type::I32 ? 4 : 8;
        return TestMachine::kVectors + static_cast<u32>(random() % (128 / size)) * size;
      };
      const auto of = [&](Type type) -> std::vector<Ref>& { return values[static_cast<usize>(type)]; };
      for (const Type type : kTypes) of(type).push_back(b.get(type, slot(type)));
      of(Type::I32).push_back(b.const32(0x12345678));
      for (unsigned i = 0; i < 30; i++) {
        const Type type = kTypes[random() % std::size(kTypes)];
        std::vector<Ref>& known = of(type);
        if (random() % 8 == 0) {
          b.loc(i);
          const Ref address = of(Type::I32)[random() % of(Type::I32).size()];
          of(Type::I32).push_back(b.load(32, address, random() % 2 ? ir::kBigEndian : 0));
        } else if (random() % 2) {
          known.push_back(b.get(type, slot(type)));
        } else {
          b.set(type, slot(type), known[random() % known.size()]);
        }
      }
      b.exit({.target = {.pc = 0x2000, .mode = 0}, .live_flags = 0, .insns = 1});
      block.guest_insns = 1;
      ASSERT_EQ(ir::verify(block), "");
      ir::Block compiled = block;
      if (passes) ir::run_passes(compiled, {}, {});
      harness->compile(compiled);
      for (unsigned round = 0; round < 2; round++) {
        TestMachine plain;
        fill(random, *harness, plain);
        plain.run(block);
        const u16 exit = harness->run();
        ASSERT_TRUE(same(*harness, plain, compiled, exit)) << "seed " << seed;
      }
    }
  }
}

// One flag of a value, then the image is merged and read, then another flag of the same value.
TEST(Compiler, FlagsOfAValueAfterAMerge) {
  for (const u8 first : {ir::kFlagN, ir::kFlagZ}) {
    ir::Block block;
    block.key = {0x1000, 0};
    ir::Builder b(block);
    const Ref value = b.get(Type::I32, TestMachine::kSlots + 4);
    b.set_flags(value, first);
    b.exit_if(ir::Cond::VS, {.target = {.pc = 0x2000, .mode = 0}, .live_flags = ir::kFlagNZCV, .insns = 1});
    b.set_flags(value, (ir::kFlagN | ir::kFlagZ) & ~first);
    b.exit_if(ir::Cond::GT, {.target = {.pc = 0x3000, .mode = 0}, .live_flags = ir::kFlagNZCV, .insns = 1});
    b.exit({.target = {.pc = 0x4000, .mode = 0}, .live_flags = ir::kFlagNZCV, .insns = 1});
    block.guest_insns = 1;
    ASSERT_EQ(ir::verify(block), "");
    Harness harness(~0u);
    harness.compile(block);
    std::mt19937 random(1);
    for (unsigned round = 0; round < 200; round++) {
      TestMachine plain;
      fill(random, harness, plain);
      plain.run(block);
      const u16 exit = harness.run();
      ASSERT_TRUE(same(harness, plain, block, exit));
    }
  }
}

// ---- one operation at a time -----------------------------------------------------------------------------------

constexpr u32 kEdges32[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x007fffff, 0x00800000, 0x80800000,
                            0x00800001, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x40490fdb, 0x4b000000,
                            0x4b800001, 0x4f000000, 0xcf000000, 0x4f7fffff, 0x4f800000, 0xbf000000, 0x3f000000,
                            0x3fc00000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001,
                            0xff923456, 0x20000000, 0x1f800000, 0x60000000};
constexpr u64 kEdges64[] = {0,
                            0x8000000000000000,
                            1,
                            0x800fffffffffffff,
                            0x000fffffffffffff,
                            0x0010000000000000,
                            0x8010000000000000,
                            0x3ff0000000000000,
                            0xbff0000000000000,
                            0x3ff0000000000001,
                            0x3fefffffffffffff,
                            0x41dfffffffc00000,
                            0x41e0000000000000,
                            0xc1e0000000000000,
                            0x41efffffffe00000,
                            0x41efffffffffffff,
                            0x41f0000000000000,
                            0xbfe0000000000000,
                            0x3fe0000000000000,
                            0x3ff8000000000000,
                            0x7fefffffffffffff,
                            0x7ff0000000000000,
                            0xfff0000000000000,
                            0x7ff8000000000000,
                            0xfff8000012345678,
                            0x7ff0000000000001,
                            0x1ff0000000000000,
                            0x2000000000000000,
                            0x3690000000000000,
                            0x36a0000000000001,
                            0x380fffffffffffff,
                            0x3810000000000000,
                            0x47efffffe0000000,
                            0x47effffff0000000};

bool lane_fits(Op op, unsigned lane) {
  switch (op) {
    case Op::VSatDoubleMulHi:
    case Op::VSatRndDoubleMulHi:
    case Op::VSatDoubleMulLong: return lane == 16 || lane == 32;
    case Op::VNarrow:
    case Op::VSatNarrowU:
    case Op::VSatNarrowS:
    case Op::VSatNarrowSU: return lane >= 16;
    case Op::VMulPoly:
    case Op::VMulLongPoly:
    case Op::VPopCount:
    case Op::VTableLookup:
    case Op::VRev16:
    case Op::VExtract: return lane == 8;
    case Op::VRev32: return lane <= 16;
    case Op::VRecipEstimateU:
    case Op::VRsqrtEstimateU: return lane == 32;
    case Op::VMul:
    case Op::VAbs:
    case Op::VWidenU:
    case Op::VWidenS:
    case Op::VMulLongU:
    case Op::VMulLongS:
    case Op::VPairAddLongU:
    case Op::VPairAddLongS:
    case Op::VRev64:
    case Op::VPairAdd:
    case Op::VPairMinS:
    case Op::VPairMinU:
    case Op::VPairMaxS:
    case Op::VPairMaxU:
    case Op::VClz:
    case Op::VCls: return lane <= 32;
    case Op::VRotlImm: return lane >= 32;
    default: return op >= Op::VFAdd ? lane == 32 : true;
  }
}

u64 immediate(Op op, unsigned lane, std::mt19937& random) {
  switch (op) {
    case Op::VConst: return u64{random()} << 32 | random();
    case Op::VDupLane:
    case Op::VGetLane:
    case Op::VSetLane: return random() % (128 / lane);
    case Op::VToF: return random() % 2;
    case Op::VShlImm:
    case Op::VSatShlUImm:
    case Op::VSatShlSImm:
    case Op::VSatShlSUImm: return random() % lane;
    case Op::VRotlImm: return 1 + random() % (lane - 1);
    case Op::VShrUImm:
    case Op::VShrSImm:
    case Op::VShrRndUImm:
    case Op::VShrRndSImm: return 1 + random() % lane;
    case Op::VExtract: return random() % 16;
    case Op::VTableLookup: return 8 * (1 + random() % 4);
    case Op::SatS: return 1 + random() % 32;
    case Op::DidSatS: return 1 + random() % 32;
    case Op::SatU:
    case Op::DidSatU: return random() % 32;
    case Op::FCmp:
    case Op::FToS:
    case Op::FToU: return random() % 2;
    case Op::VFFromS:
    case Op::VFFromU:
    case Op::VFToS:
    case Op::VFToU: return random() % 3 ? 0 : random() % 33;
    default: return 0;
  }
}

Type type_of_kind(ir::Kind kind, Type own) {
  switch (kind) {
    case ir::Kind::I32: return Type::I32;
    case ir::Kind::I64: return Type::I64;
    case ir::Kind::F32: return Type::F32;
    case ir::Kind::F64: return Type::F64;
    case ir::Kind::I: return own == Type::I64 || own == Type::F64 ? Type::I64 : Type::I32;
    case ir::Kind::F: return own == Type::I64 || own == Type::F64 ? Type::F64 : Type::F32;
    case ir::Kind::V: return Type::V128;
    default: return own;
  }
}

// A block that has `op` alone between reads and writes of vector slots.
ir::Block block_of(Op op, Type type, unsigned lane, u8 aux, u8 aux2, u64 imm) {
  ir::Block block;
  block.key = {0x1000, 0};
  ir::Builder b(block);
  const ir::OpKinds& kinds = ir::kinds(op);
  std::array<Ref, 3> args = {kNoRef, kNoRef, kNoRef};
  const bool dup64 = (op == Op::VDup || op == Op::VSetLane) && lane == 64;
  for (unsigned i = 0; i < kinds.count; i++) {
    Type arg = type_of_kind(kinds.args[i], type);
    if (op == Op::FToF) arg = type == Type::F32 ? Type::F64 : Type::F32;
    if (kinds.args[i] == ir::Kind::I && dup64) arg = Type::I64;
    if (op == Op::VFromF) arg = lane == 64 ? Type::F64 : Type::F32;
    // Half vectors as the front ends give them.
    const bool half = arg == Type::V128 && aux2 & 1;
    args[i] = b.get(half ? Type::V64 : arg, TestMachine::kVectors + 16 * i);
  }
  const Ref result = b.emit(op, type, args[0], args[1], args[2], imm, static_cast<u8>(lane), aux, aux2);
  b.set(ir::result_type(block.insts[result]), TestMachine::kVectors + 64, result);
  b.exit({.target = {.pc = 0x2000, .mode = 0}, .live_flags = 0, .insns = 1});
  block.guest_insns = 1;
  return block;
}

void check_op(Harness& harness, Op op, Type type, unsigned lane, u8 aux, u8 aux2, std::mt19937& random,
              unsigned rounds) {
  const ir::Block block = block_of(op, type, lane, aux, aux2, immediate(op, lane, random));
  harness.compile(block);
  const bool single = type == Type::F32 || op >= Op::VFAdd || op == Op::FToF;
  for (unsigned round = 0; round < rounds; round++) {
    TestMachine plain;
    fill(random, harness, plain, false);
    for (unsigned i = 0; i < 32; i++) {
      const unsigned at = TestMachine::kVectors + 4 * i;
      if (single && random() % 4) store_raw<u32>(&plain.state[at], kEdges32[random() % std::size(kEdges32)]);
      if (!single && i % 2 == 0 && random() % 2)
        store_raw<u64>(&plain.state[at], kEdges64[random() % std::size(kEdges64)]);
    }
    if (op == Op::FToF && type == Type::F32) {
      store_raw<u64>(&plain.state[TestMachine::kVectors], kEdges64[random() % std::size(kEdges64)]);
    }
    std::memcpy(&harness.machine.state[kFirst], &plain.state[kFirst], plain.state.size() - kFirst);
    if (random() % 2) harness.machine.header().fp_flags = plain.fp_flags = ir::kFpInexact;
    plain.run(block);
    const u16 exit = harness.run();
    std::string operands;
    for (unsigned i = 0; i < 12; i++) {
      operands += fmt::format("{:08x} ", load_raw<u32>(&plain.state[TestMachine::kVectors + 4 * i]));
    }
    ASSERT_TRUE(same(harness, plain, block, exit)) << ir::info(op).name << " lane " << lane << " operands " << operands;
  }
}

void check_all(u32 features) {
  auto harness = std::make_unique<Harness>(features);
  std::mt19937 random(1);
  for (unsigned i = 0; i < static_cast<unsigned>(Op::kCount); i++) {
    const Op op = static_cast<Op>(i);
    if (!ir::eval_function(op) || (op >= Op::SetFlags && op <= Op::TestCond) || op == Op::Const) continue;
    if (op >= Op::VConst) {
      for (const unsigned lane : {8u, 16u, 32u, 64u}) {
        if (!lane_fits(op, lane)) continue;
        Type type = Type::V128;
        if (op == Op::VGetLane) type = lane == 64 ? Type::I64 : Type::I32;
        if (op == Op::VToF) type = lane == 64 ? Type::F64 : Type::F32;
        for (unsigned variant = 0; variant < 8; variant++) {
          const u8 mode = op >= Op::VFAdd ? u8{ir::kFpModeNeon} : static_cast<u8>(op == Op::VGetLane ? variant & 1 : 0);
          const bool halves = op >= Op::VFAdd && op <= Op::VFRsqrtStep;
          check_op(*harness, op, type, lane, mode, halves ? variant & 1 : 0, random, op >= Op::VFAdd ? 200 : 20);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    } else if (op >= Op::FAdd && op <= Op::FToBits) {
      for (const Type type : {Type::F32, Type::F64}) {
        Type own = type;
        if (op == Op::FToBits) own = type == Type::F32 ? Type::I32 : Type::I64;
        for (u8 mode = 0; mode < 16; mode++) {
          check_op(*harness, op, own, 0, mode, 0, random, 500);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    } else {
      for (const Type type : {Type::I32, Type::I64}) {
        const ir::Kind result = ir::kinds(op).result;
        if (type == Type::I64 && (result == ir::Kind::I32 || result == ir::Kind::I64) && !ir::kinds(op).count) continue;
        if (op >= Op::Parallel && op <= Op::SelectBytes && type == Type::I64) continue;
        if (op >= Op::SatS && op <= Op::DidSatU && type == Type::I64) continue;
        for (unsigned variant = 0; variant < 48; variant++) {
          const unsigned lane = variant & 1 ? 8 : 16;
          const u8 aux =
              op == Op::Parallel || op == Op::ParallelGe ? static_cast<u8>((variant >> 1) % 3 << 3 | (variant & 3)) : 0;
          check_op(*harness, op, type, lane, aux, 0, random, 20);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Operations, All) { check_all(~0u); }
TEST(Operations, AllWithAvx2) { check_all(kAvx | kAvx2 | kBmi1 | kBmi2 | kLzcnt | kMovbe | kFma); }
TEST(Operations, AllBaseline) { check_all(0); }

}  // namespace
}  // namespace rhea::x64
