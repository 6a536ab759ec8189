// SPDX-License-Identifier: MIT
// The q and Q packets ("Debugging with GDB", E.4), and those that QEMU has beside them (qqemu.*).
#include <algorithm>

#include "gdbstub/stub.h"
#include "gdbstub/target_xml.h"

namespace rhea::gdbstub {

namespace {
constexpr u64 kStepEnable = 1, kStepNoIrq = 2, kStepNoTimer = 4;
constexpr std::string_view kBadArgument = "E22";
}  // namespace

std::span<const Stub::Row> Stub::queries() {
  static constexpr Row kRows[] = {
      {"qSupported", &Stub::on_supported},
      {"QStartNoAckMode", &Stub::on_no_ack},
      {"QNonStop:", &Stub::on_non_stop},
      {"qfThreadInfo", &Stub::on_first_threads},
      {"qsThreadInfo", &Stub::on_more_threads},
      {"qThreadExtraInfo,", &Stub::on_extra_info},
      {"qAttached", &Stub::on_attached},
      {"qXfer:features:read:", &Stub::on_features},
      {"qXfer:threads:read::", &Stub::on_threads_document},
      {"qRcmd,", &Stub::on_monitor},
      {"qqemu.sstepbits", &Stub::on_step_bits},
      {"qqemu.sstep", &Stub::on_step_mode},
      {"Qqemu.sstep=", &Stub::on_set_step_mode},
      {"qqemu.PhyMemMode", &Stub::on_physical_mode},
      {"Qqemu.PhyMemMode:", &Stub::on_set_physical_mode},
      {"qqemu.Supported", &Stub::on_own_supported},
      {"qC", &Stub::on_current},
  };
  return kRows;
}

std::string Stub::on_query(Scanner text) {
  for (const Row& row : queries()) {
    Scanner arguments = text;
    if (!arguments.skip(row.name)) continue;
    // A name that goes on is another one ("qCRC:" is not "qC").
    const char last = row.name.back();
    const bool open = last == ':' || last == ',' || last == '=';
    if (!open && !arguments.done() && arguments.rest()[0] != ':') continue;
    return (this->*row.handler)(arguments);
  }
  return {};
}

std::string Stub::on_supported(Scanner) {
  std::string text = fmt::format(
      "PacketSize={:x};QStartNoAckMode+;vContSupported+;qXfer:features:read+;qXfer:threads:read+", kMaxPacket);
  if (target_.can_reverse()) text += ";ReverseStep+;ReverseContinue+";
  return text;
}

std::string Stub::on_no_ack(Scanner) {
  acks_after_ = false;
  return "OK";
}

std::string Stub::on_non_stop(Scanner arguments) {
  const auto on = arguments.number();
  return std::string(on && *on == 0 ? "OK" : kBadArgument);
}

std::string Stub::on_first_threads(Scanner) {
  std::string text;
  for (unsigned i = 0; i < target_.cpus(); ++i) text += fmt::format("{}{:x}", i ? "," : "m", i + 1);
  return text;
}

std::string Stub::on_current(Scanner) { return fmt::format("QC{:x}", general_ + 1); }

std::string Stub::on_extra_info(Scanner arguments) {
  const auto number = thread(arguments, 0);
  if (!number) return std::string(kBadArgument);
  return to_hex(thread_info(target_.cpu(*number)));
}

// OFFSET,LENGTH: "m" and a part, or "l" and the last part.
std::string Stub::part_of(const std::string& document, Scanner range) {
  const auto offset = range.number();
  if (!offset || !range.skip(',')) return "E00";
  const auto length = range.number();
  if (!length || !range.done()) return "E00";
  if (*offset > document.size()) return "E01";
  const usize most = static_cast<usize>(std::min<u64>(*length, kMaxPacket - 64) / 2);  // escapes may double it
  const std::string part = document.substr(static_cast<usize>(*offset), most);
  return (*offset + part.size() < document.size() ? "m" : "l") + part;
}

std::string Stub::on_features(Scanner arguments) {
  if (arguments.until(':') != "target.xml") return "E00";
  described_ = true;
  return part_of(target_description(target_.cpu(general_)), arguments);
}

std::string Stub::on_threads_document(Scanner arguments) { return part_of(thread_list(target_), arguments); }

// `monitor ...`: what it prints goes out in console packets, the answer is OK.
std::string Stub::on_monitor(Scanner arguments) {
  const auto command = from_hex(arguments.rest());
  if (!command) return std::string(kBadArgument);
  in_command_ = true;
  const std::string text = target_.monitor_command({reinterpret_cast<const char*>(command->data()), command->size()});
  in_command_ = false;
  constexpr usize kPiece = kMaxPacket / 2 - 16;
  for (usize at = 0; at < text.size(); at += kPiece) send("O" + to_hex(std::string_view(text).substr(at, kPiece)));
  return "OK";
}

std::string Stub::on_step_mode(Scanner) {
  const DebugTarget::StepMode& mode = target_.step_mode();
  return fmt::format("0x{:x}",
                     kStepEnable | (mode.mask_interrupts ? kStepNoIrq : 0) | (mode.hold_timers ? kStepNoTimer : 0));
}

std::string Stub::on_set_step_mode(Scanner arguments) {
  arguments.skip("0x");
  const auto bits = arguments.number();
  if (!bits || !arguments.done() || *bits > (kStepEnable | kStepNoIrq | kStepNoTimer)) return std::string(kBadArgument);
  target_.step_mode() = {.mask_interrupts = (*bits & kStepNoIrq) != 0, .hold_timers = (*bits & kStepNoTimer) != 0};
  return "OK";
}

std::string Stub::on_set_physical_mode(Scanner arguments) {
  const auto on = arguments.number();
  if (!on || *on > 1 || !arguments.done()) return std::string(kBadArgument);
  physical_ = *on == 1;
  return "OK";
}

}  // namespace rhea::gdbstub
