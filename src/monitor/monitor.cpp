// SPDX-License-Identifier: MIT
#include "monitor/monitor.h"

#include <algorithm>

#include "monitor/commands.h"

namespace rhea::monitor {

// Scripts wait for QEMU's prompt.
constexpr const char* kPrompt = "(qemu) ";

Monitor::Monitor(chardev::Backend& backend, Context& context, bool shared)
    : backend_(backend), context_(context),
      readline_(kPrompt, {.output =
                              [this](std::string_view text) {
                                backend_.write({reinterpret_cast<const u8*>(text.data()), text.size()});
                              },
                          .complete = [this](std::string_view text) { return complete_line(*this, text); },
                          .accept =
                              [this](const std::string& line) {
                                execute(line);
                                if (!quit_ && !suspended_) show_prompt();
                              }}),
      shared_(shared) {
  backend_.set_frontend(this);
}

Monitor::~Monitor() { backend_.set_frontend(nullptr); }

void Monitor::start() {
  started_ = true;
  if ((shared_ && !focused_) || !backend_.is_open()) return;
  show_banner();
  show_prompt();
}

void Monitor::show_banner() {
  if (banner_shown_) return;
  banner_shown_ = true;
  print(fmt::format("{} {} monitor - type 'help' for more information\n", context_.title, context_.version));
}

void Monitor::show_prompt() { readline_.show_prompt(); }

void Monitor::print(std::string_view text) {
  if (capture_) {
    *capture_ += text;
    return;
  }
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  backend_.write({reinterpret_cast<const u8*>(out.data()), out.size()});
}

void Monitor::report(const Result<void>& result) {
  if (!result.ok()) print(fmt::format("Error: {}\n", result.error().message()));
}

std::string Monitor::output_of(std::string_view line) {
  std::string text;
  capture_ = &text;
  execute(line);
  capture_ = nullptr;
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

usize Monitor::can_receive() {
  return suspended_ ? Readline::kMaxLine - std::min<usize>(held_.size(), Readline::kMaxLine) : Readline::kMaxLine;
}

void Monitor::receive(std::span<const u8> data) {
  held_.insert(held_.end(), data.begin(), data.end());
  feed();
}

void Monitor::feed() {
  usize taken = 0;
  while (taken < held_.size() && !suspended_) readline_.key(held_[taken++]);
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(taken));
}

bool Monitor::suspend() {
  if (!started_ || capture_) return false;
  suspended_ = true;
  return true;
}

void Monitor::resume() {
  suspended_ = false;
  show_prompt();
  feed();
  if (!suspended_) backend_.accept_input();
}

void Monitor::event(chardev::Event event) {
  if (event == chardev::Event::mux_in) {
    focused_ = true;
    if (!started_) return;
    show_banner();
    show_prompt();
  } else if (event == chardev::Event::mux_out) {
    focused_ = false;
    print("\n");
  } else if (event == chardev::Event::opened) {
    // Somebody came: what the one before had typed is not theirs.
    readline_.forget_line();
    banner_shown_ = false;
    if (started_) start();
  }
}

}  // namespace rhea::monitor
