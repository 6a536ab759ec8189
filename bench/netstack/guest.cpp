// SPDX-License-Identifier: MIT
// The synthetic guest's TCP (RFC 9293, as far as a client on a link without loss needs it). What comes is noted in
// input(); frames go out in pump() alone, at most kBurst in a row, as a NIC's transmit queue is drained.
#include "guest.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "util/bits.h"

namespace rhea::bench {

namespace {

constexpr u8 kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;
constexpr usize kIp = net::kEthernetHeader, kTcp = kIp + 20, kHeaders = kTcp + 20;
constexpr u8 kAddress[4] = {10, 0, 2, 15}, kGateway[4] = {10, 0, 2, 2};
constexpr u8 kMac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
constexpr unsigned kBurst = 64;        // frames
constexpr usize kQuantum = 64 * 1024;  // bytes of a flow before the next one's turn
constexpr u32 kAckEach = 64 * 1024;    // bytes
constexpr usize kPage = 4096;          // payload lies in pages
constexpr unsigned kScale = 7;
constexpr u16 kWindow = 0x6000;  // 3 MiB with kScale
constexpr s64 kAgain = 300'000'000, kSynAgain = 1'000'000'000;
constexpr u16 kFirstPort = 1024;

bool before(u32 a, u32 b) { return static_cast<s32>(a - b) < 0; }

u32 sum_words(const u8* data, usize size) {
  u32 sum = 0;
  for (usize i = 0; i < size; i += 2) sum += load_be<u16>(data + i);
  return sum;
}

u16 folded(u32 sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(sum);
}

}  // namespace

s64 now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return s64{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Guest::Guest(Subject& subject, const SubjectOptions& options)
    : subject_(subject), options_(options), mss_(options.mtu - 40), by_port_(65536), zeros_(kPage) {}

void Guest::start() {
  arp_ = {.wanted = true, .reply = false, .mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, .address = {}};
  std::copy_n(kGateway, 4, arp_.address.begin());
  subject_.wake();
}

void Guest::send_arp() {
  arp_.wanted = false;
  const bool reply = arp_.reply;
  const u8* to_mac = arp_.mac.data();
  const u8* to_address = arp_.address.data();
  std::array<u8, net::kMinFrame> frame{};
  std::copy_n(to_mac, 6, frame.begin());
  std::copy_n(kMac, 6, frame.begin() + 6);
  store_be<u16>(&frame[12], 0x0806);
  u8* arp = &frame[14];
  store_be<u16>(arp, 1);
  store_be<u16>(arp + 2, 0x0800);
  arp[4] = 6;
  arp[5] = 4;
  store_be<u16>(arp + 6, reply ? 2 : 1);
  std::copy_n(kMac, 6, arp + 8);
  std::copy_n(kAddress, 4, arp + 14);
  if (reply) std::copy_n(to_mac, 6, arp + 18);
  std::copy_n(to_address, 4, arp + 24);
  const net::Piece piece{frame.data(), frame.size()};
  subject_.send(net::Frame{std::span(&piece, 1), {}});
}

void Guest::input_arp(const u8* arp) {
  const bool request = load_be<u16>(arp + 6) == 1;
  if (request && std::equal(kAddress, kAddress + 4, arp + 24)) {
    arp_.wanted = arp_.reply = true;
    std::copy_n(arp + 8, 6, arp_.mac.begin());
    std::copy_n(arp + 14, 4, arp_.address.begin());
    return subject_.wake();
  }
  if (request || !std::equal(kGateway, kGateway + 4, arp + 14) || ready_) return;
  std::copy_n(arp + 8, 6, gateway_mac_.begin());
  ready_ = true;
  if (on_ready) on_ready();
  subject_.wake();
}

void Guest::input(const u8* head, usize size, usize frame_size) {
  ++frames_in;
  if (stalled || size < net::kEthernetHeader) return;
  const u16 type = load_be<u16>(head + 12);
  if (type == 0x0806 && size >= 42) return input_arp(head + net::kEthernetHeader);
  if (type != 0x0800 || size < kHeaders || head[kIp + 9] != 6) return;
  const usize total = load_be<u16>(head + kIp + 2);
  const usize headers = (head[kIp] & 15u) * 4 + (head[kTcp + 12] >> 4) * 4u;
  if ((head[kIp] & 15) != 5 || total < headers || kIp + total > frame_size) return;
  input_tcp(head + kTcp, total - headers);
}

void Guest::input_tcp(const u8* tcp, usize payload) {
  Flow* flow = by_port_[load_be<u16>(tcp + 2)].get();
  if (!flow || flow->remote_port != load_be<u16>(tcp)) return;
  const u8 flags = tcp[13];
  if (flow->state == Flow::opening) return input_opening(*flow, tcp, flags);
  if (flags & kRst) return finish(*flow, End::reset);
  if (flags & kSyn) return queue_ack(*flow);
  take_ack(*flow, load_be<u32>(tcp + 8), u32{load_be<u16>(tcp + 14)} << flow->send_scale, !payload && !(flags & kFin));
  if (payload == 8) flow->answer = load_le<u64>(tcp + (tcp[12] >> 4) * 4u);
  if (payload || flags & kFin) take_data(*flow, load_be<u32>(tcp + 4), payload, flags & kFin);
  if (flow->state == Flow::open && flow->fin_acked && flow->peer_fin) finish(*flow, End::closed);
}

void Guest::input_opening(Flow& flow, const u8* tcp, u8 flags) {
  if (load_be<u32>(tcp + 8) != flow.send_next) return;
  if (flags & kRst) return finish(flow, End::refused);
  if ((flags & (kSyn | kAck)) != (kSyn | kAck)) return;
  const usize size = (tcp[12] >> 4) * 4u;
  for (usize at = 20; at + 2 < size && tcp[at];) {
    if (tcp[at] == 3) flow.send_scale = tcp[at + 2];
    at += tcp[at] == 1 ? 1 : std::max<usize>(tcp[at + 1], 2);
  }
  flow.state = Flow::open;
  flow.send_unacked = flow.send_end = flow.send_next;
  flow.send_window = load_be<u16>(tcp + 14);
  flow.receive_next = load_be<u32>(tcp + 4) + 1;
  acks_.push_back({&flow, flow.receive_next});  // by itself and first, as Linux does
  subject_.wake();
  if (on_open) on_open(flow);
}

void Guest::take_ack(Flow& flow, u32 ack, u32 window, bool bare) {
  if (before(flow.send_next, ack) && !before(flow.send_max, ack)) flow.send_next = ack;  // of before going back
  if (before(flow.send_unacked, ack) && !before(flow.send_next, ack)) {
    flow.acked += ack - flow.send_unacked;
    flow.send_unacked = ack;
    flow.progress_at = now_ns();
    flow.duplicates = 0;
    if (flow.fin_sent && ack == flow.send_end + 1) flow.fin_acked = true;
  } else if (ack == flow.send_unacked && bare && window == flow.send_window && flow.send_next != ack &&
             ++flow.duplicates == 3) {
    ++flow.resent;
    flow.send_next = flow.send_unacked;
    flow.fin_sent = false;
  }
  flow.send_window = window;
  activate(flow);
}

void Guest::take_data(Flow& flow, u32 seq, usize size, bool fin) {
  const u32 old = flow.receive_next - seq;
  if (seq != flow.receive_next) {
    if (before(flow.receive_next, seq) || old >= size + fin) return queue_ack(flow);
    size -= std::min<usize>(old, size);  // sent again, with something new behind it
  }
  flow.receive_next += static_cast<u32>(size);
  flow.received += size;
  flow.unacknowledged += static_cast<u32>(size);
  if (fin && !flow.peer_fin) {
    flow.peer_fin = true;
    ++flow.receive_next;
    close(flow);
  }
  if (flow.unacknowledged >= kAckEach) {
    acks_.push_back({&flow, flow.receive_next});
    flow.unacknowledged = 0;
    subject_.wake();
  } else {
    queue_ack(flow);
  }
  if (size && on_data) on_data(flow, size);
}

void Guest::queue_ack(Flow& flow) {
  if (flow.in_acks) return;
  flow.in_acks = true;
  last_acks_.push_back(&flow);
  subject_.wake();
}

void Guest::activate(Flow& flow) {
  if (flow.in_active || flow.state == Flow::ended) return;
  if (flow.state == Flow::open && !flow.reset_wanted && !flow.endless && flow.send_next == flow.send_end &&
      !(flow.fin_wanted && !flow.fin_sent))
    return;
  flow.in_active = true;
  active_.push_back(&flow);
  subject_.wake();
}

Flow* Guest::open(u16 port) {
  if (count_ >= 65536 - kFirstPort) return nullptr;
  do next_port_ = next_port_ == 65535 ? kFirstPort : static_cast<u16>(next_port_ + 1);
  while (by_port_[next_port_]);
  auto flow = std::make_unique<Flow>();
  flow->local_port = next_port_;
  flow->remote_port = port;
  next_sequence_ += 0x10001;
  flow->send_unacked = next_sequence_;
  flow->send_next = flow->send_max = next_sequence_ + 1;
  flow->progress_at = 0;
  ++count_;
  Flow& opened = *flow;
  by_port_[next_port_] = std::move(flow);
  activate(opened);
  return &opened;
}

void Guest::send(Flow& flow, u32 bytes) {
  flow.send_end += bytes;
  activate(flow);
}

void Guest::send_endlessly(Flow& flow) {
  flow.endless = true;
  activate(flow);
}

void Guest::set_reading(Flow& flow, bool reading) {
  flow.closed_window = !reading;
  queue_ack(flow);
}

void Guest::close(Flow& flow) {
  if (std::exchange(flow.endless, false)) flow.send_end = flow.send_next;
  flow.fin_wanted = true;
  activate(flow);
}

void Guest::reset(Flow& flow) {
  flow.reset_wanted = true;
  activate(flow);
}

void Guest::finish(Flow& flow, End how) {
  flow.state = Flow::ended;
  if (how == End::closed) acks_.push_back({&flow, flow.receive_next});
  if (on_end) on_end(flow, how);
  --count_;
  gone_.push_back(std::move(by_port_[flow.local_port]));
  subject_.wake();
}

// A turn of the NIC's transmit queue.
void Guest::pump() {
  unsigned budget = kBurst;
  if (arp_.wanted && subject_.ready()) send_arp();
  while (!stalled && budget && !acks_.empty() && subject_.ready()) {
    const Ack ack = acks_.front();
    acks_.pop_front();
    emit(*ack.flow, kAck, ack.flow->send_next, ack.number, 0);
    --budget;
  }
  for (usize left = active_.size(); !stalled && left && budget && subject_.ready(); --left) {
    Flow& flow = *active_.front();
    active_.pop_front();
    flow.in_active = false;
    if (flow.state == Flow::ended || !send_some(flow, budget)) continue;
    activate(flow);
    if (budget || flow.turn == 0 || active_.empty() || active_.back() != &flow)
      continue;  // else its turn is not over: it goes on first
    active_.pop_back();
    active_.push_front(&flow);
  }
  while (!stalled && budget && !last_acks_.empty() && acks_.empty() && subject_.ready()) {
    Flow& flow = *last_acks_.back();
    last_acks_.pop_back();
    const bool wanted = std::exchange(flow.in_acks, false);
    if (flow.state != Flow::open || !wanted) continue;
    emit(flow, kAck, flow.send_next, flow.receive_next, 0);
    --budget;
  }
  if (acks_.empty() && active_.empty() && last_acks_.empty()) gone_.clear();
  else if (!stalled && subject_.ready()) subject_.wake();
}

bool Guest::send_some(Flow& flow, unsigned& budget) {
  if (flow.reset_wanted) {
    emit(flow, kRst | kAck, flow.send_next, flow.receive_next, 0);
    --budget;
    return finish(flow, End::reset), false;
  }
  if (std::exchange(flow.probe_wanted, false)) {
    emit(flow, kAck, flow.send_unacked - 1, flow.receive_next, 0);
    --budget;
  }
  if (flow.state == Flow::opening) {
    flow.progress_at = now_ns();
    emit(flow, kSyn, flow.send_unacked, 0, 0);
    --budget;
    return false;
  }
  const usize most = options_.offload ? 44 * mss_ : mss_;
  for (; budget && subject_.ready(); --budget) {
    const u32 in_flight = flow.send_next - flow.send_unacked;
    const u32 room = flow.send_window > in_flight ? flow.send_window - in_flight : 0;
    const usize wanted = flow.endless ? most : std::min<usize>(flow.send_end - flow.send_next, most);
    if (flow.fin_sent || room == 0) return false;
    if (wanted == 0) {
      if (!flow.fin_wanted) return false;
      if (in_flight == 0) flow.progress_at = now_ns();
      flow.fin_sent = true;
      emit(flow, kFin | kAck, flow.send_next++, flow.receive_next, 0);
      --budget;
      return false;
    }
    const usize size = std::min<usize>(wanted, room);
    if (size < wanted && size < mss_ && in_flight) return false;
    if (in_flight == 0) flow.progress_at = now_ns();
    // A stack may answer within send(): what is in flight is noted first.
    const u32 seq = flow.send_next;
    flow.send_next += static_cast<u32>(size);
    // What an application wrote ends here.
    const bool push = flow.turn + size >= kQuantum || (!flow.endless && flow.send_next == flow.send_end);
    emit(flow, push ? kAck | kPsh : kAck, seq, flow.receive_next, size);
    if (flow.state == Flow::ended) return --budget, false;
    if ((flow.turn += size) < kQuantum) continue;
    flow.turn = 0;
    return --budget, true;
  }
  return true;
}

// The headers' checksums; zeros add nothing.
void Guest::sum(u8* headers, usize tcp_size, usize payload) const {
  u8* ip = headers + kIp;
  store_be<u16>(ip + 10, static_cast<u16>(~folded(sum_words(ip, 20))));
  u8* tcp = headers + kTcp;
  u32 pseudo = sum_words(ip + 12, 8) + 6 + static_cast<u32>(tcp_size + payload);
  if (options_.offload) store_be<u16>(tcp + 16, folded(pseudo));
  else store_be<u16>(tcp + 16, static_cast<u16>(~folded(pseudo + sum_words(tcp, tcp_size))));
}

void Guest::emit(Flow& flow, u8 flags, u32 seq, u32 ack, usize payload) {
  ++frames_out;
  const u32 end = seq + static_cast<u32>(payload) + (flags & (kSyn | kFin) ? 1 : 0);
  if (before(flow.send_max, end)) flow.send_max = end;
  std::array<u8, 64> headers{};
  std::copy_n(gateway_mac_.begin(), 6, headers.begin());
  std::copy_n(kMac, 6, headers.begin() + 6);
  store_be<u16>(&headers[12], 0x0800);
  const usize tcp_size = flags & kSyn ? 28 : 20;
  u8* ip = &headers[kIp];
  ip[0] = 0x45;
  store_be<u16>(ip + 2, static_cast<u16>(20 + tcp_size + payload));
  ip[8] = 64;
  ip[9] = 6;
  std::copy_n(kAddress, 4, ip + 12);
  std::copy_n(kGateway, 4, ip + 16);
  u8* tcp = &headers[kTcp];
  store_be<u16>(tcp, flow.local_port);
  store_be<u16>(tcp + 2, flow.remote_port);
  store_be<u32>(tcp + 4, seq);
  store_be<u32>(tcp + 8, ack);
  tcp[12] = static_cast<u8>(tcp_size / 4 << 4);
  tcp[13] = flags;
  store_be<u16>(tcp + 14, flags & kSyn ? 0xffff : flow.closed_window ? 0 : kWindow);
  if (flags & kSyn) {
    const u8 options[8] = {2, 4, static_cast<u8>(mss_ >> 8), static_cast<u8>(mss_), 1, 3, 3, kScale};
    std::copy_n(options, 8, tcp + 20);
  }
  sum(headers.data(), tcp_size, payload);
  if (ack == flow.receive_next) {
    flow.unacknowledged = 0;
    flow.in_acks = false;  // stays on the list, and is passed over there
  }
  pieces_.clear();
  pieces_.push_back({headers.data(), kTcp + tcp_size});  // not padded, as virtio-net's are not
  for (usize left = payload; left;) {
    const usize part = std::min(left, kPage);
    pieces_.push_back({zeros_.data(), part});
    left -= part;
  }
  net::Offload offload;
  if (options_.offload) {
    offload.needs_checksum = true;
    offload.checksum_start = kTcp;
    offload.checksum_offset = 16;
    if (payload > mss_) {
      offload.gso = net::Offload::tcp4;
      offload.gso_size = static_cast<u16>(mss_);
      offload.header_length = kHeaders;
    }
  }
  subject_.send(net::Frame{pieces_, offload});
}

void Guest::tick() {
  if (on_tick) on_tick();
  if (++ticks_ % 5 || stalled) return;
  const s64 now = now_ns();
  for (const auto& flow : by_port_) {
    if (!flow || flow->progress_at == 0) continue;
    if (now - flow->progress_at < (flow->state == Flow::opening ? kSynAgain : kAgain)) continue;
    if (flow->send_unacked == flow->send_next) {
      if (flow->state != Flow::open || flow->send_window || !(flow->endless || flow->send_next != flow->send_end))
        continue;
      flow->probe_wanted = true;  // a window that stays closed: its update may be lost (RFC 9293, section 3.8.6.1)
      flow->progress_at = now;
      activate(*flow);
      continue;
    }
    ++flow->resent;
    flow->progress_at = now;
    if (flow->state == Flow::open) {
      flow->send_next = flow->send_unacked;
      flow->fin_sent = false;
    }
    activate(*flow);
  }
}

}  // namespace rhea::bench
