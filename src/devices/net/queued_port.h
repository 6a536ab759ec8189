// SPDX-License-Identifier: MIT
// The network port of a NIC whose data passes through registers (programmed I/O): two bounded queues between the
// network loop's thread, where the port lives, and the threads that touch the device under its own loop's lock.
//
//   to the guest:   peer -> send() -> inbox | full: busy, and on_room() once the device has taken the inbox
//                   the device takes the whole inbox at once (next/pop), and arms a wake-up when it is empty
//   from the guest: transmit() -> outbox -> peer, at once where the network's lock is free, and else by one posted
//                   flush for all that came meanwhile
//                   full: transmit() says no, and `room` is called when the net thread has taken the outbox
//
// Neither side waits for the other's lock: the queues have mutexes that are held for a copy or a swap. A network thread
// that rests is not woken for a frame: waking it costs the guest's CPU more than to send the frame itself. What the
// network answers meanwhile (an acknowledgement) is handed over on the spot, too.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/event_loop.h"
#include "core/snapshot.h"
#include "net/port.h"

namespace rhea::devices {

class QueuedPort final : public net::Port {
 public:
  // Called on the device's loop, under its lock.
  struct Hooks {
    std::function<void()> frames_wait;  // after arm(): a frame came
    std::function<void()> room;         // after transmit() said no
    std::function<void(bool)> link;
  };
  struct Loops {
    EventLoop& device;
    EventLoop& net;
  };
  // What becomes of frames for the guest: dropped (a NIC that was never started); held as long as there is room
  // and then dropped (a receiver that pauses); held, with the sender told to wait.
  enum class Intake : u8 { drop, hold, flow };

  QueuedPort(std::string name, std::string info, net::Caps caps, Loops loops, Hooks hooks);
  ~QueuedPort() override;
  void connect_to(net::Port& peer);

  // --- the device's side, under its loop's lock
  void set_intake(Intake intake) { intake_.store(intake, std::memory_order_relaxed); }
  // The oldest frame, valid until pop(); empty if there is none.
  std::span<const u8> next();
  void pop();
  // Asks for one call of frames_wait when the next frame comes. False: one is there already, and nothing is armed.
  bool arm();
  void discard_received();
  // Queues a frame; false when there is no room.
  bool transmit(std::span<const u8> frame);

  // The frames for the guest that the device has not taken yet. (Those from the guest are on their way.) What waited
  // here before a state came is of another past: it is forgotten. The device looks for them itself.
  void fields(Visitor& visitor);

  // --- the network's side
  net::Caps caps() const override { return caps_; }
  net::Sent send(const net::Frame& frame) override;
  void on_room() override;
  void on_link(bool up) override;
  std::string type() const override { return "nic"; }
  std::string info() const override { return info_; }

 private:
  static constexpr usize kQueueBytes = 128 * 1024;

  // Frames one behind the other.
  struct Batch {
    std::vector<u8> bytes;
    std::vector<u32> sizes;
    usize at = 0;      // the next frame
    usize offset = 0;  // where it begins
    bool done() const { return at == sizes.size(); }
    std::span<const u8> front() const { return {bytes.data() + offset, sizes[at]}; }
    void pop() { offset += sizes[at++]; }
    void clear() {
      bytes.clear();
      sizes.clear();
      at = offset = 0;
    }
  };
  // Outlives the port in work that was posted: `port` is cleared under both loops' locks.
  struct Life {
    QueuedPort* port;
  };

  static void pack(const Batch& batch, std::vector<u8>& packed);
  bool take_inbox();
  bool flush_now();
  void flush();
  template <typename Member>
  void post(EventLoop& loop, Member member);

  std::string info_;
  net::Caps caps_;
  Loops loops_;
  Hooks hooks_;
  std::shared_ptr<Life> life_;

  std::mutex inbox_mutex_;
  Batch inbox_;
  std::atomic<Intake> intake_{Intake::drop};
  std::atomic<bool> inbox_waits_{false};  // there is something in the inbox
  std::atomic<bool> armed_{false};
  bool sender_waits_ = false;  // under inbox_mutex_
  Batch received_;             // the device's

  std::mutex outbox_mutex_;
  Batch outbox_;
  bool device_waits_ = false;  // under outbox_mutex_
  std::atomic<bool> flush_posted_{false};
  // The network's, under its loop's lock:
  Batch sending_;
  bool flushes_now_ = false;  // by the device's thread
  bool frames_wait_ = false;  // came meanwhile
};

}  // namespace rhea::devices
