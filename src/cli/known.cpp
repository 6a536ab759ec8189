// SPDX-License-Identifier: MIT
#include "cli/known.h"

#include "util/text.h"
#include "util/types.h"

namespace rhea::cli {

namespace {

struct DeviceWords {
  std::string_view bus;
  std::string_view names;
};

#define MACHINES(words) constexpr std::string_view kMachines = words;
#define CPUS(words)
#define OBJECTS(words)
#define DEVICES(bus, words)
#include "cli/known_words.inc"
#undef MACHINES
#undef CPUS
#undef OBJECTS
#undef DEVICES

#define MACHINES(words)
#define CPUS(words) constexpr std::string_view kCpus = words;
#define OBJECTS(words) constexpr std::string_view kObjects = words;
#define DEVICES(bus, words)
#include "cli/known_words.inc"
#undef MACHINES
#undef CPUS
#undef OBJECTS
#undef DEVICES

constexpr DeviceWords kDevices[] = {
#define MACHINES(words)
#define CPUS(words)
#define OBJECTS(words)
#define DEVICES(bus, words) {bus, words},
#include "cli/known_words.inc"
#undef MACHINES
#undef CPUS
#undef OBJECTS
#undef DEVICES
};

constexpr QemuOption kOptions[] = {
    {"L", true, "no firmware files are needed"},
    {"async-teardown", false, ""},
    {"audio-help", false, "there is no sound yet"},
    {"boot", true, "the guest boots from -kernel"},
    {"compat", true, ""},
    {"dfilter", true, ""},
    {"dump-vmstate", true, ""},
    {"enable-kvm", false, "it speeds up guests of the host's own architecture only; -accel tcg is what runs ARM here"},
    {"enable-sync-profile", false, ""},
    {"full-screen", false, "there is no display yet: use -nographic"},
    {"g", true, "there is no display yet: use -nographic"},
    {"iscsi", true, "iSCSI disks cannot be reached"},
    {"k", true, "there is no display yet: use -nographic"},
    {"mem-path", true, ""},
    {"mem-prealloc", false, ""},
    {"no-acpi", false, ""},
    {"numa", true, ""},
    {"old-param", false, ""},
    {"only-migratable", false, ""},
    {"option-rom", true, ""},
    {"overcommit", true, ""},
    {"plugin", true, ""},
    {"portrait", false, "there is no display yet: use -nographic"},
    {"preconfig", false, ""},
    {"rotate", true, "there is no display yet: use -nographic"},
    {"singlestep", false, ""},
    {"smbios", true, ""},
    {"spice", true, "there is no display yet: use -nographic"},
    {"tpmdev", true, ""},
    {"trace", true, "-d trace logs register accesses"},
    {"usb", false, ""},
    {"usbdevice", true, ""},
    {"vnc", true, "there is no display yet: use -nographic"},
    {"watchdog-action", true, ""},
    {"xen-attach", false, ""},
    {"xen-domid", true, ""},
    {"xen-domid-restrict", false, ""},
};

// A word of a list that is separated by spaces.
bool has_word(std::string_view list, std::string_view word) {
  if (word.empty() || word.find(' ') != word.npos) return false;
  for (usize at = list.find(word); at != list.npos; at = list.find(word, at + 1)) {
    const usize end = at + word.size();
    if ((at == 0 || list[at - 1] == ' ') && (end == list.size() || list[end] == ' ')) return true;
  }
  return false;
}

std::string_view words_of(Word kind) {
  switch (kind) {
    case Word::machine: return kMachines;
    case Word::cpu: return kCpus;
    case Word::object: break;
  }
  return kObjects;
}

}  // namespace

bool qemu_knows(Word kind, std::string_view name) { return has_word(words_of(kind), name); }
std::vector<std::string> qemu_words(Word kind) { return split(words_of(kind), ' '); }

std::optional<std::string_view> qemu_device_bus(std::string_view name) {
  for (const DeviceWords& row : kDevices)
    if (has_word(row.names, name)) return row.bus;
  return std::nullopt;
}

std::vector<std::string> qemu_devices() {
  std::vector<std::string> names;
  for (const DeviceWords& row : kDevices)
    for (std::string& name : split(row.names, ' ')) names.push_back(std::move(name));
  return names;
}

const QemuOption* find_qemu_option(std::string_view name) {
  for (const QemuOption& row : kOptions)
    if (row.name == name) return &row;
  return nullptr;
}

std::vector<std::string> qemu_options() {
  std::vector<std::string> names;
  for (const QemuOption& row : kOptions) names.emplace_back(row.name);
  return names;
}

}  // namespace rhea::cli
