// SPDX-License-Identifier: MIT
#include "monitor/commands.h"

#include <algorithm>

#include "config/log_items.h"
#include "monitor/objects.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

constexpr Command kCommands[] = {
#define COMMAND(name, alias, arguments, help, pattern, run) {name, alias, arguments, help, pattern, run},
#define INFO(name, arguments, help, pattern, run)
#include "monitor/commands.inc"
#undef COMMAND
#undef INFO
};

constexpr Command kInfo[] = {
#define COMMAND(name, alias, arguments, help, pattern, run)
#define INFO(name, arguments, help, pattern, run) {name, "", arguments, help, pattern, run},
#include "monitor/commands.inc"
#undef COMMAND
#undef INFO
};

std::string help_line(const Command& command, std::string_view before) {
  return fmt::format("{}{} {} -- {}\n", before, command.full_name(), command.arguments, command.help);
}

std::string whole_table(std::span<const Command> table, std::string_view before) {
  std::string text;
  for (const Command& command : table) text += help_line(command, before);
  return text;
}

// QEMU's other commands, so that a user is told which are missing rather than misspelt.
constexpr std::string_view kQemuCommands =
    "calc_dirty_rate cancel_vcpu_dirty_limit client_migrate_info "
    "expire_password gpa2hpa i migrate_continue migrate_pause migrate_recover "
    "migrate_start_postcopy nbd_server_add nbd_server_remove nbd_server_start nbd_server_stop o pcie_aer_inject_error "
    "qemu-io set_password set_vcpu_dirty_limit singlestep sync-profile trace-event watchdog_action "
    "x_colo_lost_heartbeat";
constexpr std::string_view kQemuInfo =
    "dirty_rate memdev opcount profile rdma rocker stats sync-profile trace-events usbhost vcpu_dirty_limit "
    "vm-generation-id";

std::string unknown(std::string_view typed, std::string_view before, std::span<const Command> table,
                    std::string_view qemu) {
  std::vector<std::string> names;
  for (const std::string& word : split(qemu, ' ')) {
    if (word == typed) return fmt::format("'{}{}' is known to QEMU, but Rhea does not have it yet\n", before, typed);
    names.push_back(word);
  }
  for (const Command& command : table) names.insert(names.begin(), std::string(command.name));
  const auto meant = nearest(typed, names);
  return fmt::format("unknown command: '{}{}'{}\n", before, typed,
                     meant ? fmt::format(" (did you mean '{}{}'?)", before, *meant) : "");
}

// The first word, without its slash part ("x/4x" is x with a format), and the rest.
std::pair<std::string_view, std::string_view> take_name(std::string_view line) {
  line = trim(line);
  usize end = 0;
  while (end < line.size() && line[end] != ' ' && line[end] != '\t' && line[end] != '/') ++end;
  return {line.substr(0, end), line.substr(end)};
}

RegisterLookup register_lookup(Monitor& monitor) {
  return [&monitor](std::string_view name) -> std::optional<u64> {
    std::optional<u64> found;
    accel::Engine& engine = monitor.context().machine.engine();
    engine.at_safe_point([&] {
      u64 value = 0;
      if (monitor.cpu >= engine.cpus()) return;
      if (engine.cpu(monitor.cpu).register_value(name, value)) found = value;
    });
    return found;
  };
}

void run_command(Monitor& monitor, const Command& command, std::string_view rest, std::string_view help_name) {
  const auto arguments = read_arguments(rest, command.pattern, command.full_name(), register_lookup(monitor));
  if (!arguments.ok()) {
    monitor.print(arguments.error().message() + "\n");
    monitor.print(fmt::format("Try \"help {}\" for more information\n", help_name));
    return;
  }
  command.run(monitor, *arguments);
}

std::vector<std::string> starting_with(std::string_view start, std::span<const Command> table) {
  std::vector<std::string> found;
  for (const Command& command : table)
    if (command.name.starts_with(start)) found.emplace_back(command.name);
  return found;
}

// The children of the object that a path has got to.
void complete_path(Monitor& monitor, std::string_view path, std::vector<std::string>& found) {
  const usize slash = path.rfind('/');
  if (slash == path.npos) return;
  const machine::ObjectTree tree = object_tree(monitor.context());
  const std::string_view above = path.substr(0, slash);
  const auto node = tree.find(above.empty() ? "/" : above);
  if (!node.ok()) return;
  for (const auto& child : (*node)->children) {
    const std::string whole = fmt::format("{}/{}", above, child->name);
    if (whole.starts_with(path)) found.push_back(whole);
  }
}

}  // namespace

std::span<const Command> commands() { return kCommands; }
std::span<const Command> info_commands() { return kInfo; }

const Command* find_command(std::span<const Command> table, std::string_view name) {
  for (const Command& command : table)
    if (command.name == name || (!command.alias.empty() && command.alias == name)) return &command;
  return nullptr;
}

std::string help_for(std::string_view words) {
  const auto [name, rest] = take_name(words);
  if (name.empty()) return whole_table(kCommands, "");
  const Command* command = find_command(kCommands, name);
  if (!command) return unknown(name, "", kCommands, kQemuCommands);
  if (command->name != "info") return help_line(*command, "");
  const std::string_view sub = take_name(rest).first;
  if (sub.empty()) return whole_table(kInfo, "info ");
  const Command* row = find_command(kInfo, sub);
  return row ? help_line(*row, "info ") : unknown(sub, "info ", kInfo, kQemuInfo);
}

std::vector<std::string> complete_line(Monitor& monitor, std::string_view text) {
  std::vector<std::string> words = split(text, ' ');
  const std::string last = words.back();
  words.pop_back();
  words.erase(std::remove(words.begin(), words.end(), ""), words.end());
  if (words.empty() || (words.size() == 1 && find_command(kCommands, words[0]) == find_command(kCommands, "help")))
    return starting_with(last, kCommands);
  const Command* command = find_command(kCommands, words[0]);
  const bool info = words.back() == "info" && words.size() <= 2;
  if (info) return starting_with(last, kInfo);
  std::vector<std::string> found;
  const auto offer = [&](std::string_view word, std::string_view start) {
    if (word.starts_with(start)) found.emplace_back(word);
  };
  if (command && command->name == "log") {
    const std::string start = last.substr(last.rfind(',') + 1);
    offer("none", start);
    for (const config::LogItemRow& row : config::log_items()) offer(row.name, start);
  } else if (command && command->name.starts_with("chardev-") && command->name != "chardev-add" && words.size() == 1) {
    for (const std::string& id : monitor.context().machine.chardevs().ids()) offer(id, last);
  } else if (command && command->name == "chardev-add" && words.size() == 1) {
    for (const std::string& name : chardev::backend_names()) offer(name, last);
  } else if (command && command->name.starts_with("qom-") && words.size() == 1) {
    complete_path(monitor, last, found);
  } else if (command && (command->name == "set_link" || command->name == "netdev_del") && words.size() == 1) {
    for (const net::PortState& port : monitor.context().network.states())
      if (port.type != "hubport" && (port.type != "nic" || command->name == "set_link")) offer(port.name, last);
  } else if (command && command->name == "set_link" && words.size() == 2) {
    offer("on", last);
    offer("off", last);
  }
  return found;
}

void run_help(Monitor& monitor, const Arguments& arguments) {
  monitor.print(help_for(arguments.texts.empty() ? std::string_view() : arguments.texts[0]));
}

void run_info(Monitor& monitor, const Arguments& arguments) {
  if (arguments.texts.empty()) {
    monitor.print(whole_table(kInfo, "info "));
    return;
  }
  const auto [name, rest] = take_name(arguments.texts[0]);
  const Command* command = find_command(kInfo, name);
  if (!command) {
    const std::string_view typed = trim(arguments.texts[0]);
    monitor.print(
        unknown(name.empty() || name.size() < typed.find_first_of(" \t") ? typed : name, "info ", kInfo, kQemuInfo));
    return;
  }
  run_command(monitor, *command, rest, fmt::format("info {}", command->name));
}

void Monitor::execute(std::string_view line) {
  const auto [name, rest] = take_name(line);
  if (trim(line).empty()) return;
  if (const Command* command = find_command(kCommands, name)) {
    run_command(*this, *command, rest, name);
    return;
  }
  const std::string_view typed = trim(line);
  print(unknown(name.empty() ? typed.substr(0, typed.find(' ')) : name, "", kCommands, kQemuCommands));
}

}  // namespace rhea::monitor
