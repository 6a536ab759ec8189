// SPDX-License-Identifier: MIT
// x, xp and p.
#include <algorithm>
#include <array>

#include "monitor/commands.h"
#include "monitor/guest_memory.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

constexpr u64 kMostBytes = u64{1} << 20;  // of one dump

std::string character(u64 value) {
  switch (value) {
    case '\'': return "'\\''";
    case '\\': return "'\\\\'";
    case '\n': return "'\\n'";
    case '\r': return "'\\r'";
    default: break;
  }
  if (value >= 32 && value <= 126) return fmt::format("'{:c}'", static_cast<char>(value));
  return fmt::format("'\\x{:02x}'", value & 0xff);
}

std::string octal(u64 value) { return value ? fmt::format("0{:o}", value) : std::string("0"); }

std::string unit_text(char format, unsigned unit, u64 value) {
  const unsigned bits = unit * 8;
  switch (format) {
    case 'o': return fmt::format("{:>{}}", octal(value), (bits + 2) / 3);
    case 'u': return fmt::format("{:{}}", value, (bits * 10 + 32) / 33);
    case 'd': return fmt::format("{:{}}", sign_extend(value, bits), (bits * 10 + 32) / 33);
    case 'c': return character(value);
    default: return fmt::format("0x{:0{}x}", value, bits / 4);
  }
}

std::string address_text(u64 address, bool physical) { return fmt::format("{:0{}x}", address, physical ? 16 : 8); }

std::string dump(GuestMemory& memory, u64 address, u64 bytes, char format, unsigned unit, bool physical) {
  const usize per_line = unit == 1 ? 8 : 16;
  if (format == 'c') unit = 1;
  std::string text;
  while (bytes) {
    std::array<u8, 16> line;
    const usize part = static_cast<usize>(std::min<u64>(per_line, bytes));
    text += address_text(address, physical) + ":";
    if (!memory.read(address, std::span(line).first(part))) return text + " Cannot access memory\n";
    for (usize i = 0; i + unit <= part; i += unit) {
      u64 value = 0;
      for (unsigned byte = 0; byte < unit; ++byte) value |= u64{line[i + byte]} << (8 * byte);
      text += " " + unit_text(format, unit, value);
    }
    text += "\n";
    address += part;
    bytes -= part;
  }
  return text;
}

std::string disassemble(GuestMemory& memory, u64 address, u64 count) {
  constexpr u64 kMostInstructions = 4096;
  std::string text;
  for (u64 i = 0; i < std::min(count, kMostInstructions); ++i) {
    std::array<u8, 4> bytes{};
    usize got = bytes.size();
    if (!memory.read(address, bytes)) {
      got = 2;
      if (!memory.read(address, std::span(bytes).first(2)))
        return text + fmt::format("0x{:08x}:  Cannot access memory\n", address);
    }
    const Cpu::Disassembly line = memory.cpu().disassemble(address, std::span(bytes).first(got));
    const unsigned length = line.length == 2 ? 2 : 4;
    const std::string code = length == 2 ? fmt::format("{:04x}    ", load_le<u16>(bytes.data()))
                                         : fmt::format("{:08x}", load_le<u32>(bytes.data()));
    const std::string_view body = trim(line.text);
    const usize gap = body.find_first_of(" \t");
    if (gap == body.npos) {
      text += fmt::format("0x{:08x}:  {}  {}\n", address, code, body);
    } else {
      text += fmt::format("0x{:08x}:  {}  {:<8} {}\n", address, code, body.substr(0, gap), trim(body.substr(gap)));
    }
    address += length;
  }
  return text;
}

void dump_memory(Monitor& monitor, const Arguments& arguments, bool physical) {
  if (arguments.memory.format) monitor.format = arguments.memory.format;
  if (arguments.memory.unit) monitor.unit = arguments.memory.unit;
  const u64 address = arguments.numbers[0];
  const u64 count = arguments.memory.count;
  if (monitor.cpu >= monitor.context().machine.cpu_count() && (!physical || monitor.format == 'i'))
    return monitor.print("No CPU available\n");
  GuestMemory memory(monitor.context().machine, monitor.cpu, physical);
  std::string text;
  monitor.context().machine.engine().at_safe_point([&] {
    if (monitor.format == 'i') text = disassemble(memory, address, count);
    else
      text = dump(memory, address, std::min(count, kMostBytes / monitor.unit) * monitor.unit, monitor.format,
                  monitor.unit, physical);
  });
  monitor.print(text);
  if (monitor.format != 'i' && count > kMostBytes / monitor.unit)
    monitor.print(fmt::format("(a dump shows at most {} bytes)\n", kMostBytes));
}

}  // namespace

void run_x(Monitor& monitor, const Arguments& arguments) { dump_memory(monitor, arguments, false); }
void run_xp(Monitor& monitor, const Arguments& arguments) { dump_memory(monitor, arguments, true); }

void run_print(Monitor& monitor, const Arguments& arguments) {
  if (arguments.memory.format) monitor.format = arguments.memory.format;
  const u64 value = arguments.numbers[0];
  switch (monitor.format) {
    case 'o': monitor.print(octal(value) + "\n"); break;
    case 'x': monitor.print(fmt::format("{}{:x}\n", value ? "0x" : "", value)); break;
    case 'u': monitor.print(fmt::format("{}\n", value)); break;
    case 'c': monitor.print(character(value & 0xff) + "\n"); break;
    default: monitor.print(fmt::format("{}\n", static_cast<s64>(value))); break;
  }
}

}  // namespace rhea::monitor
