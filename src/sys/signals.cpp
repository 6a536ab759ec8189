// SPDX-License-Identifier: MIT
#include "sys/signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <fstream>

namespace rhea::sys {

namespace {

constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

std::string command_of(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/cmdline");
  std::string command;
  std::getline(file, command, '\0');
  return command;
}

}  // namespace

SignalWatch::SignalWatch() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : kEnding)
    if (!is_ignored(number)) ::sigaddset(&set, number);
  ::sigaddset(&set, SIGTSTP);
  ::sigaddset(&set, SIGCONT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::optional<SignalEvent> SignalWatch::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
  SignalEvent event{.kind = Signal::end, .number = static_cast<int>(info.ssi_signo), .command = {}};
  if (event.number == SIGTSTP) event.kind = Signal::stop;
  if (event.number == SIGCONT) event.kind = Signal::resume;
  if (info.ssi_code <= 0) event.sender = static_cast<int>(info.ssi_pid);  // SI_USER and below: a process sent it
  if (event.sender) event.command = command_of(event.sender);
  return event;
}

bool ending_signal_pending() {
  sigset_t pending;
  if (::sigpending(&pending) != 0) return false;
  for (const int number : kEnding)
    if (::sigismember(&pending, number) == 1) return true;
  return false;
}

void stop_this_process() { ::kill(::getpid(), SIGSTOP); }

}  // namespace rhea::sys
