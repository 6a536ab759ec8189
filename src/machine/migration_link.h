// SPDX-License-Identifier: MIT
// The connections of a migration: tcp:HOST:PORT and unix:PATH. Nothing here waits: what takes its time goes on by the
// machine's loop, under whose lock all calls are made.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/event_loop.h"
#include "machine/state.h"
#include "sys/disk_file.h"
#include "sys/named_socket.h"

namespace rhea::machine {

bool is_socket_uri(const std::string& uri);
// Errors: what is wrong with the text.
Result<sys::SocketName> parse_socket_uri(const std::string& uri);

// A connection on its way to the other side; `done` is called once, unless this is destroyed before.
class Connecting {
 public:
  using Done = std::function<void(Result<sys::Fd>)>;
  // Errors: the name cannot be looked up.
  static Result<std::unique_ptr<Connecting>> start(EventLoop& loop, const sys::SocketName& name, Done done);

 private:
  Connecting(EventLoop& loop, sys::SocketName name, std::vector<sys::RawAddress> addresses, Done done);
  void next();
  void decided();
  void end(Result<sys::Fd> result);

  EventLoop& loop_;
  sys::SocketName name_;
  std::vector<sys::RawAddress> addresses_;
  usize tried_ = 0;
  int error_ = 0;
  Done done_;
  sys::Fd fd_;
  std::unique_ptr<FdWatch> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~Connecting() { *alive_ = false; }
};

// Waits for one connection and keeps what comes in a file without a name; when the other side has closed it, `done`
// gets all of it, to be read twice. It may destroy this.
class Arriving {
 public:
  using Done = std::function<void(Result<std::unique_ptr<StateSource>>)>;
  // Errors: the place cannot be listened on.
  static Result<std::unique_ptr<Arriving>> listen(EventLoop& loop, const sys::SocketName& name, Done done);
  ~Arriving();
  // Where it listens, with the port that was got.
  const sys::SocketName& name() const { return name_; }
  u64 received() const { return size_; }

 private:
  Arriving(EventLoop& loop, Done done) : loop_(loop), done_(std::move(done)) {}
  void accept();
  void receive();
  void end(Result<std::unique_ptr<StateSource>> result);

  EventLoop& loop_;
  Done done_;
  sys::SocketName name_;
  bool made_file_ = false;
  sys::Fd listener_, fd_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<sys::DiskFile> file_;
  u64 size_ = 0;
};

}  // namespace rhea::machine
