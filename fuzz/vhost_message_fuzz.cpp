// SPDX-License-Identifier: MIT
// vhost-user messages as they come from a socket, in pieces, and every payload read as each kind there is.
#include "net/vhost/connection.h"
#include "sys/fd.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"

using namespace rhea;
using namespace rhea::net::vhost;

namespace {

void read_payload(std::span<const u8> payload) {
  decode_number(payload);
  decode_ring_number(payload);
  decode_ring_address(payload);
  if (const auto ring = decode_ring_descriptor(payload)) encode_ring(*ring);
  const auto regions = decode_regions(payload);
  if (!regions) return;
  // What was believed is written and read as the same.
  const auto again = decode_regions(encode_regions(*regions));
  if (!again || again->size() != regions->size()) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 2) return 0;
  read_payload({data + 1, size - 1});
  auto ends = sys::descriptor_channel();
  if (!ends.ok()) return 0;
  Connection reader(std::move(ends->theirs));
  const sys::EventFd event;
  const usize step = data[0] % 40 + 1u;
  for (usize at = 1; at < size; at += step) {
    const std::vector<int> along(data[at] % 4 == 0 ? data[at] % 12 : 0, event.fd());
    sys::send_with_descriptors(ends->ours.get(), {data + at, std::min(step, size - at)}, along);
    Message message;
    while (true) {
      const Connection::Got got = reader.receive(message);
      if (got == Connection::Got::nothing) break;
      if (got != Connection::Got::message) return 0;
      if (message.payload.size() > kLargestPayload || message.descriptors.size() > kMostRegions) __builtin_trap();
      read_payload(message.payload);
    }
  }
  return 0;
}
