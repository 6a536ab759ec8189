// SPDX-License-Identifier: MIT
// Messages and options: RFC 8415, sections 7.3 and 21; name servers and search list: RFC 3646; time servers:
// RFC 5908; boot URL: RFC 5970.
//
// Addresses come from PREFIX::1000 on, the first that is free; dhcp-lease=MAC=ADDRESS applies to clients
// whose DUID holds that MAC address (types 1 and 3).
#include "net/user/dhcpv6.h"

#include <algorithm>
#include <bitset>

#include "net/user/encode_names.h"
#include "net/user/udp.h"

namespace rhea::net::user {

namespace {

enum Message : u8 {
  solicit = 1,
  advertise = 2,
  request_message = 3,
  confirm = 4,
  renew = 5,
  rebind = 6,
  reply_message = 7,
  release = 8,
  decline = 9,
  information_request = 11,
};

enum Option : u16 {
  client_identifier = 1,
  server_identifier = 2,
  ia_na = 3,
  ia_address = 5,
  option_request = 6,
  preference = 7,
  status_code = 13,
  rapid_commit = 14,
  name_servers = 23,
  domain_search = 24,
  ntp_server = 56,
  boot_url = 59,
};

constexpr u16 kSuccess = 0, kNoAddresses = 2, kNoBinding = 3, kNotOnLink = 4;
constexpr usize kMaxLeases = 256, kMaxAssociations = 8, kLongestDuid = 130;
constexpr u32 kPreferred = 14400, kValid = 86400;
constexpr usize kMaxMessage = 1400;

void add_u16(std::vector<u8>& bytes, u16 value) {
  bytes.push_back(static_cast<u8>(value >> 8));
  bytes.push_back(static_cast<u8>(value));
}
void add_u32(std::vector<u8>& bytes, u32 value) {
  add_u16(bytes, static_cast<u16>(value >> 16));
  add_u16(bytes, static_cast<u16>(value));
}
void add_option(std::vector<u8>& bytes, u16 code, std::span<const u8> data) {
  add_u16(bytes, code);
  add_u16(bytes, static_cast<u16>(data.size()));
  bytes.insert(bytes.end(), data.begin(), data.end());
}
void add_status(std::vector<u8>& bytes, u16 code, std::string_view text) {
  std::vector<u8> data;
  add_u16(data, code);
  data.insert(data.end(), text.begin(), text.end());
  add_option(bytes, status_code, data);
}

// Calls take(code, data) for each option; false when they do not fit.
template <typename Take>
bool each_option(std::span<const u8> bytes, Take take) {
  while (bytes.size() >= 4) {
    const u16 code = load_be<u16>(bytes.data());
    const usize size = load_be<u16>(bytes.data() + 2);
    if (4 + size > bytes.size()) return false;
    take(code, bytes.subspan(4, size));
    bytes = bytes.subspan(4 + size);
  }
  return bytes.empty();
}

}  // namespace

struct Dhcpv6::Request {
  struct Association {
    u32 id;
    std::vector<IpAddress> wanted;
  };
  u8 type = 0;
  u8 transaction[3] = {};
  Bytes client, server;
  std::vector<Association> associations;
  std::bitset<256> wanted;
  bool rapid = false;

  void take(u16 code, std::span<const u8> data) {
    if (code == client_identifier && data.size() <= kLongestDuid) client.assign(data.begin(), data.end());
    if (code == server_identifier && data.size() <= kLongestDuid) server.assign(data.begin(), data.end());
    if (code == rapid_commit) rapid = true;
    if (code == option_request)
      for (usize at = 0; at + 2 <= data.size(); at += 2)
        if (const u16 number = load_be<u16>(data.data() + at); number < 256) wanted.set(number);
    if (code != ia_na || data.size() < 12 || associations.size() >= kMaxAssociations) return;
    Association association{load_be<u32>(data.data()), {}};
    each_option(data.subspan(12), [&](u16 inner, std::span<const u8> part) {
      if (inner == ia_address && part.size() >= 24 && association.wanted.size() < 4)
        association.wanted.push_back(IpAddress::from_wire(part.data(), false));
    });
    associations.push_back(std::move(association));
  }
  // The Ethernet address that a DUID is made of (types 1 and 3).
  std::optional<Mac> mac() const {
    if (client.size() < 10) return std::nullopt;
    const u16 kind = load_be<u16>(client.data());
    if ((kind != 1 && kind != 3) || load_be<u16>(client.data() + 2) != 1) return std::nullopt;
    Mac mac;
    std::copy(client.end() - 6, client.end(), mac.begin());
    return mac;
  }
};

// DUID-LL (RFC 8415, section 11.4) of the gateway.
Dhcpv6::Bytes Dhcpv6::server_id() const {
  Bytes id{0, 3, 0, 1};
  const Mac mac = context_.link.mac_of(context_.config.host6);
  id.insert(id.end(), mac.begin(), mac.end());
  return id;
}

Dhcpv6::Lease* Dhcpv6::find(const Request& request, u32 association) {
  for (Lease& lease : leases_)
    if (lease.client == request.client && lease.association == association) return &lease;
  return nullptr;
}

bool Dhcpv6::free_for(const IpAddress& address, const Bytes& client) const {
  if (!address.in_prefix(context_.config.prefix6, context_.config.prefix6_length) || context_.is_own(address))
    return false;
  for (const Lease& lease : leases_)
    if (lease.address == address && lease.client != client) return false;
  return true;
}

IpAddress Dhcpv6::first_free(const Request& request) const {
  const UserConfig& config = context_.config;
  const auto mac = request.mac();
  for (const StaticLease& fixed : config.leases)
    if (!fixed.address.is_v4() && mac && fixed.mac == *mac) return fixed.address;
  const auto reserved = [&](const IpAddress& address) {
    return std::any_of(config.leases.begin(), config.leases.end(),
                       [&](const StaticLease& fixed) { return fixed.address == address; });
  };
  for (u16 host = 0; host <= kMaxLeases; ++host) {
    IpAddress address = config.prefix6;
    const u16 number = static_cast<u16>(config.dhcp6_start + host);
    address.bytes[14] |= static_cast<u8>(number >> 8);
    address.bytes[15] |= static_cast<u8>(number);
    const bool used =
        std::any_of(leases_.begin(), leases_.end(), [&](const Lease& lease) { return lease.address == address; });
    if (!used && !reserved(address) && free_for(address, {})) return address;
  }
  return {};
}

Dhcpv6::Lease* Dhcpv6::give(const Request& request, u32 association) {
  if (Lease* lease = find(request, association)) return lease;
  const s64 now = context_.now();
  if (leases_.size() >= kMaxLeases)
    std::erase_if(leases_, [&](const Lease& lease) { return now - lease.since > s64{kValid} * kSecond; });
  if (leases_.size() >= kMaxLeases) return nullptr;
  const IpAddress address = first_free(request);
  if (address.is_unspecified()) return nullptr;
  leases_.push_back({request.client, association, address, now});
  return &leases_.back();
}

void Dhcpv6::input(const Endpoint& client, std::span<const u8> message) {
  if (message.size() < 4) return;
  Request request;
  request.type = message[0];
  std::copy_n(message.begin() + 1, 3, request.transaction);
  if (!each_option(message.subspan(4), [&](u16 code, std::span<const u8> data) { request.take(code, data); })) return;
  const bool to_us = request.server == server_id();
  switch (request.type) {
    case information_request:
      if (request.server.empty() || to_us) reply(client, request, reply_message, {});
      return;
    case solicit:
    case confirm:
    case rebind:
      if (request.client.empty() || !request.server.empty()) return;
      return answer_stateful(client, request);
    case request_message:
    case renew:
    case release:
    case decline:
      if (request.client.empty() || !to_us) return;
      return answer_stateful(client, request);
    default: return;
  }
}

// An IA_NA option for each association of the request; with `commit` the address is taken.
Dhcpv6::Bytes Dhcpv6::answer_associations(const Request& request, bool commit) {
  Bytes options;
  const bool renews = request.type == renew || request.type == rebind;
  for (const Request::Association& association : request.associations) {
    Bytes data;
    add_u32(data, association.id);
    add_u32(data, kPreferred / 2);
    add_u32(data, kPreferred / 5 * 4);
    Lease* lease = renews ? find(request, association.id) : give(request, association.id);
    if (!lease) {
      add_status(data, renews ? kNoBinding : kNoAddresses, renews ? "no such lease" : "all addresses are taken");
    } else {
      if (commit) lease->since = context_.now();
      Bytes address(lease->address.bytes.begin(), lease->address.bytes.end());
      add_u32(address, kPreferred);
      add_u32(address, kValid);
      add_option(data, ia_address, address);
    }
    add_option(options, ia_na, data);
  }
  return options;
}

void Dhcpv6::answer_stateful(const Endpoint& client, const Request& request) {
  Bytes options;
  if (request.type == confirm) {
    bool on_link = true, any = false;
    for (const auto& association : request.associations)
      for (const IpAddress& address : association.wanted) {
        any = true;
        on_link &= address.in_prefix(context_.config.prefix6, context_.config.prefix6_length);
      }
    if (!any) return;  // RFC 8415, section 18.3.3
    add_status(options, on_link ? kSuccess : kNotOnLink, on_link ? "" : "another network");
    return reply(client, request, reply_message, options);
  }
  if (request.type == release || request.type == decline) {
    for (const auto& association : request.associations)
      std::erase_if(leases_, [&](const Lease& lease) {
        return lease.client == request.client && lease.association == association.id;
      });
    add_status(options, kSuccess, "");
    return reply(client, request, reply_message, options);
  }
  const bool at_once = request.type == solicit && request.rapid;
  const bool commit = request.type != solicit || at_once;
  options = answer_associations(request, commit);
  if (at_once) add_option(options, rapid_commit, {});
  reply(client, request, commit ? reply_message : advertise, options);
}

void Dhcpv6::add_configuration(Bytes& message, const Request& request) const {
  const UserConfig& config = context_.config;
  if (config.restricted) return;
  add_option(message, name_servers, config.dns6.bytes);
  const Bytes search = encode_names(
      config.search.empty() && !config.domain.empty() ? std::vector<std::string>{config.domain} : config.search, false);
  if (!search.empty() && message.size() + search.size() < kMaxMessage) add_option(message, domain_search, search);
  Bytes ntp;
  for (const IpAddress& server : config.ntp) {
    if (server.is_v4()) continue;
    add_option(ntp, 1, server.bytes);  // NTP_SUBOPTION_SRV_ADDR
  }
  if (!ntp.empty() && request.wanted[ntp_server]) add_option(message, ntp_server, ntp);
  if (config.boot_file.empty() || !request.wanted[boot_url]) return;
  const bool url = config.boot_file.find("://") != std::string::npos;
  const std::string text = url ? config.boot_file
                               : fmt::format("tftp://[{}]/{}", config.host6.text(),
                                             config.boot_file.substr(config.boot_file.starts_with('/') ? 1 : 0));
  add_option(message, boot_url, std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

void Dhcpv6::reply(const Endpoint& client, const Request& request, u8 type, const Bytes& associations) {
  Bytes message{type, request.transaction[0], request.transaction[1], request.transaction[2]};
  if (!request.client.empty()) add_option(message, client_identifier, request.client);
  add_option(message, server_identifier, server_id());
  message.insert(message.end(), associations.begin(), associations.end());
  add_configuration(message, request);
  udp_->send_to_guest({context_.config.router6, 547, 0}, client, message);
}

}  // namespace rhea::net::user
