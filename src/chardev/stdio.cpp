// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cerrno>

#include "chardev/backends.h"
#include "sys/stream.h"
#include "sys/terminal.h"

namespace rhea::chardev {

namespace {

constexpr int kInput = 0;
constexpr int kOutput = 1;

class Stdio final : public Terminal {
 public:
  Stdio(EventLoop& loop, bool signals, std::function<void()> lost)
      : loop_(loop), output_(kOutput), lost_(std::move(lost)) {
    is_terminal_ = sys::is_terminal(kInput);
    output_is_terminal_ = sys::is_terminal(kOutput);
    if (is_terminal_) raw_ = std::make_unique<sys::RawTerminal>(kInput, signals);
  }

  void write(std::span<const u8> data) override {
    const int error = output_.write(data);
    // Output to a pipe nobody reads is dropped; a terminal that is gone ends the machine.
    if (error == EIO && output_is_terminal_) lose();
  }

  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    accept_input();
  }

  void accept_input() override {
    if (!frontend_ || ended_ || suspended_ || watch_) return;
    // Not from within this call: frontends call it while they are in the middle of something.
    watch_ = loop_.watch(kInput, kReadable, [this](u32) { read(); });
  }

  std::string description() const override { return "stdio"; }

  void suspend() override {
    suspended_ = true;
    watch_.reset();
    if (raw_) raw_->leave();
  }
  void resume() override {
    suspended_ = false;
    if (raw_) raw_->enter();
    accept_input();
  }

 private:
  void read() {
    const usize room = frontend_ ? frontend_->can_receive() : 0;
    if (room == 0) {
      watch_.reset();  // resting it would not do: a hang-up is always announced
      return;
    }
    std::array<u8, 4096> buffer;
    const sys::ReadSome got = sys::read_now(kInput, std::span(buffer).first(std::min(room, buffer.size())));
    switch (got.outcome) {
      case sys::ReadOutcome::data: frontend_->receive(std::span(buffer).first(got.count)); break;
      case sys::ReadOutcome::would_wait: break;
      case sys::ReadOutcome::end:
      case sys::ReadOutcome::failed: end(); break;
    }
  }

  void end() {
    ended_ = true;
    watch_.reset();
    if (is_terminal_) lose();
    else if (frontend_) frontend_->event(Event::closed);
  }

  void lose() {
    ended_ = true;
    watch_.reset();
    if (lost_) loop_.post(std::exchange(lost_, nullptr));
  }

  EventLoop& loop_;
  sys::Output output_;
  std::function<void()> lost_;
  std::unique_ptr<sys::RawTerminal> raw_;
  std::unique_ptr<FdWatch> watch_;
  Frontend* frontend_ = nullptr;
  bool is_terminal_ = false;
  bool output_is_terminal_ = false;
  bool ended_ = false;
  bool suspended_ = false;
};

}  // namespace

std::unique_ptr<Terminal> make_stdio(EventLoop& loop, bool signals, std::function<void()> lost) {
  return std::make_unique<Stdio>(loop, signals, std::move(lost));
}

}  // namespace rhea::chardev
