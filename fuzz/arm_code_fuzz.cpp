// SPDX-License-Identifier: MIT
// Any bytes as ARM code, in any mode: translation ends, and gives blocks that the verifier accepts.
#include <cstdlib>
#include <string>

#include "guest/arm/cpu.h"
#include "util/bits.h"

using namespace rhea;

namespace {

class Reader final : public ir::CodeReader {
 public:
  Reader(const u8* data, usize size) : data_(data), size_(size) {}
  bool fetch16(u64 address, u16& value) override {
    const u64 offset = address - kBase;
    if (address < kBase || offset + 2 > size_) return false;
    value = load_le<u16>(data_ + offset);
    return true;
  }
  static constexpr u64 kBase = 0x8ff0;  // so that blocks cross a page

 private:
  const u8* data_;
  usize size_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 5) return 0;
  static Log log;
  static const auto cpu = arm::make_cpu("cortex-a9", 0, 1, 0, 0, log);
  const u32 mode = load_le<u32>(data);
  Reader reader(data + 4, size - 4);
  ir::Block block;
  cpu->translate({Reader::kBase, mode}, reader, 64, block);
  if (block.guest_insns && !ir::verify(block).empty()) std::abort();
  unsigned length = 0;
  arm::Cpu::disassemble(Reader::kBase, {data + 4, size - 4}, mode & 1, length);
  return 0;
}
