// SPDX-License-Identifier: MIT
// Option numbers and their formats: RFC 2132; domain search: RFC 3397.
#include "net/user/dhcp.h"

#include <map>

#include "core/property.h"
#include "net/checksum.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kFixed = 236;        // the BOOTP message without options
constexpr usize kOptionsArea = 312;  // with the magic cookie
constexpr u32 kMagic = 0x63825363;
constexpr u32 kLeaseSeconds = 24 * 60 * 60;
constexpr u8 kDiscover = 1, kOffer = 2, kRequest = 3, kDecline = 4, kAck = 5, kNak = 6, kRelease = 7,
             kInform = 8;

enum Option : u8 {
  pad = 0,
  subnet_mask = 1,
  router = 3,
  name_server = 6,
  host_name = 12,
  domain_name = 15,
  requested_address = 50,
  lease_time = 51,
  message_type = 53,
  server_identifier = 54,
  message_text = 56,
  domain_search = 119,
  end = 255,
};

void add_option(std::vector<u8>& options, u8 number, const u8* data, usize size) {
  if (options.size() + 2 + size + 1 > kOptionsArea - 4) return;  // what does not fit is left out
  options.push_back(number);
  options.push_back(static_cast<u8>(size));
  options.insert(options.end(), data, data + size);
}
void add_option(std::vector<u8>& options, u8 number, const IpAddress& address) {
  add_option(options, number, address.wire(), 4);
}
void add_option(std::vector<u8>& options, u8 number, u32 value) {
  u8 bytes[4];
  store_be<u32>(bytes, value);
  add_option(options, number, bytes, 4);
}
void add_option(std::vector<u8>& options, u8 number, const std::string& text) {
  if (!text.empty()) add_option(options, number, reinterpret_cast<const u8*>(text.data()), text.size());
}

// Names in DNS form, each suffix written once (RFC 1035, section 4.1.4).
std::vector<u8> encode_domains(const std::vector<std::string>& domains) {
  std::vector<u8> bytes;
  std::map<std::string, usize> known;
  for (const std::string& domain : domains) {
    std::string_view rest = domain;
    for (;;) {
      if (rest.empty()) {
        bytes.push_back(0);
        break;
      }
      const auto found = known.find(std::string(rest));
      if (found != known.end()) {
        bytes.push_back(static_cast<u8>(0xc0 | found->second >> 8));
        bytes.push_back(static_cast<u8>(found->second));
        break;
      }
      if (bytes.size() < 0x3fff) known[std::string(rest)] = bytes.size();
      const usize dot = rest.find('.');
      const std::string_view label = rest.substr(0, dot);
      bytes.push_back(static_cast<u8>(label.size()));
      bytes.insert(bytes.end(), label.begin(), label.end());
      rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    }
  }
  return bytes;
}

}  // namespace

struct Dhcp::Request {
  const u8* fixed;
  Mac mac;
  u8 type = 0;
  IpAddress client;     // ciaddr
  IpAddress requested;  // option 50
  IpAddress server;     // option 54
};

IpAddress Dhcp::address_of(usize lease) const {
  return IpAddress::v4(context_.config.dhcp_start.to_v4() + static_cast<u32>(lease));
}

bool Dhcp::usable(usize lease) const {
  const IpAddress address = address_of(lease);
  const UserConfig& config = context_.config;
  return address.in_prefix(config.network, config.prefix_length) && address != config.broadcast() &&
         !context_.is_own(address);
}

int Dhcp::lease_of(const Mac& mac) const {
  for (usize i = 0; i < kLeases; ++i)
    if (leases_[i].state == Lease::used && leases_[i].mac == mac) return static_cast<int>(i);
  return -1;
}

int Dhcp::lease_at(const IpAddress& address) const {
  const u32 offset = address.to_v4() - context_.config.dhcp_start.to_v4();
  return address.is_v4() && offset < kLeases && usable(offset) ? static_cast<int>(offset) : -1;
}

// The lease of this MAC; else the wanted address if it is free; else the first that is free, or has run out.
int Dhcp::choose(const Mac& mac, const IpAddress& wanted) {
  if (const int own = lease_of(mac); own >= 0) return own;
  if (const int index = lease_at(wanted);
      index >= 0 && leases_[static_cast<usize>(index)].state == Lease::free)
    return index;
  const s64 now = context_.now();
  for (usize i = 0; i < kLeases; ++i)
    if (usable(i) && leases_[i].state == Lease::free) return static_cast<int>(i);
  for (usize i = 0; i < kLeases; ++i)
    if (usable(i) && now - leases_[i].since > s64{kLeaseSeconds} * kSecond) return static_cast<int>(i);
  return -1;
}

void Dhcp::input(const Mac& from, const u8* message, usize size) {
  if (size < kFixed + 4 || message[0] != 1 || message[1] != 1 || message[2] != 6) return;
  Request request{.fixed = message,
                  .mac = {},
                  .client = IpAddress::from_wire(message + 12, true),
                  .requested = IpAddress::v4(0),
                  .server = IpAddress::v4(0)};
  std::memcpy(request.mac.data(), message + 28, 6);
  usize at = kFixed;
  at += load_be<u32>(message + at) == kMagic ? 4 : size;
  while (at < size && message[at] != Option::end) {
    if (message[at] == Option::pad) {
      ++at;
      continue;
    }
    if (at + 2 > size || at + 2 + message[at + 1] > size) return;
    const u8* data = message + at + 2;
    const u8 length = message[at + 1];
    if (message[at] == Option::message_type && length >= 1) request.type = data[0];
    if (message[at] == Option::requested_address && length == 4)
      request.requested = IpAddress::from_wire(data, true);
    if (message[at] == Option::server_identifier && length == 4)
      request.server = IpAddress::from_wire(data, true);
    at += 2u + length;
  }
  const int lease = lease_of(request.mac);
  switch (request.type) {
    case kDiscover:
      return answer_discover(request);
    case 0:  // BOOTP
    case kRequest:
      return answer_request(request);
    case kInform:
      return answer_inform(request);
    case kDecline:
      if (const int index = lease_at(request.requested); index >= 0 && index == lease)
        leases_[static_cast<usize>(index)] = {Lease::declined, {}, context_.now()};
      return;
    case kRelease:
      if (lease >= 0) leases_[static_cast<usize>(lease)].state = Lease::free;
      return;
    default:
      return;
  }
}

void Dhcp::answer_discover(const Request& request) {
  const int index = choose(request.mac, request.requested);
  if (index < 0) {
    context_.log.write(LogItem::net, "dhcp: all {} addresses are taken", kLeases);
    return;
  }
  leases_[static_cast<usize>(index)] = {Lease::used, request.mac, context_.now()};
  reply(request, kOffer, address_of(static_cast<usize>(index)));
}

void Dhcp::answer_request(const Request& request) {
  if (!request.server.is_unspecified() && request.server != context_.config.host) return;  // another server's
  IpAddress wanted = request.requested;
  if (wanted.is_unspecified()) wanted = request.client;
  const int own = lease_of(request.mac);
  int index = wanted.is_unspecified() ? choose(request.mac, wanted) : lease_at(wanted);
  if (index >= 0 && index != own) {
    const bool is_free = leases_[static_cast<usize>(index)].state == Lease::free;
    if (!is_free)
      index = -1;
    else if (own >= 0)
      leases_[static_cast<usize>(own)].state = Lease::free;
  }
  if (index < 0) return reply(request, kNak, IpAddress::v4(0));
  leases_[static_cast<usize>(index)] = {Lease::used, request.mac, context_.now()};
  const IpAddress address = address_of(static_cast<usize>(index));
  reply(request, kAck, address);
  context_.link.learn(address, request.mac);
  context_.log.write(LogItem::net, "dhcp: {} has {}", format_mac(load_be<u64>(request.mac.data()) >> 16),
                     address.text());
}

void Dhcp::answer_inform(const Request& request) { reply(request, kAck, IpAddress::v4(0)); }

void Dhcp::add_options(std::vector<u8>& options, const Request& request, u8 type) {
  const UserConfig& config = context_.config;
  add_option(options, Option::message_type, &type, 1);
  add_option(options, Option::server_identifier, config.host);
  if (type == kNak) {
    add_option(options, Option::message_text, std::string("requested address not available"));
    return;
  }
  add_option(options, Option::subnet_mask, config.netmask());
  if (!config.restricted) {
    add_option(options, Option::router, config.host);
    add_option(options, Option::name_server, config.dns);
  }
  if (request.type != kInform) add_option(options, Option::lease_time, kLeaseSeconds);
  add_option(options, Option::host_name, config.hostname);
  add_option(options, Option::domain_name, config.domain);
  const std::vector<u8> search = encode_domains(config.search);
  for (usize at = 0; at < search.size(); at += 255)  // RFC 3396: a long option in parts
    add_option(options, Option::domain_search, search.data() + at, std::min<usize>(255, search.size() - at));
}

void Dhcp::reply(const Request& request, u8 type, const IpAddress& address) {
  std::vector<u8> message(kUdpHeader + kFixed + 4);
  u8* fixed = message.data() + kUdpHeader;
  fixed[0] = 2;  // reply
  fixed[1] = 1;
  fixed[2] = 6;
  std::memcpy(fixed + 4, request.fixed + 4, 4);    // transaction
  std::memcpy(fixed + 10, request.fixed + 10, 2);  // flags
  if (request.type == kInform) std::memcpy(fixed + 12, request.client.wire(), 4);
  std::memcpy(fixed + 16, address.wire(), 4);
  if (type != kNak) std::memcpy(fixed + 20, context_.config.host.wire(), 4);
  std::memcpy(fixed + 24, request.fixed + 24, 4);   // relay
  std::memcpy(fixed + 28, request.fixed + 28, 16);  // the client's hardware address
  store_be<u32>(fixed + kFixed, kMagic);
  std::vector<u8> options;
  add_options(options, request, type);
  options.push_back(Option::end);
  message.insert(message.end(), options.begin(), options.end());
  message.resize(kUdpHeader + kFixed + kOptionsArea);
  const IpOut out{.from = context_.config.host, .to = IpAddress::v4(0xffffffff), .protocol = kUdp};
  store_be<u16>(message.data(), 67);
  store_be<u16>(message.data() + 2, 68);
  store_be<u16>(message.data() + 4, static_cast<u16>(message.size()));
  ChecksumSum sum;
  sum.add_pseudo_header(out.from, out.to, kUdp, message.size());
  sum.add(message.data(), message.size());
  store_be<u16>(message.data() + 6, sum.checksum() ? sum.checksum() : 0xffff);
  const Piece piece{message.data(), message.size()};
  context_.link.broadcast_ip(out, std::span(&piece, 1));
}

}  // namespace rhea::net::user
