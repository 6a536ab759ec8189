// SPDX-License-Identifier: MIT
// A file that holds a disk's content: scattered reads and writes by position, flush, holes, and the byte locks
// by which processes keep off each other's images.
//
// All calls may come from several threads at once, except the locking ones. Errors carry errno's text alone: the
// caller knows the name that the user gave.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

// A piece of memory, laid out as struct iovec.
struct DiskPiece {
  void* data;
  usize size;
};
using DiskPieces = std::span<const DiskPiece>;

struct DiskFileOptions {
  bool write = false;
  bool create = false;     // make it, or empty it if it is there
  bool exclusive = false;  // with create: it must not be there
  bool direct = false;     // around the host's page cache (O_DIRECT)
};

// Whether an error's text is that of a full disk or an exhausted quota: callers that stop a guest for want of
// room, and not for a broken disk, ask this.
bool is_no_space(const Error& error);

class DiskFile {
 public:
  static Result<std::unique_ptr<DiskFile>> open(const std::string& path, const DiskFileOptions& options);
  // A file without a name in `folder` (empty: $TMPDIR, /var/tmp), gone when it is closed.
  static Result<std::unique_ptr<DiskFile>> open_temporary(const std::string& folder);

  u64 size() const;            // bytes now
  u64 allocated_size() const;  // bytes that it takes on the host's disk
  bool is_device() const { return device_; }
  // What offsets, sizes and addresses must be multiples of: 1, or with `direct` what the file system says.
  u32 alignment() const { return alignment_; }
  // Whether the file takes such an access as it is.
  bool aligned(u64 offset, DiskPieces pieces) const;
  int fd() const { return fd_.get(); }

  // Read and write all of it. What lies beyond the file's end reads as zeros.
  Result<void> read(u64 offset, DiskPieces pieces) const;
  Result<void> write(u64 offset, DiskPieces pieces);
  // Reads without waiting for a disk: whether all of it was at hand (the page cache had it).
  bool read_cached(u64 offset, DiskPieces pieces) const;

  Result<void> flush();  // data and what is needed to find it are on stable storage afterwards
  Result<void> truncate(u64 size);
  // A hole: reads as zeros and takes no room. False where the file system has no such call.
  bool punch_hole(u64 offset, u64 size);
  // Zeros that keep their room. False where the file system has no such call.
  bool zero_range(u64 offset, u64 size);
  Result<void> allocate(u64 offset, u64 size);  // room for all of it
  // The stretch at `offset` that is data or a hole.
  struct Stretch {
    bool hole;
    u64 size;  // bytes; at the file's end: the rest
  };
  Stretch stretch(u64 offset, u64 limit) const;

  // Byte locks that belong to this open file (OFD): shared on one byte, until unlock or close. False: another
  // process has a conflicting one.
  bool lock_shared(u64 byte);
  void unlock(u64 byte);
  // Whether another open file has any lock on the byte.
  bool locked_by_other(u64 byte) const;

 private:
  static Result<std::unique_ptr<DiskFile>> adopt(Fd fd, bool direct);

  Fd fd_;
  Fd buffered_;  // with `direct`: the same file through the page cache, for what is not aligned
  bool device_ = false;
  bool direct_ = false;
  u32 alignment_ = 1;
};

bool file_exists(const std::string& path);
// Whether both names are the same file.
bool same_file(const std::string& a, const std::string& b);
// From the root, by the directory of this process; as it is where that cannot be told.
std::string absolute_path(const std::string& path);

}  // namespace rhea::sys
