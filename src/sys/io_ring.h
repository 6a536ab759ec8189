// SPDX-License-Identifier: MIT
// Reads and writes handed to the kernel without waiting (io_uring).
//
// One thread at a time may call. Results are taken with pop() after the event descriptor became readable, or
// after wait().
#pragma once

#include <memory>

#include "sys/disk_file.h"
#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

class IoRing {
 public:
  // `entries`: how many may be in flight. Errors: the kernel has no io_uring, or forbids it.
  static Result<std::unique_ptr<IoRing>> create(unsigned entries);
  ~IoRing();
  IoRing(const IoRing&) = delete;
  IoRing& operator=(const IoRing&) = delete;

  int event_fd() const { return event_.fd(); }
  void clear_event() { event_.clear(); }
  // Starts it. False: the ring is full. The list and its memory stay valid until its result was taken.
  bool start(bool write, int fd, u64 offset, DiskPieces pieces, u64 cookie);
  struct Done {
    u64 cookie;
    s64 result;  // bytes, or minus an errno
  };
  bool pop(Done& done);
  void wait();  // until there is a result

 private:
  IoRing();
  struct Ring;
  std::unique_ptr<Ring> ring_;
  EventFd event_;
};

}  // namespace rhea::sys
