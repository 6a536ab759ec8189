// SPDX-License-Identifier: MIT
// Backends that are no more than descriptors: a pseudo terminal, named pipes, a serial port of the host, UDP,
// a file with input from another.
#include <algorithm>
#include <array>
#include <deque>

#include "chardev/backends.h"
#include "chardev/channel.h"
#include "sys/serial_line.h"
#include "sys/stream.h"

namespace rhea::chardev {

namespace {

class Descriptors final : public Backend {
 public:
  Descriptors(EventLoop& loop, std::string description, sys::Fd input, sys::Fd output, Overflow overflow)
      : description_(std::move(description)),
        channel_(loop, std::move(input), std::move(output), overflow,
                 {.room = [this] { return frontend_ ? frontend_->can_receive() : 0; },
                  .data = [this](std::span<const u8> data) { deliver(data); },
                  .ended = [this] { end(); }}) {}
  ~Descriptors() override {
    channel_.flush();
    if (!link_.empty()) sys::remove_link(link_);
  }

  void write(std::span<const u8> data) override { channel_.write(data); }
  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    accept_input();
  }
  void accept_input() override { channel_.accept_input(); }
  std::string description() const override { return description_; }
  void flush() override { channel_.flush(); }
  usize queued() const override { return channel_.queued(); }

  void keep(sys::Fd fd) { kept_ = std::move(fd); }
  void remove_at_end(std::string link) { link_ = std::move(link); }

 private:
  void deliver(std::span<const u8> data) {
    if (frontend_) frontend_->receive(data.first(std::min(data.size(), frontend_->can_receive())));
  }
  void end() {
    if (frontend_) frontend_->event(Event::closed);
  }

  std::string description_;
  Frontend* frontend_ = nullptr;
  sys::Fd kept_;
  std::string link_;
  Channel channel_;
};

// Datagrams come whole; what the frontend has no room for is kept until it has.
class Udp final : public Backend {
 public:
  Udp(EventLoop& loop, sys::Fd fd) : fd_(std::move(fd)) {
    watch_ = loop.watch(fd_.get(), kReadable, [this](u32) { read(); });
  }

  void write(std::span<const u8> data) override {
    constexpr usize kMost = 1472;  // what an Ethernet frame holds
    while (!data.empty()) {
      const usize count = std::min(data.size(), kMost);
      sys::send_now(fd_.get(), data.first(count));  // one that is lost is lost, as on the way
      data = data.subspan(count);
    }
  }
  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    accept_input();
  }
  void accept_input() override {
    if (delivering_) return;
    delivering_ = true;
    while (frontend_ && at_ < kept_.size()) {
      const usize count = std::min(frontend_->can_receive(), kept_.size() - at_);
      if (count == 0) break;
      at_ += count;
      frontend_->receive(std::span(kept_).subspan(at_ - count, count));
    }
    delivering_ = false;
    watch_->set_events(at_ == kept_.size() ? u32{kReadable} : 0);
  }
  std::string description() const override { return "udp"; }

 private:
  void read() {
    if (at_ < kept_.size()) return;
    kept_.resize(usize{1} << 16);
    at_ = 0;
    const sys::ReadSome got = sys::receive_now(fd_.get(), kept_);
    kept_.resize(got.outcome == sys::ReadOutcome::data ? got.count : 0);  // an ICMP error is no end
    if (!kept_.empty()) accept_input();
  }

  sys::Fd fd_;
  std::unique_ptr<FdWatch> watch_;
  Frontend* frontend_ = nullptr;
  std::vector<u8> kept_;
  usize at_ = 0;
  bool delivering_ = false;
};

class Ring final : public RingBuffer {
 public:
  explicit Ring(usize size) : size_(size) {}
  void write(std::span<const u8> data) override {
    data = data.last(std::min(data.size(), size_));
    const usize over = bytes_.size() + data.size() > size_ ? bytes_.size() + data.size() - size_ : 0;
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(over));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  void set_frontend(Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "ringbuf"; }
  std::vector<u8> read(usize most) override {
    const auto end = bytes_.begin() + static_cast<std::ptrdiff_t>(std::min(most, bytes_.size()));
    std::vector<u8> taken(bytes_.begin(), end);
    bytes_.erase(bytes_.begin(), end);
    return taken;
  }

 private:
  const usize size_;
  std::deque<u8> bytes_;
};

// Output to a file as File has it, input from a descriptor.
class FileWithInput final : public Backend {
 public:
  FileWithInput(EventLoop& loop, std::unique_ptr<Backend> output, sys::Fd input)
      : output_(std::move(output)),
        input_(std::make_unique<Descriptors>(loop, "file", std::move(input), sys::Fd(), Overflow::drop_newest)) {}
  void write(std::span<const u8> data) override { output_->write(data); }
  void set_frontend(Frontend* frontend) override { input_->set_frontend(frontend); }
  void accept_input() override { input_->accept_input(); }
  std::string description() const override { return "file"; }

 private:
  std::unique_ptr<Backend> output_, input_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_file(EventLoop& loop, const Spec& spec) {
  std::unique_ptr<Backend> output = RHEA_TRY(make_file(spec.path, spec.append));
  if (spec.input_path.empty()) return output;
  sys::Fd input = RHEA_TRY(sys::open_input(spec.input_path));
  return std::unique_ptr<Backend>(std::make_unique<FileWithInput>(loop, std::move(output), std::move(input)));
}

Result<std::unique_ptr<Backend>> make_pty(EventLoop& loop, const std::string& link, std::string& name) {
  sys::PseudoTerminal terminal = RHEA_TRY(sys::open_pseudo_terminal());
  name = terminal.name;
  if (!link.empty()) RHEA_TRY(sys::make_link(terminal.name, link));
  auto backend = std::make_unique<Descriptors>(loop, "pty:" + terminal.name, std::move(terminal.master), sys::Fd(),
                                               Overflow::drop_oldest);
  backend->keep(std::move(terminal.slave));
  if (!link.empty()) backend->remove_at_end(link);
  return std::unique_ptr<Backend>(std::move(backend));
}

Result<std::unique_ptr<Backend>> make_pipe(EventLoop& loop, const std::string& path) {
  auto input = sys::open_both(path + ".in");
  auto output = sys::open_both(path + ".out");
  if (!input.ok() || !output.ok()) {
    input = RHEA_TRY(sys::open_both(path));
    output = sys::Fd();
  }
  return std::unique_ptr<Backend>(
      std::make_unique<Descriptors>(loop, "pipe", input.take(), output.take(), Overflow::drop_newest));
}

Result<std::unique_ptr<Backend>> make_serial(EventLoop& loop, const std::string& path) {
  sys::Fd port = RHEA_TRY(sys::open_serial_port(path));
  return std::unique_ptr<Backend>(
      std::make_unique<Descriptors>(loop, "serial", std::move(port), sys::Fd(), Overflow::drop_newest));
}

Result<std::unique_ptr<Backend>> make_udp(EventLoop& loop, const UdpSpec& spec) {
  sys::Fd fd = RHEA_TRY(sys::connect_datagram(spec.remote, spec.local));
  return std::unique_ptr<Backend>(std::make_unique<Udp>(loop, std::move(fd)));
}

std::unique_ptr<RingBuffer> make_ring_buffer(usize size) { return std::make_unique<Ring>(size); }

}  // namespace rhea::chardev
