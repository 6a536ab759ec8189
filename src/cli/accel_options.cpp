// SPDX-License-Identifier: MIT
#include <algorithm>

#include "cli/settings.h"
#include "machine/replay.h"
#include "sys/claim.h"
#include "sys/file.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

constexpr std::string_view kEngines[] = {"tcg", "interp", "qtest"};

bool is_engine(std::string_view name) {
  return std::find(std::begin(kEngines), std::end(kEngines), name) != std::end(kEngines);
}

std::string accel_help() {
  std::string text = "Accelerators supported in Rhea binary:\n";
  for (const std::string_view name : kEngines) text += fmt::format("{}\n", name);
  text += "\nProperties (each switch is on unless it is turned off):\n";
  for (const accel::Switch& row : accel::switches())
    text += fmt::format("{:<24} - {}\n", fmt::format("  {}=<bool>", row.name), row.summary);
  text += fmt::format("{:<24} - {}\n", "  max-block=<num>", "guest instructions of a block, at most");
  text += fmt::format("{:<24} - {}\n", "  tb-size=<num>", "MiB of generated code, at most (256)");
  text += fmt::format("{:<24} - {}\n", "  host-features=<list>",
                      "of the host CPU: all, none, or names joined by '+' (avx2+bmi2)");
  text += fmt::format("{:<24} - {}\n", "  cache=<on|off|folder>",
                      "translations are kept for later runs (on: $XDG_CACHE_HOME/rhea or ~/.cache/rhea)");
  text += fmt::format("{:<24} - {}\n", "  thread=<single|multi>", "one host thread for each CPU (multi)");
  text += fmt::format("{:<24} - {}\n", "  trace=<file>[:<n>[:<from>]]",
                      "with -icount: a line of CPU state every n instructions, from the given one on");
  return text;
}

Result<void> set_thread(const std::string& value) {
  if (value == "multi") return {};
  if (value == "single")
    return Error("'thread=single' is known to QEMU, but Rhea does not have it: -icount runs all CPUs on one thread");
  return Error("Invalid 'thread' setting {}{}", value,
               did_you_mean(value, std::vector<std::string>{"single", "multi"}));
}

// Where translations are kept: "on" is this user's folder for such things.
Result<void> set_cache(accel::Options& options, const std::string& value) {
  if (value == "off") {
    options.cache_folder.clear();
  } else if (value == "on") {
    options.cache_folder = RHEA_TRY(sys::cache_folder());
  } else if (sys::is_folder(value)) {
    options.cache_folder = value;
  } else {
    return Error("Parameter 'cache' expects 'on', 'off' or a folder; '{}' is none{}", value,
                 did_you_mean(value, std::vector<std::string>{"on", "off"}));
  }
  return {};
}

Result<void> set_property(accel::Options& options, const std::string& engine, const config::Part& part) {
  std::vector<std::string> names = {"max-block", "tb-size", "thread", "trace", "host-features", "cache"};
  for (const accel::Switch& row : accel::switches()) {
    names.emplace_back(row.name);
    if (row.name != part.key) continue;
    options.*row.member = RHEA_TRY(config::parse_boolean(part.key, part.value));
    return {};
  }
  constexpr u64 kMostBlock = 512, kMostMegabytes = 2047;
  if (part.key == "thread") return set_thread(part.value);
  if (part.key == "trace") {
    options.trace_file = part.value;
    return {};
  }
  if (part.key == "cache") return set_cache(options, part.value);
  if (part.key == "host-features") {
    options.host_features = part.value;
    return {};
  }
  if (part.key == "max-block") {
    const u64 count = RHEA_TRY(config::parse_unsigned(part.key, part.value));
    if (count < 1 || count > kMostBlock)
      return Error("Parameter 'max-block' expects 1 to {}, not {}", kMostBlock, count);
    options.max_block = static_cast<unsigned>(count);
    return {};
  }
  if (part.key == "tb-size") {
    const u64 megabytes = RHEA_TRY(config::parse_unsigned(part.key, part.value));
    if (megabytes < 1 || megabytes > kMostMegabytes)
      return Error("Parameter 'tb-size' expects 1 to {} (MiB), not {}", kMostMegabytes, megabytes);
    options.cache_size = megabytes << 20;
    return {};
  }
  for (const std::string_view known : {"one-insn-per-tb", "split-wx", "kernel-irqchip", "kvm-shadow-mem"})
    if (part.key == known) return Error("'{}' is known to QEMU, but Rhea does not have it yet", part.key);
  return Error("Property '{}-accel.{}' not found{}", engine, part.key, did_you_mean(part.key, names));
}

Error invalid_accelerator(const std::string& name) {
  for (const std::string_view known : {"kvm", "xen", "hax", "hvf", "nvmm", "whpx"})
    if (name == known)
      return Error("invalid accelerator {}: it is known to QEMU; Rhea has tcg, interp and qtest", name);
  return Error("invalid accelerator {}{}", name, did_you_mean(name, std::vector<std::string>{"tcg", "interp"}));
}

}  // namespace

Result<void> read_accel_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "accel", config::Style::strict));
  if (parsed.help) {
    settings.exit = Exit{0, accel_help()};
    return {};
  }
  settings.accelerators.push_back(typed);
  return {};
}

// Several -accel are tried in turn: the first that there is is taken.
Result<void> apply_accelerators(Settings& settings) {
  std::optional<Error> first;
  if (auto folder = sys::cache_folder(); folder.ok()) settings.machine.accel.cache_folder = folder.take();
  for (const Typed& typed : settings.accelerators) {
    const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "accel", config::Style::strict));
    const std::string* engine = parsed.find("accel");
    if (!engine) return at(typed, Error("Parameter 'accel' is missing"));
    if (!is_engine(*engine)) {
      if (!first) first = at(typed, invalid_accelerator(*engine));
      continue;
    }
    settings.machine.accel.engine = *engine;
    for (const config::Part& part : parsed.parts) {
      if (part.key == "accel") continue;
      Result<void> set = set_property(settings.machine.accel, *engine, part);
      if (!set.ok()) return at(typed, std::move(set.error()));
    }
    if (first) settings.warnings.push_back(fmt::format("{}; falling back to {}", first->message(), *engine));
    first.reset();
    break;
  }
  if (first) return std::move(*first);
  if (!settings.machine.accel.trace_file.empty() && !settings.machine.accel.icount)
    return Error("-accel trace=: needs -icount, which makes runs comparable");
  return {};
}

namespace {

Result<void> read_replay(machine::MachineConfig& machine, const config::Values& values) {
  const std::string mode = values.text("rr");
  if (mode.empty()) {
    for (const char* name : {"rrfile", "rrsnapshot"})
      if (values.has(name)) return Error("'{}' needs rr=record or rr=replay", name);
    return {};
  }
  if (mode != "record" && mode != "replay")
    return Error("Invalid icount rr option: {}{}: it is record or replay", mode,
                 did_you_mean(mode, std::vector<std::string>{"record", "replay"}));
  machine.replay = mode == "record" ? machine::ReplayMode::record : machine::ReplayMode::replay;
  machine.replay_file = values.text("rrfile");
  machine.replay_snapshot = values.text("rrsnapshot");
  if (machine.replay_file.empty()) return Error("File name not specified for replay: rr={} needs rrfile=FILE", mode);
  return {};
}

}  // namespace

Result<void> read_icount_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {{"shift", config::Kind::text},    {"align", config::Kind::boolean},
                                          {"sleep", config::Kind::boolean}, {"rr", config::Kind::text},
                                          {"rrfile", config::Kind::text},   {"rrsnapshot", config::Kind::text}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "shift", kTable));
  RHEA_TRY(read_replay(settings.machine, values));
  if (values.boolean("align", false)) return Error("'align=on' is known to QEMU, but Rhea does not have it yet");
  if (!values.boolean("sleep", true)) return Error("'sleep=off' is known to QEMU, but Rhea does not have it yet");
  accel::Options& options = settings.machine.accel;
  options.icount = true;
  const std::string shift = values.text("shift", "auto");
  if (shift == "auto") return {};  // the default; it stays, so that runs repeat exactly
  constexpr u64 kMostShift = 10;
  const auto number = parse_number(shift);
  if (!number || *number > kMostShift) return Error("icount: Invalid shift value: 0 to {}, or auto", kMostShift);
  options.icount_shift = static_cast<unsigned>(*number);
  return {};
}

}  // namespace rhea::cli
