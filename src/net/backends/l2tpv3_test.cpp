// SPDX-License-Identifier: MIT
#include "net/backends/l2tpv3_backend.h"

#include <gtest/gtest.h>

namespace rhea::net {
namespace {

TEST(TunnelHeader, IsWhatTheRfcSays) {
  TunnelHeader header{.udp = true,
                      .cookie64 = true,
                      .with_cookies = true,
                      .counter = true,
                      .tx_session = 0x11223344,
                      .rx_session = 7,
                      .tx_cookie = 0xa1a2a3a4b1b2b3b4,
                      .rx_cookie = 0xc1c2c3c4d1d2d3d4,
                      .offset = 2};
  std::vector<u8> bytes;
  header.write(5, bytes);
  EXPECT_EQ(bytes, (std::vector<u8>{0,    3,    0,    0,    0x11, 0x22, 0x33, 0x44, 0xa1, 0xa2, 0xa3,
                                    0xa4, 0xb1, 0xb2, 0xb3, 0xb4, 0,    0,    0,    5,    0,    0}));
  EXPECT_EQ(bytes.size(), header.size());
  EXPECT_FALSE(header.accepts(bytes));  // the session is the other direction's
  std::swap(header.tx_session, header.rx_session);
  EXPECT_FALSE(header.accepts(bytes));  // and so is the cookie
  std::swap(header.tx_cookie, header.rx_cookie);
  EXPECT_TRUE(header.accepts(bytes));
  EXPECT_FALSE(header.accepts(std::span(bytes).first(bytes.size() - 1)));
  bytes[0] = 0x80;
  EXPECT_FALSE(header.accepts(bytes));  // a control message
}

TEST(TunnelHeader, TheSmallestIsTheSession) {
  TunnelHeader header{.tx_session = 9, .rx_session = 9};
  std::vector<u8> bytes;
  header.write(0, bytes);
  EXPECT_EQ(bytes, (std::vector<u8>{0, 0, 0, 9}));
  EXPECT_TRUE(header.accepts(bytes));
}

}  // namespace
}  // namespace rhea::net
