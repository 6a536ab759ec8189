// SPDX-License-Identifier: MIT
// What the guest may reach (allow=, deny=) and how fast (rate-in=, rate-out=), and the list of what was
// blocked.
//
// Rules are looked at in the order they were given; the first that fits decides. When none fits, the guest
// may, unless there are allow rules. A rule with a domain fits the addresses that the name server told the
// guest for its names, as long as it said they hold, and a minute more.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "net/user/config.h"

namespace rhea::net::user {

// Bytes that may pass: as many as the rate says, and a burst of a tenth of a second.
class Bucket {
 public:
  explicit Bucket(u64 bits_per_second) : rate_(bits_per_second / 8) {}
  bool limited() const { return rate_ != 0; }
  bool ready(s64 now);
  void take(usize bytes) { tokens_ -= static_cast<s64>(bytes); }
  // When it is ready again.
  s64 next(s64 now) const;

 private:
  s64 burst() const { return static_cast<s64>(rate_ / 10 + 2 * 1514); }
  u64 rate_;  // bytes a second; 0: no limit
  s64 tokens_ = 0;
  s64 last_ = 0;
};

class Policy {
 public:
  explicit Policy(const UserConfig& config) : config_(config), inward(config.rate_in), outward(config.rate_out) {}
  // Whether the guest may reach `to`, as it addresses it. Counts when not.
  bool permits(u8 protocol, const Endpoint& guest, const Endpoint& to, s64 now);
  // Whether it may ask for a name.
  bool permits_name(std::string_view name);
  // Addresses of an answer that the guest gets.
  void learn(std::string_view name, const IpAddress& address, u32 seconds, s64 now);

  struct Blocked {
    u8 protocol;
    Endpoint to;
    std::string name;  // of a name that was asked for, instead of `to`
    std::string rule;  // as typed; empty: no rule allowed it
    u64 count;
    s64 last;
  };
  const std::vector<Blocked>& blocked() const { return blocked_; }
  u64 total_blocked() const { return total_; }

 private:
  struct Pin {
    usize rule;
    s64 until;
  };
  bool fits(usize index, u8 protocol, const Endpoint& to, s64 now) const;
  void note(Blocked blocked);

  const UserConfig& config_;
  std::multimap<IpAddress, Pin> pins_;
  std::vector<Blocked> blocked_;
  u64 total_ = 0;

 public:
  Bucket inward, outward;  // towards the guest, from it
};

// The addresses that a DNS answer tells, with the seconds they hold, and the name that was asked for.
struct DnsAnswer {
  std::string name;  // lower case
  std::vector<std::pair<IpAddress, u32>> addresses;
};
// Nothing when the message makes no sense. Reads at most 64 records.
std::optional<DnsAnswer> parse_dns_answer(std::span<const u8> message);
// The name of a message's question, in lower case; nothing when there is none.
std::optional<std::string> parse_dns_question(std::span<const u8> message);

}  // namespace rhea::net::user
