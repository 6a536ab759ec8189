// SPDX-License-Identifier: MIT
#include "core/property.h"

#include "util/text.h"

namespace rhea {

namespace {

Result<u64> parse_boolean(std::string_view text) {
  for (const char* yes : {"on", "yes", "true", "y"})
    if (text == yes) return u64{1};
  for (const char* no : {"off", "no", "false", "n"})
    if (text == no) return u64{0};
  return Error("expects 'on' or 'off'");
}

Result<u64> parse_size(std::string_view text) {
  unsigned shift = 0;
  if (!text.empty()) {
    const usize at = std::string_view("bkmgtpe").find(static_cast<char>(text.back() | 0x20));
    if (at != std::string_view::npos && !text.starts_with("0x")) {
      shift = 10 * at;
      text.remove_suffix(1);
    }
  }
  const auto number = parse_number(text);
  if (!number || (shift && *number >> (64 - shift)))
    return Error("expects a size: a number, with k, M, G, T, P or E for powers of 1024");
  return *number << shift;
}

}  // namespace

Result<u64> parse_mac(std::string_view text) {
  const auto parts = split(text, text.find('-') == text.npos ? ':' : '-');
  u64 mac = 0;
  bool good = parts.size() == 6;
  for (const std::string& part : parts) {
    const auto byte = part.empty() || part.size() > 2 ? std::nullopt : parse_number("0x" + part);
    if (!good || !byte) return Error("expects six bytes in hexadecimal, like 52:54:00:12:34:56");
    mac = mac << 8 | *byte;
  }
  return mac;
}

std::string format_mac(u64 mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac >> 40 & 0xff, mac >> 32 & 0xff, mac >> 24 & 0xff,
                     mac >> 16 & 0xff, mac >> 8 & 0xff, mac & 0xff);
}

Result<u64> parse_property_number(PropertyKind kind, std::string_view text) {
  switch (kind) {
    case PropertyKind::boolean: return parse_boolean(text);
    case PropertyKind::size: return parse_size(text);
    case PropertyKind::mac: return parse_mac(text);
    default: break;
  }
  const auto number = parse_number(text);
  if (!number) return Error("expects a number");
  return *number;
}

std::string print_property_number(PropertyKind kind, u64 value) {
  switch (kind) {
    case PropertyKind::boolean: return value ? "true" : "false";
    case PropertyKind::mac: return format_mac(value);
    default: return fmt::format("{} (0x{:x})", value, value);
  }
}

const Property* find_property(std::span<const Property> table, std::string_view name) {
  for (const Property& row : table)
    if (row.name == name) return &row;
  return nullptr;
}

Result<void> set_property(std::span<const Property> table, std::string_view owner, void* config, std::string_view name,
                          std::string_view text) {
  const Property* row = find_property(table, name);
  if (!row) {
    std::vector<std::string> names;
    for (const Property& candidate : table) names.emplace_back(candidate.name);
    return Error("Property '{}.{}' not found{}", owner, name, did_you_mean(name, names));
  }
  Result<void> set = row->set(config, row->kind, text);
  if (!set.ok())
    return Error("Property '{}.{}' doesn't take value '{}': it {}", owner, name, text, set.error().message());
  return {};
}

}  // namespace rhea
