// SPDX-License-Identifier: MIT
// Commands of displays, keyboards, mice and the balloon.
#include <algorithm>

#include "display/surface.h"
#include "monitor/commands.h"
#include "monitor/display.h"
#include "sys/file.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

constexpr s64 kHold = 100 * kMillisecond;  // of `sendkey` without a time
constexpr u64 kMostHold = 3'600'000;       // milliseconds

Result<display::ImageFormat> image_format(const std::string& name) {
  if (name == "ppm") return display::ImageFormat::ppm;
  if (name == "png") return display::ImageFormat::png;
  return Error("invalid parameter: format '{}': it takes ppm or png", name);
}

Result<display::Screen*> find_screen(machine::Machine& machine, const std::string& label, u64 head) {
  display::Screens& screens = machine.screens();
  if (label.empty()) {
    display::Screen* screen = screens.main();
    if (!screen) return Error("There is no console to take a screendump from");
    return screen;
  }
  display::Screen* screen = screens.find(label);
  if (screen && head == 0) return screen;
  if (screen) return Error("display '{}' has one head, number 0", label);
  std::vector<std::string> labels;
  for (const display::Screen* one : screens.all()) labels.push_back(one->label());
  const std::string there = labels.empty() ? std::string() : fmt::format(" (displays: {})", join(labels, ", "));
  return Error("Device '{}' not found{}", label, there);
}

Result<void> screendump(Monitor& monitor, const Arguments& arguments) {
  // FILE [-f FORMAT] [DEVICE [HEAD]], as words: the flag has an argument of its own.
  std::vector<std::string> words;
  std::string format = "ppm";
  const std::vector<std::string>& given = arguments.texts;
  for (usize i = 0; i < given.size(); ++i) {
    if (given[i] != "-f") {
      words.push_back(given[i]);
      continue;
    }
    if (++i == given.size()) return Error("-f needs a format: ppm or png");
    format = given[i];
  }
  if (words.empty()) return Error("a file name is missing");
  if (words.size() > 3) return Error("too many words: it is written screendump FILE [-f ppm|png] [DEVICE [HEAD]]");
  const auto head = words.size() > 2 ? parse_number(words[2]) : u64{0};
  if (!head) return Error("head '{}' is no number", words[2]);
  return save_screen(monitor.context(), words[0], format, words.size() > 1 ? words[1] : std::string(), *head);
}

}  // namespace

Result<void> save_screen(Context& context, const std::string& file, const std::string& format,
                         const std::string& device, u64 head) {
  const display::ImageFormat kind = RHEA_TRY(image_format(format));
  display::Screen* screen = RHEA_TRY(find_screen(context.machine, device, head));
  const Result<void> written = sys::write_file(file, display::encode(screen->frame(), kind));
  if (!written.ok()) return Error("failed to open file '{}': {}", file, written.error().message());
  return {};
}

void run_screendump(Monitor& monitor, const Arguments& arguments) {
  const Result<void> done = screendump(monitor, arguments);
  if (!done.ok()) monitor.print(fmt::format("Error: {}\n", done.error().message()));
}

void run_sendkey(Monitor& monitor, const Arguments& arguments) {
  const auto keys = display::parse_keys(arguments.texts[0]);
  if (!keys.ok()) {
    monitor.print(keys.error().message() + "\n");
    return;
  }
  const s64 hold = arguments.numbers.empty()
                       ? kHold
                       : static_cast<s64>(std::min<u64>(arguments.numbers[0], kMostHold)) * kMillisecond;
  monitor.context().machine.inputs().type(*keys, hold);
}

void run_mouse_move(Monitor& monitor, const Arguments& arguments) {
  s32 distances[3] = {};
  for (usize i = 0; i < arguments.texts.size(); ++i) {
    std::string_view text = arguments.texts[i];
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    const auto number = parse_number(text);
    if (!number || *number > 1'000'000) {
      monitor.print(
          fmt::format("invalid parameter: {}: a distance, up to 1000000 to either side\n", arguments.texts[i]));
      return;
    }
    distances[i] = negative ? -static_cast<s32>(*number) : static_cast<s32>(*number);
  }
  monitor.context().machine.inputs().move(distances[0], distances[1], distances[2]);
}

void run_mouse_button(Monitor& monitor, const Arguments& arguments) {
  monitor.context().machine.inputs().set_buttons(static_cast<u32>(arguments.numbers[0] & 0x1f));
}

void run_mouse_set(Monitor& monitor, const Arguments& arguments) {
  const u64 index = arguments.numbers[0];
  if (index > UINT32_MAX || !monitor.context().machine.inputs().select(static_cast<unsigned>(index)))
    monitor.print(fmt::format("Mouse at index '{}' not found\n", index));
}

void run_balloon(Monitor& monitor, const Arguments& arguments) {
  if (!monitor.context().machine.balloon()) {
    monitor.print("Error: No balloon device has been activated\n");
    return;
  }
  constexpr u64 kMostMegabytes = u64{1} << 43;
  if (arguments.numbers[0] == 0 || arguments.numbers[0] > kMostMegabytes) {
    monitor.print("Error: Parameter 'target' expects a size\n");
    return;
  }
  monitor.context().machine.set_balloon(arguments.numbers[0] << 20);
}

void info_balloon(Monitor& monitor, const Arguments&) {
  const Balloon* balloon = monitor.context().machine.balloon();
  if (!balloon) monitor.print("Error: No balloon device has been activated\n");
  else monitor.print(fmt::format("balloon: actual={}\n", balloon->actual() >> 20));
}

void info_mice(Monitor& monitor, const Arguments&) {
  const auto rows = monitor.context().machine.inputs().pointers();
  if (rows.empty()) monitor.print("No mouse devices connected\n");
  for (const auto& row : rows)
    monitor.print(fmt::format("{} Mouse #{}: {}{}\n", row.current ? '*' : ' ', row.index, row.name,
                              row.absolute ? " (absolute)" : ""));
}

}  // namespace rhea::monitor
