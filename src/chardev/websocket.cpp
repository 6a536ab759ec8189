// SPDX-License-Identifier: MIT
// RFC 6455, server side: the handshake over HTTP (sub-protocol "binary"), then frames. Data goes out in
// binary frames; text and binary frames and their continuations come in; pings are answered.
#include <algorithm>
#include <array>
#include <string>

#include "chardev/codec.h"
#include "util/base64.h"
#include "util/sha1.h"
#include "util/text.h"

namespace rhea::chardev {

namespace {

constexpr usize kMostHead = 8192;  // bytes of a request
constexpr u8 kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr unsigned kProtocolError = 1002;
constexpr usize kMostControl = 125;  // bytes of a control frame

bool has_token(std::string_view list, std::string_view token) {
  for (const std::string& item : split(list, ','))
    if (to_lower(trim(item)) == token) return true;
  return false;
}

class Websocket final : public Codec {
 public:
  void decode(std::span<const u8> bytes, Decoded& decoded) override {
    if (closed_) return;
    if (!open_) bytes = shake_hands(bytes, decoded);
    while (!bytes.empty() && !closed_ && open_) bytes = take(bytes, decoded);
    decoded.close |= closed_;
  }

  void encode(std::span<const u8> data, std::vector<u8>& bytes) override { frame(kBinary, data, bytes); }
  bool open() const override { return open_; }

 private:
  // Returns what follows the request.
  std::span<const u8> shake_hands(std::span<const u8> bytes, Decoded& decoded) {
    for (usize i = 0; i < bytes.size(); ++i) {
      head_ += static_cast<char>(bytes[i]);
      if (head_.ends_with("\r\n\r\n")) {
        answer_request(decoded);
        return bytes.subspan(i + 1);
      }
      if (head_.size() > kMostHead) {
        refuse("431 Request Header Fields Too Large", decoded);
        return {};
      }
    }
    return {};
  }

  void answer_request(Decoded& decoded) {
    const std::vector<std::string> lines = split(head_, '\n');
    const std::vector<std::string> request = split(trim(lines[0]), ' ');
    std::string key, upgrade, connection, version, protocols;
    for (usize i = 1; i < lines.size(); ++i) {
      const usize colon = lines[i].find(':');
      if (colon == std::string::npos) continue;
      const std::string name = to_lower(std::string_view(lines[i]).substr(0, colon));
      const std::string value(trim(std::string_view(lines[i]).substr(colon + 1)));
      if (name == "sec-websocket-key") key = value;
      if (name == "upgrade") upgrade = value;
      if (name == "connection") connection = value;
      if (name == "sec-websocket-version") version = value;
      if (name == "sec-websocket-protocol") protocols = value;
    }
    if (request.size() != 3 || request[0] != "GET" || request[2] != "HTTP/1.1")
      return refuse("400 Bad Request", decoded);
    if (!has_token(upgrade, "websocket") || !has_token(connection, "upgrade") || key.empty())
      return refuse("400 Bad Request", decoded);
    if (version != "13") return refuse("426 Upgrade Required\r\nSec-WebSocket-Version: 13", decoded);
    if (!protocols.empty() && !has_token(protocols, "binary")) return refuse("400 Bad Request", decoded);
    const std::array<u8, 20> digest = sha1(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    std::string reply = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    reply += "Sec-WebSocket-Accept: " + to_base64(digest) + "\r\n";
    if (!protocols.empty()) reply += "Sec-WebSocket-Protocol: binary\r\n";
    reply += "\r\n";
    decoded.reply.insert(decoded.reply.end(), reply.begin(), reply.end());
    open_ = true;
    head_.clear();
  }

  void refuse(std::string_view status, Decoded& decoded) {
    const std::string reply = "HTTP/1.1 " + std::string(status) + "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    decoded.reply.insert(decoded.reply.end(), reply.begin(), reply.end());
    closed_ = true;
  }

  // A frame's head, or a part of its payload.
  std::span<const u8> take(std::span<const u8> bytes, Decoded& decoded) {
    if (!in_payload_) {
      header_.push_back(bytes[0]);
      if (header_.size() == header_size()) begin_payload(decoded);
      return bytes.subspan(1);
    }
    const usize count = static_cast<usize>(std::min<u64>(bytes.size(), left_));
    for (usize i = 0; i < count; ++i) {
      const u8 byte = bytes[i] ^ mask_[mask_at_++ % 4];
      (opcode_ >= kClose ? control_ : decoded.data).push_back(byte);
    }
    left_ -= count;
    if (left_ == 0) end_payload(decoded);
    return bytes.subspan(count);
  }

  usize header_size() const {
    if (header_.size() < 2) return 2;
    const u8 length = header_[1] & 127;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
  }

  void begin_payload(Decoded& decoded) {
    opcode_ = header_[0] & 15;
    const bool final = header_[0] & 128, masked = header_[1] & 128, reserved = header_[0] & 0x70;
    u64 length = header_[1] & 127;
    const usize more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (more) length = 0;
    for (usize i = 0; i < more; ++i) length = length << 8 | header_[2 + i];
    std::copy_n(header_.begin() + static_cast<std::ptrdiff_t>(2 + more), 4, mask_.begin());
    header_.clear();
    const bool control = opcode_ >= kClose;
    const bool known = opcode_ <= kBinary || (opcode_ >= kClose && opcode_ <= kPong);
    const bool in_order = control || (opcode_ == kContinuation) == fragmented_;
    if (!masked || reserved || !known || !in_order || (control && (!final || length > kMostControl)) || length >> 63)
      return fail(kProtocolError, decoded);
    if (!control) fragmented_ = !final;
    left_ = length;
    mask_at_ = 0;
    in_payload_ = true;
    if (left_ == 0) end_payload(decoded);
  }

  void end_payload(Decoded& decoded) {
    in_payload_ = false;
    if (opcode_ == kPing) frame(kPong, control_, decoded.reply);
    if (opcode_ == kClose) {
      frame(kClose, std::span(control_).first(std::min<usize>(control_.size(), 2)), decoded.reply);
      closed_ = true;
    }
    control_.clear();
  }

  void fail(unsigned code, Decoded& decoded) {
    const std::array<u8, 2> reason = {static_cast<u8>(code >> 8), static_cast<u8>(code)};
    frame(kClose, reason, decoded.reply);
    closed_ = true;
  }

  static void frame(u8 opcode, std::span<const u8> data, std::vector<u8>& bytes) {
    bytes.push_back(static_cast<u8>(128 | opcode));
    const u64 size = data.size();
    const unsigned more = size < 126 ? 0 : size < 65536 ? 2 : 8;
    bytes.push_back(static_cast<u8>(more == 0 ? size : more == 2 ? 126 : 127));
    for (unsigned i = more; i > 0; --i) bytes.push_back(static_cast<u8>(size >> (8 * (i - 1))));
    bytes.insert(bytes.end(), data.begin(), data.end());
  }

  bool open_ = false, closed_ = false;
  std::string head_;
  std::vector<u8> header_, control_;
  std::array<u8, 4> mask_{};
  usize mask_at_ = 0;
  u8 opcode_ = 0;
  u64 left_ = 0;
  bool in_payload_ = false;
  bool fragmented_ = false;  // between a first fragment and its last
};

}  // namespace

std::unique_ptr<Codec> make_websocket_codec() { return std::make_unique<Websocket>(); }

}  // namespace rhea::chardev
