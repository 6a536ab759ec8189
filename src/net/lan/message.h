// SPDX-License-Identifier: MIT
// What members of a LAN say to one another on their connections. A packet is one message: its kind in the first byte,
// then numbers in little-endian order and texts of printable ASCII with their length before them. A packet that is not
// exactly so ends the connection.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "util/ip_address.h"
#include "util/types.h"

namespace rhea::net::lan {

enum class Kind : u8 {
  bell = 1,     // look at the rings
  hello = 2,    // who I am; the first of a member, with the memory of the rings along when it made the connection
  forward = 3,  // open this port for your guest, please: a rule of hostfwd without the guest's address
  refusal = 4,  // of a forward, with the reason
  ask = 5,      // of the command line tool, its first and only one
  report = 6,   // the answer: JSON
  dial = 7,     // of the command line tool, as ask: the stream that comes along goes to this port of your guest, please
};

constexpr u32 kVersion = 1;
constexpr usize kLargestMessage = 1024;
constexpr usize kLargestReport = 32 * 1024;

struct Message {
  Kind kind = Kind::bell;
  // hello
  u64 id = 0;         // of the member, random
  std::string name;   // of the guest, a DNS label
  IpAddress address;  // of the guest, IPv4
  std::string net;    // the network as this member has it, to be compared
  u16 port = 0;       // dial
  // forward: the rule; refusal: "RULE: reason"; report
  std::string text;
};

std::vector<u8> encode(const Message& message);
// Nothing: it is none.
std::optional<Message> decode(std::span<const u8> packet);

// A name that DNS carries as one label: letters, digits and - inside, at most 63.
bool is_label(std::string_view name);
// The nearest label to any text, in lower case; empty if nothing of it is left.
std::string label_of(std::string_view text);

}  // namespace rhea::net::lan
