// SPDX-License-Identifier: MIT
// Option numbers and their formats: RFC 2132; domain search: RFC 3397.
#include "net/user/dhcp.h"

#include <algorithm>
#include <bitset>

#include "core/property.h"
#include "net/checksum.h"
#include "net/user/encode_names.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kFixed = 236;        // the BOOTP message without options
constexpr usize kOptionsArea = 312;  // with the magic cookie
constexpr u32 kMagic = 0x63825363;
constexpr u32 kLeaseSeconds = 24 * 60 * 60;
constexpr u8 kDiscover = 1, kOffer = 2, kRequest = 3, kDecline = 4, kAck = 5, kNak = 6, kRelease = 7, kInform = 8;

enum Option : u8 {
  pad = 0,
  subnet_mask = 1,
  router = 3,
  name_server = 6,
  host_name = 12,
  domain_name = 15,
  interface_mtu = 26,
  ntp_server = 42,
  requested_address = 50,
  lease_time = 51,
  message_type = 53,
  server_identifier = 54,
  parameter_list = 55,
  message_text = 56,
  vendor_class = 60,
  tftp_server_name = 66,
  boot_file_name = 67,
  rapid_commit = 80,
  full_name = 81,
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

}  // namespace

struct Dhcp::Request {
  const u8* fixed;
  Mac mac;
  u8 type = 0;
  IpAddress client;         // ciaddr
  IpAddress requested;      // option 50
  IpAddress server;         // option 54
  std::bitset<256> wanted;  // option 55
  bool rapid = false;       // option 80
  std::string name;         // option 12, or the first label of option 81
};

Dhcp::Dhcp(Context& context) : context_(context) {
  const UserConfig& config = context.config;
  if (!config.ipv4) return;
  for (u32 i = 0; i < kLeases; ++i) {
    const IpAddress address = IpAddress::v4(config.dhcp_start.to_v4() + i);
    if (usable(address)) leases_.push_back({.address = address});
  }
  for (const StaticLease& fixed : config.leases) {
    if (!fixed.address.is_v4()) continue;
    const auto there = std::find_if(leases_.begin(), leases_.end(),
                                    [&](const Lease& lease) { return lease.address == fixed.address; });
    Lease& lease = there != leases_.end() ? *there : leases_.emplace_back();
    lease.address = fixed.address;
    lease.reserved = true;
    lease.reserved_mac = fixed.mac;
    lease.given = fixed.name;
  }
}

void Dhcp::lease_singly(const IpAddress& first, std::function<IpAddress()> more) {
  std::erase_if(leases_, [](const Lease& lease) { return !lease.reserved; });
  leases_.push_back({.address = first});
  more_ = std::move(more);
}

bool Dhcp::usable(const IpAddress& address) const {
  const UserConfig& config = context_.config;
  return address.in_prefix(config.network, config.prefix_length) && address != config.broadcast() &&
         address != config.network && !context_.is_own(address);
}

bool Dhcp::may_have(const Lease& lease, const Mac& mac) const { return !lease.reserved || lease.reserved_mac == mac; }

IpAddress Dhcp::address_of(std::string_view name) const {
  for (const Lease& lease : leases_)
    if (lease.reserved && lease.given == name) return lease.address;
  for (const Lease& lease : leases_)
    if (lease.state == Lease::used && lease.name == name) return lease.address;
  return IpAddress::v4(0);
}

std::string Dhcp::name_of(const IpAddress& address) const {
  for (const Lease& lease : leases_)
    if (lease.address == address && (lease.reserved || lease.state == Lease::used))
      return lease.given.empty() ? lease.name : lease.given;
  return {};
}

std::vector<Dhcp::Row> Dhcp::rows() const {
  std::vector<Row> rows;
  for (const Lease& lease : leases_) {
    const bool used = lease.state == Lease::used;
    if (used || lease.reserved)
      rows.push_back({lease.address, used ? lease.mac : lease.reserved_mac,
                      lease.given.empty() ? lease.name : lease.given, lease.reserved});
  }
  return rows;
}

int Dhcp::lease_of(const Mac& mac) const {
  for (usize i = 0; i < leases_.size(); ++i)
    if (leases_[i].state == Lease::used && leases_[i].mac == mac) return static_cast<int>(i);
  return -1;
}

int Dhcp::lease_at(const IpAddress& address) const {
  for (usize i = 0; i < leases_.size(); ++i)
    if (leases_[i].address == address) return static_cast<int>(i);
  return -1;
}

// The lease kept for this MAC; the one it has; else the wanted address if it is free; else the first that is
// free, or has run out.
int Dhcp::choose(const Mac& mac, const IpAddress& wanted) {
  for (usize i = 0; i < leases_.size(); ++i)
    if (leases_[i].reserved && leases_[i].reserved_mac == mac && leases_[i].state != Lease::declined)
      return static_cast<int>(i);
  if (const int own = lease_of(mac); own >= 0) return own;
  const auto free = [&](const Lease& lease) { return lease.state == Lease::free && may_have(lease, mac); };
  if (const int index = lease_at(wanted); index >= 0 && free(leases_[static_cast<usize>(index)])) return index;
  const s64 now = context_.now();
  for (usize i = 0; i < leases_.size(); ++i)
    if (free(leases_[i])) return static_cast<int>(i);
  for (usize i = 0; i < leases_.size(); ++i)
    if (may_have(leases_[i], mac) && now - leases_[i].since > s64{kLeaseSeconds} * kSecond) return static_cast<int>(i);
  return -1;
}

namespace {

// A host name as DNS may carry it, in lower case; empty when it is none.
std::string clean_name(const u8* data, usize size) {
  std::string name(reinterpret_cast<const char*>(data), size);
  while (!name.empty() && name.back() == 0) name.pop_back();
  name = to_lower(name.substr(0, name.find('.')));
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  if (name.empty() || name.size() > 63 || !std::all_of(name.begin(), name.end(), good)) return {};
  return name;
}

// Option 81 (RFC 4702): flags, two result codes, and the name as text or, with flag E, in DNS form.
std::string full_name_of(const u8* data, usize size) {
  if (size < 4) return {};
  if (!(data[0] & 4)) return clean_name(data + 3, size - 3);
  const usize label = data[3];
  return label && 4 + label <= size ? clean_name(data + 4, label) : std::string();
}

}  // namespace

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
    if (message[at] == Option::requested_address && length == 4) request.requested = IpAddress::from_wire(data, true);
    if (message[at] == Option::server_identifier && length == 4) request.server = IpAddress::from_wire(data, true);
    if (message[at] == Option::parameter_list)
      for (u8 i = 0; i < length; ++i) request.wanted.set(data[i]);
    if (message[at] == Option::rapid_commit) request.rapid = true;
    if (message[at] == Option::host_name && request.name.empty()) request.name = clean_name(data, length);
    if (message[at] == Option::full_name) request.name = full_name_of(data, length);
    at += 2u + length;
  }
  const int lease = lease_of(request.mac);
  switch (request.type) {
    case kDiscover: return answer_discover(request);
    case 0:  // BOOTP
    case kRequest: return answer_request(request);
    case kInform: return answer_inform(request);
    case kDecline:
      if (const int index = lease_at(request.requested); index >= 0 && index == lease) decline(index);
      return;
    case kRelease:
      if (lease >= 0) leases_[static_cast<usize>(lease)].state = Lease::free;
      return;
    default: return;
  }
}

void Dhcp::take(int index, const Request& request) {
  Lease& lease = leases_[static_cast<usize>(index)];
  const int own = lease_of(request.mac);
  if (own >= 0 && own != index) leases_[static_cast<usize>(own)].state = Lease::free;
  if (lease.mac != request.mac) lease.name.clear();
  lease.state = Lease::used;
  lease.mac = request.mac;
  lease.since = context_.now();
  if (!request.name.empty()) lease.name = request.name;
}

void Dhcp::decline(int index) {
  Lease& lease = leases_[static_cast<usize>(index)];
  lease.state = Lease::declined;
  lease.mac = {};
  lease.since = context_.now();
}

void Dhcp::confirm(int index, const Request& request) {
  take(index, request);
  const Lease& lease = leases_[static_cast<usize>(index)];
  reply(request, kAck, &lease);
  context_.link.learn(lease.address, request.mac);
  context_.log.write(LogItem::net, "dhcp: {} has {}", format_mac(load_be<u64>(request.mac.data()) >> 16),
                     lease.address.text());
}

void Dhcp::answer_discover(const Request& request) {
  const int index = choose(request.mac, request.requested);
  if (index < 0) {
    context_.log.write(LogItem::net, "dhcp: all {} addresses are taken", leases_.size());
    return;
  }
  if (request.rapid) return confirm(index, request);
  take(index, request);
  reply(request, kOffer, &leases_[static_cast<usize>(index)]);
}

void Dhcp::answer_request(const Request& request) {
  if (!request.server.is_unspecified() && request.server != context_.config.host) return;  // another server's
  IpAddress wanted = request.requested;
  if (wanted.is_unspecified()) wanted = request.client;
  const int own = lease_of(request.mac);
  int index = wanted.is_unspecified() ? choose(request.mac, wanted) : lease_at(wanted);
  if (index >= 0 && index != own) {
    const Lease& lease = leases_[static_cast<usize>(index)];
    if (lease.state != Lease::free || !may_have(lease, request.mac)) index = -1;
  }
  if (index < 0) return reply(request, kNak, nullptr);
  confirm(index, request);
}

void Dhcp::answer_inform(const Request& request) { reply(request, kAck, nullptr); }

void Dhcp::add_options(std::vector<u8>& options, const Request& request, u8 type, const Lease* lease) {
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
  add_option(options, Option::host_name, lease && !lease->given.empty() ? lease->given : config.hostname);
  add_option(options, Option::domain_name, config.domain);
  add_option(options, Option::tftp_server_name, config.tftp_server);
  const std::vector<u8> search = encode_names(config.search, true);
  for (usize at = 0; at < search.size(); at += 255)  // RFC 3396: a long option in parts
    add_option(options, Option::domain_search, search.data() + at, std::min<usize>(255, search.size() - at));
  if (config.boot_file.starts_with("http://") || config.boot_file.starts_with("https://"))
    add_option(options, Option::vendor_class, std::string("HTTPClient"));
  if (config.mtu) {
    u8 mtu[2];
    store_be<u16>(mtu, config.mtu);
    add_option(options, Option::interface_mtu, mtu, 2);
  }
  std::vector<u8> ntp;
  for (const IpAddress& server : config.ntp)
    if (server.is_v4() && ntp.size() < 64) ntp.insert(ntp.end(), server.wire(), server.wire() + 4);
  if (!ntp.empty()) add_option(options, Option::ntp_server, ntp.data(), ntp.size());
  if (request.wanted[Option::boot_file_name]) add_option(options, Option::boot_file_name, config.boot_file);
  if (request.type == kDiscover && type == kAck) add_option(options, Option::rapid_commit, nullptr, 0);
}

void Dhcp::reply(const Request& request, u8 type, const Lease* lease) {
  std::vector<u8> message(kUdpHeader + kFixed + 4);
  u8* fixed = message.data() + kUdpHeader;
  fixed[0] = 2;  // reply
  fixed[1] = 1;
  fixed[2] = 6;
  std::memcpy(fixed + 4, request.fixed + 4, 4);    // transaction
  std::memcpy(fixed + 10, request.fixed + 10, 2);  // flags
  if (request.type == kInform) std::memcpy(fixed + 12, request.client.wire(), 4);
  const UserConfig& config = context_.config;
  if (lease) std::memcpy(fixed + 16, lease->address.wire(), 4);
  const IpAddress& next = config.tftp_address.is_unspecified() ? config.host : config.tftp_address;
  if (type != kNak) {
    std::memcpy(fixed + 20, next.wire(), 4);
    std::memcpy(fixed + 108, config.boot_file.data(), std::min<usize>(config.boot_file.size(), 127));
  }
  std::memcpy(fixed + 24, request.fixed + 24, 4);   // relay
  std::memcpy(fixed + 28, request.fixed + 28, 16);  // the client's hardware address
  store_be<u32>(fixed + kFixed, kMagic);
  std::vector<u8> options;
  add_options(options, request, type, lease);
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
