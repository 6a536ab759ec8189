// SPDX-License-Identifier: MIT
// How it works.
//
// The driver's notifications set a bit and post one piece of work to the network's loop for all that came since.
// There kicked() sends what is in the transmit queue to the peer, straight from the guest's memory, and tells a
// peer that waited for receive buffers to go on.
//
// Receiving takes chains from the receive queue as far as a frame needs (several with mergeable buffers), fills
// them, and gives them back. reserve() lends them to the peer to fill; what is not used stays in `ready_` for the
// next frame. When there are no buffers the peer is told so, and the driver is asked to notify.
//
// Transmitting: a chain's first bytes are the virtio header, the rest the frame. When the peer is busy the chain is
// held; on_room() goes on with it.
//
// The control queue is served on the CPU's thread while it notifies: drivers wait for the answer in a loop.
#include "devices/virtio/virtio_net.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/virtio/virtio_net_features.h"
#include "net/vnet_header.h"
#include "util/bits.h"

namespace rhea::devices {

using namespace virtio_net;

namespace {

// struct virtio_net_hdr, section 5.1.6.
constexpr u8 kNeedsCsum = 1;
constexpr usize kShortHeader = 10;  // without num_buffers
constexpr usize kLongHeader = net::kVnetHeader;
constexpr unsigned kBatch = 64;                         // frames in a row, before the loop gets to others
constexpr usize kLargestFrame = net::kMaxGsoFrame + 4;  // with a VLAN tag
constexpr u16 kControlQueueSize = 64;

MacAddress to_address(u64 mac) {
  MacAddress bytes;
  for (unsigned i = 0; i < 6; ++i) bytes[i] = static_cast<u8>(mac >> (40 - 8 * i));
  return bytes;
}

}  // namespace

VirtioNet::VirtioNet(const DeviceContext& context, const VirtioNetConfig& config)
    : Port(context.id), config_(config), memory_(context.memory), loop_(context.loop), net_loop_(context.net_loop),
      log_(context.log), machine_(context.machine), life_(std::make_shared<Life>(Life{this})),
      receive_queue_(context.memory, context.log, context.id + ".rx"),
      transmit_queue_(context.memory, context.log, context.id + ".tx"),
      control_queue_(context.memory, context.log, context.id + ".ctrl"), mac_(to_address(config.mac)) {
  if (!context.netdev) return;
  std::lock_guard lock(net_loop_.lock());
  connect(*this, *context.netdev);
  if (const auto* server = dynamic_cast<net::RingServer*>(context.netdev)) {
    served_ = true;
    served_features_ = server->limit(~u64{0});
  }
}

VirtioNet::~VirtioNet() {
  std::scoped_lock lock(loop_.lock(), net_loop_.lock());
  life_->device = nullptr;
  disconnect(*this);
}

void VirtioNet::attach(VirtioTransport* transport) {
  std::lock_guard lock(mutex_);
  VirtioDevice::attach(transport);
}

std::string VirtioNet::info() const {
  std::lock_guard lock(mutex_);
  u64 mac = 0;
  for (u8 byte : mac_) mac = mac << 8 | byte;
  return "model=virtio-net-device,macaddr=" + format_mac(mac);
}

// --- set-up -------------------------------------------------------------------------------------------------------

Virtqueue& VirtioNet::queue(unsigned index) {
  return index == kReceive ? receive_queue_ : index == kTransmit ? transmit_queue_ : control_queue_;
}

u16 VirtioNet::queue_limit(unsigned index) const {
  return index == kReceive ? config_.rx_queue_size : index == kTransmit ? config_.tx_queue_size : kControlQueueSize;
}

u64 VirtioNet::offered_features() const {
  const VirtioNetConfig& c = config_;
  const auto when = [](bool condition, u64 feature) { return condition ? feature : 0; };
  const bool host_sum = c.csum, guest_sum = c.guest_csum;
  u64 features = kMac | when(c.csum, kCsum) | when(c.guest_csum, kGuestCsum) | when(c.gso && host_sum, kGso) |
                 when(c.guest_tso4 && guest_sum, kGuestTso4) | when(c.guest_tso6 && guest_sum, kGuestTso6) |
                 when(c.guest_ecn && guest_sum && (c.guest_tso4 || c.guest_tso6), kGuestEcn) |
                 when(c.guest_uso4 && guest_sum, kGuestUso4) | when(c.guest_uso6 && guest_sum, kGuestUso6) |
                 when(c.host_tso4 && host_sum, kHostTso4) | when(c.host_tso6 && host_sum, kHostTso6) |
                 when(c.host_ecn && host_sum && (c.host_tso4 || c.host_tso6), kHostEcn) |
                 when(c.host_uso && host_sum, kHostUso) | when(c.mrg_rxbuf, kMrgRxbuf) | when(c.status, kStatus) |
                 when(c.host_mtu, kMtu);
  if (c.ctrl_vq)
    features |= kCtrlVq | when(c.ctrl_rx, kCtrlRx) | when(c.ctrl_vlan, kCtrlVlan) |
                when(c.ctrl_rx && c.ctrl_rx_extra, kCtrlRxExtra) | when(c.ctrl_mac_addr, kCtrlMacAddr) |
                when(c.ctrl_guest_offloads, kCtrlGuestOffloads) | when(c.status && c.guest_announce, kGuestAnnounce);
  features |= when(c.notify_on_empty, virtio::kNotifyOnEmpty) | when(c.any_layout, virtio::kAnyLayout) |
              when(c.indirect_desc, virtio::kIndirectDesc) | when(c.event_idx, virtio::kEventIdx) |
              when(c.queue_reset, virtio::kRingReset);
  return features & served_features_;
}

void VirtioNet::apply_guest_offloads(u64 features) {
  guest_offloads_ = features & kGuestOffloads;
  // Buffers are lent only where a frame of the largest kind fits: several small ones, or single big ones.
  lends_ = mergeable_ || (features & (kGuestTso4 | kGuestTso6));
}

bool VirtioNet::accept_features(u64 features) {
  std::lock_guard lock(mutex_);
  features_ = features;
  lending_failed_ = false;
  mergeable_ = features & kMrgRxbuf;
  header_size_ = (features & (kMrgRxbuf | virtio::kVersion1)) ? kLongHeader : kShortHeader;
  filter_.filter_vlans = features & kCtrlVlan;
  apply_guest_offloads(features);
  return true;
}

// Section 5.1.4: mac, status, max_virtqueue_pairs, mtu.
std::array<u8, 12> VirtioNet::config_space() const {
  std::array<u8, 12> space{};
  std::lock_guard lock(mutex_);
  std::copy(mac_.begin(), mac_.end(), space.begin());
  store_le<u16>(&space[6], static_cast<u16>((has_link() ? 1 : 0) | (announce_ ? 2 : 0)));
  store_le<u16>(&space[8], 1);
  store_le<u16>(&space[10], config_.host_mtu);
  return space;
}

u32 VirtioNet::read_config(u32 offset, unsigned size) {
  const std::array<u8, 12> space = config_space();
  u32 value = 0;
  for (unsigned i = 0; i < size; ++i)
    if (offset + i < space.size()) value |= u32{space[offset + i]} << (8 * i);
  return value;
}

// A legacy driver sets the address so (section 5.1.4.1); a newer one uses the control queue.
void VirtioNet::write_config(u32 offset, u32 value, unsigned size) {
  std::lock_guard lock(mutex_);
  if (features_ & (virtio::kVersion1 | kCtrlMacAddr)) return;
  for (unsigned i = 0; i < size; ++i)
    if (offset + i < mac_.size()) mac_[offset + i] = static_cast<u8>(value >> (8 * i));
}

void VirtioNet::start_queue(unsigned index, const QueueLayout& layout) {
  {
    std::lock_guard lock(mutex_);
    if (!queue(index).start(layout, features_)) report_broken();
  }
  settle_rings();
}

void VirtioNet::stop_queue(unsigned index) {
  keep_rings(true);
  {
    std::lock_guard lock(mutex_);
    halt_queue(index);
  }
  keep_rings(false);
}

void VirtioNet::halt_queue(unsigned index) {
  if (index == kReceive) stop_receive();
  if (index == kTransmit) transmit_held_ = false;
  queue(index).stop();
}

// Chains that were taken are forgotten; a peer that waits for buffers is told to try again.
void VirtioNet::stop_receive() {
  for (Chain& chain : ready_) spare_.push_back(std::move(chain));
  ready_.clear();
  if (starved_) kick(kReceive);
}

void VirtioNet::set_driver_ready(bool ready) {
  {
    std::lock_guard lock(mutex_);
    driver_ready_ = ready;
    if (ready) {
      run_control();
      kick(kReceive);
      kick(kTransmit);
    }
  }
  settle_rings();
}

void VirtioNet::driver_reset() {
  {
    std::lock_guard lock(mutex_);
    driver_ready_ = false;
  }
  settle_rings();
  std::lock_guard lock(mutex_);
  broken_reported_ = announce_ = false;
  for (unsigned index = 0; index < 3; ++index) halt_queue(index);
  features_ = 0;
  mergeable_ = false;
  header_size_ = kShortHeader;
  mac_ = to_address(config_.mac);
  filter_.reset();
  apply_guest_offloads(0);
}

void VirtioNet::reset(ResetKind) { driver_reset(); }

void VirtioNet::fields(Visitor& visitor) {
  std::lock_guard lock(mutex_);
  visitor.field("features", features_);
  visitor.field("driver_ready", driver_ready_);
  visitor.field("mac", mac_);
  visitor.field("announce", announce_);
  u64 offloads = guest_offloads_;
  visitor.field("guest_offloads", offloads);
  filter_.fields(visitor);
  // Chains that were taken and not used are put back by name: their heads.
  std::vector<u8> heads;
  for (const Chain& chain : ready_) {
    heads.push_back(static_cast<u8>(chain.head));
    heads.push_back(static_cast<u8>(chain.head >> 8));
  }
  visitor.bytes("taken_receive_heads", heads, 2 * 1024);
  receive_queue_.fields(visitor);
  transmit_queue_.fields(visitor);
  control_queue_.fields(visitor);
  if (!visitor.restoring()) return;
  const u64 features = features_;
  accept_features(features);
  apply_guest_offloads(offloads);
  ready_.clear();
  for (usize at = 0; at + 2 <= heads.size(); at += 2) {
    Chain chain;
    if (receive_queue_.running() && receive_queue_.read_chain(load_le<u16>(&heads[at]), chain))
      ready_.push_back(std::move(chain));
  }
  if (driver_ready_) {
    kick(kReceive);
    kick(kTransmit);
  }
}

// --- notifications ------------------------------------------------------------------------------------------------

void VirtioNet::notify(unsigned index) {
  if (index == kControl) {
    std::lock_guard lock(mutex_);
    run_control();
  } else if (!kick_server(index)) {
    kick(index);
  }
}

void VirtioNet::kick(unsigned index) {
  kicks_.fetch_or(1u << index);
  if (kick_posted_.exchange(true)) return;
  net_loop_.post([life = life_] {
    if (life->device) life->device->kicked();
  });
}

void VirtioNet::kicked() {
  kick_posted_ = false;
  const u32 kicks = kicks_.exchange(0);
  if (kicks & 1u << kTransmit) run_transmit();
  if ((kicks & 1u << kReceive) && starved_.exchange(false) && peer()) peer()->on_room();
}

void VirtioNet::report_broken() {
  if (std::exchange(broken_reported_, true) || !transport_) return;
  transport_->needs_reset();
}

void VirtioNet::on_link(bool up) {
  served_ = dynamic_cast<net::RingServer*>(peer()) != nullptr;
  if (!served_) carrier_ = true;
  if (link_up_.exchange(up) != up) tell_of_link();
  settle_rings();
}

void VirtioNet::tell_of_link() {
  std::lock_guard lock(mutex_);
  if (transport_ && (features_ & kStatus)) transport_->interrupt_config();
}

// Section 5.1.6.5.4: the driver sends what its protocols have for it, and acknowledges by the control queue.
void VirtioNet::announce() {
  std::lock_guard lock(mutex_);
  if (!driver_ready_ || !(features_ & kGuestAnnounce)) return;
  announce_ = true;
  if (transport_) transport_->interrupt_config();
}

// --- receive ------------------------------------------------------------------------------------------------------

net::Caps VirtioNet::caps() const {
  const u64 offloads = guest_offloads_;
  net::Caps caps;
  caps.checksum = offloads & kGuestCsum;
  caps.tso4 = offloads & kGuestTso4;
  caps.tso6 = offloads & kGuestTso6;
  caps.uso = (offloads & kGuestUso4) && (offloads & kGuestUso6);
  caps.max_frame = (config_.host_mtu ? config_.host_mtu : 1500u) + net::kEthernetHeader + 4;  // and a VLAN tag
  return caps;
}

// Takes chains for `bytes`, header included.
VirtioNet::Collected VirtioNet::collect(usize bytes, std::vector<Chain>& chains) {
  u64 have = 0;
  while (have < bytes) {
    if (!ready_.empty()) {
      chains.push_back(std::move(ready_.front()));
      ready_.pop_front();
    } else {
      Chain chain;
      if (!spare_.empty()) {
        chain = std::move(spare_.back());
        spare_.pop_back();
      }
      Virtqueue::Taken taken = receive_queue_.take(chain);
      if (taken == Virtqueue::Taken::none && receive_queue_.enable_notification()) taken = receive_queue_.take(chain);
      if (taken != Virtqueue::Taken::chain) {
        if (taken == Virtqueue::Taken::broken) report_broken();
        spare_.push_back(std::move(chain));
        put_back(chains, 0);
        return Collected::none;
      }
      chains.push_back(std::move(chain));
    }
    have += chains.back().writable_bytes;
    if (chains.back().writable_bytes < header_size_ || (!mergeable_ && have < bytes)) {
      put_back(chains, 0);
      return Collected::too_small;
    }
  }
  return Collected::yes;
}

// Chains from number `from` on go to where they came from; the others' memory is kept.
void VirtioNet::put_back(std::vector<Chain>& chains, usize from) {
  while (chains.size() > from) {
    ready_.push_front(std::move(chains.back()));
    chains.pop_back();
  }
  for (Chain& chain : chains) spare_.push_back(std::move(chain));
  chains.clear();
}

// Chains hold a frame behind the header's place: writes the header and gives back what was used.
void VirtioNet::deliver(std::vector<Chain>& chains, usize frame_size, const net::Offload& offload) {
  usize left = header_size_ + frame_size;
  std::array<u32, 1024> used;
  usize count = 0;
  while (left && count < chains.size() && count < used.size()) {
    used[count] = static_cast<u32>(std::min<u64>(left, chains[count].writable_bytes));
    left -= used[count++];
  }
  net::Offload told = offload;
  if (!(guest_offloads_ & kGuestCsum)) told.needs_checksum = told.checksum_valid = false;
  std::array<u8, net::kVnetHeader> header;
  net::write_vnet_header(told, header);
  store_le<u16>(&header[10], static_cast<u16>(count));
  receive_queue_.write(chains[0], 0, header.data(), header_size_);
  for (usize i = 0; i < count; ++i) {
    receive_queue_.wrote(chains[i], used[i]);
    receive_queue_.give_back(chains[i].head, used[i]);
  }
  put_back(chains, count);
  ++counters_.frames_in;
  counters_.bytes_in += frame_size;
  if (receive_queue_.publish() && transport_) transport_->interrupt_queue(kReceive);
}

net::Sent VirtioNet::send(const net::Frame& frame) {
  std::lock_guard lock(mutex_);
  const usize size = frame.size();
  if (holds_frames_ && !receive_queue_.running()) {
    starved_ = true;  // until the ring is started again
    return net::Sent::busy;
  }
  // Buffers go back to the driver in the order in which they came, also those that are lent now: a ring that stops has
  // one position from where it goes on.
  if (lent_) {
    starved_ = true;
    kick(kReceive);
    return net::Sent::busy;
  }
  if (!live(receive_queue_) || !link_up_ || size < net::kEthernetHeader || size > kLargestFrame) {
    ++counters_.dropped;
    return net::Sent::dropped;
  }
  std::array<u8, 18> start;
  const usize start_size = frame.copy(0, start.data(), start.size());
  if (!filter_.accepts({start.data(), start_size}, mac_)) return net::Sent::taken;
  switch (collect(header_size_ + size, filling_)) {
    case Collected::yes: break;
    case Collected::none:
      if (!receive_queue_.running()) return net::Sent::dropped;
      starved_ = true;
      // Buffers that came while this was found out would be announced to nobody.
      if (receive_queue_.has_available()) kick(kReceive);
      return net::Sent::busy;
    case Collected::too_small: ++counters_.dropped; return net::Sent::dropped;
  }
  usize chain = 0, buffer = 0, at = header_size_;  // where the next byte goes
  const auto settle = [&] {
    while (chain < filling_.size() &&
           (buffer >= filling_[chain].writable.size() || at >= filling_[chain].writable[buffer].size)) {
      if (buffer < filling_[chain].writable.size()) at -= filling_[chain].writable[buffer++].size;
      if (buffer >= filling_[chain].writable.size()) ++chain, buffer = 0;
    }
  };
  for (const net::Piece& piece : frame.pieces) {
    for (usize done = 0; done < piece.size;) {
      settle();
      if (chain == filling_.size()) break;
      const GuestBuffer& to = filling_[chain].writable[buffer];
      const usize part = std::min<usize>(piece.size - done, to.size - at);
      std::memcpy(to.data + at, piece.data + done, part);
      done += part;
      at += part;
    }
  }
  deliver(filling_, size, frame.offload);
  return net::Sent::taken;
}

bool VirtioNet::can_reserve() const { return lends_; }

bool VirtioNet::reserve(usize bytes, net::Reservation& reservation) {
  mutex_.lock();  // until commit() or abort()
  const auto refuse = [this] {
    mutex_.unlock();
    return false;
  };
  if (lent_) return refuse();
  if (!live(receive_queue_)) {
    starved_ = true;  // the driver's next start ends it
    return refuse();
  }
  const Collected collected = collect(header_size_ + bytes, reserved_);
  if (collected != Collected::yes) {
    if (collected == Collected::too_small) lends_ = false;  // copying handles what such buffers hold
    starved_ = true;
    if (collected == Collected::too_small || receive_queue_.has_available()) kick(kReceive);
    return refuse();
  }
  usize count = 0, skip = header_size_;
  u64 pieces = 0;
  for (const Chain& chain : reserved_) pieces += chain.writable.size();
  if (pieces > reserved_pieces_.size() + 1) {
    put_back(reserved_, 0);
    lends_ = false;  // so many small buffers cannot be lent: frames are copied into them
    starved_ = true;
    kick(kReceive);
    return refuse();
  }
  for (const Chain& chain : reserved_) {
    for (const GuestBuffer& buffer : chain.writable) {
      if (skip >= buffer.size) {
        skip -= buffer.size;
        continue;
      }
      if (count == reserved_pieces_.size()) break;
      reserved_pieces_[count++] = {buffer.data + skip, buffer.size - skip};
      skip = 0;
    }
  }
  lent_ = true;
  reservation.pieces = std::span(reserved_pieces_).first(count);
  reservation.token = 1;
  return true;
}

void VirtioNet::commit(net::Reservation& reservation, usize used, const net::Offload& offload) {
  if (!std::exchange(lent_, false)) return;
  std::array<u8, 18> start;
  const net::Frame frame{reservation.pieces, {}};
  const usize start_size = std::min<usize>(frame.copy(0, start.data(), start.size()), used);
  if (used < net::kEthernetHeader || !filter_.accepts({start.data(), start_size}, mac_)) put_back(reserved_, 0);
  else deliver(reserved_, used, offload);
  reservation = {};
  mutex_.unlock();
}

void VirtioNet::abort(net::Reservation& reservation) {
  if (!std::exchange(lent_, false)) return;
  put_back(reserved_, 0);
  reservation = {};
  mutex_.unlock();
}

// --- transmit -----------------------------------------------------------------------------------------------------

bool VirtioNet::read_header(const Chain& chain, usize frame_size, net::Offload& offload) const {
  std::array<u8, net::kVnetHeader> raw{};
  Virtqueue::read(chain, 0, raw.data(), header_size_);
  // Of the flags a driver may set only this one, and only where it was negotiated.
  raw[0] &= features_ & kCsum ? kNeedsCsum : 0;
  if (!net::read_vnet_header(raw, frame_size, offload)) return false;
  switch (offload.gso) {
    case net::Offload::none: return true;
    case net::Offload::tcp4: return features_ & (kHostTso4 | kGso);
    case net::Offload::tcp6: return features_ & (kHostTso6 | kGso);
    default: return features_ & (kHostUso | kGso);
  }
}

net::Sent VirtioNet::transmit(const Chain& chain) {
  const u64 total = chain.readable_bytes;
  if (total < header_size_ + net::kEthernetHeader || total > header_size_ + kLargestFrame) {
    log_.guest_error("{}: a frame of {} bytes with its header: it takes {} to {}", name(), total,
                     header_size_ + net::kEthernetHeader, header_size_ + kLargestFrame);
    return net::Sent::dropped;
  }
  const usize size = total - header_size_;
  net::Frame frame;
  if (!read_header(chain, size, frame.offload)) {
    log_.guest_error("{}: a frame whose header makes no sense", name());
    return net::Sent::dropped;
  }
  std::array<net::Piece, net::kMaxSegments> pieces;
  usize count = 0, skip = header_size_;
  bool fits = true;
  for (const GuestBuffer& buffer : chain.readable) {
    if (skip >= buffer.size) {
      skip -= buffer.size;
      continue;
    }
    if (count == pieces.size()) {
      fits = false;
      break;
    }
    pieces[count++] = {buffer.data + skip, buffer.size - skip};
    skip = 0;
  }
  // Too many pieces, or an Ethernet header in two: one piece is made of them.
  if (!fits || pieces[0].size < net::kEthernetHeader) {
    linear_.resize(size);
    Virtqueue::read(chain, header_size_, linear_.data(), size);
    pieces[0] = {linear_.data(), size};
    count = 1;
  }
  frame.pieces = std::span(pieces).first(count);
  return net::send_to_peer(*this, frame);
}

void VirtioNet::run_transmit() {
  std::lock_guard lock(mutex_);
  if (!live(transmit_queue_)) return;
  // What is in the ring is for the server when it comes to it; what is sent while there is none is lost.
  if (served_ && (!running_ || has_link())) return;
  transmit_queue_.disable_notification();
  bool more = true;
  for (unsigned sent = 0; more && sent < kBatch;) {
    if (!transmit_held_) {
      const Virtqueue::Taken taken = transmit_queue_.take(transmitting_);
      if (taken == Virtqueue::Taken::broken) report_broken();
      if (taken != Virtqueue::Taken::chain) {
        more = taken == Virtqueue::Taken::none && transmit_queue_.enable_notification();
        continue;
      }
    }
    transmit_held_ = has_link() && transmit(transmitting_) == net::Sent::busy;
    if (transmit_held_) {
      more = false;
      break;
    }
    if (!live(transmit_queue_)) return;
    transmit_queue_.give_back(transmitting_.head, 0);
    ++sent;
  }
  if (transmit_queue_.publish() && transport_) transport_->interrupt_queue(kTransmit);
  if (more) kick(kTransmit);
}

void VirtioNet::on_room() { run_transmit(); }

}  // namespace rhea::devices
