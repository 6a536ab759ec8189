// SPDX-License-Identifier: MIT
// What QEMU has by name and Rhea has not (yet): options, boards, CPUs, devices, objects. A word of these is
// refused with a message that says so; any other gets the nearest word there is.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::cli {

enum class Word : unsigned char { machine, cpu, object };

bool qemu_knows(Word kind, std::string_view name);
std::vector<std::string> qemu_words(Word kind);

// The bus of a QEMU device ("PCI"; empty: none), or nothing if there is no such device.
std::optional<std::string_view> qemu_device_bus(std::string_view name);
std::vector<std::string> qemu_devices();

// An option of QEMU's that Rhea has not: whether an argument follows, and a word on it.
struct QemuOption {
  std::string_view name;
  bool argument;
  std::string_view advice;  // what to do instead, or empty
};
const QemuOption* find_qemu_option(std::string_view name);
std::vector<std::string> qemu_options();

}  // namespace rhea::cli
