// SPDX-License-Identifier: MIT
#include "sys/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "util/text.h"

namespace rhea::sys {

namespace {

// In the guardian: nobody waits for it because it has a terminal or a pipe open.
void leave_the_terminal() {
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; null >= 0 && fd < 3; ++fd) ::dup2(null, fd);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP}) ::signal(number, SIG_IGN);
  if (::chdir("/") != 0) return;
}

char wait_for_word(int fd) {
  char word = 0;
  ssize_t count;
  do count = ::read(fd, &word, 1);
  while (count < 0 && errno == EINTR);
  return count == 1 ? word : '\0';
}

}  // namespace

Result<Guardian> Guardian::start(const std::function<void(char)>& watch) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error("a guardian process: {}", errno_text());
  Fd reading(ends[0]), writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Error("a guardian process: {}", errno_text());
  if (child == 0) {
    writing.reset();
    leave_the_terminal();
    watch(wait_for_word(reading.get()));
    ::_exit(0);
  }
  return Guardian(std::move(writing), child);
}

void Guardian::done(char word) {
  // A guardian that is gone is not told.
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  const bool told = ::write(pipe_.get(), &word, 1) == 1;
  ::signal(SIGPIPE, before);
  if (told) pipe_.reset();
}

void kill_process(int process) { ::kill(process, SIGKILL); }

bool end_process(int process) { return ::kill(process, SIGTERM) == 0; }

bool shares_network(int process) {
  struct stat own {
  }, other{};
  return ::stat("/proc/self/ns/net", &own) == 0 &&
         ::stat(fmt::format("/proc/{}/ns/net", process).c_str(), &other) == 0 && own.st_ino == other.st_ino &&
         own.st_dev == other.st_dev;
}

std::vector<std::string> words_of_process(int process) {
  const Fd fd(::open(fmt::format("/proc/{}/cmdline", process).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const ssize_t count = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  if (count <= 0) return {};
  return split(std::string_view(text.data(), static_cast<usize>(count)), '\0');
}

void sleep_milliseconds(unsigned milliseconds) {
  timespec time{static_cast<time_t>(milliseconds / 1000), static_cast<long>(milliseconds % 1000) * 1'000'000};
  while (::nanosleep(&time, &time) != 0 && errno == EINTR) {}
}

}  // namespace rhea::sys
