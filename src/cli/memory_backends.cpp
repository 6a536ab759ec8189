// SPDX-License-Identifier: MIT
#include "cli/memory_backends.h"

#include "config/options.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

enum Of : unsigned { kMemfd = 1, kFile = 2, kRam = 4, kAll = 7 };

// A row that can only have one value says which.
struct Row {
  std::string_view name;
  std::string_view kind;
  std::string_view summary;
  unsigned types;
  std::string_view only = {};
};

constexpr Row kRows[] = {
    {"align", "int", "", kFile, ""},
    {"discard-data", "bool", "off: the file keeps what the guest's RAM held", kFile, "off"},
    {"dump", "bool", "on: the memory is in core dumps of this process", kAll, "on"},
    {"hugetlb", "bool", "off: pages of the host's usual size", kMemfd, "off"},
    {"mem-path", "str", "the file, or a folder for one that nobody else sees", kFile},
    {"merge", "bool", "off: pages are not looked at by the host's KSM", kAll, "off"},
    {"pmem", "bool", "off", kFile, "off"},
    {"prealloc", "bool", "the host's memory is taken at the start", kAll},
    {"readonly", "bool", "off: guests write to their RAM", kFile, "off"},
    {"reserve", "bool", "off: no swap is reserved", kAll, "off"},
    {"seal", "bool", "others cannot make it shorter or longer (on)", kMemfd},
    {"share", "bool", "others may be given it: of a file always; the others are never copied", kAll},
    {"size", "size", "size of the memory (512M)", kAll},
};

unsigned bit_of(const std::string& type) {
  return type.ends_with("memfd") ? kMemfd : type.ends_with("file") ? kFile : kRam;
}

Result<const Row*> find_row(const std::string& type, const std::string& name) {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    if (!(row.types & bit_of(type))) continue;
    if (row.name == name) return &row;
    names.emplace_back(row.name);
  }
  return Error("Invalid parameter '{}'{}", name, did_you_mean(name, names));
}

Result<void> apply(machine::RamBackend& backend, const Row& row, const std::string& value) {
  if (row.kind == "size") {
    backend.size = RHEA_TRY(config::parse_size(row.name, value));
  } else if (row.kind == "str") {
    backend.path = value;
  } else if (row.kind != "bool") {
    return Error("memory-backend: {}={} is not supported; leave it out", row.name, value);
  } else {
    const bool on = RHEA_TRY(config::parse_boolean(row.name, value));
    if (!row.only.empty() && on != (row.only == "on"))
      return Error("memory-backend: {}={} is not supported: it is always {}", row.name, value, row.only);
    if (row.name == "prealloc") backend.preallocate = on;
    if (row.name == "seal") backend.sealed = on;
    if (row.name == "share") backend.shared = on;
  }
  return {};
}

}  // namespace

std::string memory_backend_help(const std::string& type) {
  std::string text = type + " options:\n";
  for (const Row& row : kRows)
    if (row.types & bit_of(type))
      text += fmt::format("{:<24} - {}\n", fmt::format("  {}=<{}>", row.name, row.kind), row.summary);
  return text;
}

Result<machine::RamBackend> read_memory_backend(const std::string& type, const std::string& id,
                                                const std::vector<std::pair<std::string, std::string>>& options) {
  machine::RamBackend backend{.id = id};
  backend.sealed = bit_of(type) == kMemfd;
  backend.shared = bit_of(type) == kMemfd;
  for (const auto& [name, value] : options) RHEA_TRY(apply(backend, *RHEA_TRY(find_row(type, name)), value));
  if (backend.size == 0) return Error("Parameter 'size' is missing");
  if (bit_of(type) != kFile) return backend;
  if (backend.path.empty()) return Error("Parameter 'mem-path' is missing");
  if (!backend.shared)
    return Error("memory-backend-file: share=off, which is the default, is not supported: give share=on")
        .with_hint("With share=on the file holds the guest's RAM; memory-backend-ram has none.");
  return backend;
}

}  // namespace rhea::cli
