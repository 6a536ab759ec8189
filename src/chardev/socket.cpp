// SPDX-License-Identifier: MIT
// A connection as a character device. A server has one client at a time; the next ones wait in the system's
// queue until it goes. A client connects once, or (reconnect) again and again. Output while nobody is there
// is dropped; input that came before the other side hung up is delivered, however long the frontend takes.
#include <algorithm>
#include <cerrno>

#include "chardev/backends.h"
#include "chardev/channel.h"
#include "chardev/codec.h"
#include "sys/named_socket.h"

namespace rhea::chardev {

namespace {

class Socket final : public Backend {
 public:
  Socket(EventLoop& loop, const SocketSpec& spec)
      : loop_(loop), spec_(spec), retry_(loop.real_clock().timer([this] { try_connecting(); })) {}
  ~Socket() override {
    if (channel_) channel_->flush();
    if (!made_file_.empty()) sys::remove_socket_file(made_file_);
  }

  Result<void> start(const std::function<void(const std::string&)>& waiting) {
    using Family = sys::SocketName::Family;
    sys::Fd inherited;
    if (spec_.name.family == Family::descriptor) inherited = RHEA_TRY(sys::take_socket(spec_.name.descriptor));
    if (!spec_.server) {
      if (inherited) {
        connected(std::move(inherited));
      } else if (spec_.reconnect_ms) {
        try_connecting();
      } else {
        connected(RHEA_TRY(sys::connect_stream(spec_.name)));
      }
      return {};
    }
    listener_ = inherited ? std::move(inherited) : RHEA_TRY(sys::listen_stream(spec_.name));
    if (spec_.name.family == Family::unix_path && !spec_.name.abstract) made_file_ = spec_.name.path;
    spec_.name = sys::bound_name(listener_.get(), spec_.name);
    while (spec_.wait && !channel_) {
      if (waiting) waiting(fmt::format("QEMU waiting for connection on: {}", description()));
      if (!sys::wait_readable(listener_.get())) return Error("gave up waiting for a client of {}", spec_.name.text());
      accept();
    }
    if (!channel_) listen();
    return {};
  }

  void write(std::span<const u8> data) override {
    if (!is_open() || !channel_) return;
    if (!codec_) {
      channel_->write(data);
      return;
    }
    std::vector<u8> bytes;
    codec_->encode(data, bytes);
    channel_->write(bytes);
  }

  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    accept_input();
  }

  void accept_input() override {
    deliver_held();
    if (channel_ && held_.empty()) channel_->accept_input();
  }

  sys::Fd take_descriptor() override { return channel_ ? channel_->take_descriptor() : sys::Fd(); }
  std::string description() const override {
    std::string_view server = spec_.server ? ",server=on" : "";
    const std::string name = spec_.name.text();
    if (!channel_) return fmt::format("disconnected:{}:{}{}", spec_.protocol(), name, server);
    if (local_.empty()) return fmt::format("unix:{}{}", name, server);
    return fmt::format("{}:{}{} <-> {}", spec_.protocol(), local_, server, peer_);
  }

  bool passes_descriptors() const override {
    using Family = sys::SocketName::Family;
    if (spec_.telnet || spec_.websocket) return false;
    if (spec_.name.family != Family::descriptor) return spec_.name.family == Family::unix_path;
    return channel_ ? sys::is_unix_socket(channel_->input()) : listener_ && sys::is_unix_socket(listener_.get());
  }
  int connection() const override { return channel_ ? channel_->input() : -1; }
  bool wait_until_open(const std::function<void(const std::string&)>& waiting) override {
    for (bool said = false; !channel_; said = true) {
      if (waiting && !said) waiting(fmt::format("QEMU waiting for connection on: {}", description()));
      if (listener_) {
        if (!sys::wait_readable(listener_.get())) return false;
        accept();
      } else if (spec_.reconnect_ms == 0 || !connect_again()) {
        return false;
      }
    }
    return true;
  }

  void flush() override {
    if (channel_) channel_->flush();
  }
  bool is_open() const override { return channel_ && (!codec_ || codec_->open()); }
  usize queued() const override { return channel_ ? channel_->queued() : 0; }

 private:
  // ---- connections ----
  void listen() {
    accept_watch_ = loop_.watch(listener_.get(), kReadable, [this](u32) { accept(); });
  }

  void accept() {
    sys::Fd client = sys::accept_stream(listener_.get());
    if (!client) return;  // it has gone already
    accept_watch_.reset();
    connected(std::move(client));
  }

  void try_connecting() {
    if (addresses_.empty()) {
      auto found = sys::resolve(spec_.name, false);
      if (found.ok()) addresses_ = found.take();
    }
    int error = EADDRNOTAVAIL;
    if (next_address_ >= addresses_.size()) next_address_ = 0;
    if (!addresses_.empty()) attempt_ = sys::begin_connect(addresses_[next_address_], error);
    if (error == 0) {
      connected(std::move(attempt_));
    } else if (error == EINPROGRESS) {
      attempt_watch_ = loop_.watch(attempt_.get(), kWritable, [this](u32) { decided(); });
    } else {
      try_later();
    }
  }

  // Tries once; if in vain it waits until the next time. False: this process was told to end.
  bool connect_again() {
    attempt_watch_.reset();
    attempt_.reset();
    retry_->cancel();
    if (auto got = sys::connect_stream(spec_.name); got.ok()) {
      connected(got.take());
      return true;
    }
    return sys::sleep_unless_ending(spec_.reconnect_ms);
  }

  void decided() {
    attempt_watch_.reset();
    if (sys::pending_error(attempt_.get()) == 0) {
      connected(std::move(attempt_));
    } else {
      attempt_.reset();
      try_later();
    }
  }

  void try_later() {
    if (++next_address_ < addresses_.size()) {
      loop_.post([this, alive = alive_] {
        if (*alive) try_connecting();
      });
      return;
    }
    retry_->arm(loop_.real_clock().now() + spec_.reconnect_ms * kMillisecond);
  }

  void connected(sys::Fd fd) {
    local_ = sys::local_text(fd.get());
    peer_ = sys::peer_text(fd.get());
    if (spec_.no_delay && !local_.empty()) sys::set_no_delay(fd.get());
    if (spec_.telnet) codec_ = make_telnet_codec(spec_.server);
    if (spec_.websocket) codec_ = make_websocket_codec();
    channel_ = std::make_unique<Channel>(loop_, std::move(fd), sys::Fd(), Overflow::drop_newest,
                                         Channel::Hooks{.room = [this] { return room(); },
                                                        .data = [this](std::span<const u8> data) { received(data); },
                                                        .ended = [this] { disconnected(); }});
    if (codec_) {
      const std::vector<u8> greeting = codec_->greeting();
      if (!greeting.empty()) channel_->write(greeting);
    }
    if (is_open()) tell(Event::opened);
  }

  // Called by the channel as its last act.
  void disconnected() {
    const bool was_open = is_open();
    channel_.reset();
    codec_.reset();
    if (was_open) tell(Event::closed);
    if (listener_) listen();
    else if (spec_.reconnect_ms) retry_->arm(loop_.real_clock().now() + spec_.reconnect_ms * kMillisecond);
  }

  void close_later() {
    loop_.post([this, alive = alive_, channel = channel_.get()] {
      if (!*alive || channel_.get() != channel) return;
      channel_->flush();
      disconnected();
    });
  }

  // ---- input ----
  // Before a websocket is open the request is read whoever listens.
  usize room() const {
    constexpr usize kRequest = 4096;
    if (codec_ && !codec_->open()) return kRequest;
    return held_.empty() && frontend_ ? frontend_->can_receive() : 0;
  }

  void received(std::span<const u8> bytes) {
    if (!codec_) {
      held_.insert(held_.end(), bytes.begin(), bytes.end());
      deliver_held();
      return;
    }
    const bool was_open = codec_->open();
    Codec::Decoded decoded;
    codec_->decode(bytes, decoded);
    if (!decoded.reply.empty()) channel_->write(decoded.reply);
    if (!was_open && codec_->open()) tell(Event::opened);
    for (const usize at : decoded.breaks) breaks_.push_back(held_.size() + at);
    held_.insert(held_.end(), decoded.data.begin(), decoded.data.end());
    if (decoded.close) close_later();
    deliver_held();
  }

  // In order, breaks at their places. The frontend may call accept_input() from within.
  void deliver_held() {
    if (delivering_) return;
    delivering_ = true;
    const std::shared_ptr<bool> alive = alive_;
    while (frontend_ && (!held_.empty() || !breaks_.empty())) {
      if (!breaks_.empty() && breaks_.front() == 0) {
        breaks_.erase(breaks_.begin());
        tell(Event::line_break);
        if (!*alive) return;
        continue;
      }
      const usize until = breaks_.empty() ? held_.size() : breaks_.front();
      const usize count = std::min(frontend_->can_receive(), until);
      if (count == 0) break;
      const std::vector<u8> part(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
      held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
      for (usize& at : breaks_) at -= count;
      frontend_->receive(part);
      if (!*alive) return;
    }
    delivering_ = false;
  }

  void tell(Event event) {
    if (frontend_) frontend_->event(event);
  }

  struct Life {
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    ~Life() { *alive = false; }
  };

  EventLoop& loop_;
  SocketSpec spec_;
  Life life_;
  std::shared_ptr<bool> alive_ = life_.alive;
  std::unique_ptr<Timer> retry_;
  std::string made_file_, local_, peer_;
  sys::Fd listener_, attempt_;
  std::unique_ptr<FdWatch> accept_watch_, attempt_watch_;
  std::vector<sys::RawAddress> addresses_;
  usize next_address_ = 0;
  std::unique_ptr<Codec> codec_;
  std::unique_ptr<Channel> channel_;
  Frontend* frontend_ = nullptr;
  std::vector<u8> held_;
  std::vector<usize> breaks_;
  bool delivering_ = false;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_socket(EventLoop& loop, const SocketSpec& spec,
                                             const std::function<void(const std::string&)>& waiting) {
  auto socket = std::make_unique<Socket>(loop, spec);
  RHEA_TRY(socket->start(waiting));
  return std::unique_ptr<Backend>(std::move(socket));
}

}  // namespace rhea::chardev
