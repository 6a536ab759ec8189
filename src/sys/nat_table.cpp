// SPDX-License-Identifier: MIT
// A rule is a list of expressions: one loads a field into a register, one compares a register, one acts. Numbers of
// packets are in network order in registers.
#include "sys/nat_table.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "sys/netlink.h"
#include "util/bits.h"

namespace rhea::sys {

namespace {

constexpr u32 kSource = 12, kDestination = 16;               // offsets in an IPv4 header
constexpr u32 kAfterRoutes = 100, kBeforeRoutes = ~u32{99};  // priorities of source and destination NAT: 100 and -100

NetlinkMessage nft_message(int type, u16 flags, u8 family = NFPROTO_IPV4) {
  NetlinkMessage message(static_cast<u16>(NFNL_SUBSYS_NFTABLES << 8 | type), flags);
  message.put_struct(nfgenmsg{family, NFNETLINK_V0, 0});
  return message;
}

NetlinkMessage batch(u16 type) {
  NetlinkMessage message(type, 0);
  message.put_struct(nfgenmsg{NFPROTO_UNSPEC, NFNETLINK_V0, __builtin_bswap16(NFNL_SUBSYS_NFTABLES)});
  return message;
}

// The expressions of a rule, one after the other.
class Rule {
 public:
  explicit Rule(NetlinkMessage& list) : list_(list) {}
  Rule& load(u32 base, u32 offset, u32 size) {
    return add("payload", [&](NetlinkMessage& m) {
      m.big_endian(NFTA_PAYLOAD_DREG, NFT_REG_1).big_endian(NFTA_PAYLOAD_BASE, base);
      m.big_endian(NFTA_PAYLOAD_OFFSET, offset).big_endian(NFTA_PAYLOAD_LEN, size);
    });
  }
  Rule& mask(u32 mask) {
    u8 bits[4], none[4] = {};
    store_be<u32>(bits, mask);
    return add("bitwise", [&](NetlinkMessage& m) {
      m.big_endian(NFTA_BITWISE_SREG, NFT_REG_1).big_endian(NFTA_BITWISE_DREG, NFT_REG_1);
      m.big_endian(NFTA_BITWISE_LEN, 4);
      m.nested(NFTA_BITWISE_MASK, [&](NetlinkMessage& d) { d.bytes(NFTA_DATA_VALUE, bits); });
      m.nested(NFTA_BITWISE_XOR, [&](NetlinkMessage& d) { d.bytes(NFTA_DATA_VALUE, none); });
    });
  }
  Rule& compare(u32 how, std::span<const u8> with) {
    return add("cmp", [&](NetlinkMessage& m) {
      m.big_endian(NFTA_CMP_SREG, NFT_REG_1).big_endian(NFTA_CMP_OP, how);
      m.nested(NFTA_CMP_DATA, [&](NetlinkMessage& d) { d.bytes(NFTA_DATA_VALUE, with); });
    });
  }
  // Whether a field of the IPv4 header is in a network, or is not.
  Rule& address(u32 offset, u32 how, const NatTable& table) {
    const u32 bits = netmask(table.length);
    u8 network[4];
    store_be<u32>(network, table.network.to_v4() & bits);
    return load(NFT_PAYLOAD_NETWORK_HEADER, offset, 4).mask(bits).compare(how, network);
  }
  Rule& to_this_host() {
    add("fib", [](NetlinkMessage& m) {
      m.big_endian(NFTA_FIB_DREG, NFT_REG_1).big_endian(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
      m.big_endian(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    });
    const u32 local = RTN_LOCAL;  // in host order
    u8 value[4];
    std::memcpy(value, &local, sizeof value);
    return compare(NFT_CMP_EQ, value);
  }
  Rule& protocol(u8 number) {
    add("meta",
        [](NetlinkMessage& m) { m.big_endian(NFTA_META_DREG, NFT_REG_1).big_endian(NFTA_META_KEY, NFT_META_L4PROTO); });
    return compare(NFT_CMP_EQ, {&number, 1});
  }
  Rule& value(u32 to, std::span<const u8> data) {
    return add("immediate", [&](NetlinkMessage& m) {
      m.big_endian(NFTA_IMMEDIATE_DREG, to);
      m.nested(NFTA_IMMEDIATE_DATA, [&](NetlinkMessage& d) { d.bytes(NFTA_DATA_VALUE, data); });
    });
  }
  Rule& send_to(const NatForward& forward) {
    u8 port[2];
    store_be<u16>(port, forward.guest_port);
    value(NFT_REG_1, {forward.guest.wire(), 4}).value(NFT_REG_2, port);
    return add("nat", [](NetlinkMessage& m) {
      m.big_endian(NFTA_NAT_TYPE, NFT_NAT_DNAT).big_endian(NFTA_NAT_FAMILY, NFPROTO_IPV4);
      m.big_endian(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1).big_endian(NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
    });
  }
  Rule& masquerade() {
    return add("masq", [](NetlinkMessage&) {});
  }

 private:
  Rule& add(const char* name, const std::function<void(NetlinkMessage&)>& data) {
    list_.nested(NFTA_LIST_ELEM,
                 [&](NetlinkMessage& element) { element.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data); });
    return *this;
  }
  NetlinkMessage& list_;
};

NetlinkMessage chain(const std::string& table, const char* name, u32 hook, u32 priority) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWCHAIN, NLM_F_ACK | NLM_F_CREATE);
  message.text(NFTA_CHAIN_TABLE, table).text(NFTA_CHAIN_NAME, name).text(NFTA_CHAIN_TYPE, "nat");
  message.nested(NFTA_CHAIN_HOOK, [&](NetlinkMessage& m) {
    m.big_endian(NFTA_HOOK_HOOKNUM, hook).big_endian(NFTA_HOOK_PRIORITY, priority);
  });
  return message;
}

NetlinkMessage rule(const std::string& table, const char* chain, const std::function<void(Rule&)>& expressions) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND);
  message.text(NFTA_RULE_TABLE, table).text(NFTA_RULE_CHAIN, chain);
  message.nested(NFTA_RULE_EXPRESSIONS, [&](NetlinkMessage& list) {
    Rule rule(list);
    expressions(rule);
  });
  return message;
}

}  // namespace

Result<void> add_nat_table(const NatTable& table) {
  Netlink socket = RHEA_TRY(Netlink::open(NETLINK_NETFILTER));
  std::vector<NetlinkMessage> all;
  all.push_back(batch(NFNL_MSG_BATCH_BEGIN));
  all.push_back(nft_message(NFT_MSG_NEWTABLE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL));
  all.back().text(NFTA_TABLE_NAME, table.name);
  all.push_back(chain(table.name, "out", NF_INET_POST_ROUTING, kAfterRoutes));
  all.push_back(rule(table.name, "out", [&](Rule& rule) {
    rule.address(kSource, NFT_CMP_EQ, table).address(kDestination, NFT_CMP_NEQ, table).masquerade();
  }));
  if (!table.forwards.empty()) all.push_back(chain(table.name, "in", NF_INET_PRE_ROUTING, kBeforeRoutes));
  for (const NatForward& forward : table.forwards)
    all.push_back(rule(table.name, "in", [&](Rule& rule) {
      u8 port[2];
      store_be<u16>(port, forward.port);
      rule.to_this_host().protocol(forward.udp ? IPPROTO_UDP : IPPROTO_TCP);
      rule.load(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).compare(NFT_CMP_EQ, port).send_to(forward);
    }));
  all.push_back(batch(NFNL_MSG_BATCH_END));
  return socket.run(all);
}

Result<bool> has_nat_table(const std::string& name) {
  Netlink socket = RHEA_TRY(Netlink::open(NETLINK_NETFILTER));
  bool found = false;
  RHEA_TRY(socket.list(nft_message(NFT_MSG_GETTABLE, NLM_F_DUMP), [&](u16, std::span<const u8> body) {
    for (const NetlinkAttribute& each : netlink_attributes_behind<nfgenmsg>(body))
      found |= each.type == NFTA_TABLE_NAME && each.text() == name;
  }));
  return found;
}

Result<void> remove_nat_table(const std::string& name) {
  if (!RHEA_TRY(has_nat_table(name))) return {};
  Netlink socket = RHEA_TRY(Netlink::open(NETLINK_NETFILTER));
  NetlinkMessage removal = nft_message(NFT_MSG_DELTABLE, NLM_F_ACK);
  removal.text(NFTA_TABLE_NAME, name);
  NetlinkMessage all[] = {batch(NFNL_MSG_BATCH_BEGIN), std::move(removal), batch(NFNL_MSG_BATCH_END)};
  return socket.run(all);
}

}  // namespace rhea::sys
