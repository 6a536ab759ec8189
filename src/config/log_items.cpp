// SPDX-License-Identifier: MIT
#include "config/log_items.h"

#include "util/text.h"

namespace rhea::config {

namespace {

constexpr LogItemRow kItems[] = {
    {"out_asm", LogItem::out_asm, "show generated host assembly code for each compiled block"},
    {"in_asm", LogItem::in_asm, "show target assembly code for each compiled block"},
    {"op", LogItem::op, "show the IR of each compiled block"},
    {"op_opt", LogItem::op_opt, "show the IR after optimization"},
    {"int", LogItem::interrupt, "show interrupts/exceptions in short format"},
    {"exec", LogItem::exec, "show each block before it is executed (lots of logs)"},
    {"cpu", LogItem::cpu, "show CPU registers before entering a block (lots of logs)"},
    {"mmu", LogItem::mmu, "log MMU-related activities"},
    {"cpu_reset", LogItem::cpu_reset, "show CPU state before CPU resets"},
    {"unimp", LogItem::unimp, "log unimplemented functionality"},
    {"guest_errors", LogItem::guest_errors, "log when the guest OS does something invalid"},
    {"nochain", LogItem::nochain, "do not chain compiled blocks so that \"exec\" and \"cpu\" show complete traces"},
    {"trace", LogItem::trace, "log accesses to devices' registers"},
    {"net", LogItem::net, "log the user-mode network's flows and drops"},
};

// QEMU's, which have no counterpart here.
constexpr std::string_view kElsewhere[] = {"op_ind", "fpu", "pcall", "page", "plugin", "strace", "tid"};

}  // namespace

std::span<const LogItemRow> log_items() { return kItems; }

Result<u32> parse_log_items(std::string_view text) {
  u32 mask = 0;
  for (const std::string& word : split(text, ',')) {
    if (word == "none" || word.empty()) continue;
    bool found = false;
    std::vector<std::string> names;
    for (const LogItemRow& row : kItems) {
      names.emplace_back(row.name);
      if (row.name != word && word != "all") continue;
      mask |= static_cast<u32>(row.item);
      found = true;
    }
    if (found) continue;
    for (const std::string_view name : kElsewhere)
      if (word == name) return Error("log item '{}' is known to QEMU, but Rhea does not have it yet", word);
    return Error("there is no log item '{}'{}", word, did_you_mean(word, names));
  }
  return mask;
}

std::string log_items_help(bool with_none) {
  std::string text = "Log items (comma separated):\n";
  if (with_none) text += fmt::format("{:<15} {}\n", "none", "remove all logs");
  for (const LogItemRow& row : kItems) text += fmt::format("{:<15} {}\n", row.name, row.summary);
  return text;
}

}  // namespace rhea::config
