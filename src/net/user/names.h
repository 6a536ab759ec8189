// SPDX-License-Identifier: MIT
// Names that the name server answers itself: host, gateway, dns, the guests by the names they gave DHCP (each
// also with the network's domain), and the records of dns-record=. Their addresses lead back to names (PTR).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Names {
 public:
  Names(const Context& context, const Dhcp& dhcp) : context_(context), dhcp_(dhcp) {}
  // The answer to a query; nothing when it is about none of them, or no plain question of the internet class.
  std::optional<std::vector<u8>> answer(std::span<const u8> query) const;

 private:
  struct Question;
  using Records = std::vector<NameRecord>;
  // False: the name is not ours. True with no records: it has none of that type.
  bool find(std::string name, u16 type, Records& records) const;
  bool find_static(const std::string& name, u16 type, Records& records) const;
  bool find_pointer(const std::string& name, u16 type, Records& records) const;
  std::string without_domain(const std::string& name) const;

  const Context& context_;
  const Dhcp& dhcp_;
};

}  // namespace rhea::net::user
