// SPDX-License-Identifier: MIT
#include "net/user/dns_stream.h"

#include <cerrno>

namespace rhea::net::user {

namespace {

constexpr usize kHeader = 12, kLength = 2;
constexpr usize kRead = 16 * 1024;
constexpr usize kMostPending = 256 * 1024;  // bytes that the guest has not read
constexpr usize kMostAsked = 64;
constexpr s64 kPatience = 5 * kSecond;  // with one resolver
constexpr s64 kGiveUp = 20 * kSecond;
constexpr s64 kIdle = 60 * kSecond;
constexpr u8 kServerFailure = 2;

}  // namespace

DnsStream::DnsStream(Dns& dns, Context& context, std::unique_ptr<Socket> socket)
    : Timeout(context.timeouts), dns_(dns), context_(context), guest_(std::move(socket)),
      resolvers_(context.resolvers()) {
  guest_->set_owner(this);
  settle();
}

bool DnsStream::Reader::fill(Socket& socket) {
  while (bytes.size() < kLength + 65535) {
    const usize had = bytes.size();
    bytes.resize(had + kRead);
    const Piece into{bytes.data() + had, kRead};
    const IoResult result = socket.peek(0, std::span(&into, 1));
    bytes.resize(had + static_cast<usize>(result.error ? 0 : result.count));
    if (result.error == EINTR) continue;
    if (result.error) return result.again();
    if (result.count == 0) return false;
    for (usize left = static_cast<usize>(result.count); left;) {
      const IoResult taken = socket.discard(left);
      if (taken.error == EINTR) continue;
      if (taken.error || taken.count <= 0) return false;
      left -= std::min(left, static_cast<usize>(taken.count));
    }
  }
  return true;
}

bool DnsStream::Reader::next(Bytes& message) {
  if (bytes.size() < kLength) return false;
  const usize size = load_be<u16>(bytes.data());
  if (bytes.size() < kLength + size) return false;
  const auto start = bytes.begin() + kLength;
  message.assign(start, start + static_cast<std::ptrdiff_t>(size));
  bytes.erase(bytes.begin(), start + static_cast<std::ptrdiff_t>(size));
  return true;
}

void DnsStream::on_socket(Socket& socket, u32 events) {
  if (ended_) return;
  if (&socket == resolver_.get()) {
    if (const int error = events & kSocketError ? socket.take_error() : 0; error) return next_resolver();
    if (events & kSocketWritable) connected_ = true;
    if (connected_ && !write(*resolver_, to_resolver_)) return;
    if (events & (kSocketReadable | kSocketHangup)) read_resolver();
  } else {
    if (write(*guest_, to_guest_)) read_guest();
  }
}

void DnsStream::read_guest() {
  while (!ended_ && !guest_ended_ && to_guest_.size() < kMostPending) {
    guest_ended_ = !from_guest_.fill(*guest_);
    bool any = false;
    for (Bytes message; !ended_ && from_guest_.next(message); any = true) take_query(std::move(message));
    if (!any) break;
  }
  settle();
}

void DnsStream::take_query(Bytes message) {
  if (message.size() < kHeader || message[2] & 0x80) return end();
  if (const auto own = dns_.answer_here(message)) return reply(*own);
  const u16 id = load_be<u16>(message.data());
  if (asked_.size() >= kMostAsked || asked_.contains(id)) return fail(std::move(message));
  const Asked& asked = asked_[id] = {std::move(message), context_.now() + kGiveUp};
  ask(asked.message);
}

void DnsStream::ask(std::span<const u8> message) {
  if (!resolver_) return next_resolver();  // which asks all that is open
  append(to_resolver_, message);
  if (connected_) write(*resolver_, to_resolver_);
}

// Everything that has no answer yet is asked of the next resolver.
void DnsStream::next_resolver() {
  resolver_.reset();
  connected_ = false;
  from_resolver_.bytes.clear();
  to_resolver_.clear();
  if (asked_.empty()) return;
  while (next_ < resolvers_.size()) {
    const Endpoint& to = resolvers_[next_++];
    int error = 0;
    resolver_ = context_.sockets.open(SocketKind::stream, !to.address.is_v4(), this, error);
    if (!resolver_) continue;
    error = resolver_->connect(to);
    if (error && error != EINPROGRESS) {
      resolver_.reset();
      continue;
    }
    for (const auto& [id, asked] : asked_) append(to_resolver_, asked.message);
    return;
  }
  fail_all();
}

void DnsStream::read_resolver() {
  const bool open = from_resolver_.fill(*resolver_);
  for (Bytes message; from_resolver_.next(message);) {
    if (message.size() < kHeader) continue;
    const auto asked = asked_.find(load_be<u16>(message.data()));
    if (asked == asked_.end()) continue;
    asked_.erase(asked);
    dns_.note_answer(message);
    reply(message);
    if (ended_) return;
  }
  if (!open) next_resolver();  // a resolver may close when it has answered (RFC 7766, section 6.2.3)
  if (asked_.empty()) next_ = 0;
  settle();
}

void DnsStream::reply(std::span<const u8> message) {
  append(to_guest_, message);
  write(*guest_, to_guest_);
}

void DnsStream::fail(Bytes message) {
  ++context_.counters.dns_failed;
  message[2] |= 0x80;
  message[3] = static_cast<u8>((message[3] & 0x70) | 0x80 | kServerFailure);
  reply(message);
}

void DnsStream::fail_all() {
  next_ = 0;
  for (auto& [id, asked] : std::exchange(asked_, {}))
    if (!ended_) fail(std::move(asked.message));
}

void DnsStream::append(Bytes& pending, std::span<const u8> message) {
  const usize at = pending.size();
  pending.resize(at + kLength);
  store_be<u16>(pending.data() + at, static_cast<u16>(message.size()));
  pending.insert(pending.end(), message.begin(), message.end());
}

bool DnsStream::write(Socket& socket, Bytes& pending) {
  while (!pending.empty()) {
    const Piece piece{pending.data(), pending.size()};
    const IoResult result = socket.send(std::span(&piece, 1));
    if (result.error == EINTR) continue;
    if (result.error && result.again()) return true;
    if (result.error) {
      if (&socket == guest_.get()) end();
      else next_resolver();
      return false;
    }
    pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(result.count));
  }
  return true;
}

void DnsStream::settle() {
  if (ended_) return;
  if (guest_ended_ && asked_.empty() && to_guest_.empty()) return end();
  set_timeout(context_.now() + (asked_.empty() ? kIdle : kPatience));
}

void DnsStream::on_timeout() {
  if (ended_) return;
  if (asked_.empty()) return end();
  const s64 now = context_.now();
  for (auto at = asked_.begin(); at != asked_.end() && !ended_;) {
    if (at->second.give_up > now) {
      ++at;
      continue;
    }
    Bytes message = std::move(at->second.message);
    at = asked_.erase(at);
    fail(std::move(message));
  }
  if (ended_) return;
  if (next_ >= resolvers_.size()) next_ = 0;
  next_resolver();
  settle();
}

// The guest sees the end of the stream.
void DnsStream::end() {
  ended_ = true;
  set_timeout(kNever);
  context_.schedule();
}

}  // namespace rhea::net::user
