// SPDX-License-Identifier: MIT
// The character device sees to connections: it connects, listens, and notices the end. A line takes no bytes of it (so
// none are read there), and gives each connection on to the network's loop.
#include "cli/back_ends.h"

#include <algorithm>
#include <atomic>

namespace rhea::cli {

class BackEnds::Line final : public chardev::Frontend, public std::enable_shared_from_this<Line> {
 public:
  Line(BackEnds& owner, chardev::Backend& backend, std::function<void(sys::Fd)> on_connection)
      : owner_(owner.self_), machine_loop_(owner.machine_loop_), net_loop_(owner.net_loop_), backend_(backend),
        on_connection_(std::move(on_connection)) {}

  // --- the machine's loop
  usize can_receive() override { return 0; }
  // What a connection held when it broke: whoever was to read it has gone.
  void receive(std::span<const u8>) override {}
  void event(chardev::Event event) override {
    if (event != chardev::Event::opened) return;
    auto socket = std::make_shared<sys::Fd>(sys::duplicate(backend_.connection()));
    net_loop_.post([line = shared_from_this(), socket] {
      if (!line->closed_ && *socket) line->on_connection_(std::move(*socket));
    });
  }
  chardev::Backend& backend() { return backend_; }

  // --- the network's loop
  void close() {
    closed_ = true;
    machine_loop_.post([line = shared_from_this()] {
      if (const auto owner = line->owner_.lock()) (*owner)->close(line.get());
    });
  }

 private:
  std::weak_ptr<BackEnds*> owner_;
  EventLoop& machine_loop_;
  EventLoop& net_loop_;
  chardev::Backend& backend_;
  std::function<void(sys::Fd)> on_connection_;
  std::atomic<bool> closed_{false};
};

class BackEnds::Handle final : public net::vhost::Source {
 public:
  explicit Handle(std::shared_ptr<Line> line) : line_(std::move(line)) {}
  ~Handle() override { line_->close(); }

 private:
  std::shared_ptr<Line> line_;
};

BackEnds::BackEnds(chardev::Registry& chardevs, EventLoop& machine_loop, EventLoop& net_loop)
    : chardevs_(chardevs), machine_loop_(machine_loop), net_loop_(net_loop), self_(std::make_shared<BackEnds*>(this)) {}

BackEnds::~BackEnds() {
  while (!lines_.empty()) close(lines_.back().get());
}

Result<net::vhost::OpenedSource> BackEnds::open(const std::string& chardev, std::function<void(sys::Fd)> on_connection,
                                                bool wait) {
  if (chardevs_.has(chardev) && chardevs_.type_of(chardev) != "chardev-socket")
    return Error("chardev \"{}\" is not reconnectable", chardev)
        .with_hint(fmt::format("-chardev socket,id={},path=... is what a vhost-user back end is reached by", chardev));
  chardev::Backend* backend = RHEA_TRY(chardevs_.attach(chardev));
  const auto refused = [&](Error error) {
    chardevs_.detach(backend);
    return error;
  };
  if (!backend->passes_descriptors())
    return refused(Error("chardev \"{}\" does not support FD passing", chardev)
                       .with_hint("only a unix socket does: -chardev socket,path=..., without telnet and websocket"));
  if (wait && !backend->wait_until_open(chardevs_.surroundings.say))
    return refused(Error("chardev \"{}\" is not connected", chardev));
  auto line = std::make_shared<Line>(*this, *backend, std::move(on_connection));
  lines_.push_back(line);
  sys::Fd first;
  if (backend->is_open()) first = sys::duplicate(backend->connection());
  backend->set_frontend(line.get());
  return net::vhost::OpenedSource{std::make_unique<Handle>(std::move(line)), std::move(first)};
}

void BackEnds::close(Line* line) {
  const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const auto& each) { return each.get() == line; });
  if (found == lines_.end()) return;
  line->backend().set_frontend(nullptr);
  chardevs_.detach(&line->backend());
  lines_.erase(found);
}

}  // namespace rhea::cli
