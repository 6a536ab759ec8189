// SPDX-License-Identifier: MIT
// The server says at the start that it echoes, does not wait for its turn, and that bytes are plain in both
// directions; it takes no notice of what the client answers, but understands BREAK. A client of ours offers
// nothing and refuses whatever is asked, so that no negotiation goes round in circles.
#include "chardev/codec.h"

namespace rhea::chardev {

namespace {

constexpr u8 kSe = 240, kBreak = 243, kInterrupt = 244, kSb = 250, kWill = 251, kWont = 252, kDo = 253, kDont = 254,
             kIac = 255;
constexpr u8 kBinary = 0, kEcho = 1, kSuppressGoAhead = 3;

class Telnet final : public Codec {
 public:
  explicit Telnet(bool server) : server_(server) {}

  std::vector<u8> greeting() override {
    if (!server_) return {};
    return {kIac, kWill, kEcho, kIac, kWill, kSuppressGoAhead, kIac, kWill, kBinary, kIac, kDo, kBinary};
  }

  void decode(std::span<const u8> bytes, Decoded& decoded) override {
    for (const u8 byte : bytes) take(byte, decoded);
  }

  void encode(std::span<const u8> data, std::vector<u8>& bytes) override {
    for (const u8 byte : data) {
      bytes.push_back(byte);
      if (byte == kIac) bytes.push_back(kIac);
    }
  }

 private:
  void take(u8 byte, Decoded& decoded) {
    switch (state_) {
      case State::data:
        if (byte == kIac) {
          state_ = State::command;
        } else {
          decoded.data.push_back(byte);
        }
        break;
      case State::command: command(byte, decoded); break;
      case State::option:
        state_ = State::data;
        answer(byte, decoded);
        break;
      case State::subnegotiation:
        if (byte == kIac) state_ = State::subnegotiation_command;
        break;
      case State::subnegotiation_command: state_ = byte == kSe ? State::data : State::subnegotiation; break;
    }
  }

  void command(u8 byte, Decoded& decoded) {
    state_ = State::data;
    switch (byte) {
      case kIac: decoded.data.push_back(kIac); break;
      case kBreak: decoded.breaks.push_back(decoded.data.size()); break;
      case kInterrupt: {
        constexpr u8 kCtrlC = 3;
        decoded.data.push_back(kCtrlC);
        break;
      }
      case kSb: state_ = State::subnegotiation; break;
      case kWill:
      case kWont:
      case kDo:
      case kDont:
        verb_ = byte;
        state_ = State::option;
        break;
      default: break;
    }
  }

  void answer(u8 option, Decoded& decoded) {
    if (server_ || verb_ == kWont || verb_ == kDont) return;
    const bool fine = option == kBinary || option == kSuppressGoAhead || (option == kEcho && verb_ == kWill);
    const u8 reply = verb_ == kWill ? (fine ? kDo : kDont) : (fine ? kWill : kWont);
    // Each is answered once.
    bool& answered = (verb_ == kWill ? will_answered_ : do_answered_)[option];
    if (answered) return;
    answered = true;
    decoded.reply.insert(decoded.reply.end(), {kIac, reply, option});
  }

  enum class State : u8 { data, command, option, subnegotiation, subnegotiation_command };
  const bool server_;
  State state_ = State::data;
  u8 verb_ = 0;
  bool will_answered_[256] = {};
  bool do_answered_[256] = {};
};

}  // namespace

std::unique_ptr<Codec> make_telnet_codec(bool server) { return std::make_unique<Telnet>(server); }

}  // namespace rhea::chardev
