// SPDX-License-Identifier: MIT
// Reads never go beyond the message that is being read: so descriptors come with the message they belong to.
#include "net/vhost/connection.h"

#include <fmt/format.h>

#include "sys/named_socket.h"
#include "sys/relay.h"

namespace rhea::net::vhost {

Connection::Got Connection::receive(Message& message) {
  for (;;) {
    const bool in_head = head_bytes_ < kHeadSize;
    std::vector<u8>& payload = coming_.message.payload;
    const std::span<u8> into =
        in_head ? std::span<u8>(head_).subspan(head_bytes_) : std::span<u8>(payload).subspan(payload_bytes_);
    if (!into.empty()) {
      const sys::ReadSome got = sys::receive_with_descriptors(socket_.get(), into, coming_.message.descriptors);
      if (got.outcome == sys::ReadOutcome::would_wait) return Got::nothing;
      if (got.outcome != sys::ReadOutcome::data) return Got::ended;
      if (coming_.message.descriptors.size() > kMostRegions) return fail("a message with too many descriptors");
      (in_head ? head_bytes_ : payload_bytes_) += got.count;
    }
    if (head_bytes_ < kHeadSize) continue;
    if (in_head) {
      std::optional<Head> head = decode_head(head_);
      if (!head) return fail("what came is no vhost-user message of version 1");
      head->message.descriptors = std::move(coming_.message.descriptors);
      coming_ = std::move(*head);
      coming_.message.payload.resize(coming_.payload_size);
    }
    if (payload_bytes_ < coming_.payload_size) continue;
    message = std::move(coming_.message);
    coming_ = {};
    head_bytes_ = payload_bytes_ = 0;
    return Got::message;
  }
}

Connection::Got Connection::receive_within(Message& message, unsigned milliseconds) {
  const Got got = receive(message);
  if (got != Got::nothing) return got;
  if (sys::wait_readable_for(socket_.get(), milliseconds) != sys::Waited::ready) return Got::nothing;
  return receive(message);
}

bool Connection::send(const Message& message, std::span<const int> descriptors) {
  const std::vector<u8> bytes = encode(message);
  const sys::ReadSome sent = sys::send_with_descriptors(socket_.get(), bytes, descriptors);
  return sent.outcome == sys::ReadOutcome::data && sent.count == bytes.size();
}

void Connection::shut() { sys::break_off(socket_.get()); }

}  // namespace rhea::net::vhost
