// SPDX-License-Identifier: MIT
#include "net/user/tcp.h"

#include <algorithm>

#include "net/checksum.h"
#include "net/user/tcp_flow.h"
#include "util/siphash.h"

namespace rhea::net::user {

namespace {

constexpr usize kMaxFlows = 65536;
constexpr usize kMostEnded = 16384;
constexpr s64 kLinger = 4 * kSecond;         // some retransmissions of the guest
constexpr usize kQuantum = 64 * 1024;        // bytes a flow sends before the next one's turn
constexpr usize kLargeQuantum = 256 * 1024;  // where the guest takes large segments: some of them for one wake-up
constexpr usize kLimitedQuantum = 4 * 1024;  // where rate-in= holds
constexpr usize kTurnBudget = 1024 * 1024;   // bytes sent in one run
constexpr usize kSpareBuffers = 16, kLargestSpare = 256 * 1024;

}  // namespace

Tcp::Tcp(Context& context, Icmp& icmp, Dns& dns)
    : context_(context), icmp_(icmp), dns_(dns), waker_(context.timeouts), flows_(16, KeyHash{{context.key}}),
      ended_(16, KeyHash{{context.key}}), secret_{context.sockets.random(), context.sockets.random()},
      scratch_(128 * 1024) {}
Tcp::~Tcp() = default;

// Some descriptors are left for the rest of the program.
usize Tcp::flow_limit() const { return std::min(kMaxFlows, context_.sockets.open_file_limit() / 8 * 7); }

void Tcp::input(const Packet& packet) {
  Segment segment;
  if (!parse_segment(packet, segment)) return;
  const u8* header = packet.transport_header();
  const TcpKey key{{packet.from, load_be<u16>(header), 0}, {packet.to, load_be<u16>(header + 2), 0}};
  if (last_ && last_->key() == key) return last_->input(packet, segment);
  const auto found = flows_.find(key);
  if (found != flows_.end()) {
    last_ = found->second.get();
    return last_->input(packet, segment);
  }
  if (!ended_.empty() && input_lingering(packet, segment, key)) return;
  if ((segment.flags & (kSyn | kAck | kRst)) == kSyn) return open_from_guest(packet, key);
  refuse(packet);
}

// RFC 6528: a keyed hash of the connection, plus a clock of 4 microseconds.
u32 Tcp::initial_sequence(const TcpKey& key) const {
  std::array<u8, 36> connection;
  std::copy(key.guest.address.bytes.begin(), key.guest.address.bytes.end(), connection.begin());
  std::copy(key.remote.address.bytes.begin(), key.remote.address.bytes.end(), connection.begin() + 16);
  store_be<u16>(&connection[32], key.guest.port);
  store_be<u16>(&connection[34], key.remote.port);
  return static_cast<u32>(siphash24(secret_, connection)) + static_cast<u32>(context_.now() / 4000);
}

// RFC 9293, section 3.10.7.1: what comes to no connection is reset.
void Tcp::refuse(const Packet& packet) {
  Segment segment;
  if (!parse_segment(packet, segment) || segment.flags & kRst) return;
  if (packet.to.is_multicast() || packet.from.is_unspecified()) return;
  const u8* header = packet.transport_header();
  const TcpKey key{{packet.from, load_be<u16>(header), 0}, {packet.to, load_be<u16>(header + 2), 0}};
  if (segment.flags & kAck) return send_bare(key, kRst, segment.ack, 0);
  const u32 length =
      static_cast<u32>(segment.payload) + (segment.flags & kSyn ? 1 : 0) + (segment.flags & kFin ? 1 : 0);
  send_bare(key, kRst | kAck, 0, segment.seq + length);
}

void Tcp::send_bare(const TcpKey& key, u8 flags, u32 seq, u32 ack) {
  u8 header[kTcpHeader] = {};
  store_be<u16>(header, key.remote.port);
  store_be<u16>(header + 2, key.guest.port);
  store_be<u32>(header + 4, seq);
  store_be<u32>(header + 8, ack);
  header[12] = 0x50;
  header[13] = flags;
  if (!(flags & kRst)) store_be<u16>(header + 14, 0xffff);
  const IpOut out{.from = key.remote.address, .to = key.guest.address, .protocol = kTcp};
  ChecksumSum sum;
  sum.add_pseudo_header(out.from, out.to, kTcp, sizeof header);
  sum.add(header, sizeof header);
  store_be<u16>(header + 16, sum.checksum());
  context_.link.send_ip(out, header, sizeof header);
}

void Tcp::linger(const TcpKey& key, u32 seq, u32 ack) {
  const s64 now = context_.now();
  while (!ended_order_.empty() && (ended_order_.front().first <= now || ended_order_.size() >= kMostEnded)) {
    const auto found = ended_.find(ended_order_.front().second);
    if (found != ended_.end() && found->second.until == ended_order_.front().first) ended_.erase(found);
    ended_order_.pop_front();
  }
  ended_[key] = {seq, ack, now + kLinger};
  ended_order_.emplace_back(now + kLinger, key);
}

// What the guest says again is acknowledged again. A new connection may begin at once; acknowledgements alone
// get no answer.
bool Tcp::input_lingering(const Packet& packet, const Segment& segment, const TcpKey& key) {
  const auto found = ended_.find(key);
  if (found == ended_.end()) return false;
  const Ended ended = found->second;
  if (ended.until <= context_.now() || segment.flags & (kSyn | kRst)) {
    ended_.erase(found);
    return ended.until > context_.now() && segment.flags & kRst;
  }
  if (segment.payload || segment.flags & kFin) send_bare(key, kAck, ended.seq, ended.ack);
  return true;
}

void Tcp::open_from_guest(const Packet& packet, const TcpKey& key) {
  const Destination destination = context_.destination(packet.to);
  const bool to_dns = destination.kind == Destination::dns && key.remote.port == 53;
  const GuestForward* service = context_.service(key.remote);
  if (packet.from.is_unspecified() || key.guest.port == 0) return;
  if (key.remote.port == 0) return refuse(packet);
  if (flows_.size() >= flow_limit()) {
    ++context_.counters.tcp_limited;
    return refuse(packet);
  }
  if (context_.config.restricted && !service) return refuse(packet);
  if (destination.kind == Destination::dns && !to_dns) return refuse(packet);
  if (destination.kind == Destination::service && !service) return refuse(packet);
  if (destination.kind == Destination::nowhere) {
    icmp_.send_error(Icmp::Error::host_unreachable, packet.v6 ? context_.config.host6 : context_.config.host, packet);
    return;
  }
  if (!to_dns && !service && !context_.policy.permits(kTcp, key.guest, key.remote, context_.now()))
    return icmp_.send_error(Icmp::Error::prohibited, packet.v6 ? context_.config.host6 : context_.config.host, packet);
  ++context_.counters.tcp_from_guest;
  Segment syn;
  parse_segment(packet, syn);
  auto flow = std::make_unique<TcpFlow>(*this, key, TcpFlow::connecting, initial_sequence(key));
  TcpFlow& opened = *flow;
  flows_.emplace(key, std::move(flow));
  if (service) opened.start(*service, syn);
  else if (to_dns) opened.ask_names(syn);
  else if (!opened.connect(packet, syn)) remove(opened);
}

bool Tcp::open_to_guest(std::unique_ptr<Socket> socket, Endpoint from, const Endpoint& guest, bool tells) {
  TcpKey key{guest, from};
  for (unsigned tries = 0; flows_.contains(key) && tries < 1000; ++tries)
    key.remote.port = static_cast<u16>(key.remote.port >= 65535 ? 1024 : key.remote.port + 1);
  if (flows_.contains(key) || flows_.size() >= flow_limit()) {
    socket->reset_on_close();
    return false;
  }
  auto flow = std::make_unique<TcpFlow>(*this, key, TcpFlow::syn_sent, initial_sequence(key));
  TcpFlow& opened = *flow;
  flows_.emplace(key, std::move(flow));
  ++context_.counters.tcp_to_guest;
  opened.adopt(std::move(socket), tells);
  opened.send_syn();
  return true;
}

void Tcp::probe(const Endpoint& guest, std::function<void(bool)> done) {
  const UserConfig& config = context_.config;
  TcpKey key{guest, {guest.address.is_v4() ? config.host : config.host6, 0, 0}};
  for (unsigned tries = 0; tries < 100 && (key.remote.port == 0 || flows_.contains(key)); ++tries)
    key.remote.port = static_cast<u16>(49152 + context_.sockets.random() % 16384);
  if (flows_.contains(key)) return done(false);
  auto flow = std::make_unique<TcpFlow>(*this, key, TcpFlow::syn_sent, initial_sequence(key));
  TcpFlow& opened = *flow;
  flows_.emplace(key, std::move(flow));
  opened.on_answer = std::move(done);
  opened.send_syn();
}

void Tcp::on_neighbour(const IpAddress& address) {
  for (const auto& [key, flow] : flows_) {
    if (key.guest.address != address) continue;
    if (flow->state() == TcpFlow::syn_sent) flow->send_syn();
    else want_send(*flow);
  }
}

void Tcp::remove(TcpFlow& flow) {
  const auto found = flows_.find(flow.key());
  if (found == flows_.end() || found->second.get() != &flow) return;
  if (flow.flush_queued) std::erase(to_flush_, &flow);
  if (flow.send_queued) std::erase(to_send_, &flow);
  std::erase(held_, &flow);
  flow.flush_queued = flow.send_queued = true;  // on no list again
  flow.set_timeout(kNever);
  if (unsent_.flow == &flow) unsent_ = {};
  if (last_ == &flow) last_ = nullptr;
  gone_.push_back(std::move(found->second));
  flows_.erase(found);
  context_.schedule();
}

void Tcp::forget_all() {
  std::vector<TcpFlow*> all;
  for (const auto& [key, flow] : flows_) all.push_back(flow.get());
  for (TcpFlow* flow : all) flow->reset_host();
}

void Tcp::want_flush(TcpFlow& flow) {
  if (flow.flush_queued) return;
  flow.flush_queued = true;
  to_flush_.push_back(&flow);
  context_.schedule();
}

void Tcp::hold(TcpFlow& flow) {
  if (std::find(held_.begin(), held_.end(), &flow) == held_.end()) held_.push_back(&flow);
}

void Tcp::want_send(TcpFlow& flow) {
  if (flow.send_queued) return;
  flow.send_queued = true;
  to_send_.push_back(&flow);
  context_.schedule();
}

std::vector<u8> Tcp::take_buffer() {
  if (spare_buffers_.empty()) return {};
  std::vector<u8> buffer = std::move(spare_buffers_.back());
  spare_buffers_.pop_back();
  return buffer;
}

void Tcp::give_buffer(std::vector<u8> buffer) {
  if (spare_buffers_.size() >= kSpareBuffers || buffer.capacity() > kLargestSpare) return;
  buffer.clear();
  spare_buffers_.push_back(std::move(buffer));
}

usize Tcp::quantum_of_turn() const {
  if (context_.policy.inward.limited()) return kLimitedQuantum;
  return context_.link.caps().tso4 ? kLargeQuantum : kQuantum;
}

void Tcp::run() {
  gone_.clear();
  const s64 now = context_.now();
  Bucket& inward = context_.policy.inward;
  Bucket& outward = context_.policy.outward;
  if (!held_.empty() && outward.ready(now)) {
    for (TcpFlow* flow : std::exchange(held_, {})) want_flush(*flow);
  }
  for (usize left = to_flush_.size(); left && !to_flush_.empty(); --left) {
    TcpFlow& flow = *to_flush_.front();
    to_flush_.pop_front();
    flow.flush_queued = false;
    flow.flush();
  }
  // Flows take turns; what is left when the NIC is busy goes on at on_room().
  usize budget = kTurnBudget;
  while (!to_send_.empty() && !context_.link.blocked() && inward.ready(now)) {
    const usize quantum = quantum_of_turn();
    if (budget < quantum) {
      context_.schedule();
      break;
    }
    budget -= quantum;
    TcpFlow& flow = *to_send_.front();
    to_send_.pop_front();
    flow.send_queued = false;
    const u64 before = flow.stats.to_guest;
    const usize turn = std::exchange(flow.turn_left, 0);
    const usize most = turn ? std::min(turn, quantum) : quantum;
    const bool more = flow.send_data(most);
    const u64 sent = flow.stats.to_guest - before;
    inward.take(sent);
    if (!more) continue;
    want_send(flow);
    if (!context_.link.blocked() || sent >= most || to_send_.back() != &flow) continue;
    // The NIC was full in the middle of its turn: it goes on first, else the same flows might be the last each time.
    flow.turn_left = most - static_cast<usize>(sent);
    to_send_.pop_back();
    to_send_.push_front(&flow);
  }
  if (!to_send_.empty() && !inward.ready(now)) waker_.set_timeout(inward.next(now));
  if (!held_.empty()) waker_.set_timeout(std::min(waker_.timeout(), outward.next(now)));
}

std::vector<Tcp::Row> Tcp::rows() const {
  std::vector<Row> rows;
  for (const auto& [key, flow] : flows_) {
    const Socket* socket = flow->socket();
    if (!socket) continue;  // a probe
    rows.push_back({key, flow->state_name(), socket ? socket->fd() : -1, socket ? socket->receive_queue() : 0,
                    flow->buffered() + (socket ? socket->send_queue() : 0), flow->stats, flow->round_trip()});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tie(a.key.guest, a.key.remote) < std::tie(b.key.guest, b.key.remote);
  });
  return rows;
}

}  // namespace rhea::net::user
