// SPDX-License-Identifier: MIT
// virtio-net-device (VIRTIO 1.2, section 5.1): one pair of queues and a control queue.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/device_type.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_net_filter.h"
#include "net/announcer.h"
#include "net/ring_server.h"

namespace rhea::devices {

struct VirtioNetConfig {
  u64 mac = 0;
  std::string netdev;
  bool csum = true, guest_csum = true, gso = true;
  bool guest_tso4 = true, guest_tso6 = true, guest_ecn = true, guest_uso4 = true, guest_uso6 = true;
  bool host_tso4 = true, host_tso6 = true, host_ecn = true, host_uso = true;
  bool mrg_rxbuf = true, status = true;
  bool ctrl_vq = true, ctrl_rx = true, ctrl_vlan = true, ctrl_rx_extra = true, ctrl_mac_addr = true;
  bool ctrl_guest_offloads = true, guest_announce = true;
  bool event_idx = true, indirect_desc = true, any_layout = true, notify_on_empty = true, queue_reset = true;
  u16 host_mtu = 0;
  u16 rx_queue_size = 256, tx_queue_size = 256;
  // What is known and cannot be had: on is refused.
  bool guest_ufo = false, host_ufo = false, mq = false, rss = false, hash = false, guest_rsc_ext = false;
  bool packed = false, iommu_platform = false, failover = false;
  std::string tx = "bh";
};

class VirtioNet final : public VirtioDevice,
                        public RxFilterInsight,
                        public HasPort,
                        public net::Port,
                        public net::RingOwner,
                        public net::Announcer {
 public:
  VirtioNet(const DeviceContext& context, const VirtioNetConfig& config);
  ~VirtioNet() override;

  net::Port* port() override { return this; }

  // --- Device and VirtioDevice: under the machine loop's lock
  void reset(ResetKind kind) override;
  void fields(Visitor& visitor) override;
  void set_running(bool running) override;
  void attach(VirtioTransport* transport) override;
  u32 device_id() const override { return 1; }
  unsigned queue_count() const override { return config_.ctrl_vq ? 3 : 2; }
  u16 queue_limit(unsigned queue) const override;
  u64 offered_features() const override;
  bool accept_features(u64 features) override;
  u32 read_config(u32 offset, unsigned size) override;
  void write_config(u32 offset, u32 value, unsigned size) override;
  void start_queue(unsigned queue, const QueueLayout& layout) override;
  void stop_queue(unsigned queue) override;
  void notify(unsigned queue) override;
  void set_driver_ready(bool ready) override;
  void driver_reset() override;
  VirtqueueView virtqueue_view(unsigned queue) override;
  Result<VirtqueueElement> virtqueue_element(unsigned queue, u16 index) override;
  RxFilterView rx_filter_view() override;

  // --- net::Port: on the network loop
  net::Caps caps() const override;
  net::Sent send(const net::Frame& frame) override;
  bool can_reserve() const override;
  bool reserve(usize bytes, net::Reservation& reservation) override;
  void commit(net::Reservation& reservation, usize used, const net::Offload& offload) override;
  void abort(net::Reservation& reservation) override;
  void on_room() override;
  void on_link(bool up) override;
  void announce() override;
  // --- net::RingOwner: on the network loop (virtio_net_rings.cpp)
  void server_changed() override;
  void ring_used(unsigned ring) override;

  // --- For a server that has rings of another process's guest (vhost_server.h), on the network loop. Frames for a ring
  // that is stopped wait. `next`: where to go on in the available ring. False: the ring makes no sense.
  bool start_ring(unsigned ring, const QueueLayout& layout, u16 next);
  // Returns where to go on. Nothing of the ring is in hand any more.
  u16 stop_ring(unsigned ring);
  void set_mtu(u16 bytes);

  std::string type() const override { return "nic"; }
  std::string info() const override;

 protected:
  const Virtqueue& queue_to_view(unsigned index) const override {
    return index == kReceive ? receive_queue_ : index == kTransmit ? transmit_queue_ : control_queue_;
  }

 private:
  enum Queue : unsigned { kReceive, kTransmit, kControl };
  enum class Collected : u8 { yes, none, too_small };
  struct Life {
    VirtioNet* device;
  };

  bool live(const Virtqueue& queue) const {
    return driver_ready_ && queue.running() && (!lent_to_ || &queue == &control_queue_);
  }
  bool has_link() const { return link_up_ && carrier_; }
  void tell_of_link();
  Virtqueue& queue(unsigned index);
  void kick(unsigned queue);
  void kicked();
  void report_broken();
  void halt_queue(unsigned index);

  // Rings that the peer serves (virtio_net_rings.cpp).
  void settle_rings();
  void keep_rings(bool keep);
  void lend_rings(net::RingServer& server);
  void take_rings_back(bool server_is_there);
  bool kick_server(unsigned ring);
  unsigned let_go(unsigned ring);
  std::vector<net::SharedMemory> shared_memory() const;

  // Receive.
  Collected collect(usize bytes, std::vector<Chain>& chains);
  void put_back(std::vector<Chain>& chains, usize from);
  void deliver(std::vector<Chain>& chains, usize frame_size, const net::Offload& offload);
  void stop_receive();
  usize header_size() const { return header_size_; }

  // Transmit.
  void run_transmit();
  net::Sent transmit(const Chain& chain);
  bool read_header(const Chain& chain, usize frame_size, net::Offload& offload) const;

  // Control (virtio_net_control.cpp).
  void run_control();
  bool control_command(u8 type, u8 command, std::span<const u8> data);
  bool control_receive(u8 command, std::span<const u8> data);
  bool control_mac(u8 command, std::span<const u8> data);
  bool control_vlan(u8 command, std::span<const u8> data);
  bool control_offloads(u8 command, std::span<const u8> data);
  bool set_mac_table(std::span<const u8> data);
  std::array<u8, 12> config_space() const;
  void apply_guest_offloads(u64 features);
  void filter_changed();

  VirtioNetConfig config_;
  memory::AddressSpace& memory_;
  EventLoop& loop_;
  EventLoop& net_loop_;
  Log& log_;
  MachineRequests& machine_;
  std::shared_ptr<Life> life_;

  // Guards everything below, but for atomics. Held by the network's thread for a few frames at a time, and from
  // reserve() to commit() or abort(); a reset by the driver waits for it, and so knows that nothing touches the
  // guest's memory any more. Who holds it takes no loop's lock.
  mutable RecursiveLock mutex_;
  Virtqueue receive_queue_, transmit_queue_, control_queue_;
  u64 features_ = 0;
  bool driver_ready_ = false;
  MacAddress mac_{};
  VirtioNetFilter filter_;
  bool tell_of_filter_ = true;  // until it was looked at, a change is told of once
  bool announce_ = false;
  bool broken_reported_ = false;
  usize header_size_ = 10;
  bool mergeable_ = false;

  std::deque<Chain> ready_;      // taken from the receive queue and not used yet
  std::vector<Chain> filling_;   // of send()
  std::vector<Chain> reserved_;  // lent by reserve()
  std::array<net::Piece, net::kMaxSegments> reserved_pieces_{};
  bool lent_ = false;
  std::vector<Chain> spare_;  // memory of chains that are gone
  Chain transmitting_;
  bool transmit_held_ = false;  // `transmitting_` waits for the peer
  std::vector<u8> linear_;
  bool holds_frames_ = false;  // start_ring() was called

  // A peer that serves the rings itself. They are lent while the machine runs, the driver is ready and there is a link.
  net::RingServer* lent_to_ = nullptr;
  bool running_ = false;         // the machine
  bool keep_rings_ = false;      // not now
  bool lending_failed_ = false;  // until the server or the driver changes
  u64 served_features_ = ~u64{0};
  std::atomic<bool> served_{false};
  std::atomic<bool> carrier_{true};  // false: the server has gone

  std::atomic<u64> guest_offloads_{0};  // those of the GUEST_ features that are in force
  std::atomic<bool> lends_{false};      // can_reserve()
  std::atomic<bool> link_up_{true};
  std::atomic<bool> starved_{false};  // the peer waits for on_room()
  std::atomic<bool> kick_posted_{false};
  std::atomic<u32> kicks_{0};  // bits by queue
};

}  // namespace rhea::devices
