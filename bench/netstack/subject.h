// SPDX-License-Identifier: MIT
// What is measured: a user-mode network stack behind an interface of Ethernet frames, in this process or with a
// helper process of its own. The synthetic guest (guest.h) is on the other side.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/frame.h"
#include "util/types.h"

namespace rhea::bench {

class Guest;

struct SubjectOptions {
  bool offload = false;              // large segments and checksums are left to the stack, and to the guest
  unsigned mtu = 1500;               // 68 to 65520
  unsigned batch = 1;                // frames in a system call towards a helper's socket
  std::vector<std::string> options;  // of the stack's own, "key=value"
};

class Subject {
 public:
  virtual ~Subject() = default;
  virtual void attach(Guest& guest) = 0;
  // Whether the stack takes frames now. When it does not, pump() of the guest follows as soon as it does.
  virtual bool ready() const = 0;
  // A frame of the guest, with all checksums in it unless options said offload. Only within pump().
  virtual void send(const net::Frame& frame) = 0;
  // Turns until stop(), from the guest's callbacks too. Calls the guest's pump() after wake(), and tick().
  virtual void run() = 0;
  virtual void stop() = 0;
  virtual void wake() = 0;
  // User and system time so far of the emulator's side, with helper processes; seconds.
  virtual double cpu_seconds() const;
  // Resident memory of the same, in bytes.
  virtual u64 resident() const;
  // Connections that the stack knows; -1: it does not say.
  virtual s64 flows() const { return -1; }
};

std::unique_ptr<Subject> make_rhea(const SubjectOptions& options);
std::unique_ptr<Subject> make_slirp(const SubjectOptions& options);  // null: built without libslirp
std::unique_ptr<Subject> make_passt(const SubjectOptions& options);  // null: no passt on this host

// Of a process, from /proc.
double cpu_seconds_of(int pid);
u64 resident_of(int pid);
// Descriptors that this process has open.
usize open_descriptors();
// Raises the limit of open files as far as this process may; returns it.
usize raise_descriptor_limit();

}  // namespace rhea::bench
