// SPDX-License-Identifier: MIT
// The name server that the guest sees: queries go on, as they are, to the host's resolvers. The first is
// asked; when it is silent for a second, refuses or fails, the next one is asked too, and the first good
// answer goes back. Names of the network itself are answered here (names.h), without asking anybody.
#pragma once

#include <memory>
#include <vector>

#include "net/user/names.h"
#include "net/user/stack.h"

namespace rhea::net::user {

class Udp;
class DnsStream;

class Dns {
 public:
  Dns(Context& context, const Dhcp& dhcp);
  ~Dns();
  // Where answers go out; set once, before any query.
  void set_udp(Udp& udp) { udp_ = &udp; }
  // A query from `guest` to the name server's address `server`.
  void query(const Endpoint& guest, const IpAddress& server, std::span<const u8> message);
  // A connection of the guest to the name server, our end of it. False when there are too many.
  bool serve(std::unique_ptr<Socket> socket);
  void run();
  // The answer to a query that nobody else is asked about: of the network's own names, and a refusal of what rules
  // forbid. `message` is a query with a whole header.
  std::optional<std::vector<u8>> answer_here(std::span<const u8> message);
  // A resolver's answer is on its way to the guest: rules for domains learn the addresses.
  void note_answer(std::span<const u8> message);
  usize queries() const { return queries_.size(); }

 private:
  class Query;
  void answer(Query& query, const u8* message, usize size);
  void finish(Query& query);

  Context& context_;
  Names names_;
  Udp* udp_ = nullptr;
  std::vector<std::unique_ptr<Query>> queries_;
  std::vector<std::unique_ptr<Query>> gone_;
  std::vector<std::unique_ptr<DnsStream>> streams_;
  std::vector<u8> buffer_;
};

}  // namespace rhea::net::user
