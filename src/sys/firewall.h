// SPDX-License-Identifier: MIT
// The host's rules for what it forwards, as far as they look at interfaces: nftables (nf_tables over netlink(7), which
// iptables-nft uses too) and the older tables of iptables-legacy (getsockopt(2) of a raw socket). Reading changes
// nothing, and loads no module.
#pragma once

#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

struct FirewallRule {
  enum class Verdict : u8 { none, accept, drop, call, go, leave };  // drop: to reject too
  Verdict verdict = Verdict::none;
  std::string chain;  // of call and go
  // Names of interfaces; a '+' at the end stands for any rest; empty: any.
  std::string in, out;
  bool in_not = false, out_not = false;  // any other instead
  bool conditional = false;              // it looks at more than interfaces
};

struct FirewallChain {
  std::string table;  // "ip filter", of nftables; "filter", of iptables-legacy
  std::string name;
  bool legacy = false;
  bool forwards = false;  // what is forwarded goes through it first
  bool drops = false;     // what comes to its end
  std::vector<FirewallRule> rules;
};

// Errors: who may not look, a kernel without either.
Result<std::vector<FirewallChain>> firewall_chains();

// What becomes of a packet from an interface to another (empty: some other one, of which no rule speaks) in a chain:
// dropped for sure by interfaces alone. `chains`: all.
bool drops_between(const std::vector<FirewallChain>& chains, const FirewallChain& first, const std::string& in,
                   const std::string& out);

}  // namespace rhea::sys
