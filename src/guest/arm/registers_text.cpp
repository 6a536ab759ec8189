// SPDX-License-Identifier: MIT
// Registers as the monitor shows and reads them.
#include <fmt/format.h>

#include "guest/arm/cpu.h"
#include "util/text.h"

namespace rhea::arm {

namespace {

std::string_view mode_name(u32 mode) {
  switch (static_cast<Mode>(mode)) {
    case Mode::usr: return "usr";
    case Mode::fiq: return "fiq";
    case Mode::irq: return "irq";
    case Mode::svc: return "svc";
    case Mode::mon: return "mon";
    case Mode::abt: return "abt";
    case Mode::und: return "und";
    case Mode::sys: return "sys";
  }
  return "???";
}

template <typename T>
T vector_part(const State& s, unsigned index) {
  return load_le<T>(s.v + index * sizeof(T));
}

}  // namespace

std::string Cpu::registers_text() const {
  std::string text;
  for (unsigned i = 0; i < 16; i++) {
    const u32 value = i == 15 ? static_cast<u32>(state_.header.pc) : state_.r[i];
    text += fmt::format("R{:02}={:08x}{}", i, value, i % 4 == 3 ? '\n' : ' ');
  }
  const u32 psr = cpsr();
  const bool monitor = state_.cpsr_mode == static_cast<u32>(Mode::mon);
  text += fmt::format("PSR={:08x} {}{}{}{} {} {}{}{}\n", psr, psr >> 31 ? 'N' : '-', psr >> 30 & 1 ? 'Z' : '-',
                      psr >> 29 & 1 ? 'C' : '-', psr >> 28 & 1 ? 'V' : '-', psr >> 5 & 1 ? 'T' : 'A',
                      monitor               ? ""
                      : state_.cp15.scr & 1 ? "NS "
                                            : "S ",
                      mode_name(psr & 31), psr & 0x10 ? 32 : 26);
  for (unsigned i = 0; i < 32; i++) {
    text += fmt::format("s{:02}={:08x} s{:02}={:08x} d{:02}={:016x}\n", 2 * i, vector_part<u32>(state_, 2 * i),
                        2 * i + 1, vector_part<u32>(state_, 2 * i + 1), i, vector_part<u64>(state_, i));
  }
  text += fmt::format("FPSCR: {:08x}\n", fpscr());
  return text;
}

bool Cpu::register_value(std::string_view name, u64& value) const {
  constexpr std::pair<std::string_view, unsigned> kAliases[] = {
      {"sp", 13}, {"lr", 14}, {"ip", 12}, {"fp", 11}, {"sl", 10}};
  for (const auto& [alias, number] : kAliases) {
    if (name == alias) return value = state_.r[number], true;
  }
  if (name == "pc" || name == "r15") return value = state_.header.pc, true;
  if (name == "cpsr") return value = cpsr(), true;
  if (name == "spsr") return value = state_.spsr, true;
  if (name == "fpscr") return value = fpscr(), true;
  if (name == "fpexc") return value = state_.fpexc, true;
  if (name.size() < 2 || name.size() > 3 || name[1] < '0' || name[1] > '9') return false;
  if (name.size() == 3 && (name[1] == '0' || name[2] < '0' || name[2] > '9')) return false;
  const auto number = parse_number(name.substr(1));
  if (!number) return false;
  if (name[0] == 'r' && *number < 15) return value = state_.r[*number], true;
  if (name[0] == 's' && *number < 32) return value = vector_part<u32>(state_, static_cast<unsigned>(*number)), true;
  if (name[0] == 'd' && *number < 32) return value = vector_part<u64>(state_, static_cast<unsigned>(*number)), true;
  return false;
}

}  // namespace rhea::arm
