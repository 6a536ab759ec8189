// SPDX-License-Identifier: MIT
// A line is a frontend on the machine's loop; the filter has a handle of it on the network's. Each posts to the
// other's loop; a handle that goes posts that too, since its loop's lock is held then and the machine's comes first.
#include "cli/frame_lines.h"

#include <algorithm>
#include <atomic>

namespace rhea::cli {

namespace {
constexpr usize kMostUnderWay = usize{4} << 20;  // bytes each way
}

class FrameLines::Line final : public chardev::Frontend, public std::enable_shared_from_this<Line> {
 public:
  Line(FrameLines& lines, chardev::Backend& backend, std::function<void(std::span<const u8>)> on_data)
      : lines_(lines.self_), machine_loop_(lines.machine_loop_), net_loop_(lines.net_loop_), backend_(backend),
        on_data_(std::move(on_data)) {}

  // --- the machine's loop
  usize can_receive() override { return on_data_ && coming_ < kMostUnderWay ? kMostUnderWay - coming_ : 0; }
  void receive(std::span<const u8> data) override {
    if (!on_data_ || closed_) return;
    coming_ += data.size();
    net_loop_.post([line = shared_from_this(), bytes = std::vector<u8>(data.begin(), data.end())] {
      if (!line->closed_) line->on_data_(bytes);
      line->machine_loop_.post([line, size = bytes.size()] {
        line->coming_ -= size;
        if (!line->detached_) line->backend_.accept_input();
      });
    });
  }
  chardev::Backend& backend() { return backend_; }
  void detach() { detached_ = true; }

  // --- the network's loop
  void write(std::vector<u8> data) {
    const usize size = data.size();
    if (going_ + size > kMostUnderWay) return;
    going_ += size;
    machine_loop_.post([line = shared_from_this(), bytes = std::move(data)] {
      line->going_ -= bytes.size();
      if (!line->detached_) line->backend_.write(bytes);
    });
  }
  usize waiting() const { return going_; }
  void close() {
    closed_ = true;
    machine_loop_.post([line = shared_from_this()] {
      if (const auto lines = line->lines_.lock()) (*lines)->close(line.get());
    });
  }

 private:
  std::weak_ptr<FrameLines*> lines_;
  EventLoop& machine_loop_;
  EventLoop& net_loop_;
  chardev::Backend& backend_;
  std::function<void(std::span<const u8>)> on_data_;
  std::atomic<usize> coming_{0}, going_{0};
  std::atomic<bool> closed_{false};
  bool detached_ = false;  // the machine's
};

class FrameLines::Handle final : public net::ByteLine {
 public:
  explicit Handle(std::shared_ptr<Line> line) : line_(std::move(line)) {}
  ~Handle() override { line_->close(); }
  void write(std::vector<u8> data) override { line_->write(std::move(data)); }
  usize waiting() const override { return line_->waiting(); }

 private:
  std::shared_ptr<Line> line_;
};

FrameLines::FrameLines(chardev::Registry& chardevs, EventLoop& machine_loop, EventLoop& net_loop)
    : chardevs_(chardevs), machine_loop_(machine_loop), net_loop_(net_loop),
      self_(std::make_shared<FrameLines*>(this)) {}

FrameLines::~FrameLines() {
  while (!lines_.empty()) close(lines_.back().get());
}

Result<std::unique_ptr<net::ByteLine>> FrameLines::open(const std::string& chardev,
                                                        std::function<void(std::span<const u8>)> on_data) {
  chardev::Backend* backend = RHEA_TRY(chardevs_.attach(chardev));
  return add(*backend, std::move(on_data));
}

Result<std::unique_ptr<net::ByteLine>> FrameLines::open_or_make(const std::string& device, const std::string& id,
                                                                std::function<void(std::span<const u8>)> on_data) {
  const chardev::Spec spec = RHEA_TRY(chardev::parse_spec(device));
  chardev::Backend* backend = RHEA_TRY(chardevs_.open(spec, id));
  if (!backend) return Error("'{}' is no device to connect to", device);
  return add(*backend, std::move(on_data));
}

std::unique_ptr<net::ByteLine> FrameLines::add(chardev::Backend& backend,
                                               std::function<void(std::span<const u8>)> on_data) {
  auto line = std::make_shared<Line>(*this, backend, std::move(on_data));
  lines_.push_back(line);
  backend.set_frontend(line.get());
  backend.accept_input();
  return std::make_unique<Handle>(std::move(line));
}

void FrameLines::close(Line* line) {
  const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const auto& each) { return each.get() == line; });
  if (found == lines_.end()) return;
  line->detach();
  line->backend().set_frontend(nullptr);
  chardevs_.detach(&line->backend());
  lines_.erase(found);
}

}  // namespace rhea::cli
