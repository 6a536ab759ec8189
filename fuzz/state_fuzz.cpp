// SPDX-License-Identifier: MIT
// A machine's state stream: the input, with its lengths and checksums put right, is loaded into a machine that stands
// still. A stream that is refused must leave the machine as it was.
#include <zlib.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "machine/machine.h"
#include "machine/state.h"
#include "util/bits.h"

namespace {

using namespace rhea;

struct World {
  World() : machine(log) {
    machine::MachineConfig config;
    config.board = machine::find_board("vexpress-a9");
    config.ram_size = u64{1} << 20;
    config.accel.engine = "interp";
    config.start_paused = true;
    if (const Result<void> built = machine.build(config); !built.ok()) {
      std::fprintf(stderr, "%s\n", built.error().message().c_str());
      __builtin_trap();
    }
    std::lock_guard lock(machine.loop().lock());
    machine::MemorySink sink;
    if (const auto saved = machine::save_machine(machine, sink, {}); !saved.ok()) {
      std::fprintf(stderr, "%s\n", saved.error().message().c_str());
      __builtin_trap();
    }
    whole = std::move(sink.bytes);
  }
  // Without the first section, which has the date.
  std::vector<u8> save() {
    machine::MemorySink sink;
    if (!machine::save_machine(machine, sink, {}).ok()) __builtin_trap();
    const usize head = 12 + 12 + load_le<u32>(&sink.bytes[16]);
    return {sink.bytes.begin() + static_cast<std::ptrdiff_t>(head), sink.bytes.end()};
  }
  Log log;
  machine::Machine machine;
  std::vector<u8> whole;
};

// Changes content of sections as the input says (section, place, value) and puts the checksums right.
std::vector<u8> changed(const std::vector<u8>& whole, const u8* data, usize size) {
  std::vector<u8> stream = whole;
  std::vector<std::pair<usize, u32>> sections;  // place of the content, its size
  for (usize at = 12; at + 12 <= stream.size();) {
    const u32 length = load_le<u32>(&stream[at + 4]);
    sections.emplace_back(at + 12, length);
    at += 12 + length;
  }
  for (usize i = 0; i + 5 <= size; i += 5) {
    const auto [place, length] = sections[data[i] % sections.size()];
    if (!length) continue;
    stream[place + (data[i + 1] | data[i + 2] << 8) % length] = data[i + 3];
    if (data[i + 4] & 1) continue;
    store_le<u32>(&stream[place - 4], static_cast<u32>(crc32(0, &stream[place], length)));
  }
  return stream;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  constexpr usize kMost = 200;
  if (size > kMost) return 0;
  static World world;
  std::lock_guard lock(world.machine.loop().lock());
  for (const std::vector<u8>& stream : {std::vector<u8>(data, data + size), changed(world.whole, data, size)}) {
    machine::MemorySource source(stream);
    const std::vector<u8> before = world.save();
    if (!machine::load_machine(world.machine, source).ok() && world.save() != before) {
      std::fprintf(stderr, "a refused stream changed the machine\n");
      __builtin_trap();
    }
    memory::Attributes who;
    for (u64 address = 0x10000000; address < 0x10020000; address += 0x1004)
      world.machine.memory().read(address, 4, who);
  }
  machine::MemorySource good(world.whole);
  if (const Result<void> loaded = machine::load_machine(world.machine, good); !loaded.ok()) {
    std::fprintf(stderr, "its own stream is refused: %s\n", loaded.error().message().c_str());
    __builtin_trap();
  }
  return 0;
}
