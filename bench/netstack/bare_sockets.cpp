// SPDX-License-Identifier: MIT
// No stack at all: one thread that reads from, or writes to, the host's own sockets. What it takes for that is the
// least that a user-mode stack takes, so no ratio can be better than the one to this.
#include "bare_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "peers.h"

namespace rhea::bench {

namespace {

constexpr usize kBlock = 64 * 1024;  // what a stack takes for one segment with offload
constexpr s64 kWarmUp = 500'000'000;

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

class Sockets {
 public:
  Sockets(unsigned flows, bool to_host)
      : to_host_(to_host), peer_(to_host ? PeerKind::sink : PeerKind::source), epoll_(epoll_create1(0)),
        block_(kBlock) {
    for (unsigned i = 0; i < flows; ++i) open();
  }
  ~Sockets() {
    for (const int fd : sockets_) close(fd);
    close(epoll_);
  }
  bool complete(unsigned flows) const { return sockets_.size() == flows; }

  // {bytes, CPU-seconds of this thread}
  std::pair<u64, double> run(s64 nanoseconds) {
    const s64 end = now_ns() + nanoseconds;
    const double before = thread_seconds();
    u64 bytes = 0;
    std::array<epoll_event, 64> events;
    while (now_ns() < end) {
      const int count = epoll_wait(epoll_, events.data(), events.size(), 100);
      for (int i = 0; i < count; ++i) bytes += move(events[static_cast<usize>(i)].data.fd);
    }
    return {bytes, thread_seconds() - before};
  }

 private:
  void open() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in native{};
    native.sin_family = AF_INET;
    native.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    native.sin_port = htons(peer_.port());
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&native), sizeof native)) return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = to_host_ ? EPOLLOUT : EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    sockets_.push_back(fd);
  }
  u64 move(int fd) {
    const ssize_t moved =
        to_host_ ? send(fd, block_.data(), block_.size(), MSG_NOSIGNAL) : recv(fd, block_.data(), block_.size(), 0);
    return static_cast<u64>(std::max<ssize_t>(moved, 0));
  }

  bool to_host_;
  Peer peer_;
  int epoll_;
  std::vector<u8> block_;
  std::vector<int> sockets_;
};

}  // namespace

JobResult run_bare_sockets(const JobOptions& options, bool to_host) {
  Sockets sockets(options.flows, to_host);
  JobResult result;
  if (!sockets.complete(options.flows)) {
    result.failed = "not all connections came up";
    return result;
  }
  sockets.run(kWarmUp);
  const auto [bytes, cpu] = sockets.run(static_cast<s64>(options.seconds * 1e9));
  result.numbers.emplace_back("gbit_per_cpu_second", static_cast<double>(bytes) * 8e-9 / cpu);
  result.numbers.emplace_back("cpu_seconds", cpu);
  return result;
}

}  // namespace rhea::bench
