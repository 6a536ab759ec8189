// SPDX-License-Identifier: MIT
// Options of character devices and monitors, of time, of the process, and those that read or change other
// options.
#include <algorithm>

#include "chardev/spec.h"
#include "cli/settings.h"
#include "sys/civil_time.h"
#include "sys/file.h"
#include "util/text.h"

namespace rhea::cli {

// ---- character devices ---------------------------------------------------------------------------------------------

Result<void> read_chardev_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "backend"));
  const std::string* backend = parsed.find("backend");
  if (parsed.help) {
    settings.exit = Exit{0, backend ? RHEA_TRY(chardev::backend_help(*backend)) : chardev::backend_list()};
    return {};
  }
  settings.chardevs.push_back(typed);
  return {};
}

Result<void> read_mon_option(Settings& settings, const Typed& typed) {
  settings.mons.push_back(typed);
  return {};
}

Result<void> read_qmp_option(Settings& settings, const Typed& typed) {
  if (typed.argument != "none") settings.qmps.push_back(typed);
  else settings.no_default_monitor = true;
  return {};
}

// No board has a parallel port; what would hang on it is checked all the same.
Result<void> read_parallel_option(Settings&, const Typed& typed) {
  const chardev::Spec spec = RHEA_TRY(chardev::parse_spec(typed.argument));
  if (spec.kind == chardev::BackendKind::none || spec.kind == chardev::BackendKind::null) return {};
  return Error("no board of Rhea's has a parallel port: only none and null are taken");
}

Result<void> read_debugcon_option(Settings&, const Typed&) {
  return Error("no board of Rhea's has a debug port (isa-debugcon is a PC's)");
}

// ---- time ----------------------------------------------------------------------------------------------------------

namespace {

Result<void> read_rtc_base(machine::RtcConfig& rtc, const std::string& base) {
  if (base == "utc") {
    rtc.base = machine::RtcConfig::Base::utc;
  } else if (base == "localtime") {
    rtc.base = machine::RtcConfig::Base::local;
  } else {
    const auto seconds = sys::parse_civil_time(base);
    if (!seconds)
      return Error("invalid datetime format").with_hint("valid formats: '2006-06-17T16:01:21' or '2006-06-17'");
    rtc.base = machine::RtcConfig::Base::date;
    rtc.date = *seconds;
  }
  return {};
}

}  // namespace

Result<void> read_rtc_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {
      {"base", config::Kind::text}, {"clock", config::Kind::text}, {"driftfix", config::Kind::text}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "base", kTable));
  machine::RtcConfig& rtc = settings.machine.rtc;
  if (values.has("base")) RHEA_TRY(read_rtc_base(rtc, values.text("base")));
  const std::string clock = values.text("clock", "host");
  if (clock == "host") rtc.clock = machine::RtcConfig::Source::host;
  else if (clock == "rt") rtc.clock = machine::RtcConfig::Source::real;
  else if (clock == "vm") rtc.clock = machine::RtcConfig::Source::virtual_time;
  else
    return Error("invalid option value '{}'{}", clock,
                 did_you_mean(clock, std::vector<std::string>{"host", "rt", "vm"}));
  const std::string drift = values.text("driftfix", "none");
  if (drift != "none" && drift != "slew")
    return Error("invalid option value '{}'{}", drift, did_you_mean(drift, std::vector<std::string>{"none", "slew"}));
  if (drift == "slew")
    settings.warnings.push_back("-rtc driftfix=slew concerns the PC's MC146818, which no board of Rhea's has");
  return {};
}

// ---- the machine's end ---------------------------------------------------------------------------------------------

Result<void> set_no_shutdown(Settings& settings, const Typed&) {
  settings.machine.no_shutdown = true;
  return {};
}

Result<void> read_action_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {{"reboot", config::Kind::text},
                                          {"shutdown", config::Kind::text},
                                          {"panic", config::Kind::text},
                                          {"watchdog", config::Kind::text}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "", kTable));
  const auto one_of = [&](const char* name, std::vector<std::string> words) -> Result<void> {
    if (!values.has(name) || std::find(words.begin(), words.end(), values.text(name)) != words.end()) return {};
    return Error("Parameter '{}' does not accept value '{}': it is {}", name, values.text(name), join(words, ", "));
  };
  RHEA_TRY(one_of("reboot", {"reset", "shutdown"}));
  RHEA_TRY(one_of("shutdown", {"poweroff", "pause"}));
  for (const char* name : {"panic", "watchdog"})
    if (values.has(name)) return Error("'{}': no board of Rhea's has a device that tells of it", name);
  if (values.has("reboot")) settings.machine.no_reboot = values.text("reboot") == "shutdown";
  if (values.has("shutdown")) settings.machine.no_shutdown = values.text("shutdown") == "pause";
  return {};
}

// ---- the process ---------------------------------------------------------------------------------------------------

Result<void> read_uuid_option(Settings& settings, const Typed& typed) {
  const std::string& text = typed.argument;
  std::string digits;
  bool good = text.size() == 36;
  for (usize i = 0; good && i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    good = dash ? c == '-' : (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
    if (!dash) digits += c;
  }
  if (!good)
    return Error("failed to parse UUID string: wrong format")
        .with_hint("It is written 00112233-4455-6677-8899-aabbccddeeff.");
  for (usize i = 0; i < settings.machine.uuid.size(); ++i)
    settings.machine.uuid[i] = static_cast<u8>(*parse_number("0x" + digits.substr(2 * i, 2)));
  settings.machine.has_uuid = true;
  return {};
}

Result<void> read_pidfile_option(Settings& settings, const Typed& typed) {
  settings.pid_file = typed.argument;
  return {};
}

Result<void> set_daemonize(Settings& settings, const Typed&) {
  settings.daemonize = true;
  return {};
}

Result<void> read_runas_option(Settings& settings, const Typed& typed) {
  settings.run_as = typed;
  return {};
}

Result<void> read_chroot_option(Settings& settings, const Typed& typed) {
  settings.chroot = typed;
  return {};
}

Result<void> read_run_with_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {
      {"async-teardown", config::Kind::boolean}, {"chroot", config::Kind::text}, {"user", config::Kind::text}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "", kTable));
  if (values.boolean("async-teardown", false))
    return Error("'async-teardown' is known to QEMU, but Rhea does not have it");
  if (values.has("chroot")) settings.chroot = Typed{typed.option, values.text("chroot")};
  if (values.has("user")) settings.run_as = Typed{typed.option, values.text("user")};
  return {};
}

Result<void> read_sandbox_option(Settings&, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "enable"));
  const std::string* enable = parsed.find("enable");
  if (!enable || !RHEA_TRY(config::parse_boolean("enable", *enable))) return {};
  return Error("Rhea has no filter of system calls: run it under one (systemd's SystemCallFilter=, bwrap --seccomp)");
}

Result<void> read_msg_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {{"timestamp", config::Kind::boolean}, {"guest-name", config::Kind::boolean}};
  const auto values = RHEA_TRY(config::read_options(typed.argument, "", kTable));
  settings.timestamps = values.boolean("timestamp", settings.timestamps);
  settings.guest_names = values.boolean("guest-name", settings.guest_names);
  return {};
}

Result<void> refuse_add_fd(Settings&, const Typed&) {
  return Error("Rhea has no sets of descriptors: an inherited one has a path, /dev/fd/N, or is given as fd=N");
}

Result<void> refuse_fw_cfg(Settings&, const Typed&) { return Error("no board of Rhea's has a fw_cfg device"); }

Result<void> refuse_seed(Settings&, const Typed&) {
  return Error("the guest's random numbers are the host's, and have no seed; runs that repeat exactly: -icount");
}

// ---- other options -------------------------------------------------------------------------------------------------

// -set GROUP.ID.KEY=VALUE adds to an option that stands before it.
Result<void> read_set_option(Settings& settings, const Typed& typed) {
  const usize equals = typed.argument.find('=');
  const std::vector<std::string> path = split(typed.argument.substr(0, equals), '.');
  if (equals == typed.argument.npos || path.size() < 3 || path[0].empty() || path[1].empty() || path[2].empty())
    return Error("can't parse: \"{}\": it is written GROUP.ID.KEY=VALUE", typed.argument);
  struct {
    const char* name;
    std::vector<Typed>* list;
  } const groups[] = {{"chardev", &settings.chardevs}, {"device", &settings.devices}, {"netdev", &settings.netdevs},
                      {"object", &settings.objects},   {"mon", &settings.mons},       {"nic", &settings.nics}};
  std::vector<std::string> names;
  for (const auto& group : groups) {
    names.emplace_back(group.name);
    if (path[0] != group.name) continue;
    for (Typed& option : *group.list) {
      const auto parsed = config::parse_options(option.argument, "type");
      const std::string* id = parsed.ok() ? parsed->find("id") : nullptr;
      if (!id || *id != path[1]) continue;
      const std::string key =
          typed.argument.substr(path[0].size() + path[1].size() + 2, equals - path[0].size() - path[1].size() - 2);
      option.argument += fmt::format(",{}={}", key, config::quote_value(typed.argument.substr(equals + 1)));
      return {};
    }
    return Error("there is no {} \"{}\" defined", path[0], path[1]);
  }
  return Error("There is no option group '{}'{}", path[0], did_you_mean(path[0], names));
}

Result<void> refuse_writeconfig(Settings&, const Typed&) {
  return Error("Rhea does not write configurations; -readconfig reads them");
}

// ---- semihosting ---------------------------------------------------------------------------------------------------

Result<void> set_semihosting(Settings& settings, const Typed&) {
  settings.semihosting.enabled = true;
  return {};
}

// Given several times, the options add up.
Result<void> read_semihosting_option(Settings& settings, const Typed& typed) {
  auto& semihosting = settings.semihosting;
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "enable"));
  semihosting.typed = typed;
  semihosting.enabled = true;
  for (const config::Part& part : parsed.parts) {
    if (part.key == "enable") {
      semihosting.enabled = RHEA_TRY(config::parse_boolean("enable", part.value));
    } else if (part.key == "userspace") {
      semihosting.user = RHEA_TRY(config::parse_boolean("userspace", part.value));
    } else if (part.key == "chardev") {
      semihosting.chardev = part.value;
    } else if (part.key == "arg") {
      semihosting.arguments.push_back(part.value);
    } else if (part.key == "target") {
      if (part.value == "gdb")
        return Error("target=gdb: the calls are not handed to gdb here, they are served by the host: native or auto");
      if (part.value != "native" && part.value != "auto")
        return Error("unsupported semihosting-config {}{}: target is native or auto", part.value,
                     did_you_mean(part.value, std::vector<std::string>{"native", "auto"}));
    } else {
      return Error("Invalid parameter '{}'{}", part.key,
                   did_you_mean(part.key, std::vector<std::string>{"enable", "target", "chardev", "userspace", "arg"}));
    }
  }
  return {};
}

// ---- qtest ---------------------------------------------------------------------------------------------------------

Result<void> read_qtest_option(Settings& settings, const Typed& typed) {
  RHEA_TRY(chardev::parse_spec(typed.argument));
  settings.qtest = typed;
  return {};
}

Result<void> read_qtest_log_option(Settings& settings, const Typed& typed) {
  settings.qtest_log = typed.argument;
  return {};
}

}  // namespace rhea::cli
