// SPDX-License-Identifier: MIT
// Non-blocking sockets of the host: streams, datagrams and ICMP echo, and an edge-triggered poller for many
// of them. Errors are errno numbers (<cerrno>): a caller tells a guest exactly what the host said. (The file
// is not named socket.h: <sys/socket.h> would find it.)
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/ip_address.h"
#include "util/types.h"

namespace rhea::sys {

// Laid out as struct iovec.
struct IoPiece {
  u8* data;
  usize size;
};

struct IoResult {
  s64 count = 0;       // bytes, when error is 0
  int error = 0;       // an errno
  bool again() const;  // nothing now: wait for an event
};

enum class SocketKind : u8 {
  stream,
  datagram,
  ping,      // ICMP echo without privileges: the kernel chooses the identifier
  raw_icmp,  // ICMP with privileges
  local,     // a stream that has a path instead of an address
};

// Where a stream's urgent byte is.
enum class Urgent : u8 { none, ahead, next };

// What a datagram socket's error queue holds (Linux, ip(7), IP_RECVERR).
struct SocketError {
  int error = 0;
  bool from_icmp = false;  // an ICMP message says so: type and code are its own
  u8 type = 0, code = 0;
  u32 info = 0;             // the MTU, for "fragmentation needed"
  IpAddress offender;       // who sent the ICMP message
  Endpoint to;              // where our packet went
  std::vector<u8> payload;  // the start of our packet's payload
};

class Socket {
 public:
  // Null with `error` set when the host refuses.
  static std::unique_ptr<Socket> open(SocketKind kind, bool v6, int& error);
  // A connected stream from another process, which may do with it what it likes: TCP, or a unix socket.
  static std::unique_ptr<Socket> adopt(Fd fd, int& error);
  explicit Socket(Fd fd, SocketKind kind, bool v6) : fd_(std::move(fd)), kind_(kind), v6_(v6) {}
  ~Socket();

  int fd() const { return fd_.get(); }
  bool v6() const { return v6_; }
  int bind(const Endpoint& to);  // 0 or an errno; streams may reuse an address that lingers
  // Of a local socket: a socket that is there already is replaced, another file is not (EEXIST).
  int bind_path(const std::string& path);
  int listen(int backlog);
  std::unique_ptr<Socket> accept(Endpoint& from, int& error);
  int connect(const Endpoint& to);  // 0, EINPROGRESS, or what went wrong
  Endpoint local() const;
  int take_error();  // SO_ERROR

  IoResult send(std::span<const IoPiece> pieces);
  // Reads without taking: bytes from `offset` on in the receive queue. count 0: end of stream.
  IoResult peek(usize offset, std::span<const IoPiece> into);
  IoResult discard(usize bytes);
  // Peeks as on kernels without SO_PEEK_OFF for TCP.
  void forgo_peek_offsets() { offsets_allowed_ = false; }
  // The last byte of the pieces is urgent (MSG_OOB).
  IoResult send_urgent(std::span<const IoPiece> pieces);
  // Of the receive queue, whose head is what discard() would take next.
  Urgent urgent() const;
  void shutdown_write();
  // Closing it then resets the connection.
  void reset_on_close();
  void set_keepalive();
  void set_no_delay();
  usize receive_queue() const;  // bytes
  usize send_queue() const;

  // `segment` not 0: the pieces are datagrams of that size, one behind the other (UDP_SEGMENT).
  IoResult send_to(const Endpoint& to, std::span<const IoPiece> pieces, u16 segment = 0);
  // `segment`, after join_datagrams(): not 0 when what came is several datagrams of that size (UDP_GRO), the
  // last one perhaps shorter.
  IoResult receive_from(Endpoint& from, IoPiece into, u16& segment);
  void join_datagrams();
  void set_ttl(unsigned ttl);
  void set_tos(unsigned tos);
  // Of datagrams: what is larger than the path allows is an error (EMSGSIZE, and the path's MTU in the error queue)
  // instead of fragments.
  void set_whole(bool whole);
  // False when the queue is empty.
  bool next_error(SocketError& error);

 private:
  bool set_peek_offset();
  Fd fd_;
  SocketKind kind_;
  bool v6_;
  bool offsets_allowed_ = true;
  bool peek_offset_known_ = false;
  usize peek_offset_ = 0;  // where the kernel's next peek begins
  unsigned ttl_ = 0, tos_ = 0;
  bool whole_ = false;
  std::string path_;  // of a local socket that was bound: its file goes with it
};

enum : u32 { kSocketReadable = 1, kSocketWritable = 2, kSocketHangup = 4, kSocketError = 8, kSocketUrgent = 16 };

// Edge triggered: an event comes once for each change, not while a state lasts.
class SocketPoller {
 public:
  struct Event {
    u64 token;
    u32 events;
  };
  SocketPoller();
  int fd() const { return epoll_.get(); }  // readable while there are events
  bool add(int fd, u64 token, bool writable);
  void remove(int fd);
  // Those that are there, without waiting; returns how many.
  usize take(std::span<Event> events);

 private:
  Fd epoll_;
};

// Two ends of a stream between this process and a program that it starts (over loopback, so that programs
// find what they expect). Empty with `error` set when the host refuses.
struct StreamPair {
  std::unique_ptr<Socket> ours;
  Fd theirs;
};
StreamPair stream_pair(int& error);

// Two ends of a local stream. Empty with `error` set when the host refuses.
std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>> local_pair(int& error);

// The addresses of a name, as the host resolves it; waits for the answer. Empty when there is none.
std::vector<IpAddress> addresses_of(const std::string& name);

// Whether the host has a route to the IPv6 internet. Nothing is sent.
bool has_ipv6_route();
// Raises the limit of open files to what is allowed; returns it.
usize raise_open_file_limit();
// Interface number of a name (of "fe80::1%eth0"); 0 when there is none.
u32 interface_index(const std::string& name);
u64 random_number();
// Changes when the file does: inode, size, time of change. 0 when it cannot be read.
u64 file_version(const std::string& path);

}  // namespace rhea::sys
