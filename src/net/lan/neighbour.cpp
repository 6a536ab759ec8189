// SPDX-License-Identifier: MIT
#include "net/lan/neighbour.h"

namespace rhea::net::lan {

namespace {
constexpr unsigned kMessages = 64;  // in a row, before the loop gets to others
}  // namespace

Neighbour::Neighbour(EventLoop& loop, NeighbourOwner& owner, sys::Fd fd, const Message& hello)
    : loop_(loop), owner_(owner), fd_(std::move(fd)), hello_(hello), process_(sys::packet_peer(fd_.get())) {
  watch_ = loop_.watch(fd_.get(), kReadable, [this](u32 events) { on_event(events); });
}

Neighbour::~Neighbour() { watch_.reset(); }

Result<void> Neighbour::offer() {
  made_here_ = true;
  const sys::Fd file = RHEA_TRY(sys::create_sealed_memory("rhea-lan", kPairBytes));
  memory_ = RHEA_TRY(sys::map_sealed_memory(file.get(), kPairBytes));
  const sys::ReadSome sent = sys::send_packet(fd_.get(), encode(hello_), file.get());
  if (sent.outcome != sys::ReadOutcome::data) return Error("{}", sys::errno_text(sent.error));
  return {};
}

void Neighbour::on_event(u32) {
  std::array<u8, kLargestMessage> buffer;
  for (unsigned i = 0; i < kMessages && state_ != State::dead; ++i) {
    sys::Packet packet = sys::receive_packet(fd_.get(), buffer);
    if (packet.got.outcome == sys::ReadOutcome::would_wait) return;
    if (packet.got.outcome != sys::ReadOutcome::data) return fail("");
    const auto message = decode(std::span<const u8>(buffer).first(packet.got.count));
    if (!message || packet.truncated) return fail("it sent a message that makes no sense");
    if (!take(*message, std::move(packet.along))) return;
  }
}

bool Neighbour::take(const Message& message, sys::Fd along) {
  switch (message.kind) {
    case Kind::hello: return take_hello(message, std::move(along));
    case Kind::bell:
      if (live()) owner_.on_bell(*this);
      return true;
    default: break;
  }
  const bool from_tool = message.kind == Kind::ask || message.kind == Kind::dial;
  if (live() || from_tool) owner_.on_message(*this, message, std::move(along));
  else fail("it sent a message before its hello");
  return state_ != State::dead;
}

bool Neighbour::take_hello(const Message& message, sys::Fd along) {
  const auto refuse = [this](const std::string& why) {
    fail(why);
    return false;
  };
  if (state_ != State::greeting) return refuse("it said hello twice");
  if (made_here_ == static_cast<bool>(along)) return refuse("its hello makes no sense");
  if (!made_here_) {
    auto mapped = sys::map_sealed_memory(along.get(), kPairBytes);
    if (!mapped.ok()) return refuse(mapped.error().message());
    memory_ = mapped.take();
  }
  id_ = message.id;
  name_ = message.name;
  address_ = message.address;
  net_ = message.net;
  writer_ = std::make_unique<RingWriter>(memory_.data(), made_here_ ? 0 : 1);
  reader_ = std::make_unique<RingReader>(memory_.data(), made_here_ ? 1 : 0);
  if (!made_here_ && !say(hello_)) return refuse("");
  state_ = State::live;
  if (!owner_.on_hello(*this)) return false;
  // What was written before it was known here.
  owner_.on_bell(*this);
  return state_ == State::live;
}

RingResult Neighbour::write(const Frame& frame) {
  const RingResult result = writer_->write(frame);
  if (result != RingResult::done) return result;
  ++counters.frames_out;
  counters.bytes_out += frame.size();
  if (writer_->take_bell()) say({.kind = Kind::bell});
  return result;
}

RingResult Neighbour::read(std::span<u8> into, usize& size, Offload& offload) {
  const RingResult result = reader_->read(into, size, offload);
  if (result == RingResult::broken) return result;
  if (result == RingResult::done) {
    ++counters.frames_in;
    counters.bytes_in += size;
  }
  if (reader_->take_bell()) say({.kind = Kind::bell});
  return result;
}

bool Neighbour::say(const Message& message) {
  // A full socket: bells are in it already, and who leaves all else unread does not want it.
  return sys::send_packet(fd_.get(), encode(message)).outcome == sys::ReadOutcome::data;
}

void Neighbour::end() {
  state_ = State::dead;
  watch_.reset();
  fd_.reset();
}

void Neighbour::fail(const std::string& why) {
  if (state_ == State::dead) return;
  owner_.on_gone(*this, why);
  end();
}

}  // namespace rhea::net::lan
