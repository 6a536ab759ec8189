// SPDX-License-Identifier: MIT
// What the host's side of a connection does, and time.
#include "net/user/tcp_flow.h"

#include <algorithm>
#include <cerrno>

#include "net/user/dns.h"

namespace rhea::net::user {

namespace {

constexpr s64 kFirstInterval = kSecond;  // RFC 6298, section 2.1
constexpr s64 kLongestInterval = 60 * kSecond;
constexpr unsigned kSynTries = 6;  // of the SYN-ACK
constexpr unsigned kProbeTries = 2;
constexpr s64 kLongestSynInterval = 8 * kSecond;  // a guest that boots is heard soon after it is up
constexpr unsigned kTries = 12;
constexpr s64 kIdle = 2 * 60 * 60 * kSecond;  // RFC 9293, section 3.8.4
constexpr s64 kProbeInterval = 75 * kSecond;
constexpr unsigned kProbes = 9;
constexpr u32 kFirstWindow = 256 * 1024;  // the link to the guest loses nothing by itself
constexpr u8 kReceiveScale = 5;
constexpr usize kLimitedSend = 4 * 1024;  // at once, where rate-out= holds
constexpr usize kMostGathered = 64 * 1024;
constexpr s64 kGatherQuickly = kGatherTime * 3 / 4;  // that much of the time was left
constexpr u32 kReleaseAt = 64 * 1024, kReleaseMost = 256 * 1024;

}  // namespace

TcpFlow::TcpFlow(Tcp& tcp, const TcpKey& key, State state, u32 initial_sequence)
    : Timeout(tcp.context_.timeouts), tcp_(tcp), context_(tcp.context_), key_(key), state_(state),
      v6_(!key.guest.address.is_v4()), receive_scale_(kReceiveScale), initial_send_(initial_sequence),
      send_unacked_(initial_sequence), send_next_(initial_sequence + 1), send_max_(initial_sequence + 1),
      head_seq_(initial_sequence + 1), release_at_(kReleaseAt), congestion_window_(kFirstWindow),
      retransmit_interval_(kFirstInterval), last_heard_(tcp.context_.now()), opened_at_(last_heard_) {}

const char* TcpFlow::state_name() const {
  switch (state_) {
    case connecting:
    case syn_received: return "SYN_RECEIVED";
    case syn_sent: return "SYN_SENT";
    case closed: return "CLOSED";
    case open: break;
  }
  if (guest_fin_ && fin_sent_) return fin_acked_ ? "TIME_WAIT" : "LAST_ACK";
  if (guest_fin_) return "CLOSE_WAIT";
  if (fin_sent_) return fin_acked_ ? "FIN_WAIT_2" : "FIN_WAIT_1";
  return "ESTABLISHED";
}

bool TcpFlow::connect(const Packet& packet, const Segment& syn) {
  take_options(syn);
  return connect_to({context_.destination(packet.to).address, key_.remote.port, 0});
}

bool TcpFlow::connect_to(const Endpoint& to) {
  int error = 0;
  socket_ = context_.sockets.open(SocketKind::stream, !to.address.is_v4(), this, error);
  if (socket_) error = socket_->connect(to);
  if (error && error != EINPROGRESS) return host_failed(error), state_ != closed;
  return true;
}

void TcpFlow::start(const GuestForward& service, const Segment& syn) {
  take_options(syn);
  std::string why = "no address of its host is known";
  if (!service.command.empty()) {
    socket_ = context_.sockets.start(service.command, this, why);
  } else if (!service.device.empty()) {
    return join_device(service);
  } else if (!service.target.address.is_unspecified()) {
    connect_to(service.target);
    return;
  }
  if (socket_) return host_connected();
  context_.warn(fmt::format("guestfwd={}: {}", service.text, why));
  host_failed(ECONNREFUSED);
}

void TcpFlow::join_device(const GuestForward& service) {
  int error = 0;
  std::unique_ptr<Socket> other;
  socket_ = context_.sockets.pair(this, other, error);
  if (socket_ && context_.devices.serve(service, std::move(other))) return host_connected();
  host_failed(ECONNREFUSED);
}

// The name server's own service (dns_stream.h), over a stream within this process.
void TcpFlow::ask_names(const Segment& syn) {
  take_options(syn);
  int error = 0;
  std::unique_ptr<Socket> other;
  socket_ = context_.sockets.pair(this, other, error);
  if (socket_ && tcp_.dns_.serve(std::move(other))) return host_connected();
  host_failed(ECONNREFUSED);
}

void TcpFlow::adopt(std::unique_ptr<Socket> socket, bool tells) {
  tells_ = tells;
  socket_ = std::move(socket);
  socket_->set_owner(this);
  readable_ = true;
}

void TcpFlow::send_syn() {
  send_control(kSyn, initial_send_);
  if (retransmit_due_ == kNever) retransmit_due_ = context_.now() + retransmit_interval_;
  arm_timeout();
}

void TcpFlow::on_socket(Socket& socket, u32 events) {
  if (state_ == closed || &socket != socket_.get()) return;
  if (state_ == connecting) {
    const int error = socket_->take_error();
    if (events & kSocketHangup) hung_up_ = true;
    if (error) host_failed(error);
    else if (events & kSocketWritable) host_connected();
    return;
  }
  if (events & kSocketError && socket_->take_error()) {
    if (state_ == open) return host_broke();
    send_control(kRst, send_next_);
    return reset_host();
  }
  if (events & (kSocketReadable | kSocketHangup)) {
    readable_ = true;
    if (events & kSocketHangup) hung_up_ = true;
    if (state_ == open) tcp_.want_send(*this);
  }
  if (events & kSocketUrgent) urgent_ = true;
  if (events & kSocketWritable && socket_full_) {
    socket_full_ = false;
    tcp_.want_flush(*this);
  }
}

void TcpFlow::host_connected() {
  state_ = syn_received;
  send_control(kSyn | kAck, initial_send_);
  retransmit_due_ = context_.now() + retransmit_interval_;
  arm_timeout();
}

// connect() failed: the guest hears of it as if it had asked the network itself.
void TcpFlow::host_failed(int error) {
  Icmp::Error reason;
  if (error == ECONNREFUSED || error == ECONNRESET || error == EMFILE || error == ENFILE) {
    send_control(kRst | kAck, 0);
  } else if (Icmp::error_of(error, reason)) {
    u8 quote[8];
    store_be<u16>(quote, key_.guest.port);
    store_be<u16>(quote + 2, key_.remote.port);
    store_be<u32>(quote + 4, receive_next_ - 1);
    tcp_.icmp_.tell_error(reason, key_.guest.address, key_.remote.address, kTcp, quote);
  }
  ++context_.counters.tcp_failed;
  context_.log.write(LogItem::net, "tcp: {} to {}: errno {}", key_.guest.text(), key_.remote.text(), error);
  state_ = closed;
  tcp_.remove(*this);
}

// The host's side was reset. What it had sent before still goes to the guest, then the reset.
void TcpFlow::host_broke() {
  broken_ = true;
  readable_ = hung_up_ = true;
  tcp_.buffered_ -= buffered();
  buffer_.clear();
  buffer_start_ = 0;
  tcp_.want_send(*this);
}

void TcpFlow::become_open() {
  state_ = open;
  tries_ = 0;
  tell(Verdict::open);
  retransmit_interval_ = kFirstInterval;
  retransmit_due_ = kNever;
  readable_ = true;
  arm_timeout();
  tcp_.want_send(*this);
}

void TcpFlow::end_probe(bool answered) {
  if (const auto done = std::exchange(on_answer, nullptr)) done(answered);
}

// The socket is new, and has room for a byte.
void TcpFlow::tell(Verdict verdict) {
  if (!std::exchange(tells_, false)) return;
  u8 byte = static_cast<u8>(verdict);
  const Piece piece{&byte, 1};
  socket_->send(std::span(&piece, 1));
}

void TcpFlow::reset_host() {
  end_probe(false);
  // A reset might overtake the verdict.
  if (tells_) tell(verdict_);
  else if (socket_) socket_->reset_on_close();
  state_ = closed;
  tcp_.buffered_ -= buffered() + out_of_order_bytes_;
  buffer_.clear();
  buffer_start_ = 0;
  out_of_order_bytes_ = 0;
  tcp_.remove(*this);
}

void TcpFlow::reset_both() {
  send_control(kRst | kAck, send_next_);
  reset_host();
}

void TcpFlow::finish_if_done() {
  if (state_ != open || !shut_down_ || !fin_acked_) return;
  release_acked(true);
  state_ = closed;
  tcp_.linger(key_, send_next_, receive_next_);
  tcp_.remove(*this);
}

// Sends what is buffered to the host; false when that broke the connection.
bool TcpFlow::flush_buffer() {
  Bucket& outward = context_.policy.outward;
  while (buffered() && !socket_full_ && !broken_) {
    if (outward.limited() && !outward.ready(context_.now())) {
      tcp_.hold(*this);
      break;
    }
    const Piece piece{buffer_.data() + buffer_start_,
                      outward.limited() ? std::min(buffered(), kLimitedSend) : buffered()};
    const IoResult result = socket_->send(std::span(&piece, 1));
    if (result.error == EINTR) continue;
    if (result.error && !result.again()) {
      host_broke();
      return false;
    }
    const usize sent = result.error ? 0 : static_cast<usize>(result.count);
    socket_full_ = sent < piece.size;
    outward.take(sent);
    stats.to_host += sent;
    buffer_start_ += sent;
    tcp_.buffered_ -= sent;
  }
  if (buffer_start_ == buffer_.size()) {
    buffer_start_ = 0;
    if (buffer_.capacity()) tcp_.give_buffer(std::exchange(buffer_, {}));
  } else if (buffer_start_ > buffer_.size() / 2) {  // as much is moved as has gone, at most
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(buffer_start_));
    buffer_start_ = 0;
  }
  return true;
}

void TcpFlow::flush() {
  if (state_ != open || gathers() || !flush_buffer()) return;
  if (guest_fin_ && !shut_down_ && buffered() == 0) {
    shut_down_ = true;
    if (!broken_) socket_->shutdown_write();
  }
  const u32 opened = receive_next_ + window() - advertised_;  // how far the window may move
  if (ack_now_ || unacknowledged_ >= 2u * mss_ || opened >= 128 * 1024) acknowledge();
  finish_if_done();
}

// A guest that cannot segment in its NIC sends a stream in many small segments, and each would wake the reader. So, as
// receivers with GRO do, up to kMostGathered bytes are taken together, and acknowledged together, while the guest says
// (no PSH) that more is coming. It begins with what is acknowledged in any case, and doubles as long as the guest
// keeps on and brings it in little time; the guest whose window is smaller than that waits once for kGatherTime, and it
// begins anew.
bool TcpFlow::gathers() {
  if (more_follows_ && !ack_now_ && !socket_full_ && buffered() && buffered() < gather_) {
    if (gather_due_ == kNever) {
      gather_due_ = context_.now() + kGatherTime;
      arm_timeout();
    }
    return true;
  }
  if (buffered() >= gather_ && more_follows_ &&
      (gather_due_ == kNever || gather_due_ - context_.now() > kGatherQuickly))
    gather_ = std::clamp<usize>(2 * gather_, 2u * mss_, kMostGathered);
  gather_due_ = kNever;
  return false;
}

// Takes what the guest has acknowledged from the socket's queue: a system call for many segments, and for more of them
// while they flow.
void TcpFlow::release_acked(bool all) {
  const u32 end = fin_sent_ && after(send_unacked_, fin_seq_) ? fin_seq_ : send_unacked_;
  usize size = before(head_seq_, end) ? end - head_seq_ : 0;
  if (size == 0 || (!all && size < release_at_ && send_unacked_ != send_max_)) return;
  release_at_ = size < release_at_ ? kReleaseAt : std::min(2 * release_at_, kReleaseMost);
  while (size) {
    const IoResult result = socket_->discard(size);
    if (result.error == EINTR) continue;
    if (result.error || result.count == 0) break;
    size -= std::min(size, static_cast<usize>(result.count));
    head_seq_ += static_cast<u32>(result.count);
  }
}

void TcpFlow::arm_timeout() {
  s64 due = std::min({retransmit_due_, ack_due_, gather_due_});
  if (state_ == open) due = std::min(due, std::max(last_heard_ + kIdle, context_.now() + kMillisecond));
  set_timeout(due);
}

void TcpFlow::on_timeout() {
  const s64 now = context_.now();
  if (state_ == closed) return;
  if (!tcp_.running_) return set_timeout(now + kSecond);
  if (gather_due_ <= now) {  // nothing more followed
    gather_ = 0;
    gather_due_ = kNever;
    more_follows_ = false;
    tcp_.want_flush(*this);
  }
  if (ack_due_ <= now) {
    answers_soon_ = false;
    acknowledge();
  }
  if (retransmit_due_ <= now) return retransmit();
  if (state_ == open && last_heard_ + kIdle <= now) {
    if (++tries_ > kProbes) return reset_both();
    probe();
    return set_timeout(now + kProbeInterval);
  }
  arm_timeout();
}

// A forwarded connection waits for a guest that boots as long as hostfwd-hold says; a guest that is up and
// has the connection opened (SYN-ACK) has less patience itself.
void TcpFlow::retransmit_syn() {
  const bool forwarded = state_ == syn_sent && !on_answer;
  const s64 hold = s64{context_.config.hold_seconds} * kSecond;
  const unsigned most = on_answer ? kProbeTries : kSynTries;
  if (forwarded ? context_.now() - opened_at_ >= hold : tries_ >= most) {
    context_.log.write(LogItem::net, "tcp: the guest does not answer for {}", key_.guest.text());
    verdict_ = Verdict::silent;
    return state_ == syn_received ? reset_both() : reset_host();
  }
  retransmit_interval_ = std::min(retransmit_interval_, kLongestSynInterval);
  retransmit_due_ = context_.now() + retransmit_interval_;
  if (forwarded)
    retransmit_due_ = std::min(retransmit_due_, std::max(opened_at_ + hold, context_.now() + kMillisecond));
  send_control(state_ == syn_received ? kSyn | kAck : kSyn, initial_send_);
  arm_timeout();
}

void TcpFlow::retransmit() {
  ++tries_;
  retransmit_interval_ = std::min(2 * retransmit_interval_, kLongestInterval);
  retransmit_due_ = context_.now() + retransmit_interval_;
  if (state_ != open) return retransmit_syn();
  if (tries_ > kTries) return reset_both();
  if (send_max_ != send_unacked_ && send_window_ != 0) {
    // Everything again from the first byte that was not acknowledged.
    slow_start_threshold_ = std::max<u32>((send_max_ - send_unacked_) / 2, 4u * mss_);
    congestion_window_ = 4u * mss_;
    send_next_ = send_unacked_;
    ++stats.retransmissions;
    ++context_.counters.retransmissions;
    recovering_ = false;
    duplicates_ = 0;
    timed_at_ = 0;
    tcp_.want_send(*this);
  } else if (send_max_ != send_unacked_ || more_to_send()) {
    tries_ = std::min(tries_, kTries - 1);  // a closed window may stay closed for as long as the guest lives
    probe();
  } else {
    retransmit_due_ = kNever;
  }
  arm_timeout();
}

// An old sequence number makes the guest say where it stands (RFC 9293, section 3.8.4).
void TcpFlow::probe() { send_control(kAck, send_unacked_ - 1); }

}  // namespace rhea::net::user
