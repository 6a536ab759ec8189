// SPDX-License-Identifier: MIT
#include "sys/relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <vector>

#include "sys/named_socket.h"

namespace rhea::sys {

namespace {

constexpr usize kBuffer = 64 * 1024;
constexpr int kFarewell = 3000;  // ms

// One direction.
class Way {
 public:
  Way(int from, int to) : from_(from), to_(to), buffer_(kBuffer) {}
  bool reads() const { return !ended_ && start_ == end_; }
  bool writes() const { return start_ != end_; }
  bool done() const { return ended_ && start_ == end_; }
  bool broken() const { return broken_; }
  void read() {
    const ssize_t count = ::recv(from_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count < 0) return failed();
    start_ = 0;
    end_ = static_cast<usize>(count);
    if (count > 0) return write();
    ended_ = true;
    ::shutdown(to_, SHUT_WR);
  }
  void write() {
    while (start_ != end_) {
      const ssize_t count = ::send(to_, buffer_.data() + start_, end_ - start_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0) return failed();
      start_ += static_cast<usize>(count);
    }
  }

 private:
  void failed() { broken_ |= errno != EAGAIN && errno != EINTR; }
  int from_, to_;
  std::vector<u8> buffer_;
  usize start_ = 0, end_ = 0;
  bool ended_ = false, broken_ = false;
};

}  // namespace

void relay_streams(int a, int b) {
  Way there(a, b), back(b, a);
  std::array<bool, 2> hung_up{};
  while (!(there.done() && back.done())) {
    const auto wanted = [](const Way& in, const Way& out) {
      return static_cast<short>((in.reads() ? POLLIN : 0) | (out.writes() ? POLLOUT : 0));
    };
    std::array<pollfd, 2> waiting{{{a, wanted(there, back), 0}, {b, wanted(back, there), 0}}};
    // A hang-up of one that nothing is wanted of would come again and again.
    for (usize i = 0; i < 2; ++i)
      if (!waiting[i].events && hung_up[i]) waiting[i].fd = -1;
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) break;
    bool broken = false;
    for (usize i = 0; i < 2; ++i) {
      hung_up[i] |= (waiting[i].revents & POLLHUP) != 0;
      broken |= !waiting[i].events && waiting[i].revents & POLLERR;
    }
    constexpr short kIn = POLLIN | POLLHUP | POLLERR, kOut = POLLOUT | POLLHUP | POLLERR;
    if (waiting[0].revents & kIn && there.reads()) there.read();
    if (waiting[1].revents & kIn && back.reads()) back.read();
    if (waiting[1].revents & kOut && there.writes()) there.write();
    if (waiting[0].revents & kOut && back.writes()) back.write();
    // Who has hung up takes nothing more.
    broken |= (hung_up[0] && there.done() && !back.done()) || (hung_up[1] && back.done() && !there.done());
    if (broken || there.broken() || back.broken()) {
      reset_on_close(a);
      reset_on_close(b);
      return;
    }
  }
}

Waited wait_readable_for(int fd, unsigned milliseconds, int other) {
  std::array<pollfd, 2> waiting{{{fd, POLLIN, 0}, {other, 0, 0}}};
  const int count = ::poll(waiting.data(), waiting.size(), static_cast<int>(milliseconds));
  if (count > 0 && waiting[0].revents) return Waited::ready;
  return count > 0 ? Waited::gone : Waited::late;
}

bool send_whole(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t count = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      data.remove_prefix(static_cast<usize>(count));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    pollfd waiting{fd, POLLOUT, 0};
    ::poll(&waiting, 1, -1);
  }
  return true;
}

void close_politely(int fd) {
  ::shutdown(fd, SHUT_WR);
  std::array<u8, 4096> rest;
  for (usize read = 0; read < (1u << 20);) {
    if (wait_readable_for(fd, kFarewell) != Waited::ready) return;
    const ssize_t count = ::recv(fd, rest.data(), rest.size(), MSG_DONTWAIT);
    if (count <= 0) return;
    read += static_cast<usize>(count);
  }
}

void break_off(int fd) { ::shutdown(fd, SHUT_RDWR); }

}  // namespace rhea::sys
