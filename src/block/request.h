// SPDX-License-Identifier: MIT
// What is asked of a disk image, and what comes of it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sys/disk_file.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::block {

using Segment = sys::DiskPiece;  // {data, size}: memory of the caller, laid out as struct iovec
using Segments = std::span<const Segment>;

inline u64 total_size(Segments segments) {
  u64 total = 0;
  for (const Segment& segment : segments) total += segment.size;
  return total;
}
// The bytes [skip, skip + size) of a list.
std::vector<Segment> slice(Segments segments, u64 skip, u64 size);
void copy_from(Segments segments, u8* to);        // gathers
void copy_to(Segments segments, const u8* from);  // scatters
void fill_zero(Segments segments);

enum class IoCode : u8 {
  ok,
  failed,        // the host's disk, file system or network says no
  no_space,      // the host's disk is full
  read_only,     // a write to what is not to be written
  out_of_range,  // beyond the image's end
  no_medium,     // a drive without an image
};

// How a request ended. `message` says it in words, for the log; empty when it is ok.
struct IoResult {
  IoCode code = IoCode::ok;
  std::string message;

  bool ok() const { return code == IoCode::ok; }
  static IoResult from(const Result<void>& result);
};

enum class Op : u8 { read, write, flush, discard, write_zeroes };

// A request. The segments' memory stays valid until the request has ended.
struct Request {
  Op op = Op::read;
  u64 offset = 0;                      // bytes from the image's start
  u64 size = 0;                        // bytes; of read and write: what the segments add up to
  std::vector<Segment> segments;       // of read and write
  bool fua = false;                    // write, write_zeroes: on stable storage before it ends
  bool unmap = false;                  // write_zeroes: the room may be given back
  std::function<void(IoResult)> done;  // called once, unless the result came from start() itself
};

}  // namespace rhea::block
