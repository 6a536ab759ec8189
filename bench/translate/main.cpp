// SPDX-License-Identifier: MIT
// rhea-translate-bench PROGRAM [BLOCKS]: what translation itself costs, without a machine around it. The Thumb code
// of an ARM program's .text is translated block after block, as a CPU in User mode would have it, and the time of each
// stage is told for each guest instruction. What the engine does beside it (lookups, remembering what a block was made
// from, links) is `info jit`'s to tell.
#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "guest/arm/cpu.h"
#include "guest/arm/state.h"
#include "host/x64/compiler.h"
#include "ir/passes/passes.h"
#include "sys/file.h"
#include "sys/memory_map.h"
#include "util/log.h"

namespace rhea {
namespace {

constexpr u64 kPage = 4096;
constexpr unsigned kMaxInsns = 64;
constexpr usize kCodeSize = usize{256} << 20;

struct Text {
  u32 address = 0;
  std::vector<u8> bytes;
};

// The .text section of a 32-bit little-endian ELF file; without bytes: it has none.
Text text_of(const std::vector<u8>& file) {
  Elf32_Ehdr header;
  if (file.size() < sizeof(header)) return {};
  std::memcpy(&header, file.data(), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != EM_ARM) return {};
  const auto section = [&](unsigned index) {
    Elf32_Shdr found = {};
    const u64 at = header.e_shoff + u64{index} * sizeof(found);
    if (at + sizeof(found) <= file.size()) std::memcpy(&found, file.data() + at, sizeof(found));
    return found;
  };
  const Elf32_Shdr names = section(header.e_shstrndx);
  for (unsigned i = 0; i < header.e_shnum; i++) {
    const Elf32_Shdr found = section(i);
    const u64 name = u64{names.sh_offset} + found.sh_name;
    if (name + 6 > file.size() || std::memcmp(file.data() + name, ".text", 6) != 0) continue;
    if (u64{found.sh_offset} + found.sh_size > file.size()) return {};
    const auto begin = file.begin() + found.sh_offset;
    return {found.sh_addr, std::vector<u8>(begin, begin + found.sh_size)};
  }
  return {};
}

class TextReader final : public ir::CodeReader {
 public:
  explicit TextReader(const Text& text) : text_(text) {}
  bool fetch16(u64 address, u16& value) override {
    const u64 at = address - text_.address;
    if (at + 2 > text_.bytes.size()) return false;
    std::memcpy(&value, text_.bytes.data() + at, 2);
    return true;
  }

 private:
  const Text& text_;
};

[[noreturn]] void unreachable() { std::abort(); }

// Nothing that is compiled here runs.
x64::Runtime no_runtime() {
  x64::Runtime runtime = {};
  runtime.load = [](ir::StateHeader*, u64, u64) -> u64 { unreachable(); };
  runtime.load128 = [](ir::StateHeader*, u64, u64) -> ir::Value { unreachable(); };
  runtime.store = [](ir::StateHeader*, u64, u64, u64) { unreachable(); };
  runtime.store128 = [](ir::StateHeader*, u64, u64, u64, u64) { unreachable(); };
  runtime.group_read = runtime.group_write = runtime.load;
  runtime.group_commit = [](ir::StateHeader*, u64) { unreachable(); };
  runtime.load_exclusive = runtime.load;
  runtime.store_exclusive = [](ir::StateHeader*, u64, u64, u64) -> u64 { unreachable(); };
  return runtime;
}

x64::Settings settings_of(const ir::Guest& guest) {
  x64::Settings settings;
  settings.layout = guest.layout();
  settings.helpers = guest.helpers();
  settings.runtime = no_runtime();
  settings.features = x64::detect_features();
  settings.write_table = 8u << 20;
  settings.exec_table = 16u << 20;
  settings.window = 32u << 20;
  return settings;
}

class Stages {
 public:
  using Clock = std::chrono::steady_clock;
  void begin() { last_ = Clock::now(); }
  void end(usize stage) {
    const Clock::time_point now = Clock::now();
    spent_[stage] += now - last_;
    last_ = now;
  }
  double nanoseconds(usize stage) const { return std::chrono::duration<double, std::nano>(spent_[stage]).count(); }

 private:
  Clock::time_point last_;
  std::array<Clock::duration, 3> spent_{};
};

struct Totals {
  u64 blocks = 0, insns = 0, ops = 0, hot_bytes = 0, cold_bytes = 0;
};

int run(const char* path, u64 most) {
  const Result<std::vector<u8>> file = sys::read_file(path);
  if (!file.ok()) {
    fmt::print(stderr, "rhea-translate-bench: {}: {}\n", path, file.error().message());
    return 1;
  }
  const Text text = text_of(file.value());
  if (text.bytes.empty()) {
    fmt::print(stderr, "rhea-translate-bench: {}: not a 32-bit ARM ELF program with a .text section\n", path);
    return 1;
  }
  Log log;
  const auto cpu = arm::make_cpu("cortex-a9", 0, 1, 0, 0, log);
  Result<sys::MemoryMap> buffer = sys::map_anonymous(kCodeSize);
  if (!buffer.ok()) {
    fmt::print(stderr, "rhea-translate-bench: {}\n", buffer.error().message());
    return 1;
  }
  x64::Compiler compiler(settings_of(*cpu), buffer.value().data(), buffer.value().data(), kCodeSize);
  TextReader reader(text);
  ir::Block block;
  x64::CompiledBlock compiled;
  Stages stages;
  Totals totals;
  const u64 mode = arm::kModeThumb | arm::kModeFpAccess | arm::kModeFpEnabled;
  for (u64 pc = text.address; totals.blocks < most && pc + kPage < text.address + text.bytes.size();) {
    stages.begin();
    block.clear();
    block.key = {pc, mode};
    cpu->translate(block.key, reader, kMaxInsns, block);
    stages.end(0);
    ir::run_passes(block, cpu->helpers(), {});
    stages.end(1);
    const x64::Compiler::Outcome outcome = compiler.compile(block, {.windowed = true}, compiled);
    stages.end(2);
    if (outcome == x64::Compiler::Outcome::full) compiler.reset();
    totals.blocks++;
    totals.insns += block.guest_insns;
    totals.ops += block.insts.size();
    totals.hot_bytes += compiled.hot_bytes;
    totals.cold_bytes += compiled.cold_bytes;
    pc += std::max<u32>(block.guest_bytes, 2);
  }
  const double insns = static_cast<double>(std::max<u64>(totals.insns, 1));
  const double decode = stages.nanoseconds(0) / insns, passes = stages.nanoseconds(1) / insns,
               compile = stages.nanoseconds(2) / insns;
  fmt::print("{} blocks, {} guest instructions, each {:.1f} operations, {:.1f} bytes and {:.1f} of slow paths\n",
             totals.blocks, totals.insns, static_cast<double>(totals.ops) / insns,
             static_cast<double>(totals.hot_bytes) / insns, static_cast<double>(totals.cold_bytes) / insns);
  fmt::print("ns per guest instruction: {:.0f} (to IR {:.0f}, passes {:.0f}, to x86-64 {:.0f})\n",
             decode + passes + compile, decode, passes, compile);
  return 0;
}

}  // namespace
}  // namespace rhea

int main(int argc, char** argv) {
  const rhea::u64 blocks = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  if (argc < 2 || argc > 3 || (argc == 3 && !blocks)) {
    fmt::print(stderr,
               "usage: rhea-translate-bench PROGRAM [BLOCKS]\n"
               "PROGRAM: an ARM ELF program of Thumb code (Debian armhf); BLOCKS: at most so many, 200000\n");
    return 2;
  }
  return rhea::run(argv[1], blocks ? blocks : 200000);
}
