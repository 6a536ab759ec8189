// SPDX-License-Identifier: MIT
// Rings that others serve: those of this NIC by its peer (net/ring_server.h), and those of another process's guest by
// this device (vhost_server.h).
//
// Whatever may change whether the rings are lent calls settle_rings(), which compares and acts: the machine stops or
// goes on, the driver is ready or resets, the link or the server come and go. It takes the network loop's lock and then
// mutex_. What was lent comes back with the used ring's index: what the server had in hand at its end is done again.
#include <algorithm>
#include <utility>

#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_net_features.h"

namespace rhea::devices {

using namespace virtio_net;

namespace {

constexpr usize kMostPieces = 8;  // of memory, that a server takes

}  // namespace

void VirtioNet::set_running(bool running) {
  {
    std::lock_guard lock(mutex_);
    running_ = running;
  }
  settle_rings();
}

void VirtioNet::server_changed() {
  {
    std::lock_guard lock(mutex_);
    lending_failed_ = false;
  }
  settle_rings();
}

void VirtioNet::keep_rings(bool keep) {
  {
    std::lock_guard lock(mutex_);
    keep_rings_ = keep;
  }
  settle_rings();
}

void VirtioNet::settle_rings() {
  // With a peer that takes frames nothing of this is needed, nor is its lock.
  if (!served_) return;
  std::lock_guard net_lock(net_loop_.lock());
  auto* server = dynamic_cast<net::RingServer*>(peer());
  bool link_changed = false;
  {
    std::lock_guard lock(mutex_);
    const bool ready = server && server->is_ready();
    const bool wanted = ready && running_ && driver_ready_ && link_up_ && !keep_rings_ && !lending_failed_ &&
                        receive_queue_.running() && transmit_queue_.running();
    if (lent_to_ && (!wanted || lent_to_ != server)) take_rings_back(lent_to_ == server);
    if (!lent_to_ && wanted) lend_rings(*server);
    const bool carrier = server && server->is_ready() && !lending_failed_;
    link_changed = carrier_.exchange(carrier) != carrier;
    if (!carrier && running_) kick(kTransmit);  // nobody sends what is there
  }
  if (link_changed && link_up_) tell_of_link();
}

// RAM as it is mapped, the largest pieces first if there are too many.
std::vector<net::SharedMemory> VirtioNet::shared_memory() const {
  std::vector<net::SharedMemory> pieces;
  for (const memory::Range& range : memory_.ranges()) {
    if (!range.writes_ram() || range.read_only) continue;
    if (!pieces.empty() && pieces.back().file == range.ram->fd() &&
        pieces.back().address + pieces.back().size == range.base &&
        pieces.back().offset + pieces.back().size == range.ram_offset)
      pieces.back().size += range.size;
    else pieces.push_back({range.base, range.size, range.ram->fd(), range.ram_offset});
  }
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
  if (pieces.size() > kMostPieces) pieces.resize(kMostPieces);
  return pieces;
}

// Chains that were taken and not used: their number.
unsigned VirtioNet::let_go(unsigned ring) {
  if (ring == kTransmit) return std::exchange(transmit_held_, false);
  const unsigned count = static_cast<unsigned>(ready_.size());
  stop_receive();
  return count;
}

void VirtioNet::lend_rings(net::RingServer& server) {
  net::Lending lending{.features = features_, .mtu = config_.host_mtu, .rings = {}, .memory = shared_memory()};
  for (unsigned ring = 0; ring < net::kRings; ++ring) {
    Virtqueue& lent = queue(ring);
    lent.untake(let_go(ring));
    const QueueLayout& layout = lent.layout();
    lending.rings[ring] = {layout.size, layout.descriptors, layout.available, layout.used, lent.position()};
  }
  if (const Result<void> done = server.lend(lending); !done.ok()) {
    lending_failed_ = true;
    // What ended it is told where it is served.
    if (server.is_ready())
      log_.write_text(fmt::format("{}: {}: no link until that changes", name(), done.error().message()));
    return;
  }
  lent_to_ = &server;
}

void VirtioNet::take_rings_back(bool server_is_there) {
  if (server_is_there) lent_to_->take_back();
  lent_to_ = nullptr;
  for (unsigned ring = 0; ring < net::kRings; ++ring) {
    if (!queue(ring).running()) continue;
    if (!queue(ring).go_on_at({})) {
      log_.write_text(fmt::format("{}: the back end left ring {} in disorder: the device needs a reset", name(), ring));
      report_broken();
    }
    // The server may have given back what it told nobody of.
    if (driver_ready_ && transport_) transport_->interrupt_queue(ring);
  }
}

bool VirtioNet::kick_server(unsigned ring) {
  if (!served_) return false;
  std::lock_guard lock(mutex_);
  if (!lent_to_) return false;
  lent_to_->kick(ring);
  return true;
}

void VirtioNet::ring_used(unsigned ring) {
  std::lock_guard lock(mutex_);
  if (lent_to_ && transport_) transport_->interrupt_queue(ring);
}

// --- rings of another process's guest -----------------------------------------------------------------------------

bool VirtioNet::start_ring(unsigned ring, const QueueLayout& layout, u16 next) {
  std::lock_guard lock(mutex_);
  driver_ready_ = holds_frames_ = true;
  broken_reported_ = false;
  if (!queue(ring).start(layout, features_) || !queue(ring).go_on_at(next)) return false;
  // Whoever waits for room is told, whatever became of it meanwhile.
  if (ring == kReceive) starved_ = true;
  kick(ring);
  return true;
}

u16 VirtioNet::stop_ring(unsigned ring) {
  std::lock_guard lock(mutex_);
  Virtqueue& stopped = queue(ring);
  stopped.untake(let_go(ring));
  const u16 position = stopped.position();
  stopped.stop();
  return position;
}

void VirtioNet::set_mtu(u16 bytes) {
  std::lock_guard lock(mutex_);
  config_.host_mtu = bytes;
}

}  // namespace rhea::devices
