// SPDX-License-Identifier: MIT
// Random blocks: what generated code does is what the plain machine does.
#include "host/x64/compiler.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "host/x64/assembler.h"
#include "ir/test_machine.h"

namespace rhea::x64 {
namespace {

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
  asm volatile("pcmpeqd %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm1\n movaps %%xmm0, %%xmm5\n mov $-1, %%rsi\n mov $-1, %%r8\n"
               "mov $-1, %%r9\n mov $-1, %%r10\n mov $-1, %%r11\n mov $-1, %%rcx\n mov $-1, %%rdi\n" ::
                   : "rsi", "r8", "r9", "r10", "r11", "rcx", "rdi", "xmm0", "xmm1", "xmm5", "cc");
}
u64 load(StateHeader* state, u64 address, u64 descriptor) {
  ir::Value value;
  machine_of(state).read(address, &value, descriptor & 0xff);
  trash();
  return value.lo;
}
ir::Value load128(StateHeader* state, u64 address, u64) {
  ir::Value value;
  machine_of(state).read(address, &value, 16);
  trash();
  return value;
}
void store(StateHeader* state, u64 address, u64 descriptor, u64 value) {
  machine_of(state).write(address, &value, descriptor & 0xff);
  trash();
}
void store128(StateHeader* state, u64 address, u64, u64 low, u64 high) {
  const u64 value[] = {low, high};
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

class Harness {
 public:
  explicit Harness(u32 features, bool pin = true, bool lazy_flags = true, bool inline_fp = true)
      : code_(static_cast<u8*>(std::aligned_alloc(4096, kCodeSize))), tables_(kTable * 20 / 8) {
    EXPECT_TRUE(Xbyak::CodeArray::protect(code_, kCodeSize, Xbyak::CodeArray::PROTECT_RWE));
    for (unsigned i = 0; i < 16; i++) pins_.push_back({TestMachine::kSlots + 4 * ((i * 5) % 16), Type::I32, "r"});
    Settings settings;
    settings.layout = {sizeof(TestMachine::state), pins_};
    settings.runtime = {load, load128, store, store128, group_read, group_write, group_commit, load, nullptr};
    settings.features = features & detect_features();
    settings.write_table = kTable * 8;
    settings.exec_table = kTable * 16;
    settings.pin = pin;
    settings.lazy_flags = lazy_flags;
    settings.inline_fp = inline_fp;
    compiler_ = std::make_unique<Compiler>(settings, code_, code_, kCodeSize);
    for (u32 page = 0; page < kTable; page++) {
      if (page % 3 == 1) continue;
      const u64 entry = reinterpret_cast<u64>(machine.memory.data()) - (u64{page} << 12);
      tables_[page] = entry;
      tables_[kTable + page] = entry;
    }
  }
  ~Harness() {
    Xbyak::CodeArray::protect(code_, kCodeSize, Xbyak::CodeArray::PROTECT_RW);
    std::free(code_);
  }

  // Runs a block with the state and memory of `machine`; the exit's index.
  u16 run(const ir::Block& block) {
    CompiledBlock compiled;
    Compiler::Outcome outcome = compiler_->compile(block, 1, 0, compiled);
    if (outcome == Compiler::Outcome::full) {
      compiler_->reset();
      outcome = compiler_->compile(block, 1, 0, compiled);
    }
    EXPECT_EQ(outcome, Compiler::Outcome::done);
    last = compiled;
    StateHeader& header = machine.header();
    header.engine = &machine;
    header.read_table = header.user_read_table = tables_.data();
    header.mxcsr_ieee = header.mxcsr_other = 0x1f80;
    header.mxcsr_neon = 0x9fc0;
    const u64 left = compiler_->enter(header, compiler_->address(compiled.entry));
    Compiler::sync_fp_flags(header);
    const u32 id = static_cast<u32>(left);
    EXPECT_TRUE(id >= 1 && id <= compiled.sites.size());
    return compiled.sites.at(id - 1).exit;
  }
  std::string code() const { return compiler_->disassemble(last); }

  Machine machine;
  CompiledBlock last;

 private:
  u8* code_;
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
  for (usize i = 0; i < 4096; i++) {
    if (machine.memory[i] != plain.memory[i]) wrong += fmt::format("memory at {:x}\n", i);
  }
  const u32 mask = exit < block.exits.size() ? ir::image_mask(block.exits[exit].live_flags) : 0;
  if ((machine.header().flags & mask) != (plain.flags & mask)) {
    wrong += fmt::format("flags {:08x} instead of {:08x}, mask {:08x}\n", machine.header().flags, plain.flags, mask);
  }
  if (machine.header().fp_flags != plain.fp_flags) {
    wrong += fmt::format("FP flags {:x} instead of {:x}\n", machine.header().fp_flags, plain.fp_flags);
  }
  if ((machine.header().saturated != 0) != (plain.saturated != 0)) wrong += fmt::format("saturated {}\n", machine.header().saturated);
  if (wrong.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << wrong << ir::print(block) << harness.code();
}

void fill(std::mt19937& random, Harness& harness, TestMachine& plain) {
  for (usize i = kFirst; i < plain.state.size(); i++) plain.state[i] = static_cast<u8>(random());
  // Edge values in the integers now and then.
  for (unsigned i = 0; i < 16; i++) {
    constexpr u32 kEdges[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xff, 31, 32};
    if (random() % 3 == 0) store_raw<u32>(&plain.state[kFirst + 4 * i], kEdges[random() % 8]);
  }
  for (u8& byte : plain.memory) byte = static_cast<u8>(random());
  plain.flags = random() & ir::kImageMask;
  std::memcpy(&harness.machine.state[kFirst], &plain.state[kFirst], plain.state.size() - kFirst);
  harness.machine.memory = plain.memory;
  StateHeader& header = harness.machine.header();
  header.flags = plain.flags;
  header.fp_flags = header.saturated = 0;
}

void compare_random(u32 features, bool pin, bool lazy, bool passes, unsigned count) {
  auto harness = std::make_unique<Harness>(features, pin, lazy);
  for (unsigned seed = 0; seed < count; seed++) {
    std::mt19937 random(seed * 7 + 1);
    ir::Block block = ir::RandomBlock(seed).make(4 + seed * 60 / count);
    block.key = {0x1000, 0};
    ASSERT_EQ(ir::verify(block), "");
    if (passes) ir::run_passes(block, {}, {});
    for (unsigned round = 0; round < 3; round++) {
      TestMachine plain;
      fill(random, *harness, plain);
      plain.run(block);
      const u16 exit = harness->run(block);
      ASSERT_TRUE(same(*harness, plain, block, exit)) << "seed " << seed;
    }
  }
}

TEST(Compiler, RandomBlocks) { compare_random(~0u, true, true, false, 4000); }
TEST(Compiler, RandomBlocksAfterPasses) { compare_random(~0u, true, true, true, 4000); }
TEST(Compiler, RandomBlocksBaseline) { compare_random(0, true, true, true, 3000); }
TEST(Compiler, RandomBlocksWithoutPins) { compare_random(~0u, false, true, true, 1500); }
TEST(Compiler, RandomBlocksWithoutLazyFlags) { compare_random(~0u, true, false, true, 1500); }

}  // namespace
}  // namespace rhea::x64
