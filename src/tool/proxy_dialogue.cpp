// SPDX-License-Identifier: MIT
#include "tool/proxy_dialogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "util/bits.h"
#include "util/ip_address.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

// RFC 1928, sections 3 to 6.
constexpr char kSocks = 5;
constexpr char kNoAuthentication = 0;
constexpr char kNoMethod = static_cast<char>(0xff);
constexpr u8 kConnect = 1;
enum AddressType : u8 { kIpv4 = 1, kName = 3, kIpv6 = 4 };
enum Reply : u8 {
  kSucceeded = 0,
  kFailure = 1,
  kHostUnreachable = 4,
  kRefused = 5,
  kNoSuchCommand = 7,
  kNoSuchAddressType = 8
};
constexpr usize kRequestHead = 4;

// The bound address is nobody's: it is not of this host.
std::string socks_reply(u8 reply) {
  return {kSocks, static_cast<char>(reply), 0, static_cast<char>(kIpv4), 0, 0, 0, 0, 0, 0};
}

std::string http_answer(const char* status, const std::string& why) {
  const std::string body = "rhea: " + why + "\n";
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n"
      "Connection: close\r\n\r\n{}",
      status, body.size(), body);
}

u8 byte_at(const std::string& text, usize at) { return static_cast<u8>(text[at]); }

// What may be in a name or an address, so that it can be shown and compared.
bool is_host(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == ':';
  });
}

struct Place {
  std::string host;
  u16 port;
};

// "HOST:PORT", "[IPV6]:PORT"; the port may be missing where there is another (not 0).
std::optional<Place> read_authority(std::string_view text, u16 otherwise) {
  usize colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  if (!text.empty() && text.front() == '[') {
    const usize end = text.find(']');
    if (end == std::string_view::npos || (end + 1 < text.size() && text[end + 1] != ':')) return std::nullopt;
    colon = end + 1 < text.size() ? end + 1 : std::string_view::npos;
    host = text.substr(1, end - 1);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  u64 port = otherwise;
  if (colon != std::string_view::npos && colon + 1 < text.size()) {
    const std::string_view digits = text.substr(colon + 1);
    const auto number = parse_number(std::string(digits));
    if (!number || digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    port = *number;
  }
  if (port < 1 || port > 65535 || !is_host(host)) return std::nullopt;
  return Place{std::string(host), static_cast<u16>(port)};
}

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  });
}

// The fields of a request as the server is to see them: those of the connection with the proxy are not for it, and the
// connection ends with the answer, so that the next request comes with a host of its own. Nothing: a line is no field.
std::optional<std::string> forwarded_fields(std::string_view fields) {
  constexpr std::array<std::string_view, 5> kOfThisConnection = {"connection", "keep-alive", "proxy-connection",
                                                                 "proxy-authorization", "te"};
  std::string kept;
  while (!fields.empty()) {
    const usize end = fields.find("\r\n");
    const std::string_view line = fields.substr(0, end);
    const usize colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
    const std::string name = to_lower(std::string(line.substr(0, colon)));
    if (std::find(kOfThisConnection.begin(), kOfThisConnection.end(), name) == kOfThisConnection.end())
      kept.append(line).append("\r\n");
    fields.remove_prefix(std::min(fields.size(), end == std::string_view::npos ? end : end + 2));
  }
  return kept + "Connection: close\r\n";
}

}  // namespace

ProxyDialogue::State ProxyDialogue::take(std::span<const u8> bytes) {
  if (state_ != State::asking) return state_;
  buffer_.append(bytes.begin(), bytes.end());
  if (buffer_.empty()) return state_;
  state_ = greeted_ || buffer_[0] == kSocks ? take_socks() : take_http();
  return state_;
}

std::string ProxyDialogue::answers() { return std::exchange(answers_, {}); }

ProxyDialogue::State ProxyDialogue::refuse(std::string answer) {
  answers_ += answer;
  return State::refused;
}

ProxyDialogue::State ProxyDialogue::refuse_http(const char* status, const std::string& why) {
  return refuse(http_answer(status, why));
}

ProxyDialogue::State ProxyDialogue::found(std::string_view host, u16 port) {
  host_ = to_lower(std::string(host));
  if (host_.size() > 1 && host_.back() == '.') host_.pop_back();
  port_ = port;
  return State::dial;
}

ProxyDialogue::State ProxyDialogue::take_socks() {
  kind_ = Kind::socks;
  if (greeted_) return take_socks_request();
  if (buffer_.size() < 2 || buffer_.size() < 2u + byte_at(buffer_, 1)) return State::asking;
  const usize end = 2u + byte_at(buffer_, 1);
  const bool offered = buffer_.substr(2, end - 2).find(kNoAuthentication) != std::string::npos;
  if (!offered) return refuse({kSocks, kNoMethod});
  answers_ += {kSocks, kNoAuthentication};
  greeted_ = true;
  buffer_.erase(0, end);
  return buffer_.empty() ? State::asking : take_socks_request();
}

ProxyDialogue::State ProxyDialogue::take_socks_request() {
  if (buffer_[0] != kSocks) return refuse(socks_reply(kFailure));
  if (buffer_.size() <= kRequestHead) return State::asking;
  const u8 type = byte_at(buffer_, 3);
  if (type != kIpv4 && type != kName && type != kIpv6) return refuse(socks_reply(kNoSuchAddressType));
  const usize start = type == kName ? kRequestHead + 1 : kRequestHead;
  const usize size = type == kName ? byte_at(buffer_, kRequestHead) : type == kIpv4 ? 4u : 16u;
  if (buffer_.size() < start + size + 2) return State::asking;
  if (byte_at(buffer_, 1) != kConnect) return refuse(socks_reply(kNoSuchCommand));
  const u8* bytes = reinterpret_cast<const u8*>(buffer_.data());
  const std::string host =
      type == kName ? buffer_.substr(start, size) : IpAddress::from_wire(bytes + start, type == kIpv4).text();
  const u16 port = load_be<u16>(bytes + start + size);
  if (!is_host(host) || port == 0) return refuse(socks_reply(kHostUnreachable));
  for_guest_ = buffer_.substr(start + size + 2);
  return found(host, port);
}

ProxyDialogue::State ProxyDialogue::take_http() {
  const auto wrong = [this](const std::string& why) { return refuse_http("400 Bad Request", why); };
  if (!is_token(buffer_.substr(0, 1))) return wrong("this is a proxy for SOCKS5 and HTTP");
  const usize end = buffer_.find("\r\n\r\n");
  if (end == std::string::npos && buffer_.size() <= kMostHeader) return State::asking;
  if (end == std::string::npos || end > kMostHeader)
    return refuse_http("431 Request Header Fields Too Large", fmt::format("at most {} bytes", kMostHeader));
  const std::string_view head = std::string_view(buffer_).substr(0, end + 2);
  const usize line_end = head.find("\r\n");
  const std::string_view line = head.substr(0, line_end);
  const usize first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return wrong("the request has no target and version");
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method) || (version != "HTTP/1.1" && version != "HTTP/1.0"))
    return wrong("the request is none of HTTP/1.1");
  if (method == "CONNECT") return take_tunnel(target, end + 4);
  return take_url(method, target, head.substr(line_end + 2), end + 4);
}

ProxyDialogue::State ProxyDialogue::take_tunnel(std::string_view target, usize size) {
  kind_ = Kind::tunnel;
  const auto place = read_authority(target, 0);
  if (!place) return refuse_http("400 Bad Request", "CONNECT expects HOST:PORT");
  for_guest_ = buffer_.substr(size);
  return found(place->host, place->port);
}

ProxyDialogue::State ProxyDialogue::take_url(std::string_view method, std::string_view target, std::string_view fields,
                                             usize size) {
  kind_ = Kind::request;
  constexpr std::string_view kScheme = "http://";
  if (target.size() < kScheme.size() || to_lower(std::string(target.substr(0, kScheme.size()))) != kScheme)
    return refuse_http("400 Bad Request", "a proxy's requests have a whole URL, http://HOST/PATH, or are CONNECT");
  const std::string_view rest = target.substr(kScheme.size());
  const usize slash = std::min(rest.find_first_of("/?"), rest.size());
  const auto place = read_authority(rest.substr(0, slash), 80);
  const auto kept = forwarded_fields(fields);
  const std::string_view path = rest.substr(slash);
  const auto bad = [](char c) { return c <= 0x20 || c == 0x7f; };
  if (!place || !kept || std::any_of(path.begin(), path.end(), bad))
    return refuse_http("400 Bad Request", "the request makes no sense");
  for_guest_ = fmt::format("{} {}{} HTTP/1.1\r\n{}\r\n", method, path.starts_with('/') ? "" : "/", path, *kept) +
               buffer_.substr(size);
  return found(place->host, place->port);
}

void ProxyDialogue::succeed() {
  if (kind_ == Kind::socks) answers_ += socks_reply(kSucceeded);
  if (kind_ == Kind::tunnel) answers_ += "HTTP/1.1 200 Connection established\r\n\r\n";
}

void ProxyDialogue::fail(Failure failure, const std::string& why) {
  state_ = State::refused;
  if (kind_ != Kind::socks) {
    answers_ += http_answer(failure == Failure::silent ? "504 Gateway Timeout" : "502 Bad Gateway", why);
    return;
  }
  const bool reached = failure == Failure::refused;
  answers_ += socks_reply(reached ? kRefused : failure == Failure::gone ? kFailure : kHostUnreachable);
}

}  // namespace rhea::tool
