// SPDX-License-Identifier: MIT
// -M, -cpu, -m, -smp, and every machine property: one table gives names, types, help and effect.
#include <algorithm>

#include "cli/known.h"
#include "cli/settings.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

using machine::Board;
using machine::MachineConfig;

// CPUs, sockets and so on as they were given; 0 where nothing was.
struct Topology {
  u64 cpus = 0, sockets = 0, dies = 0, clusters = 0, cores = 0, threads = 0, maxcpus = 0;
  bool given_zero = false;
};

struct Target {
  Settings& settings;
  MachineConfig& config;
  Topology& topology;
};

using Apply = Result<void> (*)(Target& target, const std::string& name, const std::string& value);

struct Row {
  std::string_view name;
  std::string_view type;
  std::string_view summary;
  Apply apply;
};

Error not_yet(std::string_view name) {
  return Error("machine property '{}' is known to QEMU, but Rhea does not have it yet", name);
}

template <std::string MachineConfig::*Member>
Result<void> set_text(Target& target, const std::string&, const std::string& value) {
  target.config.*Member = value;
  return {};
}

Result<void> set_append(Target& target, const std::string&, const std::string& value) {
  target.config.append = value;
  target.config.has_append = true;
  return {};
}

Result<void> refuse(Target&, const std::string& name, const std::string&) { return not_yet(name); }

// A switch whose only value, so far, is this one.
template <bool Only>
Result<void> only(Target&, const std::string& name, const std::string& value) {
  const bool wanted = RHEA_TRY(config::parse_boolean(name, value));
  if (wanted == Only) return {};
  return Error("machine property '{}={}' is known to QEMU, but Rhea does not have it yet: it is always {}", name, value,
               Only ? "on" : "off");
}

Result<void> set_graphics(Target& target, const std::string& name, const std::string& value) {
  if (!RHEA_TRY(config::parse_boolean(name, value))) target.settings.display = Display::none;
  return {};
}

Result<void> set_memory(Target& target, const std::string& name, const std::string& value) {
  if (name == "memory" || name == "memory.size") {
    target.config.ram_size = RHEA_TRY(config::parse_size("size", value, name == "memory" ? 'M' : 'B'));
    return {};
  }
  if (name == "memory.slots" || name == "memory.max-size") return not_yet(name);
  return Error("Parameter '{}' is unexpected{}", name,
               did_you_mean(name, std::vector<std::string>{"memory.size", "memory.slots", "memory.max-size"}));
}

struct SmpKey {
  std::string_view name;
  u64 Topology::*member;
};
constexpr SmpKey kSmpKeys[] = {{"clusters", &Topology::clusters}, {"cores", &Topology::cores},
                               {"cpus", &Topology::cpus},         {"dies", &Topology::dies},
                               {"maxcpus", &Topology::maxcpus},   {"sockets", &Topology::sockets},
                               {"threads", &Topology::threads}};

Result<void> set_smp(Target& target, const std::string& name, const std::string& value) {
  const std::string key = name == "smp" ? "cpus" : name.substr(4);
  std::vector<std::string> names;
  for (const SmpKey& row : kSmpKeys) {
    names.push_back(fmt::format("smp.{}", row.name));
    if (row.name != key) continue;
    const auto number = parse_number(value);
    if (!number || *number > UINT32_MAX)
      return Error("Parameter 'smp.{}' expects integer: a number of at least 1, not '{}'", key, value);
    target.topology.*row.member = *number;
    target.topology.given_zero |= *number == 0;
    return {};
  }
  return Error("Parameter 'smp.{}' is unexpected{}", key, did_you_mean("smp." + key, names));
}

constexpr Row kRows[] = {
    {"append", "string", "Linux kernel command line", set_append},
    {"boot", "BootConfiguration", "Boot configuration", refuse},
    {"confidential-guest-support", "link<confidential-guest-support>", "Set confidential guest scheme to support",
     refuse},
    {"dt-compatible", "string", "Overrides the \"compatible\" property of the dt root node", refuse},
    {"dtb", "string", "Linux kernel device tree file", set_text<&MachineConfig::dtb>},
    {"dump-guest-core", "bool", "Include guest memory in a core dump", only<true>},
    {"dumpdtb", "string", "Dump current dtb to a file and quit", set_text<&MachineConfig::dumpdtb>},
    {"firmware", "string", "Firmware image", set_text<&MachineConfig::firmware>},
    {"graphics", "bool", "Set on/off to enable/disable graphics emulation", set_graphics},
    {"initrd", "string", "Linux initial ramdisk file", set_text<&MachineConfig::initrd>},
    {"kernel", "string", "Linux kernel image file", set_text<&MachineConfig::kernel>},
    {"mem-merge", "bool", "Enable/disable memory merge support", only<false>},
    {"memory", "MemorySizeConfiguration", "Memory size configuration", set_memory},
    {"memory-backend", "link<memory-backend>", "Set RAM backend: ID of a memory-backend object",
     set_text<&MachineConfig::memory_backend>},
    {"memory-encryption", "string", "Set memory encryption object to use", refuse},
    {"phandle-start", "int", "The first phandle ID we may generate dynamically", refuse},
    {"secure", "bool", "Set on/off to enable/disable the ARM Security Extensions (TrustZone)", only<true>},
    {"smp", "SMPConfiguration", "CPU topology", set_smp},
    {"snapshots", "string", "Folder for the snapshots of savevm", set_text<&MachineConfig::snapshot_folder>},
    {"suppress-vmdesc", "bool", "Set on to disable self-describing migration", only<false>},
    {"usb", "bool", "Set on/off to enable/disable usb", only<false>},
};

const Row* find_row(const std::string& name) {
  const std::string stem = name.substr(0, name.find('.'));  // smp.cpus is part of smp
  for (const Row& row : kRows)
    if (row.name == name || (stem != name && row.name == stem)) return &row;
  return nullptr;
}

Result<void> apply_property(Target& target, const Board& board, const MachineProperty& property) {
  const Row* row = find_row(property.name);
  if (!row) {
    std::vector<std::string> names;
    for (const Row& candidate : kRows) names.emplace_back(candidate.name);
    return Error("Property '{}-machine.{}' not found{}", board.name, property.name, did_you_mean(property.name, names));
  }
  return row->apply(target, property.name, property.value);
}

std::vector<std::string> board_names() {
  std::vector<std::string> names;
  for (const Board* board : machine::all_boards()) names.emplace_back(board->name);
  return names;
}

Result<const Board*> find_the_board(const Typed& typed) {
  if (const Board* board = machine::find_board(typed.argument)) return board;
  std::string hint = "Use -machine help to list supported machines";
  if (qemu_knows(Word::machine, typed.argument))
    return Error("unsupported machine type: '{}' is known to QEMU, but Rhea does not have it yet", typed.argument)
        .with_hint(hint);
  return Error("unsupported machine type{}", did_you_mean(typed.argument, board_names())).with_hint(hint);
}

// QEMU's rules: what is missing follows from what is given, cores first. Boards here have sockets, cores,
// threads.
Result<unsigned> settle_topology(Settings& settings, Topology t) {
  const Board& board = *settings.machine.board;
  if (t.given_zero)
    settings.warnings.push_back(
        "Deprecated CPU topology (considered invalid): CPU topology parameters must be greater than zero");
  if (t.dies > 1) return Error("dies not supported by this machine's CPU topology");
  if (t.clusters > 1) return Error("clusters not supported by this machine's CPU topology");
  const auto or_one = [](u64 value) { return value ? value : 1; };
  if (t.cpus == 0 && t.maxcpus == 0) {
    t.sockets = or_one(t.sockets);
    t.cores = or_one(t.cores);
    t.threads = or_one(t.threads);
  } else {
    t.maxcpus = t.maxcpus ? t.maxcpus : t.cpus;
    if (t.cores == 0) {
      t.sockets = or_one(t.sockets);
      t.threads = or_one(t.threads);
      t.cores = t.maxcpus / (t.sockets * t.threads);
    } else if (t.sockets == 0) {
      t.threads = or_one(t.threads);
      t.sockets = t.maxcpus / (t.cores * t.threads);
    }
    if (t.threads == 0) t.threads = t.maxcpus / (t.sockets * t.cores);
  }
  if (board.max_cpus == 0 && t.cpus <= 1 && t.maxcpus <= 1) return 0u;
  const u64 product = t.sockets * t.cores * t.threads;
  t.maxcpus = t.maxcpus ? t.maxcpus : product;
  t.cpus = t.cpus ? t.cpus : t.maxcpus;
  const std::string hierarchy = fmt::format("sockets ({}) * cores ({}) * threads ({})", t.sockets, t.cores, t.threads);
  if (product != t.maxcpus)
    return Error("Invalid CPU topology: product of the hierarchy must match maxcpus: {} != maxcpus ({})", hierarchy,
                 t.maxcpus);
  if (t.maxcpus < t.cpus)
    return Error(
        "Invalid CPU topology: maxcpus must be equal to or greater than smp: {} == maxcpus ({}) < smp_cpus "
        "({})",
        hierarchy, t.maxcpus, t.cpus);
  if (t.cpus < board.min_cpus)
    return Error("Invalid SMP CPUs {}. The min CPUs supported by machine '{}' is {}", t.cpus, board.name,
                 board.min_cpus);
  if (t.maxcpus > board.max_cpus)
    return Error("Invalid SMP CPUs {}. The max CPUs supported by machine '{}' is {}", t.maxcpus, board.name,
                 board.max_cpus);
  return static_cast<unsigned>(t.cpus);
}

Result<void> settle_cpu(Settings& settings) {
  if (!settings.cpu) return {};
  const Board& board = *settings.machine.board;
  const std::vector<std::string> words = split(settings.cpu->argument, ',');
  const std::string& model = words[0];
  if (board.cpus.empty()) return Error("machine '{}' has no CPU", board.name);
  const bool fits = std::find(board.cpus.begin(), board.cpus.end(), model) != board.cpus.end();
  if (!fits && qemu_knows(Word::cpu, model)) return Error("{}", board.wrong_cpu_message);
  if (!fits) {
    std::vector<std::string> names = accel::cpu_models();
    return Error("unable to find CPU model '{}'{}", model, did_you_mean(model, names));
  }
  if (words.size() > 1)
    return Error("Property '{}-arm-cpu.{}' not found", model, words[1].substr(0, words[1].find('=')));
  settings.machine.cpu = model;
  return {};
}

}  // namespace

std::string machine_list() {
  std::string text = "Supported machines are:\n";
  for (const Board* board : machine::all_boards()) text += fmt::format("{:<20} {}\n", board->name, board->summary);
  return text;
}

std::string machine_help(const Board& board) {
  std::string text = fmt::format("{}-machine options:\n", board.name);
  for (const Row& row : kRows)
    text += fmt::format("{:<24} - {}\n", fmt::format("  {}=<{}>", row.name, row.type), row.summary);
  return text;
}

Result<void> read_machine_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "type", config::Style::strict));
  const std::string* type = parsed.find("type");
  if (parsed.help && !type) {
    settings.exit = Exit{0, machine_list()};
    return {};
  }
  if (type) settings.board = Typed{typed.option, *type};
  if (parsed.help) {
    auto board = find_the_board(Typed{typed.option, *type});
    if (!board.ok()) return std::move(board.error());
    settings.exit = Exit{0, machine_help(**board)};
    return {};
  }
  for (const config::Part& part : parsed.parts) {
    if (part.key == "type") continue;
    if (part.key == "accel") {
      for (const std::string& name : split(part.value, ':')) settings.accelerators.push_back({"-accel", name});
      continue;
    }
    settings.machine_properties.push_back({typed, part.key, part.value});
  }
  return {};
}

Result<void> read_memory_option(Settings& settings, const Typed& typed) {
  constexpr config::Parameter kTable[] = {
      {"maxmem", config::Kind::size}, {"size", config::Kind::text}, {"slots", config::Kind::number}};
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "size"));
  const std::string* size = parsed.find("size");
  if (parsed.help && !size) return config::parse_size("size", typed.argument).error();
  if (size) RHEA_TRY(config::parse_size("size", *size, 'M'));
  const auto values = RHEA_TRY(config::read_values(parsed, kTable));
  if (values.has("slots") && !values.has("maxmem")) return Error("slots specified but no max-size");
  if (values.has("maxmem"))
    return Error("'maxmem' (adding memory later) is known to QEMU, but Rhea does not have it yet");
  if (!size) return {};
  const u64 bytes = RHEA_TRY(config::parse_size("size", *size, 'M'));
  settings.machine_properties.push_back({typed, "memory.size", fmt::format("{}", bytes)});
  return {};
}

Result<void> read_smp_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "cpus", config::Style::strict));
  if (parsed.help) {
    std::string text = "smp-opts options:\n";
    for (const SmpKey& key : kSmpKeys) text += fmt::format("  {}=<num>\n", key.name);
    settings.exit = Exit{0, text};
    return {};
  }
  for (const config::Part& part : parsed.parts)
    settings.machine_properties.push_back({Typed{}, "smp." + part.key, part.value});
  return {};
}

Result<void> read_cpu_option(Settings& settings, const Typed& typed) {
  if (typed.argument == "help" || typed.argument == "?") {
    std::string text = "Available CPUs:\n";
    for (const std::string& model : accel::cpu_models()) text += fmt::format("  {}\n", model);
    settings.exit = Exit{0, text};
    return {};
  }
  settings.cpu = typed;
  return {};
}

Result<void> apply_machine(Settings& settings) {
  if (!settings.board)
    return Error("No machine specified, and there is no default")
        .with_hint("Use -machine help to list supported machines");
  settings.machine.board = RHEA_TRY(find_the_board(*settings.board));
  Topology topology;
  Target target{settings, settings.machine, topology};
  for (const MachineProperty& property : settings.machine_properties)
    RHEA_TRY(apply_property(target, *settings.machine.board, property));
  settings.machine.cpus = RHEA_TRY(settle_topology(settings, topology));
  RHEA_TRY(settle_cpu(settings));
  const MachineConfig& config = settings.machine;
  if (config.kernel.empty() && config.has_append) return Error("-append only allowed with -kernel option");
  if (config.kernel.empty() && !config.initrd.empty()) return Error("-initrd only allowed with -kernel option");
  if (config.ram_size > config.board->max_ram) return Error("{}", config.board->too_much_ram_message);
  if (settings.wants_nic_models) {
    std::string text = "Supported NIC models:\n";
    for (const std::string_view model : config.board->nic_models) text += fmt::format("{}\n", model);
    settings.exit = Exit{0, text};
  }
  return {};
}

}  // namespace rhea::cli
