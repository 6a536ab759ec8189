// SPDX-License-Identifier: MIT
// Segments from the guest, in the order of RFC 9293, section 3.10.7.
#include <algorithm>

#include "net/user/tcp_flow.h"

namespace rhea::net::user {

namespace {

constexpr usize kSendDirectly = 8 * 1024;  // payloads this large are not joined with others
constexpr usize kFlushAt = 128 * 1024;     // bytes joined before they are sent
constexpr usize kMaxHeld = 64 * 1024;      // out of order, in a flow
constexpr usize kMaxHeldParts = 32;
constexpr usize kMaxBuffered = 128 << 20;  // in all flows
constexpr s64 kDelayedAck = 10 * kMillisecond;
constexpr u8 kOptionEnd = 0, kOptionNop = 1, kOptionMss = 2, kOptionScale = 3, kOptionSackOk = 4, kOptionSack = 5,
             kOptionTime = 8;
constexpr u16 kSmallestMss = 88;

void parse_options(const u8* options, usize size, Segment& segment) {
  for (usize at = 0; at < size && options[at] != kOptionEnd;) {
    if (options[at] == kOptionNop) {
      ++at;
      continue;
    }
    if (at + 2 > size || options[at + 1] < 2 || at + options[at + 1] > size) return;
    const u8 length = options[at + 1];
    const u8* data = options + at + 2;
    if (options[at] == kOptionMss && length == 4) segment.mss = load_be<u16>(data);
    if (options[at] == kOptionScale && length == 3) segment.scale = std::min<int>(data[0], 14);
    if (options[at] == kOptionSackOk && length == 2) segment.sack_permitted = true;
    if (options[at] == kOptionTime && length == 10) {
      segment.timestamp = true;
      segment.time = load_be<u32>(data);
      segment.time_echo = load_be<u32>(data + 4);
    }
    if (options[at] == kOptionSack) {
      for (usize i = 0; i + 8 <= length - 2u && segment.sack_count < segment.sack.size(); i += 8)
        segment.sack[segment.sack_count++] = {load_be<u32>(data + i), load_be<u32>(data + i + 4)};
    }
    at += length;
  }
}

}  // namespace

bool parse_segment(const Packet& packet, Segment& segment) {
  if (packet.transport_size() < kTcpHeader || packet.transport_in_head() < kTcpHeader) return false;
  const u8* header = packet.transport_header();
  segment.header = (header[12] >> 4) * 4u;
  if (segment.header < kTcpHeader || segment.header > packet.transport_size()) return false;
  segment.seq = load_be<u32>(header + 4);
  segment.ack = load_be<u32>(header + 8);
  segment.flags = header[13];
  segment.window = load_be<u16>(header + 14);
  segment.urgent = load_be<u16>(header + 18);
  segment.payload = packet.transport_size() - segment.header;
  parse_options(header + kTcpHeader, std::min(segment.header, packet.transport_in_head()) - kTcpHeader, segment);
  return true;
}

void TcpFlow::input(const Packet& packet, const Segment& segment) {
  last_heard_ = context_.now();
  if (state_ == closed) return;
  if (state_ == connecting) return input_connecting(packet, segment);
  if (state_ == syn_sent) return input_syn_sent(segment);
  if (!check_sequence(segment) || !take_ack(segment)) return;
  if (segment.payload) take_payload(packet, segment);
  if (state_ != closed && segment.flags & kFin) take_fin(segment);
  if (ack_now_ || unacknowledged_) tcp_.want_flush(*this);
}

void TcpFlow::take_options(const Segment& syn) {
  const u16 largest = static_cast<u16>(kMtu - (v6_ ? kIpv6Header : kIpv4Header) - kTcpHeader);
  mss_ = std::clamp(syn.mss, kSmallestMss, largest);
  timestamps_ = syn.timestamp;
  recent_time_ = syn.time;
  if (timestamps_) mss_ = static_cast<u16>(mss_ - kTimestampOption);  // RFC 6691: options take from the payload
  send_scale_ = syn.scale >= 0 ? static_cast<u8>(syn.scale) : 0;
  if (syn.scale < 0) receive_scale_ = 0;
  sack_ = syn.sack_permitted;
  receive_next_ = syn.seq + 1;
  advertised_ = receive_next_;
  advertised_ += window();
  send_window_ = syn.window;  // never scaled in a SYN (RFC 7323, section 2.2)
  window_seq_ = syn.seq;
  window_ack_ = syn.ack;
}

void TcpFlow::input_connecting(const Packet&, const Segment& segment) {
  // The guest sends its SYN again: the host has not answered yet, and neither do we.
  if (segment.flags & kRst && segment.seq == receive_next_) reset_host();
}

// RFC 9293, section 3.10.7.3.
void TcpFlow::input_syn_sent(const Segment& segment) {
  const bool acks = (segment.flags & kAck) && segment.ack == initial_send_ + 1;
  if (segment.flags & kRst) {
    if (acks) reset_host();  // nobody listens in the guest
    return;
  }
  if ((segment.flags & kAck) && !acks) return send_control(kRst, segment.ack);
  if ((segment.flags & (kSyn | kAck)) != (kSyn | kAck)) return;
  if (on_answer) {
    end_probe(true);
    send_control(kRst, segment.ack);
    return reset_host();
  }
  take_options(segment);
  send_unacked_ = segment.ack;
  become_open();
  acknowledge();
}

void TcpFlow::take_reset(const Segment& segment) {
  // RFC 5961, section 3.2: exactly the next sequence number, or the sender is asked again.
  if (segment.seq == receive_next_) reset_host();
  else if (!before(segment.seq, receive_next_) && before(segment.seq, advertised_)) acknowledge();
}

bool TcpFlow::check_sequence(const Segment& segment) {
  const u32 length =
      static_cast<u32>(segment.payload) + (segment.flags & kSyn ? 1 : 0) + (segment.flags & kFin ? 1 : 0);
  const bool acceptable = !before(segment.seq + length, receive_next_) && !after(segment.seq, advertised_);
  if (segment.flags & kRst) {
    if (acceptable) take_reset(segment);
    return false;
  }
  if (segment.seq == receive_next_ - 1 && segment.payload <= 1 && !(segment.flags & (kSyn | kFin)) && state_ == open) {
    socket_->set_keepalive();  // the guest probes: let the host's kernel ask the real peer too
  }
  if (segment.flags & kSyn) {
    if (state_ == syn_received && segment.seq == receive_next_ - 1) send_control(kSyn | kAck, initial_send_);
    else acknowledge();  // RFC 5961, section 4.2
    return false;
  }
  if (timestamps_ && segment.timestamp) {
    // RFC 7323, section 5.3: what is older than what was seen is of another time of these sequence numbers.
    if (before(segment.time, recent_time_)) {
      stats.last_drop = "an old timestamp";
      acknowledge();
      return false;
    }
    if (acceptable && !after(segment.seq, last_ack_)) recent_time_ = segment.time;
  }
  if (!acceptable) {
    stats.last_drop = "outside the window";
    acknowledge();
    return false;
  }
  return segment.flags & kAck;
}

bool TcpFlow::take_ack(const Segment& segment) {
  if (state_ == syn_received) {
    if (segment.ack != initial_send_ + 1) {
      send_control(kRst, segment.ack);
      return false;
    }
    send_unacked_ = segment.ack;
    become_open();
  }
  if (after(segment.ack, send_max_)) {
    stats.last_drop = "acknowledges what was not sent";
    acknowledge();
    return false;
  }
  const u32 offered = u32{segment.window} << send_scale_;
  const bool same_window = offered == send_window_;
  if (before(window_seq_, segment.seq) || (window_seq_ == segment.seq && !after(window_ack_, segment.ack))) {
    send_window_ = offered;
    window_seq_ = segment.seq;
    window_ack_ = segment.ack;
  }
  take_sack(segment);
  if (after(segment.ack, send_unacked_)) advance(segment.ack);
  else if (segment.ack == send_unacked_ && !segment.payload && !(segment.flags & kFin) && same_window)
    take_duplicate(segment);
  if (state_ == closed) return false;
  if (more_to_send()) tcp_.want_send(*this);
  return true;
}

// The lowest byte that the guest has beyond what it acknowledged: up to there is the hole.
void TcpFlow::take_sack(const Segment& segment) {
  have_sack_ = false;
  if (!sack_) return;
  for (usize i = 0; i < segment.sack_count; ++i) {
    const auto& block = segment.sack[i];
    if (!before(block.left, block.right) || !after(block.left, segment.ack) || after(block.right, send_max_)) continue;
    if (have_sack_ && !before(block.left, sacked_left_)) continue;
    have_sack_ = true;
    sacked_left_ = block.left;
  }
}

// RFC 6582: the third duplicate means a segment was lost.
void TcpFlow::take_duplicate(const Segment&) {
  if (send_max_ == send_unacked_ || send_window_ == 0 || ++duplicates_ != 3 || recovering_) return;
  recovering_ = true;
  recover_ = send_max_;
  slow_start_threshold_ = std::max<u32>((send_max_ - send_unacked_) / 2, 4u * mss_);
  congestion_window_ = slow_start_threshold_;
  resend_ = true;
  tcp_.want_send(*this);
}

void TcpFlow::advance(u32 ack) {
  const s64 now = last_heard_;
  const u32 acked = ack - send_unacked_;
  if (timed_at_ && !before(ack, timed_seq_)) {
    // RFC 6298.
    const s64 rtt = now - timed_at_;
    if (!smoothed_rtt_) {
      smoothed_rtt_ = rtt;
      rtt_variance_ = rtt / 2;
    } else {
      rtt_variance_ += (std::abs(smoothed_rtt_ - rtt) - rtt_variance_) / 4;
      smoothed_rtt_ += (rtt - smoothed_rtt_) / 8;
    }
    timed_at_ = 0;
  }
  if (smoothed_rtt_)
    retransmit_interval_ = std::clamp(smoothed_rtt_ + 4 * rtt_variance_, 300 * kMillisecond, 60 * kSecond);
  send_unacked_ = ack;
  if (before(send_next_, ack)) send_next_ = ack;
  if (fin_sent_ && after(ack, fin_seq_)) fin_acked_ = true;
  duplicates_ = 0;
  tries_ = 0;
  if (recovering_) {
    if (!before(ack, recover_)) recovering_ = false;
    else resend_ = true;
  } else if (congestion_window_ < 16u << 20) {
    congestion_window_ += congestion_window_ < slow_start_threshold_
                              ? acked
                              : std::max<u32>(1, u32(u64{mss_} * acked / congestion_window_));
  }
  retransmit_due_ = send_unacked_ == send_max_ ? kNever : now + retransmit_interval_;
  arm_timeout();
  release_acked(false);
  finish_if_done();
}

void TcpFlow::take_payload(const Packet& packet, const Segment& segment) {
  u32 seq = segment.seq;
  usize offset = packet.transport + segment.header;
  usize size = segment.payload;
  if (guest_fin_) return;
  if (before(seq, receive_next_)) {
    const usize old = receive_next_ - seq;
    if (old >= size) {
      ack_now_ = true;
      return;
    }
    seq += static_cast<u32>(old);
    offset += old;
    size -= old;
  }
  if (!before(seq, advertised_) || tcp_.buffered_ + size > kMaxBuffered) {
    stats.last_drop = before(seq, advertised_) ? "all flows' buffers are full" : "beyond the window";
    ack_now_ = true;
    return;
  }
  size = std::min<usize>(size, advertised_ - seq);
  if (seq != receive_next_) {
    hold_out_of_order(packet, seq, offset, size);
    ack_now_ = true;
    return;
  }
  const usize urgent = segment.flags & kUrg ? append_urgent(packet, segment, seq, offset, size) : 0;
  if (state_ != closed && urgent < size) append(packet, offset + urgent, size - urgent);
  if (state_ == closed) return;
  receive_next_ += static_cast<u32>(size);
  unacknowledged_ += static_cast<u32>(size);
  if (!out_of_order_.empty()) join_out_of_order();
  // Every second segment is acknowledged, as soon as it is not gathered, and what ends a burst (RFC 9293, section
  // 3.8.6.3).
  more_follows_ = !(segment.flags & (kPsh | kFin | kUrg));
  if (!more_follows_) take_end_of_burst(segment);
  else if (ack_due_ == kNever) {
    ack_due_ = last_heard_ + kDelayedAck;
    arm_timeout();
  }
}

// It is acknowledged at once, but where the host has answered the last small one soon: then with the answer, and
// without one in time. That spares the guest an interrupt for each request.
void TcpFlow::take_end_of_burst(const Segment& segment) {
  asked_at_ = last_heard_;
  if (!answers_soon_ || unacknowledged_ >= mss_ || segment.flags & (kFin | kUrg)) {
    ack_now_ = true;
    return;
  }
  ack_due_ = std::min(ack_due_, asked_at_ + kAnswerTime);
  arm_timeout();
}

void TcpFlow::append(const Packet& packet, usize offset, usize size) {
  ++stats.segments_to_host;
  if (size >= kSendDirectly && !socket_full_ && !context_.policy.outward.limited()) {
    if (!flush_buffer()) return;
    if (buffered() == 0 && !socket_full_) {
      std::array<Piece, kMaxSegments> pieces;
      const usize count = part_of(*packet.frame, offset, size, pieces);
      const IoResult result = socket_->send(std::span(pieces).first(count));
      if (result.error && !result.again()) return host_broke();
      const usize sent = result.error ? 0 : static_cast<usize>(result.count);
      socket_full_ = sent < size;
      stats.to_host += sent;
      offset += sent;
      size -= sent;
    }
  }
  if (!size) return;
  if (buffer_.capacity() == 0) buffer_ = tcp_.take_buffer();
  std::array<Piece, kMaxSegments> pieces;
  const usize count = part_of(*packet.frame, offset, size, pieces);
  usize copied = 0;
  for (const Piece& piece : std::span(pieces).first(count)) {
    buffer_.insert(buffer_.end(), piece.data, piece.data + piece.size);
    copied += piece.size;
  }
  if (copied < size) {  // of very many pieces
    const usize end = buffer_.size();
    buffer_.resize(end + size - copied);
    packet.frame->copy(offset + copied, buffer_.data() + end, size - copied);
  }
  tcp_.buffered_ += size;
  if (buffered() >= kFlushAt && !socket_full_) flush_buffer();
}

// The pointer is to the byte behind the urgent one, as all systems have it (RFC 6093, section 3.1). Where the host
// does not take everything at once the byte goes the way of the others.
usize TcpFlow::append_urgent(const Packet& packet, const Segment& segment, u32 seq, usize offset, usize size) {
  const u32 behind = segment.seq + segment.urgent;
  if (!after(behind, seq) || after(behind, seq + static_cast<u32>(size))) return 0;
  const usize before_it = behind - seq - 1;
  if (before_it) append(packet, offset, before_it);
  if (state_ == closed || !flush_buffer()) return size;
  if (!buffered() && !socket_full_) {
    std::array<Piece, 1> pieces;
    part_of(*packet.frame, offset + before_it, 1, pieces);
    const IoResult result = socket_->send_urgent(pieces);
    if (!result.error) {
      ++stats.to_host;
      return before_it + 1;
    }
  }
  append(packet, offset + before_it, 1);
  return before_it + 1;
}

void TcpFlow::hold_out_of_order(const Packet& packet, u32 seq, usize offset, usize size) {
  if (out_of_order_.contains(seq) || out_of_order_.size() >= kMaxHeldParts || out_of_order_bytes_ + size > kMaxHeld) {
    stats.last_drop = "too much out of order";
    return;
  }
  std::vector<u8> data(size);
  packet.frame->copy(offset, data.data(), size);
  out_of_order_bytes_ += size;
  tcp_.buffered_ += size;
  out_of_order_.emplace(seq, std::move(data));
}

void TcpFlow::join_out_of_order() {
  for (bool found = true; found;) {
    found = false;
    for (auto part = out_of_order_.begin(); part != out_of_order_.end();) {
      const u32 end = part->first + static_cast<u32>(part->second.size());
      if (after(part->first, receive_next_)) {
        ++part;
        continue;
      }
      if (after(end, receive_next_)) {
        const usize skip = receive_next_ - part->first;
        buffer_.insert(buffer_.end(), part->second.begin() + static_cast<std::ptrdiff_t>(skip), part->second.end());
        tcp_.buffered_ += part->second.size() - skip;
        receive_next_ = end;
        found = true;
      }
      out_of_order_bytes_ -= part->second.size();
      tcp_.buffered_ -= part->second.size();
      part = out_of_order_.erase(part);
    }
  }
  ack_now_ = true;
}

void TcpFlow::take_fin(const Segment& segment) {
  ack_now_ = true;
  const u32 fin = segment.seq + static_cast<u32>(segment.payload);
  if (guest_fin_ || fin != receive_next_) return;
  guest_fin_ = true;
  ++receive_next_;
  if (before(advertised_, receive_next_)) advertised_ = receive_next_;
}

}  // namespace rhea::net::user
