// SPDX-License-Identifier: MIT
#include "net/user/device_lines.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace rhea::net::user {

namespace {

constexpr usize kMostKept = usize{4} << 20;      // bytes of the device that nobody takes
constexpr usize kMostUnderWay = usize{1} << 20;  // bytes to the device; more stay in the connection, which slows down
constexpr s64 kLookAgain = 5 * kMillisecond;

}  // namespace

class DeviceLines::Line final : public SocketOwner, public Timeout {
 public:
  Line(TimeoutQueue& timeouts, IpAddress address, u16 port)
      : Timeout(timeouts), timeouts_(timeouts), address_(address), port_(port) {}
  Result<void> open(const std::string& device, const OpenDevice& open_device) {
    line_ = RHEA_TRY(open_device(device, name(), [this](std::span<const u8> data) { take(data); }));
    return {};
  }
  std::string name() const { return "guestfwd.tcp." + std::to_string(port_); }
  bool is_of(const GuestForward& rule) const { return rule.address == address_ && rule.port == port_; }

  void serve(std::unique_ptr<Socket> socket) {
    socket_ = std::move(socket);
    socket_->set_owner(this);
    write();
    read();
  }
  void on_socket(Socket& socket, u32) override {
    if (&socket != socket_.get()) return;
    write();
    read();
  }
  void on_timeout() override { read(); }

 private:
  // From the device.
  void take(std::span<const u8> data) {
    kept_.insert(kept_.end(), data.begin(), data.end());
    if (kept_.size() > kMostKept) kept_.erase(kept_.begin(), kept_.end() - kMostKept);
    write();
  }
  void write() {
    usize sent = 0;
    while (socket_ && sent < kept_.size()) {
      const Piece piece{kept_.data() + sent, kept_.size() - sent};
      const IoResult result = socket_->send(std::span(&piece, 1));
      if (result.error == EINTR) continue;
      if (result.again()) break;
      if (result.error) socket_.reset();
      else sent += static_cast<usize>(result.count);
    }
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(sent));
  }
  // From the guest.
  void read() {
    std::array<u8, 16 * 1024> bytes;
    while (socket_) {
      if (line_->waiting() > kMostUnderWay) return set_timeout(timeouts_.now() + kLookAgain);
      const Piece into{bytes.data(), bytes.size()};
      const IoResult result = socket_->peek(0, std::span(&into, 1));
      if (result.error == EINTR) continue;
      if (result.again()) return;
      if (result.error || result.count == 0) return socket_.reset();
      const IoResult taken = socket_->discard(static_cast<usize>(result.count));
      if (taken.error || taken.count <= 0) return socket_.reset();
      line_->write(std::vector<u8>(bytes.begin(), bytes.begin() + taken.count));
    }
  }

  TimeoutQueue& timeouts_;
  IpAddress address_;
  u16 port_;
  std::unique_ptr<ByteLine> line_;
  std::unique_ptr<Socket> socket_;
  std::vector<u8> kept_;  // for the guest
};

DeviceLines::DeviceLines(TimeoutQueue& timeouts) : timeouts_(timeouts) {}
DeviceLines::~DeviceLines() = default;

Result<void> DeviceLines::open(std::span<const GuestForward> rules, const OpenDevice& open_device) {
  for (const GuestForward& rule : rules) {
    if (rule.device.empty()) continue;
    auto line = std::make_unique<Line>(timeouts_, rule.address, rule.port);
    Result<void> opened = open_device ? line->open(rule.device, open_device) : Error("there are no character devices");
    if (!opened.ok())
      return Error("Could not open guest forwarding device '{}': {}", line->name(), opened.error().message());
    lines_.push_back(std::move(line));
  }
  return {};
}

bool DeviceLines::serve(const GuestForward& rule, std::unique_ptr<Socket> socket) {
  const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const auto& line) { return line->is_of(rule); });
  if (found == lines_.end()) return false;
  (*found)->serve(std::move(socket));
  return true;
}

}  // namespace rhea::net::user
