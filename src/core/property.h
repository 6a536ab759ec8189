// SPDX-License-Identifier: MIT
// A device's (or a backend's) properties are one table: it feeds parsing, type errors, `X,help`, `info qtree`.
//
//   struct Config { u64 mac = 0; bool mode_16bit = false; };
//   constexpr Property kProperties[] = {
//       property<&Config::mac>("mac", PropertyKind::mac, "station address"),
//       property<&Config::mode_16bit>("mode_16bit", PropertyKind::boolean, "16-bit bus mode"),
//   };
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "util/result.h"
#include "util/types.h"

namespace rhea {

enum class PropertyKind : u8 { boolean, number, size, mac, text, netdev, chardev };

struct Property {
  std::string_view name;
  PropertyKind kind;
  std::string_view summary;
  // Parse into / print from the config structure that the table belongs to.
  Result<void> (*set)(void* config, PropertyKind kind, std::string_view text);
  std::string (*get)(const void* config, PropertyKind kind);
  std::string_view type_name = "str";  // as `X,help` prints it: "bool", "uint16", "size", "str"
};

// Conversions shared by every table. MACs are numbers of 48 bits, the first byte highest; 0 is "not given".
// Errors say what the kind takes; the caller adds "Property 'type.name' doesn't take value 'text'".
Result<u64> parse_property_number(PropertyKind kind, std::string_view text);
std::string print_property_number(PropertyKind kind, u64 value);
// "52:54:00:12:34:56" and back.
std::string format_mac(u64 mac);
Result<u64> parse_mac(std::string_view text);

namespace detail {
template <typename T>
struct MemberOf;
template <typename C, typename T>
struct MemberOf<T C::*> {
  using Class = C;
  using Type = T;
};
}  // namespace detail

namespace detail {
template <typename T>
constexpr std::string_view type_name_of(PropertyKind kind) {
  if constexpr (std::is_same_v<T, std::string>) return "str";
  switch (kind) {
    case PropertyKind::boolean: return "bool";
    case PropertyKind::size: return "size";
    case PropertyKind::number: break;
    default: return "str";
  }
  return sizeof(T) == 1 ? "uint8" : sizeof(T) == 2 ? "uint16" : sizeof(T) == 4 ? "uint32" : "uint64";
}
}  // namespace detail

template <auto Member>
constexpr Property property(std::string_view name, PropertyKind kind, std::string_view summary) {
  using Class = typename detail::MemberOf<decltype(Member)>::Class;
  using Type = typename detail::MemberOf<decltype(Member)>::Type;
  return Property{name,
                  kind,
                  summary,
                  [](void* config, PropertyKind k, std::string_view text) -> Result<void> {
                    Type& member = static_cast<Class*>(config)->*Member;
                    if constexpr (std::is_same_v<Type, std::string>) {
                      member = std::string(text);
                    } else {
                      member = static_cast<Type>(RHEA_TRY(parse_property_number(k, text)));
                    }
                    return {};
                  },
                  [](const void* config, PropertyKind k) -> std::string {
                    const Type& member = static_cast<const Class*>(config)->*Member;
                    if constexpr (std::is_same_v<Type, std::string>) return member;
                    else return print_property_number(k, static_cast<u64>(member));
                  },
                  detail::type_name_of<Type>(kind)};
}

// Finds a row; nullptr if there is none.
const Property* find_property(std::span<const Property> table, std::string_view name);
// "Property 'lan9118.foo' not found (did you mean 'mac'?)" and the like.
Result<void> set_property(std::span<const Property> table, std::string_view owner, void* config, std::string_view name,
                          std::string_view text);

}  // namespace rhea
