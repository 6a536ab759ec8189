// SPDX-License-Identifier: MIT
// Puts fragments of the guest together (RFC 791, section 3.2; RFC 8200, section 4.5). Overlapping fragments
// are an attack (RFC 5722) and drop their packet; half-made packets are few, bounded in bytes, and dropped
// after 30 seconds.
#pragma once

#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Reassembly {
 public:
  explicit Reassembly(Context& context) : context_(context) {}
  // A fragment. When it completes its packet: the packet's frame with Ethernet and IP headers, as if it had
  // come whole; else empty.
  std::vector<u8> add(const Packet& packet);
  // The same of IPv6: packet.transport is where the fragment header begins.
  std::vector<u8> add6(const Packet& packet);

 private:
  struct Fragment {
    u32 id;
    usize offset, start, size;  // in the packet, in the frame, bytes
    bool more;
  };
  struct Part {
    usize offset;
    std::vector<u8> data;
  };
  struct Half {
    IpAddress from, to;
    u32 id;
    u8 protocol;
    s64 since;
    usize total = 0;  // bytes of payload; 0: the last fragment has not come
    usize have = 0;
    std::vector<u8> headers;  // of the first fragment
    std::vector<Part> parts;
  };
  Half& half_of(const Packet& packet, u32 id);
  // Whether the packet is whole now; then it is in `half`, in order.
  bool add_part(const Packet& packet, const Fragment& fragment, usize headers, Half& done);
  void expire();

  Context& context_;
  std::vector<Half> halves_;
};

}  // namespace rhea::net::user
