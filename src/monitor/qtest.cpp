// SPDX-License-Identifier: MIT
#include "monitor/qtest.h"

#include <algorithm>

#include "util/base64.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

Result<u64> number(const std::vector<std::string>& words, usize index) {
  if (index >= words.size()) return Error("{}: a number is missing", words[0]);
  std::string_view text = words[index];
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto value = parse_number(text);
  if (!value) return Error("{}: '{}' is no number", words[0], words[index]);
  return negative ? u64{0} - *value : *value;
}

unsigned size_of(char letter) {
  switch (letter) {
    case 'b': return 1;
    case 'w': return 2;
    case 'l': return 4;
    default: return 8;
  }
}

}  // namespace

Qtest::Qtest(chardev::Backend& backend, Context& context, std::FILE* log)
    : backend_(backend), context_(context), log_(log), started_(context.machine.loop().real_clock().now()) {
  context_.machine.on_line = [this](const machine::LineChange& change) { on_line(change); };
  backend_.set_frontend(this);
}

Qtest::~Qtest() {
  context_.machine.on_line = nullptr;
  backend_.set_frontend(nullptr);
}

void Qtest::note(char direction, const std::string& text) {
  if (!log_) return;
  const double seconds = static_cast<double>(context_.machine.loop().real_clock().now() - started_) / kSecond;
  std::fprintf(log_, "[%c +%.6f] %s\n", direction, seconds, text.c_str());
  std::fflush(log_);
}

void Qtest::send(const std::string& text) {
  note('S', text);
  const std::string line = text + "\n";
  backend_.write({reinterpret_cast<const u8*>(line.data()), line.size()});
}

void Qtest::receive(std::span<const u8> data) {
  for (const u8 byte : data) {
    if (byte != '\n') {
      if (line_.size() < kMostLine) line_ += static_cast<char>(byte);
      else too_long_ = true;
      continue;
    }
    const std::string line = std::move(line_);
    line_.clear();
    if (too_long_) {
      too_long_ = false;
      send(fmt::format("FAIL a line has at most {} bytes", kMostLine));
      continue;
    }
    note('R', line);
    send(answer(line));
  }
}

std::string Qtest::answer(const std::string& line) {
  Words words;
  for (std::string& word : split(trim(line), ' '))
    if (!word.empty()) words.push_back(std::move(word));
  if (words.empty()) return "FAIL an empty line";
  const Result<std::string> result = run(words);
  if (!result.ok()) return "FAIL " + result.error().message();
  return result->empty() ? "OK" : "OK " + *result;
}

Result<std::string> Qtest::run(const Words& words) {
  const std::string& name = words[0];
  const bool sized = !name.empty() && std::string_view("bwlq").find(name.back()) != std::string_view::npos;
  if (sized && name.starts_with("read") && name.size() == 5) return read_value(words, size_of(name[4]));
  if (sized && name.starts_with("write") && name.size() == 6) return write_value(words, size_of(name[5]));
  if (name == "read" || name == "b64read") return read_block(words);
  if (name == "write" || name == "b64write") return write_block(words);
  if (name == "memset") return set_memory(words);
  if (name == "clock_step" || name == "clock_set") return step(words);
  if (name == "irq_intercept_in" || name == "irq_intercept_out") return intercept(words);
  if (name == "set_irq_in") return set_line(words);
  if (name == "endianness") return std::string("little");
  return Error("Unknown command '{}'", name);
}

Result<std::string> Qtest::read_value(const Words& words, unsigned size) {
  const u64 address = RHEA_TRY(number(words, 1));
  const memory::ReadResult got = context_.machine.memory().read(address, size, {});
  return fmt::format("0x{:016x}", got.ok ? got.value : 0);
}

Result<std::string> Qtest::write_value(const Words& words, unsigned size) {
  const u64 address = RHEA_TRY(number(words, 1)), value = RHEA_TRY(number(words, 2));
  context_.machine.memory().write(address, size == 8 ? value : value & ((u64{1} << (8 * size)) - 1), size, {});
  return std::string();
}

Result<std::string> Qtest::read_block(const Words& words) {
  const u64 address = RHEA_TRY(number(words, 1)), size = RHEA_TRY(number(words, 2));
  if (size == 0 || size > kMostBytes) return Error("{}: {} bytes: it is 1 to {}", words[0], size, kMostBytes);
  std::vector<u8> bytes(size);
  context_.machine.memory().read_bytes(address, bytes);
  if (words[0] == "b64read") return to_base64(bytes);
  std::string text = "0x";
  for (const u8 byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

Result<std::string> Qtest::write_block(const Words& words) {
  const u64 address = RHEA_TRY(number(words, 1)), size = RHEA_TRY(number(words, 2));
  if (size == 0 || size > kMostBytes) return Error("{}: {} bytes: it is 1 to {}", words[0], size, kMostBytes);
  if (words.size() < 4) return Error("{}: the data is missing", words[0]);
  std::vector<u8> bytes;
  if (words[0] == "b64write") {
    auto decoded = from_base64(words[3]);
    if (!decoded) return Error("b64write: the data is no base64");
    bytes = std::move(*decoded);
    if (bytes.size() != size) return Error("b64write: {} bytes of data, not {}", bytes.size(), size);
  } else {
    const std::string& text = words[3];
    if (!text.starts_with("0x")) return Error("write: the data begins with 0x");
    bytes.resize(size);  // what is missing is zero
    for (usize i = 0; i < size && 2 * i + 3 < text.size(); ++i) {
      const auto byte = parse_number("0x" + text.substr(2 + 2 * i, 2));
      if (!byte) return Error("write: the data is not hexadecimal");
      bytes[i] = static_cast<u8>(*byte);
    }
  }
  context_.machine.memory().write_bytes(address, bytes);
  return std::string();
}

Result<std::string> Qtest::set_memory(const Words& words) {
  const u64 address = RHEA_TRY(number(words, 1)), size = RHEA_TRY(number(words, 2)), value = RHEA_TRY(number(words, 3));
  constexpr u64 kMost = u64{1} << 30;
  if (size > kMost) return Error("memset: at most {} bytes", kMost);
  const std::vector<u8> bytes(size, static_cast<u8>(value));
  if (size) context_.machine.memory().write_bytes(address, bytes);
  return std::string();
}

Result<std::string> Qtest::step(const Words& words) {
  accel::Engine& engine = context_.machine.engine();
  if (!engine.steps()) return Error("{}: virtual time runs by itself; -accel qtest lets it be stepped", words[0]);
  const s64 now = engine.virtual_clock().now();
  s64 target = engine.next_deadline();
  if (words.size() > 1) {
    const s64 value = static_cast<s64>(RHEA_TRY(number(words, 1)));
    if (value < 0 || (words[0] == "clock_step" && __builtin_add_overflow(now, value, &target)))
      return Error("{}: '{}' is out of range", words[0], words[1]);
    if (words[0] == "clock_set") target = value;
  } else if (words[0] == "clock_set") {
    return Error("clock_set: the time is missing");
  }
  if (target != kNever) engine.step_to(target);
  return fmt::format("{}", engine.virtual_clock().now());
}

Result<const machine::DeviceNode*> Qtest::device_at(const std::string& path) {
  const machine::ObjectTree tree(context_.machine, {});
  const auto node = tree.find(path);
  if (!node.ok() || !(*node)->device) return Error("Unknown device");
  return (*node)->device;
}

Result<std::string> Qtest::intercept(const Words& words) {
  if (words.size() < 2) return Error("{}: the device's path is missing", words[0]);
  const machine::DeviceNode* device = RHEA_TRY(device_at(words[1]));
  const bool inputs = words[0] == "irq_intercept_in";
  if (inputs && !context_.machine.is_interrupt_controller(*device))
    return Error("{}: the device has no inputs", words[0]);
  if (intercepted_ && (intercepted_ != device || intercept_inputs_ != inputs))
    return Error("IRQ intercept already enabled");
  intercepted_ = device;
  intercept_inputs_ = inputs;
  return std::string();
}

Result<std::string> Qtest::set_line(const Words& words) {
  if (words.size() != 5) return Error("set_irq_in PATH NAME NUMBER LEVEL");
  const machine::DeviceNode* device = RHEA_TRY(device_at(words[1]));
  const u64 input = RHEA_TRY(number(words, 3)), level = RHEA_TRY(number(words, 4));
  auto* sysbus = dynamic_cast<devices::SysbusDevice*>(device->device.get());
  if (!sysbus || !sysbus->inputs() || input > UINT16_MAX) return Error("set_irq_in: there is no such input");
  sysbus->inputs()->set_irq(static_cast<unsigned>(input), level != 0);
  return std::string();
}

void Qtest::on_line(const machine::LineChange& change) {
  if (!intercepted_) return;
  if (intercept_inputs_ ? change.target != intercepted_ : change.source != intercepted_) return;
  send(fmt::format("IRQ {} {}", change.level ? "raise" : "lower", intercept_inputs_ ? change.input : change.output));
}

}  // namespace rhea::monitor
