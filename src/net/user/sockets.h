// SPDX-License-Identifier: MIT
// The host's sockets as the user-mode stack uses them. The real ones are in host_sockets.h; tests have fakes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/frame.h"
#include "sys/fd.h"
#include "sys/host_socket.h"
#include "util/ip_address.h"

namespace rhea::net::user {

using sys::IoResult;
using sys::kSocketError;
using sys::kSocketHangup;
using sys::kSocketReadable;
using sys::kSocketUrgent;
using sys::kSocketWritable;
using sys::SocketError;
using sys::SocketKind;
using sys::Urgent;

class Socket;

// Who is told of a socket's events. They are edges: each is told once.
class SocketOwner {
 public:
  virtual ~SocketOwner() = default;
  virtual void on_socket(Socket& socket, u32 events) = 0;
};

// See sys::Socket for the members that are not explained. Destroying it closes it, and ends its events.
class Socket {
 public:
  virtual ~Socket() = default;
  virtual void set_owner(SocketOwner* owner) = 0;
  virtual int fd() const = 0;
  virtual bool v6() const = 0;
  // Events begin with the first successful connect, bind, listen or accept.
  virtual int bind(const Endpoint& to) = 0;
  virtual int bind_path(const std::string& path) = 0;
  virtual int listen(int backlog) = 0;
  virtual int connect(const Endpoint& to) = 0;
  virtual std::unique_ptr<Socket> accept(Endpoint& from, int& error) = 0;
  virtual Endpoint local() const = 0;
  virtual int take_error() = 0;

  virtual IoResult send(std::span<const Piece> pieces) = 0;
  virtual IoResult peek(usize offset, std::span<const Piece> into) = 0;
  virtual IoResult discard(usize bytes) = 0;
  virtual IoResult send_urgent(std::span<const Piece> pieces) = 0;
  virtual Urgent urgent() const = 0;
  virtual void shutdown_write() = 0;
  virtual void reset_on_close() = 0;
  virtual void set_keepalive() = 0;
  virtual usize receive_queue() const = 0;
  virtual usize send_queue() const = 0;

  virtual IoResult send_to(const Endpoint& to, std::span<const Piece> pieces, u16 segment = 0) = 0;
  virtual IoResult receive_from(Endpoint& from, Piece into, u16& segment) = 0;
  virtual void join_datagrams() = 0;
  virtual void set_ttl(unsigned ttl) = 0;
  virtual void set_tos(unsigned tos) = 0;
  virtual void set_whole(bool whole) = 0;
  virtual bool next_error(SocketError& error) = 0;
};

class Sockets {
 public:
  virtual ~Sockets() = default;
  // Null with an errno when the host refuses.
  virtual std::unique_ptr<Socket> open(SocketKind kind, bool v6, SocketOwner* owner, int& error) = 0;
  // A program, its standard streams the other end (sys/process.h). Null with the reason when it cannot be.
  virtual std::unique_ptr<Socket> start(const std::vector<std::string>& words, SocketOwner* owner,
                                        std::string& error) = 0;
  // Two ends of a stream within this process. Null with an errno when the host refuses.
  virtual std::unique_ptr<Socket> pair(SocketOwner* owner, std::unique_ptr<Socket>& other, int& error) = 0;
  // A connected stream that another process passed. Null with an errno when it is none.
  virtual std::unique_ptr<Socket> adopt(sys::Fd stream, int& error) = 0;
  // Of a host's name; waits for the answer.
  virtual std::vector<IpAddress> addresses_of(const std::string& name) = 0;
  // The host's name servers, as they are now.
  virtual std::vector<Endpoint> resolvers() = 0;
  virtual bool has_ipv6_route() = 0;
  virtual usize open_file_limit() = 0;
  virtual u64 random() = 0;
};

// The name servers of a resolv.conf, in order; 127.0.0.1 when it names none.
std::vector<Endpoint> parse_resolv_conf(std::string_view text);

}  // namespace rhea::net::user
