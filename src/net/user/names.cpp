// SPDX-License-Identifier: MIT
// The message format is RFC 1035, section 4.
#include "net/user/names.h"

#include <algorithm>

#include "net/user/dhcp.h"
#include "net/user/encode_names.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kHeader = 12;
constexpr u16 kInternet = 1, kAny = 255;
constexpr u32 kSeconds = 60;  // that an answer may be kept
constexpr usize kMostRecords = 16;
constexpr usize kPlainAnswer = 512;  // RFC 1035, section 4.2.1
constexpr unsigned kLongestChain = 8;

void add_u16(std::vector<u8>& bytes, u16 value) {
  bytes.push_back(static_cast<u8>(value >> 8));
  bytes.push_back(static_cast<u8>(value));
}

std::vector<u8> data_of(const NameRecord& record) {
  switch (record.type) {
    case NameRecord::a:
    case NameRecord::aaaa: return {record.address.wire(), record.address.wire() + record.address.wire_size()};
    case NameRecord::cname:
    case NameRecord::ptr: return encode_names({record.text}, false);
    case NameRecord::txt: break;
  }
  std::vector<u8> data{static_cast<u8>(record.text.size())};
  data.insert(data.end(), record.text.begin(), record.text.end());
  return data;
}

// "15.2.0.10.in-addr.arpa" is 10.0.2.15, and nibbles of ip6.arpa likewise (RFC 3596, section 2.5).
std::optional<IpAddress> address_of_pointer(const std::string& name) {
  std::vector<std::string> labels = split(name, '.');
  if (labels.size() == 6 && labels[4] == "in-addr" && labels[5] == "arpa")
    return parse_ipv4(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0]);
  if (labels.size() != 34 || labels[32] != "ip6" || labels[33] != "arpa") return std::nullopt;
  IpAddress address;
  for (usize i = 0; i < 32; ++i) {
    const usize digit = std::string_view("0123456789abcdef").find(labels[31 - i]);
    if (labels[31 - i].size() != 1 || digit == std::string_view::npos) return std::nullopt;
    address.bytes[i / 2] |= static_cast<u8>(digit << (i % 2 ? 0 : 4));
  }
  return address;
}

NameRecord address_record(const std::string& name, const IpAddress& address) {
  return {name, address.is_v4() ? NameRecord::a : NameRecord::aaaa, address, {}};
}

}  // namespace

struct Names::Question {
  std::string name;  // lower case
  u16 type = 0;
  usize end = 0;  // where it ends in the message

  static std::optional<Question> of(std::span<const u8> query) {
    // One question, no answer, a standard query.
    if (query.size() < kHeader + 5 || (query[2] & 0xf8) != 0 || load_be<u16>(&query[4]) != 1) return std::nullopt;
    Question question;
    usize at = kHeader;
    while (at < query.size() && query[at]) {
      const usize label = query[at];
      if (label > 63 || at + 1 + label >= query.size()) return std::nullopt;
      if (!question.name.empty()) question.name += '.';
      question.name.append(reinterpret_cast<const char*>(&query[at + 1]), label);
      at += 1 + label;
    }
    if (at + 5 > query.size() || load_be<u16>(&query[at + 3]) != kInternet) return std::nullopt;
    question.name = to_lower(question.name);
    question.type = load_be<u16>(&query[at + 1]);
    question.end = at + 5;
    return question;
  }
};

std::string Names::without_domain(const std::string& name) const {
  const UserConfig& config = context_.config;
  std::vector<std::string> domains = config.search;
  if (!config.domain.empty()) domains.push_back(config.domain);
  for (const std::string& domain : domains) {
    const std::string suffix = "." + to_lower(domain);
    if (name.size() > suffix.size() && name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  }
  return name;
}

bool Names::find_static(const std::string& name, u16 type, Records& records) const {
  const auto collect = [&](const std::string& owner) {
    bool known = false;
    for (const NameRecord& record : context_.config.records) {
      if (record.name != owner) continue;
      known = true;
      if (record.type == type || type == kAny || record.type == NameRecord::cname) {
        records.push_back(record);
        records.back().name = name;
      }
    }
    return known;
  };
  if (collect(name)) return true;
  // The nearest wildcard above it (RFC 4592).
  for (usize dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
    if (collect("*" + name.substr(dot))) return true;
  return false;
}

bool Names::find_pointer(const std::string& name, u16 type, Records& records) const {
  const auto address = address_of_pointer(name);
  const UserConfig& config = context_.config;
  if (!address) return false;
  const bool inside = address->is_v4() ? config.ipv4 && address->in_prefix(config.network, config.prefix_length)
                                       : config.ipv6 && address->in_prefix(config.prefix6, config.prefix6_length);
  std::string owner;
  for (const NameRecord& record : config.records)
    if ((record.type == NameRecord::a || record.type == NameRecord::aaaa) && record.address == *address &&
        record.name[0] != '*')
      owner = record.name;
  if (owner.empty() && (*address == config.host || *address == config.host6)) owner = "gateway";
  if (owner.empty() && (*address == config.dns || *address == config.dns6)) owner = "dns";
  if (owner.empty() && inside) owner = dhcp_.name_of(*address);
  if (owner.empty()) return false;
  if (owner.find('.') == std::string::npos && !config.domain.empty()) owner += "." + to_lower(config.domain);
  if (type == NameRecord::ptr || type == kAny) records.push_back({name, NameRecord::ptr, {}, owner});
  return true;
}

bool Names::find(std::string name, u16 type, Records& records) const {
  for (unsigned i = 0; i < kLongestChain; ++i) {
    const usize before = records.size();
    if (find_static(name, type, records)) {
      const auto alias = std::find_if(records.begin() + static_cast<std::ptrdiff_t>(before), records.end(),
                                      [](const NameRecord& record) { return record.type == NameRecord::cname; });
      if (alias == records.end() || type == NameRecord::cname || type == kAny) return true;
      name = to_lower(alias->text);
      continue;
    }
    const UserConfig& config = context_.config;
    const std::string plain = without_domain(name);
    IpAddress v4 = IpAddress::v4(0), v6;
    if (plain == "host" || plain == "gateway") {
      v4 = config.host;
      v6 = config.host6;
    } else if (plain == "dns") {
      v4 = config.dns;
      v6 = config.dns6;
    } else {
      v4 = dhcp_.address_of(plain);
      if (v4.is_unspecified()) return find_pointer(name, type, records) || i > 0;
    }
    if (config.ipv4 && (type == NameRecord::a || type == kAny)) records.push_back(address_record(name, v4));
    if (config.ipv6 && !v6.is_unspecified() && (type == NameRecord::aaaa || type == kAny))
      records.push_back(address_record(name, v6));
    return true;
  }
  return true;
}

std::optional<std::vector<u8>> Names::answer(std::span<const u8> query) const {
  const auto question = Question::of(query);
  Records records;
  if (!question || !find(question->name, question->type, records)) return std::nullopt;
  std::vector<u8> message(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(question->end));
  message[2] = static_cast<u8>(0x84 | (query[2] & 1));  // an answer with authority
  message[3] = 0x80;
  usize count = 0;
  for (const NameRecord& record : records) {
    const std::vector<u8> data = data_of(record);
    // The question's own name is at its place (section 4.1.4); an alias's further names are written out.
    const std::vector<u8> owner =
        record.name == question->name ? std::vector<u8>{0xc0, kHeader} : encode_names({record.name}, false);
    if (count == kMostRecords || message.size() + owner.size() + 10 + data.size() > kPlainAnswer) break;
    message.insert(message.end(), owner.begin(), owner.end());
    add_u16(message, record.type);
    add_u16(message, kInternet);
    add_u16(message, 0);
    add_u16(message, kSeconds);
    add_u16(message, static_cast<u16>(data.size()));
    message.insert(message.end(), data.begin(), data.end());
    ++count;
  }
  store_be<u16>(&message[6], static_cast<u16>(count));
  store_be<u16>(&message[8], 0);
  store_be<u16>(&message[10], 0);
  return message;
}

}  // namespace rhea::net::user
