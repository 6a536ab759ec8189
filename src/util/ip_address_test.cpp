// SPDX-License-Identifier: MIT
#include "util/ip_address.h"

#include <gtest/gtest.h>

namespace rhea {

TEST(IpAddress, ParsesAndPrintsBothFamilies) {
  for (const char* text : {"10.0.2.2", "0.0.0.0", "255.255.255.255", "::", "::1", "fec0::2", "fe80::5054:ff:fe12:3456",
                           "2001:db8:0:1::", "1:2:3:4:5:6:7:8", "1:0:0:2::3"}) {
    const auto parsed = parse_ip(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->text(), text);
  }
  EXPECT_EQ(parse_ip("::ffff:1.2.3.4")->text(), "1.2.3.4");
  EXPECT_EQ(parse_ip("0:0:0:0:0:0:0:1")->text(), "::1");
}

TEST(IpAddress, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.4x", ":", ":::", "1:2", "1::2::3",
                           "12345::", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "g::", "host", "1.2.3.", "1:"})
    EXPECT_FALSE(parse_ip(text)) << text;
}

TEST(IpAddress, Classifies) {
  EXPECT_TRUE(parse_ip("127.3.2.1")->is_loopback());
  EXPECT_TRUE(parse_ip("::1")->is_loopback());
  EXPECT_TRUE(parse_ip("239.1.2.3")->is_multicast());
  EXPECT_TRUE(parse_ip("fe80::1")->is_link_local());
  EXPECT_TRUE(parse_ip("10.0.2.77")->in_prefix(*parse_ip("10.0.2.64"), 26));
  EXPECT_FALSE(parse_ip("10.0.2.128")->in_prefix(*parse_ip("10.0.2.64"), 26));
  EXPECT_FALSE(parse_ip("fec0::1")->in_prefix(*parse_ip("10.0.2.64"), 0));
  EXPECT_EQ(IpAddress::v4(0x0a000202).to_v4(), 0x0a000202u);
}

}  // namespace rhea
