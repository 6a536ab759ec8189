// SPDX-License-Identifier: MIT
// Packets of a hostile other end of a tunnel: the first bytes choose the header's form.
#include "net/backends/l2tpv3_backend.h"

using namespace rhea;
using namespace rhea::net;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 4) return 0;
  const TunnelHeader header{.udp = (data[0] & 1) != 0,
                            .cookie64 = (data[0] & 2) != 0,
                            .with_cookies = (data[0] & 4) != 0,
                            .counter = (data[0] & 8) != 0,
                            .tx_session = data[1],
                            .rx_session = data[1],
                            .tx_cookie = data[2],
                            .rx_cookie = data[2],
                            .offset = data[3]};
  const std::span<const u8> packet(data + 4, size - 4);
  if (header.accepts(packet) && packet.size() < header.size()) __builtin_trap();
  std::vector<u8> own;
  header.write(1, own);
  if (own.size() != header.size() || !header.accepts(own)) __builtin_trap();
  return 0;
}
