// SPDX-License-Identifier: MIT
// Reading a backend's options against its table, and the socket addresses among them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/backend.h"
#include "sys/named_socket.h"

namespace rhea::net {

class Options {
 public:
  // Errors: "Invalid parameter 'bogus' (did you mean ...?)", "Parameter 'server' expects 'on' or 'off'",
  // "Parameter 'queues' expects a number".
  static Result<Options> read(std::span<const OptionText> given, std::span<const OptionRow> table);

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The last value that was given; "" if none.
  std::string text(std::string_view name) const;
  bool flag(std::string_view name, bool absent) const;
  u64 number(std::string_view name, u64 absent) const;
  // Whether any key begins so ("addr.").
  bool has_group(std::string_view start) const;

  // TYPE.type=inet|unix|fd and what belongs to it, below `group` ("addr", "local"). Errors as QEMU words them:
  // "Parameter 'addr' is missing", "Parameter 'addr.host' is missing".
  Result<sys::SocketName> address(const std::string& group) const;

 private:
  const std::string* find(std::string_view name) const;
  std::vector<OptionText> given_;
};

// "host:port", ":port", "[v6]:port". Errors: "host address 'abc' doesn't contain ':' separating host from port".
Result<sys::SocketName> parse_host_port(const std::string& text);

// The rows of an address's options, for help and checking: group "addr" gives "addr.type" and so on.
#define RHEA_ADDRESS_ROWS(group)                                                                                  \
  {OptionRow::text, group ".type", "inet, unix or fd"}, {OptionRow::text, group ".host", "inet: host"},           \
      {OptionRow::text, group ".port", "inet: port"}, {OptionRow::number, group ".to", "inet: last port to try"}, \
      {OptionRow::boolean, group ".ipv4", "inet: IPv4 or not"},                                                   \
      {OptionRow::boolean, group ".ipv6", "inet: IPv6 or not"},                                                   \
      {OptionRow::boolean, group ".numeric", "inet: no look-up of names"},                                        \
      {OptionRow::boolean, group ".keep-alive", "inet: notice a dead peer (on)"},                                 \
      {OptionRow::text, group ".path", "unix: path"},                                                             \
      {OptionRow::boolean, group ".abstract", "unix: a name that is no file"},                                    \
      {OptionRow::boolean, group ".tight", "unix: an abstract name is no longer than its text (on)"}, {           \
    OptionRow::text, group ".str", "fd: number of an inherited descriptor"                                        \
  }

}  // namespace rhea::net
