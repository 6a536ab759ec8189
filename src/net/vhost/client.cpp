// SPDX-License-Identifier: MIT
// The beginning goes by answers: each is asked for when the one before it has come, and a timer waits with us. Lending
// rings is a row of messages, whose success is asked for where REPLY_ACK was agreed on. Only that, and taking rings
// back, waits for the back end: for kPatience in all, and then the connection ends.
#include "net/vhost/client.h"

#include <fmt/format.h>

#include "util/bits.h"

namespace rhea::net::vhost {

namespace {

constexpr s64 kPatience = kSecond;        // of a machine that waits meanwhile
constexpr s64 kBeginning = 10 * kSecond;  // for each answer at the beginning
constexpr u64 kWanted = kProtocolMq | kProtocolRarp | kProtocolReplyAck | kProtocolMtu;
// Addresses by which the back end knows the guest's memory. They need only differ: the host's own would tell where
// this process has things.
constexpr u64 kUserBase = u64{1} << 40;

constexpr unsigned kVersion1 = 32;

constexpr u64 bit_of(unsigned number) { return u64{1} << number; }

}  // namespace

// VIRTIO 1.2, sections 5.1.3 and 6.
u64 served_features() {
  u64 features = 0;
  for (const unsigned number : {0u, 1u, 3u, 6u, 7u, 8u, 9u, 10u, 11u, 12u, 13u, 14u, 15u, 54u, 55u, 56u})
    features |= bit_of(number);
  for (const unsigned number : {24u, 27u, 28u, 29u, kVersion1}) features |= bit_of(number);
  return features;
}

Client::Client(EventLoop& loop, sys::Fd socket, unsigned pairs, Hooks hooks)
    : loop_(loop), connection_(std::move(socket)), pairs_(pairs), hooks_(std::move(hooks)),
      patience_(loop.real_clock().timer([this] {
        end(fmt::format("the back end does not answer to {}",
                        name_of(state_ == State::features            ? Request::get_features
                                : state_ == State::protocol_features ? Request::get_protocol_features
                                                                     : Request::get_queue_num)));
      })) {
  watch_ = loop_.watch(connection_.fd(), kReadable, [this](u32) { on_readable(); });
  ask(Request::get_features);
}

Client::~Client() { *alive_ = false; }

void Client::end(std::string why) {
  if (state_ == State::ended) return;
  state_ = State::ended;
  // Many back ends are for VIRTIO 1 alone, and say so by closing the connection.
  if (refuses_legacy_) {
    if (why.empty()) why = "the back end closed the connection when rings were lent";
    why += " (the guest's driver is a legacy one: -global virtio-mmio.force-legacy=off)";
  }
  lent_ = false;
  why_ = std::move(why);
  for (Ring& ring : rings_) {
    ring.call_watch.reset();
    ring.error_watch.reset();
  }
  watch_.reset();
  patience_->cancel();
  connection_.shut();
  loop_.post([this, alive = alive_] {
    if (*alive && hooks_.ended) hooks_.ended(why_);
  });
}

// --- the beginning --------------------------------------------------------------------------------------------------

Message Client::plain(Request request, std::vector<u8> payload) const {
  Message message;
  message.request = request;
  message.payload = std::move(payload);
  return message;
}

bool Client::send(const Message& message, std::span<const int> descriptors) {
  if (state_ == State::ended) return false;
  if (connection_.send(message, descriptors)) return true;
  end(fmt::format("the back end closed the connection, or reads nothing, at {}", name_of(message.request)));
  return false;
}

void Client::ask(Request request) {
  if (send(plain(request, {}))) patience_->arm(loop_.real_clock().now() + kBeginning);
}

void Client::on_readable() {
  while (state_ != State::ended) {
    Message message;
    switch (connection_.receive(message)) {
      case Connection::Got::message: take(message); break;
      case Connection::Got::nothing: return;
      case Connection::Got::ended: return end("");
      case Connection::Got::broken: return end(connection_.why());
    }
  }
}

void Client::take(const Message& message) {
  const auto expected = [&](Request request) {
    return message.is_reply && message.request == request && message.descriptors.empty();
  };
  const auto number = decode_number(message.payload);
  if (state_ == State::features && number && expected(Request::get_features)) return take_features(*number);
  if (state_ == State::protocol_features && number && expected(Request::get_protocol_features))
    return take_protocol_features(*number);
  if (state_ == State::queue_number && number && expected(Request::get_queue_num)) {
    if (*number < pairs_) return end(fmt::format("queues={} asks for more than the back end has: {}", pairs_, *number));
    return finish();
  }
  end(fmt::format("the back end said {} with {} bytes, which nobody asked for", name_of(message.request),
                  message.payload.size()));
}

void Client::take_features(u64 features) {
  features_ = features;
  if (!(features & kFeatureProtocol)) {
    if (pairs_ > 1) return end(fmt::format("queues={} asks for more than the back end has: 1", pairs_));
    return finish();
  }
  state_ = State::protocol_features;
  ask(Request::get_protocol_features);
}

void Client::take_protocol_features(u64 features) {
  protocol_ = features & kWanted;
  if (!send(plain(Request::set_protocol_features, encode_number(protocol_)))) return;
  if (protocol_ & kProtocolMq) {
    state_ = State::queue_number;
    return ask(Request::get_queue_num);
  }
  if (pairs_ > 1) return end(fmt::format("queues={} asks for more than the back end has: 1", pairs_));
  finish();
}

void Client::finish() {
  patience_->cancel();
  if (!send(plain(Request::set_owner, {}))) return;
  state_ = State::ready;
  if (hooks_.ready) hooks_.ready();
}

Result<void> Client::wait_until_ready() {
  const s64 deadline = loop_.real_clock().now() + kBeginning;
  while (state_ != State::ready && state_ != State::ended) {
    Message message;
    const Connection::Got got = connection_.receive_within(message, 50);
    if (got == Connection::Got::message) take(message);
    else if (got == Connection::Got::ended) end("the back end closed the connection");
    else if (got == Connection::Got::broken) end(connection_.why());
    else if (loop_.real_clock().now() >= deadline) end("the back end does not answer");
  }
  if (state_ == State::ended) return Error("{}", why_.empty() ? "the back end closed the connection" : why_);
  return {};
}

// --- rings ----------------------------------------------------------------------------------------------------------

// The answer to a request, which comes before the deadline.
Result<Message> Client::await(Request request) {
  for (;;) {
    const s64 left = deadline_ - loop_.real_clock().now();
    Message message;
    const auto got = connection_.receive_within(message, static_cast<unsigned>(std::max<s64>(0, left) / kMillisecond));
    if (got == Connection::Got::message) {
      if (message.is_reply && message.request == request) return message;
      return Error("the back end said {} where {} was asked for", name_of(message.request), name_of(request));
    }
    if (got == Connection::Got::ended) return Error("the back end closed the connection");
    if (got == Connection::Got::broken) return Error("{}", connection_.why());
    if (left <= 0) return Error("the back end did not answer to {} in {} s", name_of(request), kPatience / kSecond);
  }
}

Result<void> Client::tell(const Message& message, std::span<const int> descriptors) {
  if (send(message, descriptors)) return {};
  return Error("{}", why_.empty() ? "the back end closed the connection" : why_);
}

// The same, and asks whether it worked where that was agreed on.
Result<void> Client::order(Message message, std::span<const int> descriptors) {
  message.needs_reply = protocol_ & kProtocolReplyAck;
  RHEA_TRY(tell(message, descriptors));
  if (!message.needs_reply) return {};
  const Message answer = RHEA_TRY(await(message.request));
  const auto status = decode_number(answer.payload);
  if (!status || *status) return Error("the back end refused {}", name_of(message.request));
  return {};
}

Result<void> Client::send_memory(const Lending& lending) {
  std::vector<Region> regions;
  std::vector<int> files;
  for (const SharedMemory& piece : lending.memory) {
    regions.push_back({piece.address, piece.size, piece.address + kUserBase, piece.offset});
    files.push_back(piece.file);
  }
  return order(plain(Request::set_mem_table, encode_regions(regions)), files);
}

Result<void> Client::send_ring(unsigned number, const LentRing& ring) {
  const auto descriptor = [&](Request request, int fd) {
    return tell(plain(request, encode_ring(RingDescriptor{static_cast<u8>(number), false})), std::array{fd});
  };
  RHEA_TRY(tell(plain(Request::set_vring_num, encode_ring(RingNumber{number, ring.size}))));
  RHEA_TRY(tell(plain(Request::set_vring_base, encode_ring(RingNumber{number, ring.next}))));
  RHEA_TRY(tell(plain(Request::set_vring_addr, encode_ring(RingAddress{.ring = number,
                                                                       .descriptors = ring.descriptors + kUserBase,
                                                                       .used = ring.used + kUserBase,
                                                                       .available = ring.available + kUserBase}))));
  RHEA_TRY(descriptor(Request::set_vring_err, rings_[number].error.fd()));
  RHEA_TRY(descriptor(Request::set_vring_call, rings_[number].call.fd()));
  return descriptor(Request::set_vring_kick, rings_[number].kick.fd());
}

void Client::watch(unsigned number) {
  Ring& ring = rings_[number];
  ring.call_watch = loop_.watch(ring.call.fd(), kReadable, [this, number](u32) {
    rings_[number].call.clear();
    refuses_legacy_ = false;
    if (hooks_.used) hooks_.used(number);
  });
  ring.error_watch = loop_.watch(ring.error.fd(), kReadable, [this, number](u32) {
    rings_[number].error.clear();
    rings_[number].error_watch.reset();  // said once
    if (hooks_.say) hooks_.say(fmt::format("the back end says that ring {} is in disorder", number));
  });
}

Result<void> Client::lend(const Lending& lending) {
  if (state_ != State::ready) return Error("there is no back end");
  const u64 served = lending.features & served_features();
  if (const u64 missing = served & ~features_)
    return Error("the back end does not have features that the guest uses: {:#x}", missing);
  deadline_ = loop_.real_clock().now() + kPatience;
  refuses_legacy_ = !(served & bit_of(kVersion1));
  const auto all = [&]() -> Result<void> {
    RHEA_TRY(order(plain(Request::set_features, encode_number(served | (features_ & kFeatureProtocol)))));
    if (lending.mtu && (protocol_ & kProtocolMtu))
      RHEA_TRY(order(plain(Request::net_set_mtu, encode_number(lending.mtu))));
    RHEA_TRY(send_memory(lending));
    for (unsigned number = 0; number < kRings; ++number) RHEA_TRY(send_ring(number, lending.rings[number]));
    if (features_ & kFeatureProtocol)
      for (unsigned number = 0; number < kRings; ++number)
        RHEA_TRY(order(plain(Request::set_vring_enable, encode_ring(RingNumber{number, 1}))));
    return {};
  };
  if (Result<void> done = all(); !done.ok()) {
    end(done.error().message());
    return done;
  }
  lent_ = true;
  for (unsigned number = 0; number < kRings; ++number) {
    watch(number);
    kick(number);  // there may be something already
  }
  return {};
}

void Client::take_back() {
  if (!std::exchange(lent_, false)) return;
  refuses_legacy_ = false;
  deadline_ = loop_.real_clock().now() + kPatience;
  for (unsigned number = 0; number < kRings && state_ != State::ended; ++number) {
    if (!send(plain(Request::get_vring_base, encode_ring(RingNumber{number, 0})))) break;
    const Result<Message> answer = await(Request::get_vring_base);
    const auto ring = answer.ok() ? decode_ring_number(answer->payload) : std::nullopt;
    if (!answer.ok()) end(answer.error().message());
    else if (!ring || ring->ring != number) end("the back end gave back another ring than it was asked for");
  }
  for (Ring& ring : rings_) {
    ring.call_watch.reset();
    ring.error_watch.reset();
    ring.call.clear();
    ring.kick.clear();
  }
}

void Client::announce(std::span<const u8, 6> mac) {
  if (state_ != State::ready || !(protocol_ & kProtocolRarp)) return;
  std::vector<u8> payload(8);
  std::copy(mac.begin(), mac.end(), payload.begin());
  send(plain(Request::send_rarp, std::move(payload)));
}

}  // namespace rhea::net::vhost
