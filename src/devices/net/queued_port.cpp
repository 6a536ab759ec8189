// SPDX-License-Identifier: MIT
#include "devices/net/queued_port.h"

#include <utility>

#include "util/bits.h"

namespace rhea::devices {

QueuedPort::QueuedPort(std::string name, std::string info, net::Caps caps, Loops loops, Hooks hooks)
    : Port(std::move(name)), info_(std::move(info)), caps_(caps), loops_(loops), hooks_(std::move(hooks)),
      life_(std::make_shared<Life>(Life{this})) {}

QueuedPort::~QueuedPort() {
  std::scoped_lock lock(loops_.device.lock(), loops_.net.lock());
  life_->port = nullptr;
  disconnect(*this);
}

void QueuedPort::connect_to(net::Port& peer) {
  std::lock_guard lock(loops_.net.lock());
  connect(*this, peer);
}

template <typename Member>
void QueuedPort::post(EventLoop& loop, Member member) {
  loop.post([life = life_, member] {
    if (life->port) member(*life->port);
  });
}

// --- to the guest -----------------------------------------------------------------------------------------------

net::Sent QueuedPort::send(const net::Frame& frame) {
  const Intake intake = intake_.load(std::memory_order_relaxed);
  const usize size = frame.size();
  if (intake == Intake::drop || size > caps_.max_frame || size == 0) {
    ++counters_.dropped;
    return net::Sent::dropped;
  }
  {
    std::lock_guard lock(inbox_mutex_);
    const usize old = inbox_.bytes.size();
    if (old + size > kQueueBytes) {
      if (intake == Intake::hold) {
        ++counters_.dropped;
        return net::Sent::dropped;
      }
      sender_waits_ = true;
      return net::Sent::busy;
    }
    inbox_.bytes.resize(old + size);
    frame.copy(0, inbox_.bytes.data() + old, size);
    inbox_.sizes.push_back(static_cast<u32>(size));
    inbox_waits_.store(true, std::memory_order_seq_cst);
  }
  ++counters_.frames_in;
  counters_.bytes_in += size;
  if (!armed_.exchange(false)) return net::Sent::taken;
  if (flushes_now_) frames_wait_ = true;
  else post(loops_.device, [](QueuedPort& port) { port.hooks_.frames_wait(); });
  return net::Sent::taken;
}

bool QueuedPort::take_inbox() {
  if (!inbox_waits_.load(std::memory_order_seq_cst)) return false;
  bool tell_sender;
  {
    std::lock_guard lock(inbox_mutex_);
    received_.clear();
    std::swap(received_, inbox_);
    inbox_waits_.store(false, std::memory_order_seq_cst);
    tell_sender = std::exchange(sender_waits_, false);
  }
  if (tell_sender) {
    post(loops_.net, [](QueuedPort& port) {
      if (port.peer()) port.peer()->on_room();
    });
  }
  return !received_.done();
}

std::span<const u8> QueuedPort::next() {
  if (received_.done() && !take_inbox()) return {};
  return received_.front();
}

void QueuedPort::pop() { received_.pop(); }

bool QueuedPort::arm() {
  if (!received_.done()) return false;
  armed_.store(true);
  // A frame that came before this was armed, and found nobody to wake.
  return !(inbox_waits_.load(std::memory_order_seq_cst) && armed_.exchange(false));
}

void QueuedPort::discard_received() {
  take_inbox();
  received_.clear();
}

// Each with its length in front.
void QueuedPort::pack(const Batch& batch, std::vector<u8>& packed) {
  usize offset = batch.offset;
  for (usize at = batch.at; at < batch.sizes.size(); offset += batch.sizes[at++]) {
    packed.resize(packed.size() + 4);
    store_le<u32>(&packed[packed.size() - 4], batch.sizes[at]);
    const u8* frame = batch.bytes.data() + offset;
    packed.insert(packed.end(), frame, frame + batch.sizes[at]);
  }
}

void QueuedPort::fields(Visitor& visitor) {
  std::vector<u8> packed;
  if (!visitor.restoring()) {
    pack(received_, packed);
    std::lock_guard lock(inbox_mutex_);
    pack(inbox_, packed);
  }
  visitor.begin("frames_for_the_guest", 1);
  visitor.bytes("frames", packed, 8 * kQueueBytes);  // small ones have lengths as long as themselves
  visitor.end();
  if (!visitor.restoring()) return;
  discard_received();
  for (usize at = 0; at + 4 <= packed.size();) {
    const u32 size = load_le<u32>(&packed[at]);
    at += 4;
    if (size == 0 || size > caps_.max_frame || size > packed.size() - at) return;
    received_.sizes.push_back(size);
    received_.bytes.insert(received_.bytes.end(), packed.begin() + static_cast<std::ptrdiff_t>(at),
                           packed.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
  }
}

// --- from the guest ---------------------------------------------------------------------------------------------

bool QueuedPort::transmit(std::span<const u8> frame) {
  {
    std::lock_guard lock(outbox_mutex_);
    if (outbox_.bytes.size() + frame.size() > kQueueBytes) {
      device_waits_ = true;
      return false;
    }
    outbox_.bytes.insert(outbox_.bytes.end(), frame.begin(), frame.end());
    outbox_.sizes.push_back(static_cast<u32>(frame.size()));
  }
  if (flush_now()) return true;
  if (!flush_posted_.exchange(true)) post(loops_.net, [](QueuedPort& port) { port.flush(); });
  return true;
}

// On the device's thread. False: the network has work of its own, or is the one who called.
bool QueuedPort::flush_now() {
  bool done, frames_wait;
  {
    std::unique_lock lock(loops_.net.lock(), std::try_to_lock);
    if (!lock || flushes_now_) return false;
    flushes_now_ = true;
    done = loops_.net.run_here([this] { flush(); });
    flushes_now_ = false;
    frames_wait = std::exchange(frames_wait_, false);
  }
  if (frames_wait) hooks_.frames_wait();
  return done;
}

void QueuedPort::flush() {
  flush_posted_.store(false);
  for (;;) {
    if (sending_.done()) {
      bool tell_device;
      {
        std::lock_guard lock(outbox_mutex_);
        sending_.clear();
        std::swap(sending_, outbox_);
        tell_device = std::exchange(device_waits_, false);
      }
      if (tell_device) post(loops_.device, [](QueuedPort& port) { port.hooks_.room(); });
      if (sending_.done()) return;
    }
    const std::span<const u8> frame = sending_.front();
    const net::Piece piece{const_cast<u8*>(frame.data()), frame.size()};
    if (net::send_to_peer(*this, {{&piece, 1}, {}}) == net::Sent::busy) return;  // on_room() goes on
    sending_.pop();
  }
}

void QueuedPort::on_room() { flush(); }

void QueuedPort::on_link(bool up) {
  post(loops_.device, [up](QueuedPort& port) { port.hooks_.link(up); });
}

}  // namespace rhea::devices
