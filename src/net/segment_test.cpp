// SPDX-License-Identifier: MIT
#include "net/segment.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "net/checksum.h"

namespace rhea::net {
namespace {

using Bytes = std::vector<u8>;

// A TCP or UDP packet with `payload` bytes, its checksum left for the other side.
Bytes packet(bool v6, bool tcp, usize payload, u8 flags = 0x19) {
  const usize ip_size = v6 ? 40 : 20;
  const usize header = tcp ? 32 : 8;
  Bytes frame(14 + ip_size + header + payload);
  store_be<u16>(&frame[12], v6 ? 0x86dd : 0x0800);
  u8* ip = &frame[14];
  if (v6) {
    ip[0] = 0x60;
    store_be<u16>(ip + 4, static_cast<u16>(header + payload));
    ip[6] = tcp ? 6 : 17;
    ip[8] = 0xfe;
    ip[24] = 0xfd;
  } else {
    ip[0] = 0x45;
    store_be<u16>(ip + 2, static_cast<u16>(20 + header + payload));
    store_be<u16>(ip + 4, 0xfffe);
    ip[9] = tcp ? 6 : 17;
    store_be<u32>(ip + 12, 0x0a000202);
    store_be<u32>(ip + 16, 0x0a00020f);
    store_be<u16>(ip + 10, checksum(ip, 20));
  }
  u8* transport = ip + ip_size;
  if (tcp) {
    store_be<u32>(transport + 4, 0xffffff00);
    transport[12] = 0x80;
    transport[13] = flags;
  } else {
    store_be<u16>(transport + 4, static_cast<u16>(8 + payload));
  }
  for (usize i = 0; i < payload; ++i) frame[14 + ip_size + header + i] = static_cast<u8>(i * 31);
  return frame;
}

// 0 when the transport checksum of a frame is right.
u16 check(const Bytes& frame) {
  const bool v6 = load_be<u16>(&frame[12]) == 0x86dd;
  const u8* ip = &frame[14];
  const usize ip_size = v6 ? 40 : 20;
  const usize size = v6 ? load_be<u16>(ip + 4) : load_be<u16>(ip + 2) - 20u;
  ChecksumSum sum;
  sum.add_pseudo_header(IpAddress::from_wire(ip + (v6 ? 8 : 12), !v6), IpAddress::from_wire(ip + (v6 ? 24 : 16), !v6),
                        ip[v6 ? 6 : 9], size);
  sum.add(ip + ip_size, size);
  return sum.checksum();
}

Bytes flat(const Frame& frame) {
  Bytes bytes(frame.size());
  frame.copy(0, bytes.data(), bytes.size());
  return bytes;
}

Offload offload_of(u8 gso, u16 size, bool v6) {
  Offload offload;
  offload.needs_checksum = true;
  offload.gso = gso;
  offload.gso_size = size;
  offload.checksum_start = v6 ? 54 : 34;
  offload.checksum_offset = gso == Offload::udp_l4 ? 6 : 16;
  return offload;
}

TEST(Segment, CutsTcpOfBothFamilies) {
  for (const bool v6 : {false, true}) {
    Bytes whole = packet(v6, true, 4000, 0x99);  // CWR ACK PSH FIN
    // In odd pieces.
    std::vector<Piece> pieces;
    for (usize at = 0; at < whole.size();) {
      const usize part = std::min<usize>(whole.size() - at, at ? 333 : 70);
      pieces.push_back({&whole[at], part});
      at += part;
    }
    Segmenter segmenter;
    ASSERT_TRUE(segmenter.begin({pieces, offload_of(v6 ? Offload::tcp6 : Offload::tcp4, 1448, v6)}));
    const usize headers = 14 + (v6 ? 40 : 20) + 32;
    Bytes payload;
    unsigned count = 0;
    while (const Frame* frame = segmenter.next()) {
      const Bytes bytes = flat(*frame);
      EXPECT_EQ(check(bytes), 0);
      const u8* transport = &bytes[headers - 32];
      EXPECT_EQ(load_be<u32>(transport + 4), 0xffffff00u + static_cast<u32>(payload.size()));
      EXPECT_EQ(transport[13], count == 0 ? 0x90 : count == 2 ? 0x19 : 0x10);
      if (!v6) {
        EXPECT_EQ(checksum(&bytes[14], 20), 0);
        EXPECT_EQ(load_be<u16>(&bytes[18]), static_cast<u16>(0xfffe + count));
      }
      payload.insert(payload.end(), bytes.begin() + static_cast<std::ptrdiff_t>(headers), bytes.end());
      ++count;
    }
    EXPECT_EQ(count, 3u);
    EXPECT_EQ(payload, Bytes(whole.begin() + static_cast<std::ptrdiff_t>(headers), whole.end()));
  }
}

TEST(Segment, CutsUdp) {
  Bytes whole = packet(false, false, 3000);
  const Piece piece{whole.data(), whole.size()};
  Segmenter segmenter;
  ASSERT_TRUE(segmenter.begin({{&piece, 1}, offload_of(Offload::udp_l4, 1400, false)}));
  std::vector<usize> sizes;
  while (const Frame* frame = segmenter.next()) {
    const Bytes bytes = flat(*frame);
    EXPECT_EQ(check(bytes), 0);
    EXPECT_EQ(load_be<u16>(&bytes[38]), bytes.size() - 34);
    sizes.push_back(bytes.size() - 42);
  }
  EXPECT_EQ(sizes, (std::vector<usize>{1400, 1400, 200}));
}

TEST(Segment, FillsAChecksum) {
  for (const bool tcp : {false, true}) {
    Bytes bytes = packet(false, tcp, 777);
    ChecksumSum pseudo;
    pseudo.add_pseudo_header(IpAddress::v4(0x0a000202), IpAddress::v4(0x0a00020f), tcp ? 6 : 17, bytes.size() - 34);
    store_be<u16>(&bytes[34 + (tcp ? 16 : 6)], pseudo.folded());
    const Bytes before = bytes;
    const Piece pieces[] = {{bytes.data(), 20}, {bytes.data() + 20, 100}, {bytes.data() + 120, bytes.size() - 120}};
    Offload offload = offload_of(tcp ? u8{Offload::tcp4} : u8{Offload::udp_l4}, 0, false);
    offload.gso = Offload::none;
    SummedFrame summed;
    ASSERT_TRUE(summed.build({pieces, offload}));
    EXPECT_EQ(check(flat(summed.frame())), 0);
    EXPECT_EQ(bytes, before);  // the sender's memory is not written to
  }
}

TEST(Segment, RefusesNonsense) {
  Bytes bytes = packet(false, true, 100);
  const Piece piece{bytes.data(), bytes.size()};
  Segmenter segmenter;
  EXPECT_FALSE(segmenter.begin({{&piece, 1}, offload_of(Offload::tcp4, 0, false)}));
  EXPECT_FALSE(segmenter.begin({{&piece, 1}, offload_of(Offload::tcp6, 100, false)}));
  EXPECT_FALSE(segmenter.begin({{&piece, 1}, offload_of(Offload::udp_l4, 100, false)}));
  EXPECT_FALSE(segmenter.begin({{&piece, 1}, offload_of(Offload::udp, 100, false)}));
  SummedFrame summed;
  Offload offload = offload_of(Offload::none, 0, false);
  offload.checksum_start = 60000;
  EXPECT_FALSE(summed.build({{&piece, 1}, offload}));
  std::mt19937 random(7);
  for (unsigned round = 0; round < 20000; ++round) {
    Bytes noise = packet(round & 1, round & 2, random() % 3000);
    for (unsigned i = 0; i < 4; ++i) noise[random() % std::min<usize>(noise.size(), 80)] = static_cast<u8>(random());
    noise.resize(random() % (noise.size() + 1));
    const Piece any{noise.data(), noise.size()};
    Offload wild;
    wild.needs_checksum = random() & 1;
    wild.gso = static_cast<u8>(random() % 6);
    wild.gso_size = static_cast<u16>(random() % 2000);
    wild.checksum_start = static_cast<u16>(random() % 100);
    wild.checksum_offset = static_cast<u16>(random() % 30);
    unsigned frames = 0;
    if (segmenter.begin({{&any, 1}, wild})) {
      while (segmenter.next()) ASSERT_LT(++frames, 70000u);
    }
    summed.build({{&any, 1}, wild});
  }
}

}  // namespace
}  // namespace rhea::net
