// SPDX-License-Identifier: MIT
#include "peers.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>

#include "subject.h"
#include "util/bits.h"

namespace rhea::bench {

namespace {

constexpr usize kBlock = 256 * 1024;

// The program of a peer's process.
class Server {
 public:
  Server(PeerKind kind, u64 limit) : kind_(kind), limit_(limit), epoll_(epoll_create1(0)), block_(kBlock) {}

  u16 listen_somewhere() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in native{};
    native.sin_family = AF_INET;
    native.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof native;
    if (bind(fd, reinterpret_cast<sockaddr*>(&native), size) || listen(fd, 4096)) return 0;
    getsockname(fd, reinterpret_cast<sockaddr*>(&native), &size);
    listeners_[fd] = true;
    watch(fd, EPOLLIN);
    return ntohs(native.sin_port);
  }
  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) handle(events[static_cast<usize>(i)].data.fd);
    }
  }

 private:
  void watch(int fd, u32 wanted) {
    epoll_event event{};
    event.events = wanted;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  void handle(int fd) {
    if (listeners_.contains(fd)) return accept_all(fd);
    switch (kind_) {
      case PeerKind::sink:
      case PeerKind::counter: return sink(fd);
      case PeerKind::source: return source(fd);
      case PeerKind::echo: return echo(fd);
    }
  }
  void accept_all(int listener) {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(fd, kind_ == PeerKind::source ? EPOLLOUT : EPOLLIN);
    }
  }
  void end(int fd) {
    counts_.erase(fd);
    close(fd);
  }
  void sink(int fd) {
    const ssize_t got = recv(fd, nullptr, 4 << 20, MSG_TRUNC);  // tcp(7): thrown away
    if (got > 0 && kind_ == PeerKind::counter) counts_[fd] += static_cast<u64>(got);
    if (got > 0 || (got < 0 && errno == EAGAIN)) return;
    if (got == 0 && kind_ == PeerKind::counter) {
      std::array<u8, 8> answer;
      store_le<u64>(answer.data(), counts_[fd]);
      send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    end(fd);
  }
  void source(int fd) {
    u64& done = counts_[fd];
    const u64 wanted = limit_ ? std::min<u64>(kBlock, limit_ - done) : kBlock;
    const ssize_t sent = send(fd, block_.data(), wanted, MSG_NOSIGNAL);
    if (sent > 0) done += static_cast<u64>(sent);
    if ((limit_ && done == limit_) || (sent < 0 && errno != EAGAIN)) end(fd);
  }
  void echo(int fd) {
    const ssize_t got = recv(fd, block_.data(), 65536, 0);
    if (got > 0) send(fd, block_.data(), static_cast<usize>(got), MSG_NOSIGNAL);
    else if (got == 0 || errno != EAGAIN) end(fd);
  }

  PeerKind kind_;
  u64 limit_;
  int epoll_;
  std::vector<u8> block_;
  std::unordered_map<int, bool> listeners_;
  std::unordered_map<int, u64> counts_;
};

}  // namespace

Peer::Peer(PeerKind kind, unsigned ports, u64 limit) {
  std::array<int, 2> pipe_ends;
  if (pipe(pipe_ends.data())) std::abort();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "net-peer");
    raise_descriptor_limit();
    Server server(kind, limit);
    for (unsigned i = 0; i < ports; ++i) {
      const u16 port = server.listen_somewhere();
      if (write(pipe_ends[1], &port, sizeof port) != sizeof port) _exit(1);
    }
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    server.run();
  }
  close(pipe_ends[1]);
  for (u16 port = 0; ports_.size() < ports && read(pipe_ends[0], &port, sizeof port) == sizeof port && port;)
    ports_.push_back(port);
  close(pipe_ends[0]);
  if (ports_.size() == ports) return;
  std::fprintf(stderr, "a peer cannot listen\n");
  std::exit(1);
}

Peer::~Peer() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Peer::stop() { kill(pid_, SIGSTOP); }
void Peer::go_on() { kill(pid_, SIGCONT); }

}  // namespace rhea::bench
