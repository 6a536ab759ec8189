// SPDX-License-Identifier: MIT
// Character devices at run time.
#include "chardev/registry.h"
#include "monitor/commands.h"

namespace rhea::monitor {

namespace {

// What a new pseudo terminal says belongs on this monitor.
template <typename Work>
void with_messages(Monitor& monitor, Work work) {
  chardev::Registry& chardevs = monitor.context().machine.chardevs();
  auto redirect = std::exchange(chardevs.surroundings.redirect,
                                [&monitor](const std::string& text) { monitor.print(text + "\n"); });
  monitor.report(work(chardevs));
  chardevs.surroundings.redirect = std::move(redirect);
}

// A start that waits for a client would hold the machine up.
Result<void> check_waiting(const chardev::Spec& spec) {
  if (spec.kind == chardev::BackendKind::socket && spec.socket.server && spec.socket.wait)
    return Error("a server that is made at run time cannot wait for its client: add wait=off");
  return {};
}

}  // namespace

void run_chardev_add(Monitor& monitor, const Arguments& arguments) {
  with_messages(monitor, [&](chardev::Registry& chardevs) -> Result<void> {
    const chardev::Spec spec = RHEA_TRY(chardev::parse_chardev(arguments.texts[0]));
    RHEA_TRY(check_waiting(spec));
    return chardevs.add(spec, spec.id);
  });
}

void run_chardev_change(Monitor& monitor, const Arguments& arguments) {
  with_messages(monitor, [&](chardev::Registry& chardevs) -> Result<void> {
    if (!chardevs.has(arguments.texts[0])) return Error("Chardev '{}' does not exist", arguments.texts[0]);
    const chardev::Spec spec = RHEA_TRY(chardev::parse_chardev(arguments.texts[1], false));
    RHEA_TRY(check_waiting(spec));
    return chardevs.change(arguments.texts[0], spec);
  });
}

void run_chardev_remove(Monitor& monitor, const Arguments& arguments) {
  monitor.report(monitor.context().machine.chardevs().remove(arguments.texts[0]));
}

void run_chardev_send_break(Monitor& monitor, const Arguments& arguments) {
  monitor.report(monitor.context().machine.chardevs().send_break(arguments.texts[0]));
}

void run_ringbuf_write(Monitor& monitor, const Arguments& arguments) {
  const auto ring = monitor.context().machine.chardevs().ring_buffer(arguments.texts[0]);
  if (!ring.ok()) return monitor.print(fmt::format("Error: {}\n", ring.error().message()));
  const std::string& data = arguments.texts[1];
  (*ring)->write({reinterpret_cast<const u8*>(data.data()), data.size()});
}

// Bytes that a terminal could not show are written as \ooo.
void run_ringbuf_read(Monitor& monitor, const Arguments& arguments) {
  const auto ring = monitor.context().machine.chardevs().ring_buffer(arguments.texts[0]);
  if (!ring.ok()) return monitor.print(fmt::format("Error: {}\n", ring.error().message()));
  std::string text;
  for (const u8 byte : (*ring)->read(static_cast<usize>(arguments.numbers[0]))) {
    if (byte == '\\') text += "\\\\";
    else if ((byte < 32 && byte != '\n' && byte != '\t') || byte == 127) text += fmt::format("\\u{:04X}", byte);
    else text += static_cast<char>(byte);
  }
  monitor.print(text + "\n");
}

}  // namespace rhea::monitor
