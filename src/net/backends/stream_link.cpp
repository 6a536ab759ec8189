// SPDX-License-Identifier: MIT
#include "net/backends/stream_link.h"

#include "sys/frame_socket.h"
#include "util/bits.h"

namespace rhea::net {

namespace {
constexpr unsigned kReads = 8;  // in a row, before the loop gets to others
}

StreamLink::StreamLink(EventLoop& loop, sys::Fd fd, bool with_header, Hooks hooks)
    : loop_(loop), fd_(std::move(fd)), with_header_(with_header), hooks_(std::move(hooks)), decoder_(with_header) {
  watch_ = loop_.watch(fd_.get(), kReadable, [this](u32 events) { on_events(events); });
}

void StreamLink::set_watch() {
  if (watch_) watch_->set_events(bits_if(!held_, kReadable) | bits_if(!unsent_.empty(), kWritable));
}

Sent StreamLink::send(const Frame& frame) {
  if (ended_) return Sent::dropped;
  if (!unsent_.empty()) return Sent::busy;
  std::array<u8, 8 + kVnetHeader> head;
  const usize header = with_header_ ? kVnetHeader : 0, prefix = with_header_ ? 8 : 4;
  const usize size = frame.size() + header;
  if (size > FrameDecoder::kLargest || frame.pieces.size() > kMaxSegments + 2) return Sent::dropped;
  store_be<u32>(head.data(), static_cast<u32>(size));
  if (with_header_) {
    store_be<u32>(head.data() + 4, kVnetHeader);
    write_vnet_header(frame.offload, std::span<u8, kVnetHeader>(head.data() + 8, kVnetHeader));
  }
  std::array<sys::IoPiece, kMaxSegments + 3> pieces;
  usize count = 0;
  pieces[count++] = {head.data(), prefix + header};
  for (const Piece& piece : frame.pieces) pieces[count++] = {piece.data, piece.size};
  const sys::ReadSome sent = sys::send_pieces(fd_.get(), std::span(pieces).first(count));
  if (sent.outcome == sys::ReadOutcome::failed) {
    // Not at once: who sends may be who is being handed a frame.
    loop_.post([this, alive = std::weak_ptr(alive_), why = sys::errno_text(sent.error)] {
      if (alive.lock()) end(why);
    });
    return Sent::dropped;
  }
  usize skip = sent.outcome == sys::ReadOutcome::data ? sent.count : 0;
  if (skip == prefix + size) return Sent::taken;
  unsent_.reserve(prefix + size - skip);
  for (usize i = 0; i < count; ++i) {
    const usize part = std::min(skip, pieces[i].size);
    unsent_.insert(unsent_.end(), pieces[i].data + part, pieces[i].data + pieces[i].size);
    skip -= part;
  }
  sent_ = 0;
  set_watch();
  return Sent::taken;
}

void StreamLink::flush() {
  const sys::ReadSome sent = sys::send_now(fd_.get(), std::span(unsent_).subspan(sent_));
  if (sent.outcome == sys::ReadOutcome::failed) return end(sys::errno_text(sent.error));
  if (sent.outcome == sys::ReadOutcome::data) sent_ += sent.count;
  if (sent_ < unsent_.size()) return;
  unsent_.clear();
  set_watch();
  hooks_.room();
}

void StreamLink::on_events(u32 events) {
  const std::weak_ptr alive(alive_);
  if ((events & kWritable) && !unsent_.empty()) flush();
  if (!alive.lock() || ended_) return;
  // With a frame on hand a closed connection is noticed when that is gone, and does not keep the loop awake.
  if (held_ && (events & kHangup)) watch_.reset();
  if (!held_ && (events & (kReadable | kHangup))) read();
}

void StreamLink::read() {
  for (unsigned i = 0; i < kReads; ++i) {
    const sys::ReadSome got = sys::receive_now(fd_.get(), decoder_.room());
    switch (got.outcome) {
      case sys::ReadOutcome::would_wait: return;
      case sys::ReadOutcome::end:
        return end(decoder_.begun() ? "closed by the other side in the middle of a frame" : "closed by the other side");
      case sys::ReadOutcome::failed: return end(sys::errno_text(got.error));
      case sys::ReadOutcome::data: break;
    }
    decoder_.filled(got.count);
    if (!hand_on() || held_) return;
  }
}

bool StreamLink::hand_on() {
  const std::weak_ptr alive(alive_);
  for (;;) {
    if (!held_) {
      const FrameDecoder::Step step = decoder_.next(frame_);
      if (step == FrameDecoder::Step::more) return true;
      if (step == FrameDecoder::Step::broken) {
        end(fmt::format("a frame of {} bytes was announced, more than {}: the other side does not speak this protocol",
                        decoder_.bad_length(), FrameDecoder::kLargest));
        return false;
      }
    }
    const Piece piece{const_cast<u8*>(frame_.bytes.data()), frame_.bytes.size()};
    held_ = hooks_.frame(Frame{{&piece, 1}, frame_.offload}) == Sent::busy;
    if (!alive.lock()) return false;
    if (held_) {
      set_watch();
      return true;
    }
  }
}

void StreamLink::resume() {
  if (!held_ || ended_) return;
  const std::weak_ptr alive(alive_);
  if (!hand_on() || held_) return;
  if (!watch_) watch_ = loop_.watch(fd_.get(), kReadable, [this](u32 events) { on_events(events); });
  set_watch();
}

void StreamLink::end(const std::string& why) {
  if (ended_) return;
  ended_ = true;
  watch_.reset();
  // On its own: it may destroy this object, and with it the hooks.
  const auto ended = std::move(hooks_.ended);
  ended(std::string(why));
}

}  // namespace rhea::net
