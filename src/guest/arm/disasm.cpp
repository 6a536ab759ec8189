// SPDX-License-Identifier: MIT
// Text of instructions, by capstone, which is loaded when the first one is asked for.
#include <capstone/capstone.h>
#include <fmt/format.h>

#include "guest/arm/cpu.h"
#include "sys/shared_library.h"

namespace rhea::arm {
namespace {

// The functions of capstone.
struct Capstone {
  decltype(&cs_open) open = nullptr;
  decltype(&cs_disasm) disassemble = nullptr;
  decltype(&cs_free) free = nullptr;
  decltype(&cs_close) close = nullptr;

  static Result<Capstone> load() {
    const sys::SharedLibrary library = RHEA_TRY(sys::SharedLibrary::load("libcapstone.so.4"));
    Capstone capstone;
    RHEA_TRY(library.find("cs_open", capstone.open));
    RHEA_TRY(library.find("cs_disasm", capstone.disassemble));
    RHEA_TRY(library.find("cs_free", capstone.free));
    RHEA_TRY(library.find("cs_close", capstone.close));
    return capstone;
  }
};

}  // namespace

std::string Cpu::disassemble(u64 address, std::span<const u8> bytes, bool thumb, unsigned& length) {
  length = 0;
  const unsigned least = thumb ? 2 : 4;
  if (bytes.size() < least) return "";
  static const Result<Capstone> capstone = Capstone::load();
  if (!capstone.ok()) return fmt::format("(no disassembler: {})", capstone.error().message());
  csh handle;
  const int mode = thumb ? CS_MODE_THUMB : CS_MODE_ARM;
  if (capstone->open(CS_ARCH_ARM, static_cast<cs_mode>(mode), &handle) != CS_ERR_OK) return "";
  cs_insn* insn = nullptr;
  std::string text;
  if (capstone->disassemble(handle, bytes.data(), bytes.size(), address, 1, &insn) == 1) {
    length = insn->size;
    text = insn->op_str[0] ? fmt::format("{} {}", insn->mnemonic, insn->op_str) : insn->mnemonic;
    capstone->free(insn, 1);
  } else {
    const u32 first = load_le<u16>(bytes.data());
    length = thumb && first >= 0xe800 && bytes.size() >= 4 ? 4 : least;
    text = thumb ? fmt::format(".short {:#06x}", first) : fmt::format(".word {:#010x}", load_le<u32>(bytes.data()));
    if (length == 4 && thumb) text += fmt::format(", {:#06x}", load_le<u16>(bytes.data() + 2));
  }
  capstone->close(&handle);
  return text;
}

std::string Cpu::disassemble(u64 address, std::span<const u8> bytes, unsigned& length) const {
  return disassemble(address, bytes, state_.header.mode & kModeThumb, length);
}

}  // namespace rhea::arm
