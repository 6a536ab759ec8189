// SPDX-License-Identifier: MIT
#include "sys/firewall.h"

// Before <net/if.h>, which names the same.
#include <linux/netfilter_ipv4/ip_tables.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>

#include "sys/file.h"
#include "sys/netlink.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::sys {

namespace {

using Verdict = FirewallRule::Verdict;

constexpr unsigned kDeepest = 16;  // calls

// --- nftables -----------------------------------------------------------------------------------------------------

std::string family_name(u8 family) {
  switch (family) {
    case NFPROTO_IPV4: return "ip";
    case NFPROTO_IPV6: return "ip6";
    case NFPROTO_INET: return "inet";
    case NFPROTO_BRIDGE: return "bridge";
    default: return std::to_string(family);
  }
}

NetlinkMessage dump_of(int type) {
  NetlinkMessage message(static_cast<u16>(NFNL_SUBSYS_NFTABLES << 8 | type), NLM_F_DUMP);
  message.put_struct(nfgenmsg{NFPROTO_UNSPEC, NFNETLINK_V0, 0});
  return message;
}

// A rule's expressions, one after the other; a name of an interface goes through a register.
class Reader {
 public:
  FirewallRule take(std::span<const u8> expressions) {
    for (const NetlinkAttribute& element : netlink_attributes(expressions)) {
      std::string name;
      std::span<const u8> data;
      for (const NetlinkAttribute& each : netlink_attributes(element.value)) {
        if (each.type == NFTA_EXPR_NAME) name = each.text();
        if (each.type == NFTA_EXPR_DATA) data = each.value;
      }
      take(name, netlink_attributes(data));
    }
    return std::move(rule_);
  }

 private:
  using Attributes = std::vector<NetlinkAttribute>;
  void take(const std::string& name, const Attributes& data) {
    if (name == "meta") take_meta(data);
    else if (name == "cmp") take_compare(data);
    else if (name == "immediate") take_immediate(data);
    else if (name == "reject") rule_.verdict = Verdict::drop;
    else if (name == "target") take_target(data);
    else if (name != "counter" && name != "log") rule_.conditional = true;
  }
  void take_meta(const Attributes& data) {
    key_ = ~u32{0};
    for (const NetlinkAttribute& each : data)
      if (each.type == NFTA_META_KEY) key_ = each.big_endian();
  }
  void take_compare(const Attributes& data) {
    std::span<const u8> value;
    u32 how = ~u32{0};
    for (const NetlinkAttribute& each : data) {
      if (each.type == NFTA_CMP_OP) how = each.big_endian();
      if (each.type != NFTA_CMP_DATA) continue;
      for (const NetlinkAttribute& inner : netlink_attributes(each.value))
        if (inner.type == NFTA_DATA_VALUE) value = inner.value;
    }
    const bool name = key_ == NFT_META_IIFNAME || key_ == NFT_META_OIFNAME;
    if (!name || (how != NFT_CMP_EQ && how != NFT_CMP_NEQ)) {
      rule_.conditional = true;
      return;
    }
    const auto end = std::find(value.begin(), value.end(), u8{0});
    std::string text(value.begin(), end);
    if (end == value.end()) text += '+';  // as long as what is compared
    const bool in = key_ == NFT_META_IIFNAME;
    (in ? rule_.in : rule_.out) = text;
    (in ? rule_.in_not : rule_.out_not) = how == NFT_CMP_NEQ;
  }
  void take_immediate(const Attributes& data) {
    for (const NetlinkAttribute& each : data) {
      if (each.type != NFTA_IMMEDIATE_DATA) continue;
      for (const NetlinkAttribute& inner : netlink_attributes(each.value))
        if (inner.type == NFTA_DATA_VERDICT) take_verdict(inner.value);
    }
  }
  void take_verdict(std::span<const u8> value) {
    for (const NetlinkAttribute& each : netlink_attributes(value)) {
      if (each.type == NFTA_VERDICT_CHAIN) rule_.chain = each.text();
      if (each.type != NFTA_VERDICT_CODE) continue;
      switch (static_cast<s32>(each.big_endian())) {
        case NF_DROP: rule_.verdict = Verdict::drop; break;
        case NF_ACCEPT: rule_.verdict = Verdict::accept; break;
        case NFT_JUMP: rule_.verdict = Verdict::call; break;
        case NFT_GOTO: rule_.verdict = Verdict::go; break;
        case NFT_RETURN: rule_.verdict = Verdict::leave; break;
        default: break;
      }
    }
  }
  // Of iptables-nft's extensions.
  void take_target(const Attributes& data) {
    for (const NetlinkAttribute& each : data)
      if (each.type == NFTA_TARGET_NAME && each.text() == "REJECT") rule_.verdict = Verdict::drop;
  }

  FirewallRule rule_;
  u32 key_ = ~u32{0};
};

Result<void> read_chains(Netlink& socket, std::vector<FirewallChain>& chains) {
  return socket.list(dump_of(NFT_MSG_GETCHAIN), [&](u16, std::span<const u8> body) {
    if (body.size() < sizeof(nfgenmsg)) return;
    FirewallChain chain;
    for (const NetlinkAttribute& each : netlink_attributes_behind<nfgenmsg>(body)) {
      if (each.type == NFTA_CHAIN_TABLE) chain.table = family_name(body[0]) + " " + each.text();
      if (each.type == NFTA_CHAIN_NAME) chain.name = each.text();
      if (each.type == NFTA_CHAIN_POLICY) chain.drops = each.big_endian() == NF_DROP;
      if (each.type != NFTA_CHAIN_HOOK) continue;
      for (const NetlinkAttribute& inner : netlink_attributes(each.value))
        if (inner.type == NFTA_HOOK_HOOKNUM) chain.forwards = inner.big_endian() == NF_INET_FORWARD;
    }
    chains.push_back(std::move(chain));
  });
}

Result<void> read_rules(Netlink& socket, std::vector<FirewallChain>& chains) {
  return socket.list(dump_of(NFT_MSG_GETRULE), [&](u16, std::span<const u8> body) {
    if (body.size() < sizeof(nfgenmsg)) return;
    std::string table, name;
    std::span<const u8> expressions;
    for (const NetlinkAttribute& each : netlink_attributes_behind<nfgenmsg>(body)) {
      if (each.type == NFTA_RULE_TABLE) table = family_name(body[0]) + " " + each.text();
      if (each.type == NFTA_RULE_CHAIN) name = each.text();
      if (each.type == NFTA_RULE_EXPRESSIONS) expressions = each.value;
    }
    for (FirewallChain& chain : chains)
      if (chain.table == table && chain.name == name) chain.rules.push_back(Reader().take(expressions));
  });
}

Result<void> read_nftables(std::vector<FirewallChain>& chains) {
  Netlink socket = RHEA_TRY(Netlink::open(NETLINK_NETFILTER));
  RHEA_TRY(read_chains(socket, chains));
  return read_rules(socket, chains);
}

// --- iptables-legacy ----------------------------------------------------------------------------------------------

template <typename T>
T load_host(const u8* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// A table is one block of entries: a chain of the kernel's own begins at hook_entry and ends with its policy at
// underflow; another begins behind an entry with an ERROR target that has its name. Entries are reached by offsets.
class LegacyTable {
 public:
  LegacyTable(const ipt_getinfo& info, std::span<const u8> block) : info_(info), block_(block) {}
  std::vector<FirewallChain> chains() {
    find_chains();
    std::vector<FirewallChain> list;
    for (const auto& [start, name] : starts_) list.push_back(chain(start, name));
    return list;
  }

 private:
  struct Entry {
    ipt_ip ip;
    usize size;    // to the next one
    bool matches;  // it looks at more than `ip`
    std::string target;
    std::string error;  // the name that an ERROR target has
    int verdict = 0;    // of a standard target
  };
  bool entry(usize offset, Entry& entry) const {
    if (offset + sizeof(ipt_entry) > block_.size()) return false;
    const u8* start = &block_[offset];
    const usize size = load_host<u16>(start + offsetof(ipt_entry, next_offset));
    const usize target = load_host<u16>(start + offsetof(ipt_entry, target_offset));
    if (size < sizeof(ipt_entry) || size > block_.size() - offset || target + sizeof(xt_entry_target) > size)
      return false;
    const u8* at = &block_[offset + target];
    const char* name = reinterpret_cast<const char*>(at + offsetof(xt_entry_target, u.user.name));
    std::memcpy(&entry.ip, start, sizeof entry.ip);
    entry.size = size;
    entry.matches = target > sizeof(ipt_entry);
    entry.target.assign(name, ::strnlen(name, XT_EXTENSION_MAXNAMELEN));
    entry.error.clear();
    entry.verdict = 0;
    if (entry.target.empty() && target + sizeof(xt_standard_target) <= size)
      std::memcpy(&entry.verdict, at + offsetof(xt_standard_target, verdict), sizeof entry.verdict);
    if (entry.target == XT_ERROR_TARGET && target + sizeof(xt_error_target) <= size) {
      const char* text = reinterpret_cast<const char*>(at + offsetof(xt_error_target, errorname));
      entry.error.assign(text, ::strnlen(text, XT_FUNCTION_MAXNAMELEN));
    }
    return true;
  }
  void find_chains() {
    starts_[info_.hook_entry[NF_INET_FORWARD]] = "FORWARD";
    Entry each;
    for (usize offset = 0; entry(offset, each); offset += each.size)
      if (!each.error.empty()) starts_[offset + each.size] = each.error;
  }
  FirewallChain chain(usize offset, const std::string& name) const {
    FirewallChain chain;
    chain.table = "filter";
    chain.name = name;
    chain.legacy = true;
    chain.forwards = offset == info_.hook_entry[NF_INET_FORWARD];
    Entry each;
    for (; entry(offset, each); offset += each.size) {
      if (chain.forwards && offset == info_.underflow[NF_INET_FORWARD]) {
        chain.drops = each.verdict == -NF_DROP - 1;
        break;
      }
      if (!each.error.empty()) break;  // the next chain's
      chain.rules.push_back(rule(each, offset));
    }
    return chain;
  }
  FirewallRule rule(const Entry& each, usize offset) const {
    FirewallRule rule;
    const ipt_ip& ip = each.ip;
    rule.in = interface_of(ip.iniface, ip.iniface_mask);
    rule.out = interface_of(ip.outiface, ip.outiface_mask);
    rule.in_not = ip.invflags & IPT_INV_VIA_IN;
    rule.out_not = ip.invflags & IPT_INV_VIA_OUT;
    rule.conditional = ip.smsk.s_addr || ip.dmsk.s_addr || ip.proto || (ip.flags & IPT_F_FRAG) || each.matches;
    if (each.target == "REJECT") rule.verdict = Verdict::drop;
    if (!each.target.empty()) return rule;
    if (each.verdict == -NF_DROP - 1) rule.verdict = Verdict::drop;
    else if (each.verdict == -NF_ACCEPT - 1) rule.verdict = Verdict::accept;
    else if (each.verdict == XT_RETURN) rule.verdict = Verdict::leave;
    const auto to = starts_.find(static_cast<usize>(each.verdict));
    // One that leads to the next rule has no verdict.
    if (each.verdict > 0 && to != starts_.end() && to->first != offset + each.size) {
      rule.verdict = ip.flags & IPT_F_GOTO ? Verdict::go : Verdict::call;
      rule.chain = to->second;
    }
    return rule;
  }
  // The mask says how much of the name counts; with its zero: all.
  static std::string interface_of(const char (&name)[IFNAMSIZ], const unsigned char (&mask)[IFNAMSIZ]) {
    const std::string text(name, ::strnlen(name, IFNAMSIZ));
    usize counted = 0;
    while (counted < IFNAMSIZ && mask[counted]) ++counted;
    if (counted == 0 || counted > text.size()) return counted ? text : std::string();
    return text.substr(0, counted) + '+';
  }

  const ipt_getinfo& info_;
  std::span<const u8> block_;
  std::map<usize, std::string> starts_;
};

// Asking for a table makes the kernel load it: only for one that is there.
Result<void> read_legacy(std::vector<FirewallChain>& chains) {
  const auto names = read_file("/proc/net/ip_tables_names", 4096);
  if (!names.ok()) return {};
  const std::vector<std::string> lines = split(std::string(names.value().begin(), names.value().end()), '\n');
  if (std::find(lines.begin(), lines.end(), "filter") == lines.end()) return {};
  const Fd fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  ipt_getinfo info{};
  std::strcpy(info.name, "filter");
  socklen_t size = sizeof info;
  if (!fd || ::getsockopt(fd.get(), IPPROTO_IP, IPT_SO_GET_INFO, &info, &size) != 0)
    return Error("the tables of iptables: {}", errno_text());
  if (info.size > (64u << 20)) return Error("the tables of iptables are too large to look at");
  std::vector<u8> block(sizeof(ipt_get_entries) + info.size);
  ipt_get_entries wanted{};
  std::strcpy(wanted.name, "filter");
  wanted.size = info.size;
  std::memcpy(block.data(), &wanted, sizeof wanted);
  size = static_cast<socklen_t>(block.size());
  if (::getsockopt(fd.get(), IPPROTO_IP, IPT_SO_GET_ENTRIES, block.data(), &size) != 0)
    return Error("the tables of iptables: {}", errno_text());
  const usize head = offsetof(ipt_get_entries, entrytable);
  LegacyTable table(info, std::span<const u8>(block).subspan(head, info.size));
  for (FirewallChain& chain : table.chains()) chains.push_back(std::move(chain));
  return {};
}

// --- what becomes of a packet -------------------------------------------------------------------------------------

bool fits(const std::string& pattern, bool other, const std::string& name) {
  if (pattern.empty()) return true;
  const bool open = pattern.back() == '+';
  const bool same = open ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
  return same != other;
}

class Walk {
 public:
  Walk(const std::vector<FirewallChain>& chains, const std::string& in, const std::string& out)
      : chains_(chains), in_(in), out_(out) {}
  // Accept and drop are for sure; none: its end was reached, or nobody knows.
  Verdict through(const FirewallChain& chain, unsigned depth) const {
    for (const FirewallRule& rule : chain.rules) {
      if (rule.conditional || !fits(rule.in, rule.in_not, in_) || !fits(rule.out, rule.out_not, out_)) continue;
      switch (rule.verdict) {
        case Verdict::accept:
        case Verdict::drop: return rule.verdict;
        case Verdict::leave: return Verdict::none;
        case Verdict::none: break;
        case Verdict::call:
        case Verdict::go: {
          const FirewallChain* next = find(chain, rule.chain);
          const Verdict verdict = next && depth < kDeepest ? through(*next, depth + 1) : Verdict::none;
          if (verdict != Verdict::none || rule.verdict == Verdict::go) return verdict;
          break;
        }
      }
    }
    return chain.forwards ? chain.drops ? Verdict::drop : Verdict::accept : Verdict::none;
  }

 private:
  const FirewallChain* find(const FirewallChain& from, const std::string& name) const {
    const auto at = std::find_if(chains_.begin(), chains_.end(), [&](const FirewallChain& each) {
      return each.legacy == from.legacy && each.table == from.table && each.name == name;
    });
    return at == chains_.end() ? nullptr : &*at;
  }
  const std::vector<FirewallChain>& chains_;
  const std::string &in_, &out_;
};

}  // namespace

Result<std::vector<FirewallChain>> firewall_chains() {
  std::vector<FirewallChain> chains;
  const Result<void> nftables = read_nftables(chains);
  const Result<void> legacy = read_legacy(chains);
  if (!nftables.ok() && chains.empty()) return Error("{}", nftables.error().message());
  if (!legacy.ok() && chains.empty()) return Error("{}", legacy.error().message());
  return chains;
}

bool drops_between(const std::vector<FirewallChain>& chains, const FirewallChain& first, const std::string& in,
                   const std::string& out) {
  return Walk(chains, in, out).through(first, 0) == Verdict::drop;
}

}  // namespace rhea::sys
