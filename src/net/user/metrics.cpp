// SPDX-License-Identifier: MIT
#include "net/user/metrics.h"

#include <fmt/format.h>

#include <cerrno>

namespace rhea::net::user {

namespace {

constexpr usize kMostClients = 8;
constexpr s64 kPatience = 10 * kSecond;

}  // namespace

// Whatever a client asks is answered with the counters, once; it then has some seconds to read them.
class Metrics::Client final : public SocketOwner, public Timeout {
 public:
  Client(Metrics& metrics, std::unique_ptr<Socket> socket)
      : Timeout(metrics.timeouts_), metrics_(metrics), socket_(std::move(socket)) {
    socket_->set_owner(this);
    set_timeout(metrics.timeouts_.now() + kPatience);
  }
  void on_socket(Socket&, u32 events) override {
    if (!(events & (kSocketReadable | kSocketHangup | kSocketError))) return;
    std::array<u8, 4096> request;
    const Piece into{request.data(), request.size()};
    const IoResult read = socket_->peek(0, std::span(&into, 1));
    if (read.again()) return;
    if (read.error || read.count == 0) {
      done = true;
      return;
    }
    (void)socket_->discard(static_cast<usize>(read.count));
    if (std::exchange(answered_, true)) return;
    const std::string text = metrics_.tell_();
    std::string answer = fmt::format(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n"
        "Connection: close\r\n\r\n{}",
        text.size(), text);
    const Piece piece{reinterpret_cast<u8*>(answer.data()), answer.size()};
    done = socket_->send(std::span(&piece, 1)).error != 0;
    socket_->shutdown_write();
  }
  void on_timeout() override { done = true; }
  bool done = false;

 private:
  Metrics& metrics_;
  std::unique_ptr<Socket> socket_;
  bool answered_ = false;
};

Metrics::Metrics(Sockets& sockets, TimeoutQueue& timeouts, std::function<std::string()> tell)
    : sockets_(sockets), timeouts_(timeouts), tell_(std::move(tell)) {}
Metrics::~Metrics() = default;

Result<void> Metrics::open(const std::string& path) {
  int error = 0;
  listener_ = sockets_.open(SocketKind::local, false, this, error);
  if (listener_ && !(error = listener_->bind_path(path))) error = listener_->listen(kMostClients);
  if (!error) return {};
  listener_.reset();
  return Error("metrics={}: {}", path, sys::errno_text(error));
}

void Metrics::on_socket(Socket&, u32) {
  for (;;) {
    Endpoint from;
    int error = 0;
    auto accepted = listener_->accept(from, error);
    if (!accepted) return;
    if (clients_.size() >= kMostClients) clients_.erase(clients_.begin());
    clients_.push_back(std::make_unique<Client>(*this, std::move(accepted)));
  }
}

void Metrics::run() {
  std::erase_if(clients_, [](const auto& client) { return client->done; });
}

}  // namespace rhea::net::user
