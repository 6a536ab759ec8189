// SPDX-License-Identifier: MIT
// A ring is started when its size, place, position and kick descriptor are known, and it is enabled (or that was not
// agreed on). GET_VRING_BASE stops it, and so for a moment does whatever changes under a running one: memory, features,
// addresses.
#include "devices/virtio/vhost_server.h"

#include "devices/virtio/virtio_net_features.h"
#include "net/announcer.h"
#include "net/vhost/client.h"
#include "util/bits.h"

namespace rhea::devices {

using net::vhost::Message;
using net::vhost::Region;
using net::vhost::Request;
using net::vhost::RingAddress;
using net::vhost::RingNumber;

namespace {

constexpr u64 kProtocolOffered = net::vhost::kProtocolRarp | net::vhost::kProtocolReplyAck | net::vhost::kProtocolMtu;
constexpr u16 kLargestRing = 1024;
constexpr unsigned kMostTables = 10'000;  // of one connection: each leaves a little memory behind
constexpr u64 kLeastMtu = 68, kMostMtu = 65535;
constexpr unsigned kMessagesInARow = 64;

// What the front end keeps for itself: the control queue, and what goes by the configuration space.
VirtioNetConfig data_path() {
  VirtioNetConfig config;
  config.ctrl_vq = config.status = config.guest_announce = false;
  config.rx_queue_size = config.tx_queue_size = kLargestRing;
  return config;
}

Error bad_payload(const Message& message) {
  return Error("the front end sent {} with {} bytes that make no sense", name_of(message.request),
               message.payload.size());
}

}  // namespace

class VhostServer::NoMachine final : public MachineRequests {
 public:
  void request_shutdown() override {}
  void request_reset() override {}
  void tell(std::string, std::string, const Device*) override {}
};

VhostServer::VhostServer(EventLoop& loop, Clock& clock, Log& log, net::Port& netdev, sys::Fd socket, Hooks hooks)
    : loop_(loop), log_(log), hooks_(std::move(hooks)), netdev_(netdev), connection_(std::move(socket)),
      machine_(std::make_unique<NoMachine>()), space_("vhost-user", log) {
  const DeviceContext context{.id = "vhost-user",
                              .memory = space_,
                              .loop = loop,
                              .net_loop = loop,
                              .clock = clock,
                              .host_clock = clock,
                              .log = log,
                              .machine = *machine_,
                              .irqs = {},
                              .netdev = &netdev};
  device_ = std::make_unique<VirtioNet>(context, data_path());
  device_->attach(this);
  watch_ = loop_.watch(connection_.fd(), kReadable, [this](u32) { on_readable(); });
}

VhostServer::~VhostServer() {
  *alive_ = false;
  watch_.reset();
  for (Ring& ring : rings_) ring.watch.reset();
  device_->attach(nullptr);
  device_.reset();
  // Whoever waited for this guest's room shall not wait for ever.
  netdev_.on_room();
}

void VhostServer::end(std::string why) {
  if (std::exchange(ended_, true)) return;
  watch_.reset();
  for (unsigned number = 0; number < net::kRings; ++number) {
    stop(number);
    rings_[number].watch.reset();
  }
  connection_.shut();
  loop_.post([this, alive = alive_, why = std::move(why)] {
    if (*alive && hooks_.ended) hooks_.ended(why);
  });
}

// --- VirtioTransport ------------------------------------------------------------------------------------------------

void VhostServer::interrupt_queue(unsigned queue) {
  if (queue < net::kRings && rings_[queue].call) rings_[queue].call->signal();
}

void VhostServer::needs_reset() {
  for (Ring& ring : rings_)
    if (ring.error) ring.error->signal();
  if (hooks_.say) hooks_.say("the guest's rings are in disorder: its driver has to reset the device");
}

// --- messages -------------------------------------------------------------------------------------------------------

void VhostServer::on_readable() {
  for (unsigned i = 0; i < kMessagesInARow && !ended_; ++i) {
    Message message;
    switch (connection_.receive(message)) {
      case net::vhost::Connection::Got::message: take(message); break;
      case net::vhost::Connection::Got::nothing: return;
      case net::vhost::Connection::Got::ended: return end("");
      case net::vhost::Connection::Got::broken: return end(connection_.why());
    }
  }
}

void VhostServer::take(Message& message) {
  Result<Answer> done = handle(message);
  if (!done.ok()) return end(done.error().message());
  Message reply;
  reply.request = message.request;
  reply.is_reply = true;
  if (*done) reply.payload = std::move(**done);
  else if (message.needs_reply && (protocol_ & net::vhost::kProtocolReplyAck))
    reply.payload = net::vhost::encode_number(0);
  else return;
  if (!connection_.send(reply)) end("the front end does not take answers");
}

u64 VhostServer::offered() const {
  return (device_->offered_features() & net::vhost::served_features()) | virtio_net::kMtu | virtio::kVersion1 |
         net::vhost::kFeatureProtocol;
}

Result<VhostServer::Answer> VhostServer::handle(Message& message) {
  const auto number = net::vhost::decode_number(message.payload);
  const auto takes_descriptors = [&] {
    return message.request == Request::set_mem_table || message.request == Request::set_vring_kick ||
           message.request == Request::set_vring_call || message.request == Request::set_vring_err;
  };
  if (message.is_reply) return Error("the front end sent an answer: nobody asked");
  if (!message.descriptors.empty() && !takes_descriptors())
    return Error("the front end sent {} with descriptors", name_of(message.request));
  switch (message.request) {
    case Request::get_features: return Answer(net::vhost::encode_number(offered()));
    case Request::get_protocol_features: return Answer(net::vhost::encode_number(kProtocolOffered));
    case Request::get_queue_num: return Answer(net::vhost::encode_number(1));
    case Request::set_owner: return Answer();
    // Deprecated: back ends are to do nothing but forget rings that are in use.
    case Request::reset_owner:
      for (unsigned ring = 0; ring < net::kRings; ++ring) stop(ring);
      return Answer();
    case Request::set_features:
      if (!number) return bad_payload(message);
      RHEA_TRY(set_features(*number));
      return Answer();
    case Request::set_protocol_features:
      if (!number) return bad_payload(message);
      if (*number & ~kProtocolOffered)
        return Error("the front end wants protocol features that were not offered: {:#x}", *number & ~kProtocolOffered);
      protocol_ = *number;
      return Answer();
    case Request::net_set_mtu:
      if (!number || *number < kLeastMtu || *number > kMostMtu) return bad_payload(message);
      device_->set_mtu(static_cast<u16>(*number));
      return Answer();
    case Request::send_rarp:
      if (!number) return bad_payload(message);
      announce(message.payload);
      return Answer();
    case Request::set_mem_table: RHEA_TRY(set_memory(message)); return Answer();
    default: return handle_ring(message);
  }
}

Result<VhostServer::Answer> VhostServer::handle_ring(Message& message) {
  switch (message.request) {
    case Request::set_vring_addr: {
      const auto address = net::vhost::decode_ring_address(message.payload);
      if (!address || address->ring >= net::kRings) return bad_payload(message);
      RHEA_TRY(set_address(*address));
      return Answer();
    }
    case Request::get_vring_base: {
      const auto ring = net::vhost::decode_ring_number(message.payload);
      if (!ring || ring->ring >= net::kRings) return bad_payload(message);
      stop(ring->ring);
      rings_[ring->ring].watch.reset();
      rings_[ring->ring].kick.reset();
      return Answer(net::vhost::encode_ring(RingNumber{ring->ring, rings_[ring->ring].next}));
    }
    case Request::set_vring_num:
    case Request::set_vring_base:
    case Request::set_vring_enable: RHEA_TRY(handle_ring_number(message)); return Answer();
    case Request::set_vring_kick:
    case Request::set_vring_call:
    case Request::set_vring_err: RHEA_TRY(handle_ring_descriptor(message)); return Answer();
    default: return Error("the front end sent {}, which was not offered", name_of(message.request));
  }
}

Result<void> VhostServer::handle_ring_number(const Message& message) {
  const auto given = net::vhost::decode_ring_number(message.payload);
  if (!given || given->ring >= net::kRings) return bad_payload(message);
  Ring& ring = rings_[given->ring];
  if (message.request == Request::set_vring_enable) {
    if (given->value > 1) return bad_payload(message);
    ring.enabled = given->value;
    if (!ring.enabled) stop(given->ring);
    return start_if_complete(given->ring);
  }
  if (ring.started) return Error("the front end sent {} for a ring that is in use", name_of(message.request));
  if (message.request == Request::set_vring_base) {
    if (given->value > 0xffff) return bad_payload(message);
    ring.next = static_cast<u16>(given->value);
  } else {
    if (!is_power_of_two(given->value) || given->value > kLargestRing)
      return Error("the front end has a ring of {} entries: it takes a power of two up to {}", given->value,
                   kLargestRing);
    ring.size = static_cast<u16>(given->value);
  }
  return {};
}

Result<void> VhostServer::handle_ring_descriptor(Message& message) {
  const auto given = net::vhost::decode_ring_descriptor(message.payload);
  if (!given || given->ring >= net::kRings || message.descriptors.size() != (given->none ? 0u : 1u))
    return bad_payload(message);
  Ring& ring = rings_[given->ring];
  std::optional<sys::EventFd> event;
  if (!given->none) {
    event = sys::EventFd::adopt(std::move(message.descriptors[0]));
    if (!event) return Error("the front end sent {} with a descriptor that is no eventfd", name_of(message.request));
  }
  if (message.request == Request::set_vring_err) {
    ring.error = std::move(event);
  } else if (message.request == Request::set_vring_call) {
    ring.call = std::move(event);
    if (ring.call && ring.started) ring.call->signal();  // for what came while there was none
  } else {
    if (!event) return Error("the front end wants its rings to be polled: it has to give kick descriptors");
    ring.watch.reset();
    ring.kick = std::move(event);
    ring.watch = loop_.watch(ring.kick->fd(), kReadable, [this, number = unsigned{given->ring}](u32) {
      rings_[number].kick->clear();
      device_->notify(number);
    });
    return start_if_complete(given->ring);
  }
  return {};
}

Result<void> VhostServer::set_features(u64 features) {
  if (features & ~offered())
    return Error("the front end wants features that were not offered: {:#x}", features & ~offered());
  return with_rings_stopped([&]() -> Result<void> {
    features_ = features;
    device_->accept_features(features & ~net::vhost::kFeatureProtocol);
    return {};
  });
}

void VhostServer::announce(std::span<const u8> payload) {
  std::array<u8, net::kMinFrame> bytes = net::announcement(payload.first<6>());
  const net::Piece piece{bytes.data(), bytes.size()};
  net::send_to_peer(*device_, net::Frame{{&piece, 1}, {}});
}

// --- memory ---------------------------------------------------------------------------------------------------------

Result<void> VhostServer::set_memory(Message& message) {
  const auto regions = net::vhost::decode_regions(message.payload);
  if (!regions || regions->size() != message.descriptors.size()) return bad_payload(message);
  if (++tables_ > kMostTables) return Error("the front end changes its memory again and again");
  return with_rings_stopped([&] { return map_regions(message, *regions); });
}

Result<void> VhostServer::map_regions(Message& message, const std::vector<Region>& regions) {
  std::vector<std::unique_ptr<memory::RamBlock>> blocks;
  const auto start_of = [](const Region& region) { return align_down(region.offset, memory::kPageSize); };
  for (usize i = 0; i < regions.size(); ++i) {
    const Region& region = regions[i];
    const u64 end = align_up(region.offset + region.size, memory::kPageSize);
    if (end < region.offset) return bad_payload(message);
    blocks.push_back(
        RHEA_TRY(memory::RamBlock::adopt(fmt::format("the front end's memory at {:#x}", region.guest),
                                         std::move(message.descriptors[i]), start_of(region), end - start_of(region))));
  }
  space_.begin();
  space_.clear();
  for (usize i = 0; i < regions.size(); ++i)
    space_.add_ram(regions[i].guest, *blocks[i], regions[i].offset - start_of(regions[i]), regions[i].size, false,
                   fmt::format("region{}", i));
  space_.commit();
  blocks_ = std::move(blocks);
  regions_ = regions;
  return {};
}

Result<u64> VhostServer::guest_address(u64 user, u64 size) const {
  for (const Region& region : regions_)
    if (user >= region.user && user - region.user < region.size && size <= region.size - (user - region.user))
      return region.guest + (user - region.user);
  return Error("the front end has a ring at {:#x}, where it shares no memory", user);
}

// --- rings ----------------------------------------------------------------------------------------------------------

Result<void> VhostServer::set_address(const RingAddress& address) {
  if (address.flags & net::vhost::kRingIsLogged)
    return Error("the front end wants writes to be logged, which was not offered");
  return with_rings_stopped([&]() -> Result<void> {
    rings_[address.ring].address = address;
    return {};
  });
}

Result<void> VhostServer::start_if_complete(unsigned number) {
  Ring& ring = rings_[number];
  const bool enabled = ring.enabled || !(features_ & net::vhost::kFeatureProtocol);
  if (ring.started || !ring.size || !ring.address || !ring.kick || !enabled || blocks_.empty()) return {};
  // Section 2.7 of VIRTIO 1.2; with the fields for event indices.
  QueueLayout layout{.size = ring.size};
  layout.descriptors = RHEA_TRY(guest_address(ring.address->descriptors, u64{16} * ring.size));
  layout.available = RHEA_TRY(guest_address(ring.address->available, 6 + u64{2} * ring.size));
  layout.used = RHEA_TRY(guest_address(ring.address->used, 6 + u64{8} * ring.size));
  if (!device_->start_ring(number, layout, ring.next))
    return Error("the front end has a ring {} that makes no sense", number);
  ring.started = true;
  // For what was given back while it was stopped, or by a back end before.
  if (ring.call) ring.call->signal();
  return {};
}

void VhostServer::stop(unsigned number) {
  if (std::exchange(rings_[number].started, false)) rings_[number].next = device_->stop_ring(number);
}

Result<void> VhostServer::with_rings_stopped(const std::function<Result<void>()>& change) {
  std::array<bool, net::kRings> started;
  for (unsigned number = 0; number < net::kRings; ++number) {
    started[number] = rings_[number].started;
    stop(number);
  }
  RHEA_TRY(change());
  for (unsigned number = 0; number < net::kRings; ++number)
    if (started[number]) RHEA_TRY(start_if_complete(number));
  return {};
}

}  // namespace rhea::devices
