// SPDX-License-Identifier: MIT
// A vhost-user front end that sends what it likes, and a guest behind it that fills its rings with anything. The first
// byte says whether the rings are started properly before; then come steps: messages, bytes for the memory, kicks,
// frames from the network.
#include <algorithm>

#include "core/loop.h"
#include "devices/testing.h"
#include "devices/virtio/vhost_server.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"

using namespace rhea;
using namespace rhea::devices;
using namespace rhea::net::vhost;
using rhea::devices::testing::Bench;

namespace {

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr u16 kEntries = 16;

class FrontEnd {
 public:
  explicit FrontEnd(sys::DescriptorChannel ends) : connection_(std::move(ends.ours)) {
    server_.emplace(loop_, loop_.real_clock(), bench_.log, bench_.peer, std::move(ends.theirs), VhostServer::Hooks{});
  }
  void settle() {
    for (int i = 0; i < 6; ++i) loop_.run_once();
    Message answer;
    while (connection_.receive(answer) == Connection::Got::message) continue;
  }
  void say(Request request, std::vector<u8> payload, const std::vector<int>& along = {}) {
    Message message;
    message.request = request;
    message.payload = std::move(payload);
    connection_.send(message, along);
    settle();
  }
  void start(u8 features) {
    say(Request::set_features, encode_number((features & 1 ? u64{1} << 15 : 0) | (features & 2 ? u64{1} << 29 : 0) |
                                             u64{1} << 28 | u64{1} << 32));
    say(Request::set_mem_table, encode_regions(std::vector<Region>{memory()}), {bench_.ram->fd()});
    for (unsigned ring = 0; ring < 2; ++ring) {
      const u64 at = kRings + ring * 0x4000;
      say(Request::set_vring_num, encode_ring(RingNumber{ring, kEntries}));
      say(Request::set_vring_addr,
          encode_ring(RingAddress{.ring = ring, .descriptors = at, .used = at + 0x2000, .available = at + 0x1000}));
      say(Request::set_vring_call, encode_ring(RingDescriptor{u8(ring)}), {event_.fd()});
      say(Request::set_vring_kick, encode_ring(RingDescriptor{u8(ring)}), {kick_[ring].fd()});
    }
  }
  // Bytes go where rings and small buffers are.
  void plant(std::span<const u8> bytes, u16 where) {
    const u64 offset = kRings - Bench::kRamBase + where % 0x9000;
    std::copy(bytes.begin(), bytes.end(), bench_.ram->data() + offset);
  }
  void kick(unsigned ring) {
    kick_[ring % 2].signal();
    settle();
  }
  void give(u8 fill, usize size, bool in_place) {
    net::Port* nic = bench_.peer.peer();
    net::Reservation reservation;
    if (!in_place || !nic->can_reserve()) {
      bench_.peer.give(std::vector<u8>(14 + size, fill));
    } else if (nic->reserve(14 + size, reservation)) {
      for (const net::Piece& piece : reservation.pieces) std::fill_n(piece.data, piece.size, fill);
      if (fill & 1) nic->commit(reservation, 14 + size, {});
      else nic->abort(reservation);
    }
    settle();
  }
  std::vector<int> descriptors(u8 choice) {
    switch (choice % 5) {
      case 1: return {bench_.ram->fd()};
      case 2: return {event_.fd()};
      case 3: return {bench_.ram->fd(), event_.fd()};
      case 4: return {kick_[0].fd()};
      default: return {};
    }
  }
  static Region memory() { return {Bench::kRamBase, Bench::kRamSize, Bench::kRamBase, 0}; }

 private:
  Bench bench_;
  core::Loop loop_{"fuzz"};
  Connection connection_;
  sys::EventFd event_;
  std::array<sys::EventFd, 2> kick_;
  std::optional<VhostServer> server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 8) return 0;
  auto ends = sys::descriptor_channel();
  if (!ends.ok()) return 0;
  FrontEnd front(ends.take());
  if (data[0] & 1) front.start(data[0] >> 1);
  std::span<const u8> rest(data + 1, size - 1);
  for (unsigned step = 0; step < 64 && rest.size() >= 4; ++step) {
    const u8 kind = rest[0], a = rest[1], b = rest[2];
    const usize length = std::min<usize>(rest[3], rest.size() - 4);
    const std::span<const u8> bytes = rest.subspan(4, length);
    switch (kind % 5) {
      case 0: front.say(static_cast<Request>(a % 24), {bytes.begin(), bytes.end()}, front.descriptors(b)); break;
      case 1: front.plant(bytes, static_cast<u16>(a << 8 | b)); break;
      case 2: front.kick(a); break;
      case 3: front.give(a, length * 20, b & 1); break;
      case 4:
        front.say(static_cast<Request>(8 + a % 4), encode_ring(RingNumber{b % 3u, static_cast<u32>(length)}));
        break;
    }
    rest = rest.subspan(4 + (kind % 5 < 2 ? length : 0));
  }
  return 0;
}
