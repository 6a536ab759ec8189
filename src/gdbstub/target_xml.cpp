// SPDX-License-Identifier: MIT
#include "gdbstub/target_xml.h"

#include <fmt/format.h>

namespace rhea::gdbstub {

// Features of one name that follow each other are one, with the number of the later ones' first register stated.
std::string target_description(const Cpu& cpu) {
  std::string text = "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n";
  text += fmt::format("<architecture>{}</architecture>\n", cpu.architecture());
  std::string open;
  unsigned next = 0;
  for (const RegisterFeature& feature : cpu.register_features()) {
    if (feature.name != open) {
      if (!open.empty()) text += "</feature>\n";
      text += fmt::format("<feature name=\"{}\">\n", feature.name);
      open = feature.name;
    }
    text += feature.types;
    unsigned number = feature.first;
    for (const RegisterInfo& info : feature.registers) {
      text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"", info.name, info.bits, info.type);
      if (!info.group.empty()) text += fmt::format(" group=\"{}\"", info.group);
      if (number != next) text += fmt::format(" regnum=\"{}\"", number);
      text += "/>\n";
      next = ++number;
    }
  }
  if (!open.empty()) text += "</feature>\n";
  return text + "</target>\n";
}

std::string thread_info(const Cpu& cpu) {
  return fmt::format("CPU#{} [{}]", cpu.index(), cpu.halted() ? "halted" : "running");
}

std::string thread_list(DebugTarget& target) {
  std::string text = "<?xml version=\"1.0\"?>\n<threads>\n";
  for (unsigned i = 0; i < target.cpus(); ++i) {
    text += fmt::format("<thread id=\"{:x}\" core=\"{}\" name=\"CPU {}\">{}</thread>\n", i + 1, i, i,
                        thread_info(target.cpu(i)));
  }
  return text + "</threads>\n";
}

}  // namespace rhea::gdbstub
