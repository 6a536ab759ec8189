// SPDX-License-Identifier: MIT
#include "net/user/policy.h"

#include <algorithm>

#include "net/user/packet.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kMostBlocked = 256, kMostPins = 4096;
constexpr s64 kGrace = 60 * kSecond;
constexpr usize kHeader = 12;

bool name_fits(const std::string& pattern, std::string_view name) {
  if (pattern.starts_with("*.")) return name.size() > pattern.size() - 1 && name.ends_with(pattern.substr(1));
  return name == pattern;
}

// Moves past a name of a message; false when it makes no sense. `text` gets it when it is not compressed.
bool skip_name(std::span<const u8> message, usize& at, std::string* text = nullptr) {
  while (at < message.size()) {
    const u8 length = message[at];
    if (length == 0) return ++at, true;
    if ((length & 0xc0) == 0xc0) return at += 2, at <= message.size();
    if (length > 63 || at + 1 + length > message.size()) return false;
    if (text) {
      if (!text->empty()) *text += '.';
      text->append(reinterpret_cast<const char*>(&message[at + 1]), length);
    }
    at += 1u + length;
  }
  return false;
}

}  // namespace

bool Bucket::ready(s64 now) {
  if (!rate_) return true;
  // A second at most, so that the product fits.
  const s64 passed = std::clamp<s64>(now - last_, 0, kSecond);
  tokens_ = std::min(burst(), tokens_ + static_cast<s64>(static_cast<u64>(passed) * rate_ / kSecond));
  last_ = now;
  return tokens_ > 0;
}

s64 Bucket::next(s64 now) const {
  const u64 missing = static_cast<u64>(std::max<s64>(0, 1 - tokens_) + 1514);
  return now + std::max<s64>(kMillisecond, static_cast<s64>(missing * kSecond / std::max<u64>(rate_, 1)));
}

bool Policy::fits(usize index, u8 protocol, const Endpoint& to, s64 now) const {
  const AccessRule& rule = config_.access[index];
  if (rule.protocol && rule.protocol != (protocol == kIcmpv6 ? kIcmp : protocol)) return false;
  if (rule.first_port && (to.port < rule.first_port || to.port > rule.last_port)) return false;
  switch (rule.target) {
    case AccessRule::anything: return true;
    case AccessRule::host:
      return to.address == config_.host || to.address == config_.host6 || to.address == config_.router6;
    case AccessRule::network:
      return to.address.is_v4() == rule.network_address.is_v4() &&
             to.address.in_prefix(rule.network_address, rule.length);
    case AccessRule::domain: break;
  }
  const auto [begin, end] = pins_.equal_range(to.address);
  return std::any_of(begin, end, [&](const auto& pin) { return pin.second.rule == index && pin.second.until >= now; });
}

bool Policy::permits(u8 protocol, const Endpoint& guest, const Endpoint& to, s64 now) {
  if (config_.access.empty()) return true;
  bool any_allow = false;
  for (usize i = 0; i < config_.access.size(); ++i) {
    any_allow |= config_.access[i].allow;
    if (!fits(i, protocol, to, now)) continue;
    if (!config_.access[i].allow) note({protocol, to, {}, config_.access[i].text, 1, now});
    return config_.access[i].allow;
  }
  if (any_allow) note({protocol, to, {}, {}, 1, now});
  return !any_allow;
}

// Names are the guest's only way to addresses of domain rules: with allow rules for domains, others are
// refused.
bool Policy::permits_name(std::string_view name) {
  bool allow_list = false;
  for (const AccessRule& rule : config_.access) {
    if (rule.target == AccessRule::anything && rule.allow) return true;
    if (rule.target != AccessRule::domain) continue;
    allow_list |= rule.allow;
    if (!name_fits(rule.domain_name, name)) continue;
    if (rule.allow) return true;
    if (rule.protocol || rule.first_port) continue;  // some of it may be reached
    note({kUdp, {}, std::string(name), rule.text, 1, 0});
    return false;
  }
  if (allow_list) note({kUdp, {}, std::string(name), {}, 1, 0});
  return !allow_list;
}

void Policy::learn(std::string_view name, const IpAddress& address, u32 seconds, s64 now) {
  for (usize i = 0; i < config_.access.size(); ++i) {
    const AccessRule& rule = config_.access[i];
    if (rule.target != AccessRule::domain || !name_fits(rule.domain_name, name)) continue;
    const s64 until = now + s64{std::min<u32>(seconds, 86400)} * kSecond + kGrace;
    const auto [begin, end] = pins_.equal_range(address);
    const auto same = std::find_if(begin, end, [&](const auto& pin) { return pin.second.rule == i; });
    if (same != end) {
      same->second.until = std::max(same->second.until, until);
      continue;
    }
    if (pins_.size() >= kMostPins) std::erase_if(pins_, [&](const auto& pin) { return pin.second.until < now; });
    if (pins_.size() < kMostPins) pins_.emplace(address, Pin{i, until});
  }
}

void Policy::note(Blocked blocked) {
  ++total_;
  const auto same = std::find_if(blocked_.begin(), blocked_.end(), [&](const Blocked& item) {
    return item.protocol == blocked.protocol && item.to == blocked.to && item.name == blocked.name;
  });
  if (same != blocked_.end()) {
    ++same->count;
    same->last = blocked.last;
    return;
  }
  if (blocked_.size() >= kMostBlocked) blocked_.erase(blocked_.begin());
  blocked_.push_back(std::move(blocked));
}

std::optional<std::string> parse_dns_question(std::span<const u8> message) {
  std::string name;
  usize at = kHeader;
  if (message.size() < kHeader || load_be<u16>(&message[4]) == 0 || !skip_name(message, at, &name)) return std::nullopt;
  return to_lower(name);
}

std::optional<DnsAnswer> parse_dns_answer(std::span<const u8> message) {
  if (message.size() < kHeader || load_be<u16>(&message[4]) != 1) return std::nullopt;
  DnsAnswer answer;
  usize at = kHeader;
  if (!skip_name(message, at, &answer.name) || at + 4 > message.size()) return std::nullopt;
  answer.name = to_lower(answer.name);
  at += 4;
  const unsigned count = std::min<unsigned>(load_be<u16>(&message[6]), 64);
  for (unsigned i = 0; i < count; ++i) {
    if (!skip_name(message, at) || at + 10 > message.size()) return std::nullopt;
    const u16 type = load_be<u16>(&message[at]);
    const u32 seconds = load_be<u32>(&message[at + 4]);
    const usize size = load_be<u16>(&message[at + 8]);
    at += 10;
    if (at + size > message.size()) return std::nullopt;
    if (type == NameRecord::a && size == 4)
      answer.addresses.emplace_back(IpAddress::from_wire(&message[at], true), seconds);
    if (type == NameRecord::aaaa && size == 16)
      answer.addresses.emplace_back(IpAddress::from_wire(&message[at], false), seconds);
    at += size;
  }
  return answer;
}

}  // namespace rhea::net::user
