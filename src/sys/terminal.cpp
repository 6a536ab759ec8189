// SPDX-License-Identifier: MIT
#include "sys/terminal.h"

#include <pthread.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace rhea::sys {

// What is left on the terminal belongs to the process, and an exit or an abort can come from anywhere: so the
// way back must be reachable without an owner. This pointer is written by RawTerminal alone.
struct RawTerminal::State {
  int fd = -1;
  bool signals = false;
  termios found{};
  struct sigaction old_abort {};
};

namespace {

struct Saved {
  int fd;
  termios found;
};
std::atomic<Saved*> g_saved{nullptr};

// Async-signal-safe. A process in the background may change the terminal only with SIGTTOU blocked.
void restore(const Saved& saved) {
  sigset_t set, old;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &set, &old);
  ::tcsetattr(saved.fd, TCSANOW, &saved.found);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void restore_saved() {
  if (const Saved* saved = g_saved.load()) restore(*saved);
}

void on_abort(int) {
  restore_saved();
  ::signal(SIGABRT, SIG_DFL);
  ::raise(SIGABRT);
}

}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

RawTerminal::RawTerminal(int fd, bool signals) : state_(std::make_unique<State>()) {
  state_->fd = fd;
  state_->signals = signals;
  if (::tcgetattr(fd, &state_->found) != 0) {
    state_->fd = -1;
    return;
  }
  static const int registered = std::atexit(restore_saved);
  (void)registered;
  struct sigaction action {};
  action.sa_handler = on_abort;
  ::sigaction(SIGABRT, &action, &state_->old_abort);
  delete g_saved.exchange(new Saved{fd, state_->found});
  enter();
}

RawTerminal::~RawTerminal() {
  if (state_->fd < 0) return;
  leave();
  delete g_saved.exchange(nullptr);
  ::sigaction(SIGABRT, &state_->old_abort, nullptr);
}

void RawTerminal::enter() {
  if (state_->fd < 0) return;
  termios raw = state_->found;
  raw.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  raw.c_oflag |= OPOST;
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN | (state_->signals ? 0 : ISIG));
  raw.c_cflag = (raw.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(state_->fd, TCSANOW, &raw);
}

void RawTerminal::leave() {
  if (state_->fd >= 0) restore({state_->fd, state_->found});
}

}  // namespace rhea::sys
