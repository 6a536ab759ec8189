// SPDX-License-Identifier: MIT
// Captures in the classic pcap format, version 2.4 (draft-ietf-opsawg-pcap): host byte order, microseconds,
// Ethernet. Wireshark and tcpdump read them.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "net/frame.h"
#include "util/result.h"

namespace rhea::net {

class PcapWriter {
 public:
  // Creates the file or empties it. `snap_length`: bytes kept of each frame, at least 1.
  static Result<PcapWriter> create(const std::string& path, u32 snap_length);

  // `time`: nanoseconds since 1970. False when the file could not be written: nothing more will be.
  bool write(s64 time, const Frame& frame);
  bool flush();
  bool ok() const { return file_ != nullptr; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  PcapWriter(std::FILE* file, u32 snap_length) : file_(file), snap_length_(snap_length) {}
  bool give_up();

  std::unique_ptr<std::FILE, Close> file_;
  u32 snap_length_;
};

}  // namespace rhea::net
