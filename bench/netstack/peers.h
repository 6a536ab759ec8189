// SPDX-License-Identifier: MIT
// The other ends of connections, on 127.0.0.1, in processes of their own that end with this one.
#pragma once

#include <vector>

#include "util/types.h"

namespace rhea::bench {

enum class PeerKind {
  sink,     // reads
  counter,  // reads to the end, then answers with the number of bytes as 8 bytes (least first)
  source,   // writes
  echo,
};

class Peer {
 public:
  // `limit`: bytes that a source writes before it ends; 0: no end. `ports`: how many it listens on.
  Peer(PeerKind kind, unsigned ports = 1, u64 limit = 0);
  ~Peer();
  Peer(const Peer&) = delete;
  const std::vector<u16>& ports() const { return ports_; }
  u16 port() const { return ports_.front(); }
  void stop();  // SIGSTOP
  void go_on();

 private:
  int pid_ = -1;
  std::vector<u16> ports_;
};

}  // namespace rhea::bench
