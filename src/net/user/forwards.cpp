// SPDX-License-Identifier: MIT
#include "net/user/forwards.h"

#include <algorithm>
#include <cerrno>

#include "sys/fd.h"

namespace rhea::net::user {

namespace {

constexpr int kBacklog = 128;
constexpr unsigned kReadsInTurn = 32, kAcceptsInTurn = 64;
constexpr s64 kRetryAccept = 100 * kMillisecond;

}  // namespace

class Forwards::Forward final : public SocketOwner, public Timeout {
 public:
  Forward(Forwards& all, const ForwardRule& rule) : Timeout(all.context_.timeouts), all_(all), rule_(rule) {
    if (rule_.guest_address.is_unspecified()) rule_.guest_address = all.context_.config.dhcp_start;
  }
  ~Forward() override {
    if (socket_) socket_->set_owner(nullptr);
  }
  // 0 or an errno.
  int open() {
    int error = 0;
    socket_ = all_.context_.sockets.open(rule_.udp ? SocketKind::datagram : SocketKind::stream,
                                         !rule_.host_address.is_v4(), this, error);
    if (!socket_) return error;
    if ((error = socket_->bind({rule_.host_address, rule_.host_port, 0}))) return error;
    return rule_.udp ? 0 : socket_->listen(kBacklog);
  }
  bool same_port(const ForwardRule& other) const {
    return rule_.udp == other.udp && rule_.host_address == other.host_address &&
           rule_.host_port == other.host_port;
  }
  Row row() const { return {rule_.udp, socket_->fd(), socket_->local(), guest()}; }
  void on_socket(Socket&, u32 events) override {
    if (!rule_.udp) return accept();
    if (events & kSocketError) {
      SocketError error;
      while (socket_->next_error(error)) {
      }
      socket_->take_error();
    }
    readable_ = true;
    all_.context_.schedule();
  }
  void on_timeout() override { accept(); }
  void receive() {
    Context& context = all_.context_;
    for (unsigned i = 0; readable_ && i < kReadsInTurn; ++i) {
      if (context.link.congested()) return;
      Endpoint from;
      const IoResult result = socket_->receive_from(from, {all_.buffer_.data(), all_.buffer_.size()});
      if (result.again()) readable_ = false;
      if (result.error) continue;
      const Endpoint seen{context.seen_from_guest(from.address), from.port, 0};
      all_.udp_.deliver(seen, guest(), from, socket_, all_.buffer_.data(), static_cast<usize>(result.count));
    }
    if (readable_) context.schedule();
  }

 private:
  Endpoint guest() const { return {rule_.guest_address, rule_.guest_port, 0}; }
  void accept() {
    for (unsigned i = 0;; ++i) {
      if (i == kAcceptsInTurn) return set_timeout(all_.context_.now());  // others have their turn
      Endpoint from;
      int error = 0;
      auto accepted = socket_->accept(from, error);
      if (!accepted) {
        if (error == ECONNABORTED || error == EINTR) continue;
        // Out of descriptors: the queue stays, and no event will tell.
        if (error != EAGAIN && error != EWOULDBLOCK) set_timeout(all_.context_.now() + kRetryAccept);
        return;
      }
      all_.tcp_.open_to_guest(std::move(accepted),
                              {all_.context_.seen_from_guest(from.address), from.port, 0}, guest());
    }
  }

  Forwards& all_;
  ForwardRule rule_;
  std::shared_ptr<Socket> socket_;
  bool readable_ = false;
};

Forwards::Forwards(Context& context, Tcp& tcp, Udp& udp)
    : context_(context), tcp_(tcp), udp_(udp), buffer_(65536) {}
Forwards::~Forwards() = default;

Result<void> Forwards::add(const ForwardRule& rule) {
  auto forward = std::make_unique<Forward>(*this, rule);
  if (const int error = forward->open()) {
    Error result("Could not set up host forwarding rule '{}': {}", rule.text, sys::errno_text(error));
    if (error == EADDRINUSE)
      return std::move(result).with_hint(
          fmt::format("Another program uses {} port {} of this host: end it, or forward another port.",
                      rule.udp ? "UDP" : "TCP", rule.host_port));
    if (error == EACCES && rule.host_port < 1024)
      return std::move(result).with_hint(
          "Ports below 1024 are for root: forward one above, such as 8080 for 80.");
    return result;
  }
  forwards_.push_back(std::move(forward));
  return {};
}

bool Forwards::remove(const ForwardRule& rule) {
  const auto found = std::find_if(forwards_.begin(), forwards_.end(),
                                  [&](const auto& item) { return item->same_port(rule); });
  if (found == forwards_.end()) return false;
  forwards_.erase(found);
  return true;
}

void Forwards::run() {
  for (const auto& forward : forwards_) forward->receive();
}

std::vector<Forwards::Row> Forwards::rows() const {
  std::vector<Row> rows;
  for (const auto& forward : forwards_) rows.push_back(forward->row());
  return rows;
}

}  // namespace rhea::net::user
