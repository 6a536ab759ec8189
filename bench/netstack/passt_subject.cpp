// SPDX-License-Identifier: MIT
// passt behind its unix socket, as QEMU's stream backend drives it: each frame with its length in 4 bytes before it,
// written by one system call each (SubjectOptions::batch: several), read as many as come at once and copied into
// receive buffers. What the socket does not take waits, and the guest with it.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "guest.h"
#include "util/bits.h"

extern char** environ;

namespace rhea::bench {

namespace {

constexpr usize kReadSize = 4096 + 65536;  // QEMU's NET_BUFSIZE
constexpr usize kBuffers = 256;
constexpr s64 kTick = 20'000'000;

int connect_to(const std::string& path) {
  sockaddr_un native{};
  native.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), native.sun_path);
  for (unsigned tries = 0; tries < 500; ++tries) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&native), sizeof native) == 0) return fd;
    close(fd);
    usleep(10'000);
  }
  return -1;
}

class PasstSubject final : public Subject {
 public:
  PasstSubject(const SubjectOptions& options, int pid, int fd)
      : pid_(pid), fd_(fd), batch_(options.batch), buffer_size_(options.mtu + 64), memory_(kBuffers * buffer_size_),
        read_(2 * kReadSize) {}
  ~PasstSubject() override {
    close(fd_);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

  void attach(Guest& guest) override { guest_ = &guest; }
  bool ready() const override { return !blocked_; }
  void send(const net::Frame& frame) override {
    const usize size = frame.size(), at = out_.size();
    out_.resize(at + 4 + size);
    store_be<u32>(out_.data() + at, static_cast<u32>(size));
    frame.copy(0, out_.data() + at + 4, size);
    if (++queued_ >= batch_) write_out();
  }
  void run() override {
    s64 next_tick = 0;
    while (!stopped_) {
      pollfd polled{fd_, static_cast<short>(POLLIN | (ready() ? 0 : POLLOUT)), 0};
      poll(&polled, 1, woken_ ? 0 : 20);
      if (polled.revents & (POLLIN | POLLHUP)) read_in();
      if (polled.revents & POLLOUT) write_out();
      if (std::exchange(woken_, false)) {
        guest_->pump();
        write_out();
      }
      if (now_ns() < next_tick) continue;
      guest_->tick();
      next_tick = now_ns() + kTick;
    }
  }
  void stop() override { stopped_ = true; }
  void wake() override { woken_ = true; }
  double cpu_seconds() const override { return Subject::cpu_seconds() + cpu_seconds_of(pid_); }
  u64 resident() const override { return Subject::resident() + resident_of(pid_); }

 private:
  void write_out() {
    while (out_start_ < out_.size()) {
      const ssize_t sent = ::send(fd_, out_.data() + out_start_, out_.size() - out_start_, MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) {
        blocked_ = true;
        return;
      }
      out_start_ += static_cast<usize>(sent);
    }
    out_.clear();
    out_start_ = queued_ = 0;
    woken_ |= std::exchange(blocked_, false);  // the guest stopped where it was
  }
  void read_in() {
    const ssize_t got = recv(fd_, read_.data() + have_, kReadSize, 0);
    if (got == 0) {
      std::fprintf(stderr, "passt has gone\n");
      return stop();
    }
    if (got < 0) return;
    have_ += static_cast<usize>(got);
    usize at = 0;
    while (have_ - at >= 4) {
      const usize size = load_be<u32>(read_.data() + at);
      if (have_ - at < 4 + size) break;
      receive(read_.data() + at + 4, size);
      at += 4 + size;
    }
    std::memmove(read_.data(), read_.data() + at, have_ - at);
    have_ -= at;
  }
  void receive(const u8* data, usize size) {
    u8* buffer = memory_.data() + next_ * buffer_size_;
    next_ = (next_ + 1) % kBuffers;
    const usize copied = std::min(size, buffer_size_);
    std::memcpy(buffer, data, copied);
    guest_->input(buffer, copied, size);
  }

  int pid_, fd_;
  unsigned batch_;
  usize buffer_size_;
  Guest* guest_ = nullptr;
  std::vector<u8> memory_, read_, out_;
  usize have_ = 0, out_start_ = 0, next_ = 0, queued_ = 0;
  bool woken_ = false, stopped_ = false, blocked_ = false;
};

}  // namespace

std::unique_ptr<Subject> make_passt(const SubjectOptions& options) {
  char folder[] = "/tmp/rhea-bench-XXXXXX";
  if (!mkdtemp(folder)) return nullptr;
  const std::string path = std::string(folder) + "/s";
  if (geteuid() == 0) [[maybe_unused]]
    const int changed = chown(folder, 65534, 65534);  // it becomes "nobody"
  const std::string mtu = std::to_string(options.mtu);
  const char* words[] = {"passt", "-f", "-q", "-4",       "-s", path.c_str(), "-m", mtu.c_str(), "-a",   "10.0.2.15",
                         "-n",    "24", "-g", "10.0.2.2", "-t", "none",       "-u", "none",      nullptr};
  posix_spawn_file_actions_t files;  // what it says of how to start QEMU is not wanted
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
  int pid = 0;
  const bool started = posix_spawnp(&pid, "passt", &files, nullptr, const_cast<char**>(words), environ) == 0;
  const int fd = started ? connect_to(path) : -1;
  unlink(path.c_str());
  rmdir(folder);
  if (fd >= 0) return std::make_unique<PasstSubject>(options, pid, fd);
  if (started) {
    kill(pid, SIGTERM);
    waitpid(pid, nullptr, 0);
  }
  return nullptr;
}

}  // namespace rhea::bench
