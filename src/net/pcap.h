// SPDX-License-Identifier: MIT
// Captures in the classic pcap format, version 2.4 (draft-ietf-opsawg-pcap): host byte order, microseconds,
// Ethernet; or as pcapng (draft-ietf-opsawg-pcapng): with nanoseconds, the link's name, and which way each
// frame went. Wireshark and tcpdump read both.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "net/frame.h"
#include "util/result.h"

namespace rhea::net {

class PcapWriter {
 public:
  enum class Format : u8 { pcap, pcapng };
  // Creates the file or empties it. `snap_length`: bytes kept of each frame, at least 1. `link`: its name.
  static Result<PcapWriter> create(const std::string& path, u32 snap_length, Format format = Format::pcap,
                                   const std::string& link = {});

  // `time`: nanoseconds since 1970. False when the file could not be written: nothing more will be.
  bool write(s64 time, const Frame& frame, bool from_guest);
  bool flush();
  bool ok() const { return file_ != nullptr; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  PcapWriter(std::FILE* file, u32 snap_length, Format format)
      : file_(file), snap_length_(snap_length), format_(format) {}
  bool give_up();
  bool write_headers(const std::string& link);
  bool put(const void* data, usize size) { return size == 0 || std::fwrite(data, size, 1, file_.get()) == 1; }

  std::unique_ptr<std::FILE, Close> file_;
  u32 snap_length_;
  Format format_;
};

}  // namespace rhea::net
