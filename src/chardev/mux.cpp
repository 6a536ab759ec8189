// SPDX-License-Identifier: MIT
#include "chardev/mux.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace rhea::chardev {

// What a frontend cannot take yet is kept for it, so that the escape key works while a guest does not listen.
class Mux::Port final : public Backend {
 public:
  static constexpr usize kBuffer = usize{64} << 10;

  explicit Port(Mux& mux) : mux_(mux) {}

  void write(std::span<const u8> data) override { mux_.output(data); }
  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    if (frontend_ && mux_.ports_[mux_.focused_].get() == this) frontend_->event(Event::mux_in);
    mux_.backend_->accept_input();
  }
  void accept_input() override {
    drain();
    mux_.backend_->accept_input();
  }
  std::string description() const override { return "mux"; }
  void flush() override { mux_.backend_->flush(); }

  usize room() const { return kBuffer - kept_.size(); }
  void give(u8 byte) {
    kept_.push_back(byte);
    drain();
  }
  void tell(Event event) {
    if (frontend_) frontend_->event(event);
  }

 private:
  void drain() {
    while (!kept_.empty() && frontend_) {
      const usize room = std::min(frontend_->can_receive(), kept_.size());
      if (room == 0) return;
      const std::vector<u8> part(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(room));
      kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(room));
      frontend_->receive(part);
    }
  }

  Mux& mux_;
  Frontend* frontend_ = nullptr;
  std::deque<u8> kept_;
};

Mux::Mux(std::unique_ptr<Backend> backend, MuxOptions options)
    : backend_(std::move(backend)), options_(std::move(options)) {
  backend_->set_frontend(this);
}

Mux::~Mux() { backend_->set_frontend(nullptr); }

Backend* Mux::add_port() {
  if (ports_.size() == kMaxPorts) return nullptr;
  ports_.push_back(std::make_unique<Port>(*this));
  return ports_.back().get();
}

bool Mux::owns(const Backend* port) const {
  return std::any_of(ports_.begin(), ports_.end(), [port](const auto& own) { return own.get() == port; });
}

void Mux::focus(usize port) {
  if (port >= ports_.size() || port == focused_) return;
  ports_[focused_]->tell(Event::mux_out);
  focused_ = port;
  ports_[focused_]->tell(Event::mux_in);
}

usize Mux::can_receive() { return ports_.empty() ? 0 : ports_[focused_]->room(); }

void Mux::receive(std::span<const u8> data) {
  for (const u8 key : data) {
    if (escaped_) {
      escaped_ = false;
      if (!take_command(key)) continue;
    } else if (key == options_.escape) {
      escaped_ = true;
      continue;
    }
    if (ports_[focused_]->room()) ports_[focused_]->give(key);  // a switch of focus may meet a full one
  }
}

void Mux::event(Event event) {
  if (event == Event::line_break) {
    if (!ports_.empty()) ports_[focused_]->tell(event);
    return;
  }
  for (const auto& port : ports_) port->tell(event);
}

bool Mux::take_command(u8 key) {
  if (key == options_.escape) return true;
  switch (key) {
    case 'h':
    case '?': print_help(); break;
    case 'x':
      print(options_.program + ": Terminated\n\r");
      backend_->flush();
      if (options_.terminate) options_.terminate();
      break;
    case 's':
      if (options_.save_disks) options_.save_disks();
      break;
    case 't':
      stamps_ = !stamps_;
      stamps_from_ = -1;
      line_start_ = false;
      break;
    case 'b': ports_[focused_]->tell(Event::line_break); break;
    case 'c': focus((focused_ + 1) % ports_.size()); break;
    default: break;
  }
  return false;
}

std::string Mux::escape_name() const {
  if (options_.escape > 0 && options_.escape < 27) return fmt::format("C-{:c}", 'a' + options_.escape - 1);
  return fmt::format("0x{:02x}", options_.escape);
}

void Mux::print_help() {
  const std::string key = escape_name();
  print(
      fmt::format("\n\r{0} h    print this help\n\r"
                  "{0} x    exit emulator\n\r"
                  "{0} s    save disk data back to file (if -snapshot)\n\r"
                  "{0} t    toggle console timestamps\n\r"
                  "{0} b    send break (magic sysrq)\n\r"
                  "{0} c    switch between console and monitor\n\r"
                  "{0} {0}  sends {0}\n\r",
                  key));
}

void Mux::print(std::string_view text) { output({reinterpret_cast<const u8*>(text.data()), text.size()}); }

void Mux::output(std::span<const u8> data) {
  if (!stamps_ || !options_.clock) {
    backend_->write(data);
    return;
  }
  std::vector<u8> stamped;
  for (const u8 byte : data) {
    if (line_start_) {
      const s64 now = options_.clock->now();
      if (stamps_from_ < 0) stamps_from_ = now;
      const s64 ms = (now - stamps_from_) / kMillisecond;
      const std::string text =
          fmt::format("[{:02}:{:02}:{:02}.{:03}] ", ms / 3600000 % 100, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
      stamped.insert(stamped.end(), text.begin(), text.end());
      line_start_ = false;
    }
    stamped.push_back(byte);
    if (byte == '\n') line_start_ = true;
  }
  backend_->write(stamped);
}

}  // namespace rhea::chardev
