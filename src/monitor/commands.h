// SPDX-License-Identifier: MIT
// The monitor's command table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "monitor/arguments.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

// A row of commands.inc.
struct Command {
  std::string_view name;
  std::string_view alias;      // or empty
  std::string_view arguments;  // as the help shows them
  std::string_view help;
  std::string_view pattern;  // see arguments.h
  void (*run)(Monitor& monitor, const Arguments& arguments);

  std::string full_name() const {
    return alias.empty() ? std::string(name) : std::string(name) + "|" + std::string(alias);
  }
};

std::span<const Command> commands();
std::span<const Command> info_commands();
const Command* find_command(std::span<const Command> table, std::string_view name);

// What could stand in place of the last word of a line.
std::vector<std::string> complete_line(Monitor& monitor, std::string_view text);
// `help [name]`.
std::string help_for(std::string_view words);

// Commands, by the file that holds them.
#define COMMAND(name, alias, shown, help, pattern, run) void run(Monitor& monitor, const Arguments& arguments);
#define INFO(name, shown, help, pattern, run) void run(Monitor& monitor, const Arguments& arguments);
#include "monitor/commands.inc"
#undef COMMAND
#undef INFO

}  // namespace rhea::monitor
