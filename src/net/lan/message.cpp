// SPDX-License-Identifier: MIT
#include "net/lan/message.h"

#include <algorithm>
#include <array>

#include "util/bits.h"

namespace rhea::net::lan {

namespace {

constexpr usize kLongestText = 255;

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

void add_text(std::vector<u8>& packet, std::string_view text) {
  text = text.substr(0, kLongestText);
  packet.push_back(static_cast<u8>(text.size()));
  for (const char c : text) packet.push_back(static_cast<u8>(c >= 0x20 && c < 0x7f ? c : '?'));
}

// Takes what a packet has, from the front.
class Reader {
 public:
  explicit Reader(std::span<const u8> packet) : rest_(packet) {}
  template <typename T>
  T number() {
    const std::span<const u8> bytes = take(sizeof(T));
    return bytes.empty() ? T{} : load_le<T>(bytes.data());
  }
  std::string text() {
    const std::span<const u8> bytes = take(number<u8>());
    std::string text(bytes.begin(), bytes.end());
    good_ = good_ && is_printable(text);
    return text;
  }
  std::string all() {
    std::string text(rest_.begin(), rest_.end());
    rest_ = {};
    return text;
  }
  bool done() const { return good_ && rest_.empty(); }

 private:
  std::span<const u8> take(usize size) {
    if (size > rest_.size()) {
      good_ = false;
      return {};
    }
    const std::span<const u8> bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }
  std::span<const u8> rest_;
  bool good_ = true;
};

}  // namespace

std::vector<u8> encode(const Message& message) {
  std::vector<u8> packet{static_cast<u8>(message.kind)};
  const auto add_number = [&](auto value) {
    std::array<u8, sizeof value> bytes;
    store_le(bytes.data(), value);
    packet.insert(packet.end(), bytes.begin(), bytes.end());
  };
  switch (message.kind) {
    case Kind::bell:
    case Kind::ask: break;
    case Kind::hello:
      add_number(kVersion);
      add_number(message.id);
      add_number(message.address.to_v4());
      add_text(packet, message.name);
      add_text(packet, message.net);
      break;
    case Kind::forward:
    case Kind::refusal: add_text(packet, message.text); break;
    case Kind::report: packet.insert(packet.end(), message.text.begin(), message.text.end()); break;
    case Kind::dial: add_number(message.port); break;
  }
  return packet;
}

std::optional<Message> decode(std::span<const u8> packet) {
  if (packet.empty() || packet[0] < 1 || packet[0] > static_cast<u8>(Kind::dial)) return std::nullopt;
  Message message;
  message.kind = static_cast<Kind>(packet[0]);
  if (packet.size() > (message.kind == Kind::report ? kLargestReport : kLargestMessage)) return std::nullopt;
  Reader reader(packet.subspan(1));
  switch (message.kind) {
    case Kind::bell:
    case Kind::ask: break;
    case Kind::hello:
      if (reader.number<u32>() != kVersion) return std::nullopt;
      message.id = reader.number<u64>();
      message.address = IpAddress::v4(reader.number<u32>());
      message.name = reader.text();
      message.net = reader.text();
      if (!is_label(message.name)) return std::nullopt;
      break;
    case Kind::forward:
    case Kind::refusal: message.text = reader.text(); break;
    case Kind::report: message.text = reader.all(); break;
    case Kind::dial:
      message.port = reader.number<u16>();
      if (message.port == 0) return std::nullopt;
      break;
  }
  if (!reader.done()) return std::nullopt;
  return message;
}

bool is_label(std::string_view name) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 63 && name.front() != '-' && name.back() != '-' &&
         std::all_of(name.begin(), name.end(), good);
}

std::string label_of(std::string_view text) {
  std::string label;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (good) label += c;
    else if (!label.empty() && label.back() != '-') label += '-';
    if (label.size() == 63) break;
  }
  while (!label.empty() && label.back() == '-') label.pop_back();
  return label;
}

}  // namespace rhea::net::lan
