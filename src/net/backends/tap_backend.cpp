// SPDX-License-Identifier: MIT
#include "net/backends/tap_backend.h"

#include <cerrno>

#include "net/backends/frame_decoder.h"
#include "net/filters/filter.h"
#include "sys/pass_descriptor.h"
#include "util/bits.h"

namespace rhea::net {

namespace {

constexpr unsigned kReads = 64;  // in a row, before the loop gets to others
constexpr usize kLargestRead = kMaxGsoFrame + 4 + kVnetHeader;

}  // namespace

TapBackend::TapBackend(const BackendContext& context, TapPlan plan)
    : WireBackend(context), interface_(plan.queues.at(0).name), down_script_(std::move(plan.down_script)),
      station_(plan.station), header_(plan.queues[0].header), buffer_(kLargestRead) {
  set_info(std::move(plan.info));
  if (header_) {
    const int first = plan.queues[0].fd.get();
    uso_ = sys::set_tap_offload(first, {.checksum = true, .tso4 = true, .tso6 = true, .uso = true});
    sys::set_tap_offload(first, {});
  }
  for (sys::Tap& tap : plan.queues) queues_.push_back({std::move(tap.fd), nullptr, {}});
  for (Queue& queue : queues_)
    queue.watch = loop_.watch(queue.fd.get(), kReadable, [this, &queue](u32 events) {
      if (events & kWritable) {
        full_ = false;
        queue.watch->set_events(bits_if(queue.held.empty(), kReadable));
        if (peer()) peer()->on_room();
      }
      if (events & (kReadable | kHangup)) read(queue);
    });
}

TapBackend::~TapBackend() {
  for (Queue& queue : queues_) queue.watch.reset();
  if (down_script_.empty()) return;
  const Result<int> status = sys::run_program({down_script_, interface_});
  if (!status.ok()) say("could not launch network script: " + status.error().message());
  else if (*status) say(fmt::format("network script {} failed with status {}", down_script_, *status));
}

u64 station_of(Port& port) {
  const auto* tap = dynamic_cast<const TapBackend*>(Filter::skip(&port));
  return tap ? tap->station() : 0;
}

Caps TapBackend::caps() const {
  if (!header_) return {.max_frame = kMaxGsoFrame};
  return {.checksum = true, .tso4 = true, .tso6 = true, .uso = uso_, .max_frame = kMaxGsoFrame};
}

Sent TapBackend::send(const Frame& frame) {
  if (full_) return Sent::busy;
  if (!is_up() || frame.pieces.size() > kMaxSegments + 2) return counted(Sent::dropped, frame);
  std::array<u8, kVnetHeader> head;
  std::array<sys::IoPiece, kMaxSegments + 3> pieces;
  usize count = 0;
  if (header_) {
    write_vnet_header(frame.offload, head);
    pieces[count++] = {head.data(), head.size()};
  }
  for (const Piece& piece : frame.pieces) pieces[count++] = {piece.data, piece.size};
  const sys::ReadSome sent = sys::write_tap(queues_[0].fd.get(), std::span(pieces).first(count));
  if (sent.outcome == sys::ReadOutcome::data) return counted(Sent::taken, frame);
  if (sent.outcome == sys::ReadOutcome::would_wait) {
    full_ = true;
    queues_[0].watch->set_events(bits_if(queues_[0].held.empty(), kReadable) | kWritable);
    return Sent::busy;
  }
  // EIO: the interface is down. The kernel refuses (EINVAL) what the guest described wrongly.
  return counted(Sent::dropped, frame);
}

// The kernel leaves undone what the guest's driver takes so; what else comes would be cut and summed here.
void TapBackend::fit_offload() {
  if (!header_ || !peer()) return;
  const Caps theirs = peer()->caps();
  const sys::TapOffload wanted{
      .checksum = theirs.checksum, .tso4 = theirs.tso4, .tso6 = theirs.tso6, .uso = theirs.uso && uso_};
  if (wanted == offload_) return;
  offload_ = wanted;
  for (const Queue& queue : queues_) sys::set_tap_offload(queue.fd.get(), wanted);
}

void TapBackend::read(Queue& queue) {
  // Called for a frame on hand only when the interface was deleted: what is on hand still goes to the guest.
  if (!queue.held.empty()) return queue.watch.reset();
  fit_offload();
  for (unsigned i = 0; i < kReads; ++i) {
    const sys::ReadSome got = sys::read_tap(queue.fd.get(), buffer_);
    if (got.outcome == sys::ReadOutcome::would_wait) return;
    if (got.outcome != sys::ReadOutcome::data) {
      // EIO while the interface is down; EBADFD when it was deleted, which stays so.
      if (got.error == EIO) return;
      queue.watch.reset();
      if (!std::exchange(lost_said_, true)) say(fmt::format("{} is gone: {}", interface_, sys::errno_text(got.error)));
      return;
    }
    const std::span<const u8> raw(buffer_.data(), got.count);
    if (hand_on(raw)) continue;
    queue.held.assign(raw.begin(), raw.end());
    queue.watch->set_events(bits_if(full_ && &queue == &queues_[0], kWritable));
    return;
  }
}

bool TapBackend::hand_on(std::span<const u8> raw) {
  Offload offload;
  if (header_) {
    if (raw.size() < kVnetHeader) return true;
    const std::span<const u8> head = raw.first(kVnetHeader);
    raw = raw.subspan(kVnetHeader);
    if (!read_vnet_header(head, raw.size(), offload)) {
      ++counters_.dropped;
      return true;
    }
  }
  const Piece piece{const_cast<u8*>(raw.data()), raw.size()};
  return deliver(Frame{{&piece, 1}, offload}) != Sent::busy;
}

void TapBackend::on_room() {
  for (Queue& queue : queues_) {
    if (queue.held.empty()) continue;
    if (!hand_on(queue.held)) return;
    queue.held.clear();
    if (queue.watch) queue.watch->set_events(kReadable | bits_if(full_ && &queue == &queues_[0], kWritable));
  }
}

}  // namespace rhea::net
