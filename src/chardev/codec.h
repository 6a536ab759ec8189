// SPDX-License-Identifier: MIT
// What lies between a connection's bytes and those of the character device: telnet (RFC 854, 855) or
// websocket (RFC 6455, server side). Peers are not trusted.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "util/types.h"

namespace rhea::chardev {

class Codec {
 public:
  struct Decoded {
    std::vector<u8> data;
    std::vector<usize> breaks;  // line breaks: behind so many bytes of data
    std::vector<u8> reply;      // for the peer, as it is
    bool close = false;         // the peer is done, or broke the protocol: the reply is the last
  };
  virtual ~Codec() = default;
  // Sent at the start of a connection.
  virtual std::vector<u8> greeting() { return {}; }
  // Never makes more data than it was given.
  virtual void decode(std::span<const u8> bytes, Decoded& decoded) = 0;
  virtual void encode(std::span<const u8> data, std::vector<u8>& bytes) = 0;
  // Whether data may flow: a websocket shakes hands first.
  virtual bool open() const { return true; }
};

std::unique_ptr<Codec> make_telnet_codec(bool server);
std::unique_ptr<Codec> make_websocket_codec();

}  // namespace rhea::chardev
