// SPDX-License-Identifier: MIT
// Each query has sockets, and so source ports, of its own, and an identifier chosen anew (RFC 5452): an
// answer must come from the server asked, with that identifier.
#include "net/user/dns.h"

#include <algorithm>

#include "net/user/dns_stream.h"
#include "net/user/udp.h"

namespace rhea::net::user {

namespace {

constexpr usize kHeader = 12;
constexpr usize kMaxQueries = 256;
constexpr usize kMaxStreams = 64;
constexpr s64 kNextServer = kSecond;
constexpr s64 kGiveUp = 10 * kSecond;
constexpr u8 kServerFailure = 2, kNotImplemented = 4, kRefused = 5;

}  // namespace

class Dns::Query final : public SocketOwner, public Timeout {
 public:
  Query(Dns& dns, const Endpoint& guest, const IpAddress& server, std::span<const u8> message)
      : Timeout(dns.context_.timeouts), dns_(dns), guest_(guest), server_(server),
        message_(message.begin(), message.end()), guest_id_(load_be<u16>(message.data())),
        wire_id_(static_cast<u16>(dns.context_.sockets.random())), resolvers_(dns.context_.resolvers()),
        give_up_(dns.context_.now() + kGiveUp) {
    store_be<u16>(message_.data(), wire_id_);
  }

  const Endpoint& guest() const { return guest_; }
  const IpAddress& server() const { return server_; }
  u16 guest_id() const { return guest_id_; }
  bool same_question(std::span<const u8> message) const {
    return message.size() == message_.size() && std::equal(message.begin() + 2, message.end(), message_.begin() + 2);
  }

  // Asks the next server that can be asked. Once round all of them, then round again until the end.
  void ask_next() {
    if (dns_.context_.now() >= give_up_) return fail();
    for (usize tried = 0; tried < resolvers_.size(); ++tried) {
      const Endpoint& resolver = resolvers_[next_++ % resolvers_.size()];
      if (ask(resolver)) {
        set_timeout(std::min(give_up_, dns_.context_.now() + kNextServer));
        return;
      }
    }
    fail();
  }
  void on_socket(Socket& socket, u32 events) override {
    if (events & kSocketError) {
      SocketError error;
      bool refused = false;
      while (socket.next_error(error)) refused = true;
      socket.take_error();
      if (refused && ++refusals_ >= resolvers_.size()) return fail();
      if (refused) ask_next();
    }
    receive(socket);
  }
  void on_timeout() override { ask_next(); }

 private:
  bool ask(const Endpoint& resolver) {
    const bool v6 = !resolver.address.is_v4();
    auto& socket = sockets_[v6];
    int error = 0;
    if (!socket) socket = dns_.context_.sockets.open(SocketKind::datagram, v6, this, error);
    if (!socket) return false;
    const Piece piece{message_.data(), message_.size()};
    IoResult result = socket->send_to(resolver, std::span(&piece, 1));
    if (result.error && !result.again()) result = socket->send_to(resolver, std::span(&piece, 1));
    return result.error == 0;
  }
  void receive(Socket& socket) {
    std::vector<u8>& buffer = dns_.buffer_;
    for (unsigned i = 0; i < 16; ++i) {
      Endpoint from;
      u16 segment = 0;
      const IoResult result = socket.receive_from(from, {buffer.data(), buffer.size()}, segment);
      if (result.error) {
        if (result.again()) return;
        continue;
      }
      const usize size = static_cast<usize>(result.count);
      const auto known = std::find_if(resolvers_.begin(), resolvers_.end(), [&](const Endpoint& resolver) {
        return resolver.address == from.address && resolver.port == from.port;
      });
      if (known == resolvers_.end() || size < kHeader || load_be<u16>(buffer.data()) != wire_id_ || !(buffer[2] & 0x80))
        continue;
      const u8 code = buffer[3] & 15;
      const bool failed = code == kServerFailure || code == kNotImplemented || code == kRefused;
      if (failed && ++refusals_ < resolvers_.size()) {
        ask_next();
        continue;
      }
      return dns_.answer(*this, buffer.data(), size);
    }
  }
  // Nobody could be asked: the guest need not wait.
  void fail() {
    ++dns_.context_.counters.dns_failed;
    std::vector<u8> answer(message_.begin(), message_.end());
    answer[2] |= 0x80;
    answer[3] = static_cast<u8>((answer[3] & 0x70) | 0x80 | kServerFailure);
    dns_.answer(*this, answer.data(), answer.size());
  }

  Dns& dns_;
  Endpoint guest_;
  IpAddress server_;
  std::vector<u8> message_;
  u16 guest_id_, wire_id_;
  std::vector<Endpoint> resolvers_;
  s64 give_up_;
  usize next_ = 0;
  usize refusals_ = 0;
  std::unique_ptr<Socket> sockets_[2];
};

Dns::Dns(Context& context, const Dhcp& dhcp) : context_(context), names_(context, dhcp), buffer_(65536) {}
Dns::~Dns() = default;

void Dns::query(const Endpoint& guest, const IpAddress& server, std::span<const u8> message) {
  if (message.size() < kHeader || (message[2] & 0x80)) return;
  if (auto own = answer_here(message)) {
    udp_->send_to_guest({server, 53, 0}, guest, *own);
    return;
  }
  const auto same = std::find_if(queries_.begin(), queries_.end(), [&](const auto& query) {
    return query->guest() == guest && query->guest_id() == load_be<u16>(message.data()) &&
           query->same_question(message);
  });
  if (same != queries_.end()) return (*same)->ask_next();  // asked again: another server may know
  if (queries_.size() >= kMaxQueries) finish(*queries_.front());
  queries_.push_back(std::make_unique<Query>(*this, guest, server, message));
  queries_.back()->ask_next();
}

std::optional<std::vector<u8>> Dns::answer_here(std::span<const u8> message) {
  ++context_.counters.dns_queries;
  if (const auto name = parse_dns_question(message); name && !context_.policy.permits_name(*name)) {
    std::vector<u8> refusal(message.begin(), message.end());
    refusal[2] |= 0x80;
    refusal[3] = static_cast<u8>((refusal[3] & 0x70) | 0x80 | kRefused);
    return refusal;
  }
  auto own = names_.answer(message);
  if (own) ++context_.counters.dns_own;
  return own;
}

void Dns::note_answer(std::span<const u8> message) {
  if (context_.config.access.empty()) return;
  if (const auto told = parse_dns_answer(message))
    for (const auto& [address, seconds] : told->addresses)
      context_.policy.learn(told->name, address, seconds, context_.now());
}

bool Dns::serve(std::unique_ptr<Socket> socket) {
  if (streams_.size() >= kMaxStreams) return false;
  streams_.push_back(std::make_unique<DnsStream>(*this, context_, std::move(socket)));
  return true;
}

void Dns::answer(Query& query, const u8* message, usize size) {
  const auto same = [&](const auto& item) { return item.get() == &query; };
  if (std::none_of(queries_.begin(), queries_.end(), same)) return;  // answered already
  std::vector<u8> answer(message, message + size);
  note_answer(answer);
  store_be<u16>(answer.data(), query.guest_id());
  udp_->send_to_guest({query.server(), 53, 0}, query.guest(), answer);
  finish(query);
}

void Dns::finish(Query& query) {
  const auto found =
      std::find_if(queries_.begin(), queries_.end(), [&](const auto& item) { return item.get() == &query; });
  if (found == queries_.end()) return;
  query.set_timeout(kNever);
  gone_.push_back(std::move(*found));
  queries_.erase(found);
  context_.schedule();
}

void Dns::run() {
  gone_.clear();
  std::erase_if(streams_, [](const auto& stream) { return stream->ended(); });
}

}  // namespace rhea::net::user
