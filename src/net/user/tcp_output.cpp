// SPDX-License-Identifier: MIT
// Segments to the guest. Data is peeked at in the host socket's receive queue and goes out in one of three
// ways: straight into the guest's receive buffers, as one large segment, where its NIC lends them; as one
// large segment from a scratch area; or cut into frames of the MTU.
#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "net/checksum.h"
#include "net/user/tcp_flow.h"

namespace rhea::net::user {

namespace {

constexpr u32 kWindow = 512 * 1024;        // of a flow, towards the guest's sending
constexpr usize kManyBuffered = 32 << 20;  // in all flows: then windows are small
constexpr u32 kSmallWindow = 16 * 1024;
constexpr usize kMaxBurst = 64;   // frames peeked at together
constexpr usize kMaxResend = 16;  // segments of a hole sent at once
constexpr usize kHeadRoom = kEthernetHeader + kIpv6Header + kTcpHeader + kTimestampOption;

}  // namespace

u32 TcpFlow::window() const {
  const usize limit = tcp_.buffered_ > kManyBuffered ? kSmallWindow : kWindow;
  const u32 room = buffered() < limit ? static_cast<u32>(limit - buffered()) : 0;
  // What was promised is kept.
  const u32 promised = after(advertised_, receive_next_) ? advertised_ - receive_next_ : 0;
  const u32 largest = u32{0xffff} << receive_scale_;
  return std::min(std::max(room, promised), largest);
}

// Of a segment without data; returns how many bytes, a multiple of 4.
usize TcpFlow::write_options(u8* at, u8 flags) const {
  usize size = 0;
  if (flags & kSyn) {
    const bool answer = flags & kAck;
    at[size++] = 2;
    at[size++] = 4;
    store_be<u16>(at + size, static_cast<u16>(kMtu - (v6_ ? kIpv6Header : kIpv4Header) - kTcpHeader));
    size += 2;
    if (!answer || sack_) {
      const u8 permitted[] = {1, 1, 4, 2};
      std::copy_n(permitted, 4, at + size);
      size += 4;
    }
    if (receive_scale_) {
      const u8 scale[] = {1, 3, 3, receive_scale_};
      std::copy_n(scale, 4, at + size);
      size += 4;
    }
    if (!answer || timestamps_) size += write_timestamp(at + size);
    return size;
  }
  if (timestamps_ && !(flags & kRst)) size += write_timestamp(at);
  // What is held out of order is told (RFC 2018).
  if (flags == kAck && sack_ && !out_of_order_.empty()) {
    const usize blocks = std::min<usize>(out_of_order_.size(), 3);
    at[size] = at[size + 1] = 1;
    at[size + 2] = 5;
    at[size + 3] = static_cast<u8>(2 + 8 * blocks);
    size += 4;
    auto part = out_of_order_.begin();
    for (usize i = 0; i < blocks; ++i, ++part, size += 8) {
      store_be<u32>(at + size, part->first);
      store_be<u32>(at + size + 4, part->first + static_cast<u32>(part->second.size()));
    }
  }
  return size;
}

// RFC 7323, section 3.2; milliseconds, from a place that the connection's sequence numbers choose.
usize TcpFlow::write_timestamp(u8* at) const {
  at[0] = at[1] = 1;
  at[2] = 8;
  at[3] = 10;
  store_be<u32>(at + 4, initial_send_ + static_cast<u32>(context_.now() / kMillisecond));
  store_be<u32>(at + 8, recent_time_);
  return kTimestampOption;
}

// A segment without data. SYNs carry options.
void TcpFlow::send_control(u8 flags, u32 seq) {
  std::array<u8, kTcpHeader + 40> header{};
  store_be<u16>(header.data(), key_.remote.port);
  store_be<u16>(header.data() + 2, key_.guest.port);
  store_be<u32>(header.data() + 4, seq);
  if (flags & kAck) store_be<u32>(header.data() + 8, receive_next_);
  const usize size = kTcpHeader + write_options(header.data() + kTcpHeader, flags);
  u32 window_field = window();
  if (flags & kSyn) {
    window_field = std::min<u32>(window_field, 0xffff);
    if (flags & kAck) advertised_ = receive_next_ + window_field;
  } else {
    window_field >>= receive_scale_;
  }
  last_ack_ = receive_next_;
  header[12] = static_cast<u8>(size / 4 << 4);
  header[13] = flags;
  store_be<u16>(header.data() + 14, static_cast<u16>(flags & kRst ? 0 : window_field));
  const IpOut out{.from = key_.remote.address, .to = key_.guest.address, .protocol = kTcp};
  ChecksumSum sum;
  sum.add_pseudo_header(out.from, out.to, kTcp, size);
  sum.add(header.data(), size);
  store_be<u16>(header.data() + 16, sum.checksum());
  context_.link.send_ip(out, header.data(), size);
}

void TcpFlow::acknowledge() {
  const u32 told = window() >> receive_scale_ << receive_scale_;
  send_control(kAck, send_next_);
  if (after(receive_next_ + told, advertised_)) advertised_ = receive_next_ + told;
  ack_now_ = false;
  unacknowledged_ = 0;
  ack_due_ = kNever;
}

u32 TcpFlow::sendable() const {
  const u32 in_flight = send_next_ - send_unacked_;
  const u32 limit = std::min(send_window_, congestion_window_);
  return limit > in_flight ? limit - in_flight : 0;
}

bool TcpFlow::more_to_send() const {
  if (state_ != open) return false;
  if (resend_ || send_next_ != send_max_) return true;
  return readable_ && !(fin_sent_ && after(send_next_, fin_seq_));
}

bool TcpFlow::send_data(usize budget) {
  if (!more_to_send() || !context_.link.peer()) return false;
  const Mac* known = context_.link.neighbour(key_.guest.address);
  if (!known) return false;  // on_neighbour goes on
  const Mac mac = *known;
  if (resend_) resend_hole();
  usize spent = 0;
  // What is left of a turn and less than a segment is for the next one.
  while (state_ == open && more_to_send() && (spent == 0 || spent + mss_ <= budget)) {
    if (context_.link.blocked()) return true;
    if (urgent_ && urgent_waits(mac)) return false;
    const u32 room = sendable();
    const u32 in_flight = send_next_ - send_unacked_;
    if (room == 0 || (room < mss_ && in_flight)) {
      if (in_flight == 0 && retransmit_due_ == kNever) {  // a closed window: probe it
        retransmit_due_ = context_.now() + retransmit_interval_;
        arm_timeout();
      }
      return false;
    }
    const usize size = send_from(mac, send_next_, std::min<usize>(room, budget - spent + mss_));
    if (size) note_sent(send_next_, size);
    else if (state_ != open || context_.link.blocked() || !more_to_send()) break;
    spent += std::max<usize>(size, 1);
  }
  return state_ == open && more_to_send() && (spent + mss_ > budget || context_.link.blocked());
}

// An urgent byte goes when it is the next one that the host's socket has: what is before it has been acknowledged
// then. Reading stops before it by itself (tcp(7)).
bool TcpFlow::urgent_waits(const Mac& mac) {
  if (send_next_ != send_unacked_) return true;
  release_acked(true);
  const Urgent where = socket_->urgent();
  if (where == Urgent::none) urgent_ = false;
  if (where != Urgent::next || sendable() == 0) return false;
  urgent_ = false;
  if (const usize size = send_urgent(mac)) note_sent(send_next_, size);
  else urgent_ = context_.link.blocked();
  return false;
}

usize TcpFlow::send_urgent(const Mac& mac) {
  std::array<u8, std::max(kHeadRoom + 1, kMinFrame)> frame{};
  u8 byte = 0;
  const Piece payload{&byte, 1};
  if (take_peek(socket_->peek(peek_offset(send_next_), std::span(&payload, 1)), send_next_, 1) == 0) return 0;
  const usize headers = write_headers(frame.data(), mac, send_next_, 1, true, &payload);
  u8* header = frame.data() + headers - header_size();
  header[13] |= kUrg;
  store_be<u16>(header + 18, 1);
  const u16 folded = load_be<u16>(header + 16);
  // The two words that changed (RFC 1624): the flags' and the pointer's.
  u32 sum = static_cast<u16>(~folded) + u32{kUrg} + 1u;
  sum = (sum & 0xffff) + (sum >> 16);
  store_be<u16>(header + 16, static_cast<u16>(~sum));
  frame[headers] = byte;
  const Piece piece{frame.data(), std::max(headers + 1, kMinFrame)};
  return context_.link.send_frame(Frame{std::span(&piece, 1), offload_for(1, true)}) == Sent::busy ? 0 : 1;
}

usize TcpFlow::send_from(const Mac& mac, u32 seq, usize size) {
  const Caps caps = context_.link.caps();
  if (caps.checksum && (v6_ ? caps.tso6 : caps.tso4)) {
    size = std::min<usize>(size, 65535 - kIpv6Header - kTcpHeader - kTimestampOption);
    return context_.link.peer()->can_reserve() ? send_in_place(mac, seq, size) : send_whole(mac, seq, size);
  }
  return send_cut(mac, seq, size);
}

// What a peek says: bytes, or 0 after acting on the end of the stream or an error.
usize TcpFlow::take_peek(const IoResult& result, u32 seq, usize asked) {
  if (result.error == EINTR) return 0;
  if (result.error == 0 && result.count > 0) {
    // Less than there was room for: the queue is empty, and an event comes with more.
    if (static_cast<usize>(result.count) < asked && seq == send_next_ && !hung_up_ && !urgent_) readable_ = false;
    return static_cast<usize>(result.count);
  }
  const bool ended = result.error == 0 || (result.again() && hung_up_);
  if (result.error && !result.again() && !broken_) broken_ = true;
  if (broken_) {
    reset_both();
  } else if (ended) {
    if (seq == send_next_) send_fin();
  } else {
    readable_ = false;
    if (seq == send_next_ && send_next_ != send_max_) send_next_ = send_max_;  // cannot be: what was sent is there
  }
  return 0;
}

void TcpFlow::note_sent(u32 seq, usize size) {
  const s64 now = context_.now();
  stats.to_guest += size;
  ++stats.segments_to_guest;
  send_next_ = seq + static_cast<u32>(size);
  if (after(send_next_, send_max_)) {
    send_max_ = send_next_;
    if (!timed_at_) {
      timed_at_ = now;
      timed_seq_ = send_next_;
    }
  }
  const u32 told = window() >> receive_scale_ << receive_scale_;
  if (after(receive_next_ + told, advertised_)) advertised_ = receive_next_ + told;
  if (asked_at_) answers_soon_ = now - std::exchange(asked_at_, 0) < kAnswerTime;
  ack_now_ = false;  // every segment acknowledges
  unacknowledged_ = 0;
  ack_due_ = kNever;
  if (retransmit_due_ == kNever) retransmit_due_ = now + retransmit_interval_;
  arm_timeout();
}

void TcpFlow::send_fin() {
  fin_sent_ = true;
  fin_seq_ = send_next_;
  readable_ = false;
  send_control(kFin | kAck, fin_seq_);
  note_sent(fin_seq_, 1);
}

// The gap that the guest's duplicate acknowledgements speak of.
void TcpFlow::resend_hole() {
  resend_ = false;
  const Mac* mac = context_.link.neighbour(key_.guest.address);
  if (!mac || send_unacked_ == send_max_) return;
  timed_at_ = 0;
  if (fin_sent_ && send_unacked_ == fin_seq_) return send_control(kFin | kAck, fin_seq_);
  usize size = have_sack_ && after(sacked_left_, send_unacked_) ? sacked_left_ - send_unacked_ : mss_;
  const u32 end = fin_sent_ ? fin_seq_ : send_max_;
  size = std::min({size, kMaxResend * mss_, static_cast<usize>(end - send_unacked_)});
  const Mac copy = *mac;
  ++stats.retransmissions;
  ++context_.counters.retransmissions;
  send_from(copy, send_unacked_, size);
}

usize TcpFlow::write_headers(u8* at, const Mac& mac, u32 seq, usize size, bool last, const Piece* payload) {
  const IpOut out{.from = key_.remote.address, .to = key_.guest.address, .protocol = kTcp};
  const usize tcp_size = header_size();
  const usize start = context_.link.write_headers(at, mac, out, tcp_size + size);
  u8* header = at + start;
  store_be<u16>(header, key_.remote.port);
  store_be<u16>(header + 2, key_.guest.port);
  store_be<u32>(header + 4, seq);
  store_be<u32>(header + 8, receive_next_);
  header[12] = static_cast<u8>(tcp_size / 4 << 4);
  header[13] = last ? kPsh | kAck : kAck;
  store_be<u16>(header + 14, static_cast<u16>(window() >> receive_scale_));
  store_be<u32>(header + 16, 0);
  if (timestamps_) write_timestamp(header + kTcpHeader);
  last_ack_ = receive_next_;
  ChecksumSum sum;
  sum.add_pseudo_header(out.from, out.to, kTcp, tcp_size + size);
  if (payload) {
    sum.add(header, tcp_size);
    sum.add(payload->data, payload->size);
    store_be<u16>(header + 16, sum.checksum());
  } else {
    store_be<u16>(header + 16, sum.folded());
  }
  return start + tcp_size;
}

Offload TcpFlow::offload_for(usize size, bool summed) const {
  Offload offload;
  offload.checksum_valid = true;
  if (summed) return offload;
  offload.needs_checksum = true;
  offload.checksum_start = static_cast<u16>(kEthernetHeader + (v6_ ? kIpv6Header : kIpv4Header));
  offload.checksum_offset = 16;
  if (size > mss_) {
    offload.gso = v6_ ? Offload::tcp6 : Offload::tcp4;
    offload.gso_size = mss_;
    offload.header_length = static_cast<u16>(offload.checksum_start + header_size());
  }
  return offload;
}

usize TcpFlow::send_in_place(const Mac& mac, u32 seq, usize size) {
  const usize headers = kEthernetHeader + (v6_ ? kIpv6Header : kIpv4Header) + header_size();
  Reservation reservation;
  if (!context_.link.reserve(headers + size, reservation)) return 0;
  std::array<Piece, kMaxSegments> pieces;
  const usize count = part_of(Frame{reservation.pieces, {}}, headers, size, pieces);
  const usize got = take_peek(socket_->peek(peek_offset(seq), std::span(pieces).first(count)), seq, size);
  if (got == 0) {
    context_.link.abort(reservation);
    return 0;
  }
  std::array<u8, kHeadRoom> head;
  write_headers(head.data(), mac, seq, got, got < size, nullptr);
  usize written = 0;
  for (const Piece& piece : reservation.pieces) {
    const usize part = std::min(piece.size, headers - written);
    std::memcpy(piece.data, head.data() + written, part);
    written += part;
    if (written == headers) break;
  }
  context_.link.commit(reservation, headers + got, offload_for(got, false));
  return got;
}

usize TcpFlow::send_whole(const Mac& mac, u32 seq, usize size) {
  const usize headers = kEthernetHeader + (v6_ ? kIpv6Header : kIpv4Header) + header_size();
  tcp_.unsent_ = {};
  u8* data = tcp_.scratch_.data();
  const Piece into{data + headers, size};
  const usize got = take_peek(socket_->peek(peek_offset(seq), std::span(&into, 1)), seq, size);
  if (got == 0) return 0;
  write_headers(data, mac, seq, got, got < size, nullptr);
  const Piece piece{data, headers + got};
  const Sent sent = context_.link.send_frame(Frame{std::span(&piece, 1), offload_for(got, false)});
  if (sent != Sent::busy) return got;
  readable_ = true;
  return 0;
}

// The headers of full frames that follow one another: made once, then only what differs is written.
class TcpFlow::Stamp {
 public:
  Stamp(TcpFlow& flow, const Mac& mac)
      : flow_(flow), size_(flow.write_headers(head_.data(), mac, 0, flow.mss_, false, nullptr)) {
    u8* header = head_.data() + size_ - flow.header_size();
    if (flow.context_.link.caps().checksum) return;
    store_be<u16>(header + 16, 0);
    const usize length = flow.header_size() + flow.mss_;
    sum_.add_pseudo_header(flow.key_.remote.address, flow.key_.guest.address, kTcp, length);
    sum_.add(header, flow.header_size());
    summed_ = true;
  }
  // The headers before this payload.
  Piece put(u32 seq, const Piece& payload) {
    flow_.context_.link.renumber(head_.data());
    u8* header = head_.data() + size_ - flow_.header_size();
    store_be<u32>(header + 4, seq);
    if (summed_) {
      ChecksumSum sum = sum_;
      sum.add_word(static_cast<u16>(seq >> 16));
      sum.add_word(static_cast<u16>(seq));
      sum.add(payload.data, payload.size);
      store_be<u16>(header + 16, sum.checksum());
    }
    return {head_.data(), size_};
  }

 private:
  TcpFlow& flow_;
  std::array<u8, kHeadRoom> head_;
  usize size_;
  ChecksumSum sum_;  // of all but the sequence number and the payload
  bool summed_ = false;
};

// Frames of the MTU, whose payloads lie one behind the other as the host's socket gave them: one large piece is what
// its kernel copies fastest. What the NIC refuses stays there for its next turn.
usize TcpFlow::send_cut(const Mac& mac, u32 seq, usize size) {
  if (size > mss_) size -= size % mss_;
  Tcp::Unsent data = std::exchange(tcp_.unsent_, {});
  if (data.flow != this || data.seq != seq) {
    size = std::min({size, tcp_.scratch_.size(), kMaxBurst * mss_});
    const Piece into{tcp_.scratch_.data(), size};
    const usize got = take_peek(socket_->peek(peek_offset(seq), std::span(&into, 1)), seq, size);
    data = {.flow = this, .seq = seq, .bytes = std::span(into.data, got), .all = got < size};
  }
  const std::span<u8> bytes = data.bytes.first(std::min(size, data.bytes.size()));
  const bool summed = !context_.link.caps().checksum;
  std::optional<Stamp> stamp;
  if (bytes.size() > mss_) stamp.emplace(*this, mac);
  usize sent = 0;
  while (sent < bytes.size()) {
    const Piece payload{bytes.data() + sent, std::min<usize>(mss_, bytes.size() - sent)};
    const u32 at = seq + static_cast<u32>(sent);
    const bool last = sent + payload.size == data.bytes.size();
    std::array<u8, kHeadRoom> head;
    const Piece headers = stamp && payload.size == mss_ && !last
                              ? stamp->put(at, payload)
                              : Piece{head.data(), write_headers(head.data(), mac, at, payload.size, last && data.all,
                                                                 summed ? &payload : nullptr)};
    if (send_cut_frame(headers, payload, summed) == Sent::busy) break;
    sent += payload.size;
  }
  if (sent == data.bytes.size()) return sent;
  readable_ = true;  // whatever the peek said: not all of it went
  tcp_.unsent_ = {
      .flow = this, .seq = seq + static_cast<u32>(sent), .bytes = data.bytes.subspan(sent), .all = data.all};
  return sent;
}

Sent TcpFlow::send_cut_frame(const Piece& headers, const Piece& payload, bool summed) {
  const std::array<Piece, 2> pieces{headers, payload};
  const Frame frame{pieces, offload_for(payload.size, summed)};
  if (headers.size + payload.size >= kMinFrame) return context_.link.send_frame(frame);
  std::array<u8, kMinFrame> padded{};
  frame.copy(0, padded.data(), padded.size());
  const Piece piece{padded.data(), padded.size()};
  return context_.link.send_frame(Frame{std::span(&piece, 1), frame.offload});
}

}  // namespace rhea::net::user
