// SPDX-License-Identifier: MIT
// Options are read in order; each row of options.inc has a handler that checks its argument and notes it.
// What depends on several options (the board's properties, the engine) is settled at the end. Backends and
// the machine itself are made later, by run.cpp, since they need the machine's loops.
#include <algorithm>

#include "cli/known.h"
#include "cli/read_config.h"
#include "cli/settings.h"
#include "config/log_items.h"
#include "sys/civil_time.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

Result<void> show_help(Settings& settings, const Typed&) {
  settings.exit = Exit{0, help_text(settings.program)};
  return {};
}

Result<void> show_version(Settings& settings, const Typed&) {
  settings.exit = Exit{0, version_text()};
  return {};
}

Result<void> accept(Settings&, const Typed&) { return {}; }

// -kernel FILE is -machine kernel=FILE.
Result<void> set_machine_property(Settings& settings, const Typed& typed) {
  std::string name = typed.option;
  name.erase(0, name.find_first_not_of('-'));
  settings.machine_properties.push_back({typed, name, typed.argument});
  return {};
}

Result<void> set_firmware(Settings& settings, const Typed& typed) {
  settings.machine_properties.push_back({typed, "firmware", typed.argument});
  return {};
}

Result<void> read_name(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {
      {"guest", config::Kind::text}, {"process", config::Kind::text}, {"debug-threads", config::Kind::boolean}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "guest", kTable));
  if (values.has("process")) return Error("'process' is known to QEMU, but Rhea does not have it yet");
  // debug-threads: threads always have names.
  settings.machine.name = values.text("guest");
  return {};
}

Result<void> set_nographic(Settings& settings, const Typed&) {
  settings.nographic = true;
  settings.display = Display::none;
  return {};
}

Result<void> read_display(Settings& settings, const Typed& typed) {
  const std::string type = split(typed.argument, ',')[0];
  if (type == "none") {
    settings.display = Display::none;
    return {};
  }
  if (type == "help" || type == "?") {
    settings.exit = Exit{0, "Available display backend types:\nnone\n"};
    return {};
  }
  constexpr std::string_view kQemu[] = {"gtk",  "sdl", "egl-headless", "curses", "spice-app",
                                        "dbus", "vnc", "cocoa",        "default"};
  const std::string word = split(type, '=')[0];
  if (std::find(std::begin(kQemu), std::end(kQemu), word) != std::end(kQemu))
    return Error("display '{}' is known to QEMU, but Rhea has no display yet: use -nographic or -display none", word);
  std::vector<std::string> names(std::begin(kQemu), std::end(kQemu));
  names.emplace_back("none");
  return Error("Parameter 'type' does not accept value '{}'{}", type, did_you_mean(type, names));
}

Result<void> read_vga(Settings&, const Typed& typed) {
  if (typed.argument == "none") return {};
  const std::vector<std::string> names = {"std", "cirrus", "vmware", "qxl", "xenfb", "tcx", "cg3", "virtio", "none"};
  if (std::find(names.begin(), names.end(), typed.argument) == names.end())
    return Error("unknown vga type: {}{}", typed.argument, did_you_mean(typed.argument, names));
  return Error("'{}' is known to QEMU, but Rhea has no display yet", typed.argument);
}

Result<void> add_serial(Settings& settings, const Typed& typed) {
  settings.serials.push_back(typed);
  return {};
}

Result<void> add_monitor(Settings& settings, const Typed& typed) {
  settings.monitors.push_back(typed);
  return {};
}

Result<void> read_escape(Settings& settings, const Typed& typed) {
  const auto key = parse_number(typed.argument);
  if (!key || *key > 255) return Error("Bad argument to echr: a key's code, 0 to 255 (1 is Ctrl-a)");
  settings.escape_key = static_cast<u8>(*key);
  return {};
}

Result<void> set_paused(Settings& settings, const Typed&) {
  settings.machine.start_paused = true;
  return {};
}

Result<void> set_loadvm(Settings& settings, const Typed& typed) {
  settings.machine.loadvm = typed.argument;
  return {};
}

Result<void> set_incoming(Settings& settings, const Typed& typed) {
  settings.machine.incoming = typed.argument;
  return {};
}

Result<void> set_gdb(Settings& settings, const Typed& typed) {
  if (settings.gdb)
    return Error("the gdb server is on '{}' already: one of -gdb and -s is enough", settings.gdb->argument);
  settings.gdb = typed;
  return {};
}

Result<void> set_gdb_default(Settings& settings, const Typed& typed) {
  return set_gdb(settings, {.option = typed.option, .argument = "tcp::1234"});
}

Result<void> set_no_reboot(Settings& settings, const Typed&) {
  settings.machine.no_reboot = true;
  return {};
}

Result<void> set_no_defaults(Settings& settings, const Typed&) {
  settings.no_defaults = true;
  return {};
}

Result<void> read_log_items(Settings& settings, const Typed& typed) {
  if (typed.argument == "help" || typed.argument == "?") {
    settings.exit = Exit{1, config::log_items_help(false)};  // status 1: so it is in QEMU
    return {};
  }
  const auto mask = config::parse_log_items(typed.argument);
  if (!mask.ok()) return Error(mask.error()).with_hint(config::log_items_help(false));
  settings.log_mask = *mask;
  return {};
}

Result<void> set_log_file(Settings& settings, const Typed& typed) {
  settings.log_file = typed.argument;
  return {};
}

Result<void> read_readconfig_option(Settings& settings, const Typed& typed);

constexpr OptionRow kRows[] = {
#define SECTION(title) OptionRow{{}, {}, {}, title, nullptr},
#define OPTION(name, alias, argument, help, handler) OptionRow{name, alias, argument, help, handler},
#include "cli/options.inc"
#undef OPTION
#undef SECTION
};

const OptionRow* find_option(std::string_view name) {
  for (const OptionRow& row : kRows)
    if (row.apply && (row.name == name || (!row.alias.empty() && row.alias == name))) return &row;
  return nullptr;
}

Result<void> apply_option(Settings& settings, const OptionRow& row, const Typed& typed) {
  Result<void> applied = row.apply(settings, typed);
  if (!applied.ok()) return at(typed, std::move(applied.error()));
  return {};
}

Error unknown_option(const std::string& typed, const std::string& name) {
  if (const QemuOption* known = find_qemu_option(name)) {
    const std::string advice = known->advice.empty() ? std::string() : fmt::format(" ({})", known->advice);
    return Error("{}: known to QEMU, but Rhea does not have it yet{}", typed, advice);
  }
  std::vector<std::string> names;
  for (const OptionRow& row : kRows)
    if (row.apply) names.emplace_back(row.name);
  for (std::string& other : qemu_options()) names.push_back(std::move(other));
  const auto meant = nearest(name, names);
  return Error("{}: invalid option{}", typed, meant ? " (did you mean '-" + *meant + "'?)" : "");
}

Result<void> read_readconfig_option(Settings& settings, const Typed& typed) {
  for (const ConfigOption& option : RHEA_TRY(read_config_file(typed.argument))) {
    const OptionRow* row = find_option(std::string_view(option.option).substr(1));
    if (!row) return unknown_option(option.option, option.option.substr(1));
    RHEA_TRY(apply_option(settings, *row, {option.option, option.argument}));
  }
  return {};
}

}  // namespace

std::span<const OptionRow> option_rows() { return kRows; }

std::string version_text() {
  return fmt::format("Rhea emulator version {}\nA full-system machine emulator with QEMU's command line\n",
                     RHEA_VERSION);
}

std::string help_text(const std::string& program) {
  constexpr usize kColumn = 16;
  std::string text = version_text() + fmt::format("usage: {} [options]\n", program);
  for (const OptionRow& row : kRows) {
    if (!row.apply) {
      text += fmt::format("\n{}\n", row.help);
      continue;
    }
    std::string head = row.alias.empty()  ? fmt::format("-{}", row.name)
                       : row.alias == "h" ? fmt::format("-{} or -{}", row.alias, row.name)
                                          : fmt::format("-{} or -{}", row.name, row.alias);
    if (!row.argument.empty()) head += fmt::format(" {}", row.argument);
    const std::vector<std::string> lines = split(row.help, '\n');
    const bool own_line = head.size() >= kColumn;
    text += own_line ? head + "\n" : fmt::format("{:<{}}{}\n", head, kColumn, lines[0]);
    for (usize i = own_line ? 0 : 1; i < lines.size(); ++i) text += fmt::format("{:{}}{}\n", "", kColumn, lines[i]);
  }
  return text + "\nDuring emulation with -nographic, Ctrl-a h shows the keys of the terminal.\n";
}

std::string Settings::line_start() const {
  std::string start = timestamps ? sys::timestamp_text() + " " : std::string();
  if (guest_names && !machine.name.empty()) start += machine.name + " ";
  return start + program + ": ";
}

Result<Settings> parse_command_line(const std::string& program, const std::vector<std::string>& arguments) {
  Settings settings;
  settings.program = program;
  for (usize i = 0; i < arguments.size() && !settings.exit; ++i) {
    Typed typed{.option = arguments[i], .argument = {}};
    if (typed.option.size() < 2 || typed.option[0] != '-') {  // a disk image: the first hard disk
      const Typed disk{.option = "-hda", .argument = typed.option};
      Result<void> noted = read_drive_option(settings, disk);
      if (!noted.ok()) return at(disk, std::move(noted.error()));
      continue;
    }
    const std::string name = typed.option.substr(typed.option.starts_with("--") ? 2 : 1);
    const OptionRow* row = find_option(name);
    if (!row) return unknown_option(typed.option, name);
    if (!row->argument.empty()) {
      if (i + 1 == arguments.size()) return Error("{}: requires an argument", typed.option);
      typed.argument = arguments[++i];
    }
    RHEA_TRY(apply_option(settings, *row, typed));
  }
  if (settings.exit) return settings;
  RHEA_TRY(apply_machine(settings));
  if (settings.exit) return settings;
  RHEA_TRY(apply_accelerators(settings));
  return settings;
}

}  // namespace rhea::cli
