// SPDX-License-Identifier: MIT
// The remote protocol's framing: $payload#checksum, acknowledgements, the interrupt byte ("Debugging with GDB",
// E.1 Overview). Hexadecimal numbers and bytes.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/types.h"

namespace rhea::gdbstub {

constexpr usize kMaxPacket = 0x4000;  // payload bytes of a packet in either direction

// What comes in, byte by byte.
class PacketReader {
 public:
  enum class Event : u8 {
    none,
    packet,     // payload() is whole and its checksum right; escapes are undone
    bad,        // a packet that was damaged, or longer than kMaxPacket
    interrupt,  // the byte 3 outside of a packet
    ack,
    nack,
  };
  Event take(u8 byte);
  const std::string& payload() const { return payload_; }

 private:
  enum class State : u8 { outside, inside, escaped, sum_high, sum_low };
  State state_ = State::outside;
  std::string payload_;
  u8 sum_ = 0;
  u8 wanted_ = 0;
  bool too_long_ = false;
  bool bad_digit_ = false;
};

// "$payload#xx", with what must be escaped.
std::string make_packet(std::string_view payload);

std::string to_hex(std::span<const u8> bytes);
inline std::string to_hex(std::string_view text) {
  return to_hex({reinterpret_cast<const u8*>(text.data()), text.size()});
}
// Nothing unless all of it is pairs of digits.
std::optional<std::vector<u8>> from_hex(std::string_view text);

// Takes things off the front of a packet.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  bool skip(char c);
  bool skip(std::string_view text);
  // A hexadecimal number of at most 16 digits.
  std::optional<u64> number();
  // Up to a character (which is skipped) or the end.
  std::string_view until(char c);
  std::string_view rest() const { return rest_; }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace rhea::gdbstub
