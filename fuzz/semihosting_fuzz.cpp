// SPDX-License-Identifier: MIT
// Semihosting calls of a hostile guest, in a folder made for each input. An input is a row of calls: a byte for the
// operation, a byte for what the words of its block are, and as many bytes. The guest's memory has some names of files
// at fixed places; no byte of it is a slash, so that the host outside of that folder stays out of reach.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "cli/semihosting.h"
#include "core/loop.h"

using namespace rhea;

namespace {

constexpr u32 kNames = 0x800, kNameSize = 32, kMemory = 0x4000;
constexpr std::string_view kKnown[] = {"a", "b", ":tt", ":semihosting-features", "folder", "..", "link", ""};

class Memory final : public SemihostingMemory {
 public:
  Memory() {
    for (usize i = 0; i < std::size(kKnown); ++i)
      std::copy(kKnown[i].begin(), kKnown[i].end(),
                bytes_.begin() + kNames + static_cast<std::ptrdiff_t>(i * kNameSize));
  }
  bool read(u32 address, std::span<u8> data) override {
    if (u64{address} + data.size() > bytes_.size()) return false;
    std::memcpy(data.data(), bytes_.data() + address, data.size());
    std::replace(data.begin(), data.end(), u8{'/'}, u8{'_'});
    return true;
  }
  bool write(u32 address, std::span<const u8> data) override {
    if (u64{address} + data.size() > bytes_.size()) return false;
    std::memcpy(bytes_.data() + address, data.data(), data.size());
    return true;
  }
  void put_word(u32 index, u32 value) { std::memcpy(bytes_.data() + 4 * index, &value, 4); }

 private:
  std::vector<u8> bytes_ = std::vector<u8>(kMemory);
};

class Console final : public chardev::Backend {
 public:
  void write(std::span<const u8>) override {}
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "fuzz"; }
};

// A word by two of the input's bytes: a small number, the place or the length of a name, any place, anything.
u32 word(u8 kind, u8 value) {
  switch (kind & 3) {
    case 0: return value;
    case 1: return kNames + value % std::size(kKnown) * kNameSize;
    case 2: return static_cast<u32>(kKnown[value % std::size(kKnown)].size());
    default: return value * 0x01010101u >> (kind >> 2 & 31);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  namespace fs = std::filesystem;
  std::string name = (fs::temp_directory_path() / "rhea-semihosting-fuzz-XXXXXX").string();
  if (!::mkdtemp(name.data())) return 0;
  const fs::path before = fs::current_path();
  fs::current_path(name);
  fs::create_directory("folder");
  fs::create_symlink("a", "link");
  {
    core::Loop loop("fuzz");
    Console console;
    Memory memory;
    cli::HostSemihosting host({.loop = loop,
                               .console = &console,
                               .command_line = "program and its words",
                               .ram_base = 0x60000000,
                               .ram_end = 0x68000000,
                               .exit = [](int status) {
                                 if (status < 0 || status > 255) std::abort();
                               }});
    for (usize at = 0, calls = 0; at + 10 <= size && calls < 100; at += 10, ++calls) {
      for (u32 i = 0; i < 4; ++i) memory.put_word(i, word(data[at + 2 + 2 * i], data[at + 3 + 2 * i]));
      const u32 parameter = data[at + 1] < 200 ? 0 : word(data[at + 1], data[at + 2]);
      host.call(data[at] & 63, parameter, memory);
      if (data[at] & 64) host.receive(std::span(data + at, std::min<usize>(10, host.can_receive())));
      loop.run_once();
    }
  }
  fs::current_path(before);
  std::error_code ignored;
  fs::remove_all(name, ignored);
  return 0;
}
