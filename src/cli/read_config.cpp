// SPDX-License-Identifier: MIT
// -readconfig FILE: sections of options.
//
//   # a remark
//   [device "nic0"]
//     driver = "virtio-net-device"
//     netdev = "n0"
//
// is -device driver=virtio-net-device,netdev=n0,id=nic0.
#include "cli/read_config.h"

#include <algorithm>

#include "sys/file.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

// A section's option, and the key under which it has the name in quotes.
struct Group {
  std::string_view section, option;
};
constexpr Group kGroups[] = {
    {"accel", "accel"},       {"action", "action"},   {"audiodev", "audiodev"},
    {"blockdev", "blockdev"}, {"boot-opts", "boot"},  {"chardev", "chardev"},
    {"device", "device"},     {"drive", "drive"},     {"fsdev", "fsdev"},
    {"fw_cfg", "fw_cfg"},     {"global", "global"},   {"icount", "icount"},
    {"machine", "machine"},   {"memory", "m"},        {"mon", "mon"},
    {"msg", "msg"},           {"name", "name"},       {"net", "net"},
    {"netdev", "netdev"},     {"nic", "nic"},         {"object", "object"},
    {"rtc", "rtc"},           {"sandbox", "sandbox"}, {"semihosting-config", "semihosting-config"},
    {"smp-opts", "smp"},      {"smp", "smp"},         {"spice", "spice"},
    {"virtfs", "virtfs"},     {"vnc", "vnc"},
};

struct Section {
  std::string option, id;
  std::string text;
  usize line = 0;
};

// [word] or [word "id"]
bool read_header(std::string_view line, std::string& name, std::string& id) {
  if (!line.starts_with('[') || !line.ends_with(']')) return false;
  line = trim(line.substr(1, line.size() - 2));
  const usize quote = line.find('"');
  id.clear();
  if (quote != line.npos) {
    if (!line.ends_with('"') || line.size() < quote + 2) return false;
    id = std::string(line.substr(quote + 1, line.size() - quote - 2));
    line = trim(line.substr(0, quote));
  }
  name = std::string(line);
  return !name.empty() && name.find_first_of(" \t\"") == name.npos;
}

// key = "value"
bool read_key(std::string_view line, std::string& key, std::string& value) {
  const usize equals = line.find('=');
  if (equals == line.npos) return false;
  key = std::string(trim(line.substr(0, equals)));
  const std::string_view text = trim(line.substr(equals + 1));
  if (key.empty() || key.find_first_of(" \t\"") != key.npos) return false;
  if (text.size() < 2 || !text.starts_with('"') || !text.ends_with('"')) return false;
  value = std::string(text.substr(1, text.size() - 2));
  return value.find('"') == value.npos;
}

Result<const Group*> find_group(const std::string& name) {
  std::vector<std::string> names;
  for (const Group& group : kGroups) {
    if (group.section == name) return &group;
    names.emplace_back(group.section);
  }
  return Error("There is no option group '{}'{}", name, did_you_mean(name, names));
}

}  // namespace

Result<std::vector<ConfigOption>> read_config_text(std::string_view text, const std::string& name) {
  std::vector<ConfigOption> options;
  usize number = 0;
  for (const std::string& whole : split(text, '\n')) {
    ++number;
    const std::string_view line = trim(whole);
    const auto at_line = [&](const std::string& what) { return Error("{}:{}: {}", name, number, what); };
    if (line.empty() || line.starts_with('#')) continue;
    std::string first, second;
    if (line.starts_with('[')) {
      if (!read_header(line, first, second))
        return at_line("parse error: a section is written [group] or [group \"id\"]");
      auto group = find_group(first);
      if (!group.ok()) return at_line(group.error().message());
      options.push_back({fmt::format("-{}", (*group)->option), {}});
      if (!second.empty()) options.back().argument = fmt::format("id={}", config::quote_value(second));
    } else if (read_key(line, first, second)) {
      if (options.empty()) return at_line("no group defined");
      std::string& argument = options.back().argument;
      argument += fmt::format("{}{}={}", argument.empty() ? "" : ",", first, config::quote_value(second));
    } else {
      return at_line("parse error: an option is written key = \"value\"");
    }
  }
  return options;
}

Result<std::vector<ConfigOption>> read_config_file(const std::string& path) {
  constexpr u64 kMost = u64{1} << 20;
  const auto bytes = sys::read_file(path, kMost);
  if (!bytes.ok()) return Error("read config {}: {}", path, bytes.error().message());
  return read_config_text({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, path);
}

}  // namespace rhea::cli
