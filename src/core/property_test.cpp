// SPDX-License-Identifier: MIT
#include "core/property.h"

#include <gtest/gtest.h>

namespace rhea {
namespace {

struct Config {
  u64 mac = 0;
  bool flag = false;
  u32 number = 5;
  u64 size = 0;
  std::string text;
};

constexpr Property kProperties[] = {
    property<&Config::mac>("mac", PropertyKind::mac, "address"),
    property<&Config::flag>("flag", PropertyKind::boolean, "a switch"),
    property<&Config::number>("number", PropertyKind::number, "a number"),
    property<&Config::size>("size", PropertyKind::size, "a size"),
    property<&Config::text>("text", PropertyKind::text, "words"),
};

TEST(Property, SetsEveryKind) {
  Config config;
  EXPECT_TRUE(set_property(kProperties, "x", &config, "mac", "52:54:00:12:34:56").ok());
  EXPECT_TRUE(set_property(kProperties, "x", &config, "flag", "on").ok());
  EXPECT_TRUE(set_property(kProperties, "x", &config, "number", "0x10").ok());
  EXPECT_TRUE(set_property(kProperties, "x", &config, "size", "2M").ok());
  EXPECT_TRUE(set_property(kProperties, "x", &config, "text", "a b").ok());
  EXPECT_EQ(config.mac, 0x525400123456u);
  EXPECT_TRUE(config.flag);
  EXPECT_EQ(config.number, 16u);
  EXPECT_EQ(config.size, 2u << 20);
  EXPECT_EQ(config.text, "a b");
  EXPECT_EQ(kProperties[0].get(&config, PropertyKind::mac), "52:54:00:12:34:56");
}

TEST(Property, SaysWhatWasWrong) {
  Config config;
  EXPECT_EQ(set_property(kProperties, "x", &config, "flga", "on").error().message(),
            "Property 'x.flga' not found (did you mean 'flag'?)");
  EXPECT_EQ(set_property(kProperties, "x", &config, "flag", "maybe").error().message(),
            "Property 'x.flag' doesn't take value 'maybe': it expects 'on' or 'off'");
  for (const char* bad : {"zz", "52:54:00:12:34", "52:54:00:12:34:567", "52:54:00:12:34:5g", "::::::"})
    EXPECT_FALSE(set_property(kProperties, "x", &config, "mac", bad).ok()) << bad;
  EXPECT_FALSE(set_property(kProperties, "x", &config, "number", "-1").ok());
  EXPECT_FALSE(set_property(kProperties, "x", &config, "size", "99999999999999999999").ok());
  EXPECT_FALSE(set_property(kProperties, "x", &config, "size", "16777216T").ok());
}

}  // namespace
}  // namespace rhea
