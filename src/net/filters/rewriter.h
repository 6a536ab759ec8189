// SPDX-License-Identifier: MIT
// filter-rewriter: for a second machine that runs the same guest as a first one and gets the same packets. Their TCP
// connections begin with different sequence numbers; the second machine's are rewritten to be the first one's, so
// that clients that talk to the first can go on with the second. What comes from the backend (rx of the guest)
// acknowledges the first machine's numbers: it is moved to the second's; what the guest sends is moved back.
// IPv4, as QEMU's.
#pragma once

#include <map>
#include <string>

#include "net/filters/filter.h"
#include "util/ip_address.h"

namespace rhea::net {

class RewriterFilter final : public Filter {
 public:
  RewriterFilter(FilterPlace place, bool with_header) : Filter(std::move(place)), with_header_(with_header) {}
  std::string_view type() const override { return "filter-rewriter"; }

 private:
  static constexpr usize kMostConnections = 16384;
  struct Key {
    Endpoint guest, other;
    auto operator<=>(const Key&) const = default;
  };
  struct Connection {
    u32 offset = 0;       // the second machine's numbers less the first one's
    bool begins = false;  // the guest's own first number is in `offset`; the first one's is still to come
    bool closing_guest = false, closing_other = false;
  };
  bool only_looks() const override { return false; }
  Sent pass(bool from_guest, const Frame& frame) override;
  Texts own_properties() const override;
  // Changes the TCP header at `tcp`; false: nothing to change.
  bool rewrite(bool from_guest, const Key& key, u8* tcp);

  bool with_header_;
  std::map<Key, Connection> connections_;
};

}  // namespace rhea::net
