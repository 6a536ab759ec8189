// SPDX-License-Identifier: MIT
#include "net/backends/options.h"

#include <algorithm>

#include "config/options.h"
#include "util/text.h"

namespace rhea::net {

Result<Options> Options::read(std::span<const OptionText> given, std::span<const OptionRow> table) {
  Options options;
  for (const auto& [key, value] : given) {
    const auto row = std::find_if(table.begin(), table.end(), [&](const OptionRow& r) { return r.name == key; });
    if (row == table.end()) {
      std::vector<std::string> names;
      for (const OptionRow& known : table) names.emplace_back(known.name);
      return Error("Invalid parameter '{}'{}", key, did_you_mean(key, names));
    }
    if (row->kind == OptionRow::boolean) RHEA_TRY(config::parse_boolean(key, value));
    if (row->kind == OptionRow::number) RHEA_TRY(config::parse_unsigned(key, value));
    options.given_.emplace_back(key, value);
  }
  return options;
}

const std::string* Options::find(std::string_view name) const {
  const std::string* found = nullptr;
  for (const auto& [key, value] : given_)
    if (key == name) found = &value;
  return found;
}

std::string Options::text(std::string_view name) const {
  const std::string* found = find(name);
  return found ? *found : std::string();
}

bool Options::flag(std::string_view name, bool absent) const {
  const std::string* found = find(name);
  return found ? *config::parse_boolean(name, *found) : absent;
}

u64 Options::number(std::string_view name, u64 absent) const {
  const std::string* found = find(name);
  return found ? *config::parse_unsigned(name, *found) : absent;
}

bool Options::has_group(std::string_view start) const {
  return std::any_of(given_.begin(), given_.end(), [&](const OptionText& o) { return o.first.starts_with(start); });
}

Result<sys::SocketName> Options::address(const std::string& group) const {
  using Family = sys::SocketName::Family;
  if (!has_group(group + ".")) return Error("Parameter '{}' is missing", group);
  const auto key = [&](const char* name) { return group + "." + name; };
  const auto needed = [&](const char* name) -> Result<std::string> {
    if (!has(key(name))) return Error("Parameter '{}' is missing", key(name));
    return text(key(name));
  };
  const std::string type = RHEA_TRY(needed("type"));
  sys::SocketName name;
  std::vector<std::string_view> allowed = {"type"};
  if (type == "inet") {
    name.host = RHEA_TRY(needed("host"));
    name.port = RHEA_TRY(needed("port"));
    if (has(key("to"))) name.to = number(key("to"), 0);
    if (has(key("ipv4"))) name.ipv4 = flag(key("ipv4"), true);
    if (has(key("ipv6"))) name.ipv6 = flag(key("ipv6"), true);
    name.numeric = flag(key("numeric"), false);
    allowed = {"type", "host", "port", "to", "ipv4", "ipv6", "numeric", "keep-alive"};
  } else if (type == "unix") {
    name.family = Family::unix_path;
    name.path = RHEA_TRY(needed("path"));
    name.abstract = flag(key("abstract"), false);
    name.tight = flag(key("tight"), true);
    allowed = {"type", "path", "abstract", "tight"};
  } else if (type == "fd") {
    name.family = Family::descriptor;
    name.descriptor = RHEA_TRY(needed("str"));
    allowed = {"type", "str"};
  } else {
    return Error("Parameter 'type' does not accept value '{}': {} is inet, unix or fd", type, key("type"));
  }
  for (const auto& [given, value] : given_) {
    if (!given.starts_with(group + ".")) continue;
    const std::string part = given.substr(group.size() + 1);
    if (std::find(allowed.begin(), allowed.end(), part) == allowed.end())
      return Error("Parameter '{}' is unexpected: an address of type {} does not have it", given, type);
  }
  return name;
}

Result<sys::SocketName> parse_host_port(const std::string& text) {
  const usize colon = text.rfind(':');
  if (colon == std::string::npos) return Error("host address '{}' doesn't contain ':' separating host from port", text);
  sys::SocketName name;
  name.host = text.substr(0, colon);
  name.port = text.substr(colon + 1);
  const bool bracketed = name.host.size() > 2 && name.host.front() == '[' && name.host.back() == ']';
  if (bracketed) {
    name.host = name.host.substr(1, name.host.size() - 2);
  } else {
    if (name.host.find(':') != std::string::npos)
      return Error("host address '{}': an IPv6 address goes in brackets, like [::1]:1234", text);
    name.ipv4 = true;
  }
  const auto port = parse_number(name.port);
  if (!port || *port > 65535) return Error("port number '{}' is invalid", name.port);
  name.port = std::to_string(*port);
  return name;
}

}  // namespace rhea::net
