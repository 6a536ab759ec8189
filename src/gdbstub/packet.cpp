// SPDX-License-Identifier: MIT
#include "gdbstub/packet.h"

namespace rhea::gdbstub {

namespace {

constexpr char kEscape = '}';
constexpr char kEscapeBit = 0x20;
constexpr u8 kInterrupt = 3;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr char kDigits[] = "0123456789abcdef";

}  // namespace

PacketReader::Event PacketReader::take(u8 byte) {
  const char c = static_cast<char>(byte);
  switch (state_) {
    case State::outside:
      if (byte == kInterrupt) return Event::interrupt;
      if (c == '+') return Event::ack;
      if (c == '-') return Event::nack;
      if (c != '$') return Event::none;
      break;
    case State::inside:
    case State::escaped:
      if (c == '$') break;  // the end of the one before was lost
      if (c == '#') {
        state_ = State::sum_high;
        return Event::none;
      }
      sum_ = static_cast<u8>(sum_ + byte);
      if (state_ == State::inside && c == kEscape) {
        state_ = State::escaped;
        return Event::none;
      }
      if (payload_.size() < kMaxPacket) payload_ += state_ == State::escaped ? static_cast<char>(c ^ kEscapeBit) : c;
      else too_long_ = true;
      state_ = State::inside;
      return Event::none;
    case State::sum_high:
      bad_digit_ = digit(c) < 0;
      wanted_ = static_cast<u8>(digit(c) << 4);
      state_ = State::sum_low;
      return Event::none;
    case State::sum_low: {
      bad_digit_ |= digit(c) < 0;
      state_ = State::outside;
      const bool good = !bad_digit_ && !too_long_ && static_cast<u8>(wanted_ | digit(c)) == sum_;
      return good ? Event::packet : Event::bad;
    }
  }
  state_ = State::inside;
  payload_.clear();
  sum_ = 0;
  too_long_ = false;
  return Event::none;
}

std::string make_packet(std::string_view payload) {
  std::string text = "$";
  u8 sum = 0;
  const auto put = [&](char c) {
    text += c;
    sum = static_cast<u8>(sum + static_cast<u8>(c));
  };
  for (const char c : payload) {
    if (c == '$' || c == '#' || c == kEscape || c == '*') {
      put(kEscape);
      put(static_cast<char>(c ^ kEscapeBit));
    } else {
      put(c);
    }
  }
  text += '#';
  text += kDigits[sum >> 4];
  text += kDigits[sum & 15];
  return text;
}

std::string to_hex(std::span<const u8> bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const u8 byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<std::vector<u8>> from_hex(std::string_view text) {
  if (text.size() % 2) return std::nullopt;
  std::vector<u8> bytes;
  bytes.reserve(text.size() / 2);
  for (usize i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<u8>(high << 4 | low));
  }
  return bytes;
}

bool Scanner::skip(char c) {
  if (rest_.empty() || rest_[0] != c) return false;
  rest_.remove_prefix(1);
  return true;
}

bool Scanner::skip(std::string_view text) {
  if (!rest_.starts_with(text)) return false;
  rest_.remove_prefix(text.size());
  return true;
}

std::optional<u64> Scanner::number() {
  u64 value = 0;
  usize digits = 0;
  while (digits < rest_.size() && digits < 17 && digit(rest_[digits]) >= 0) {
    value = value << 4 | static_cast<u64>(digit(rest_[digits]));
    ++digits;
  }
  if (digits == 0 || digits > 16) return std::nullopt;
  rest_.remove_prefix(digits);
  return value;
}

std::string_view Scanner::until(char c) {
  const usize end = rest_.find(c);
  const std::string_view part = rest_.substr(0, end);
  rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
  return part;
}

}  // namespace rhea::gdbstub
