// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <vector>

#include "img/pace.h"
#include "img/tool.h"

namespace rhea::img {
namespace {

TEST(Pace, GivesEachByteItsTime) {
  s64 now = 5 * kSecond;
  std::vector<s64> slept;
  Pace pace(1000, {[&] { return now; },
                   [&](s64 when) {
                     slept.push_back(when - 5 * kSecond);
                     now = std::max(now, when);
                   }});
  pace.spend(500);
  pace.spend(2000);
  pace.spend(1);
  EXPECT_EQ(slept, (std::vector<s64>{0, kSecond / 2, kSecond * 5 / 2}));
  // Time that nobody used is not saved up.
  now += 100 * kSecond;
  slept.clear();
  pace.spend(1000);
  pace.spend(1000);
  EXPECT_EQ(slept[1] - slept[0], kSecond);
}

TEST(Pace, NoRateIsNoLimit) {
  Pace pace(0, {[]() -> s64 { return 0; }, [](s64) { FAIL() << "waits"; }});
  pace.spend(~u64{0});
}

TEST(Rate, IsASize) {
  Arguments arguments;
  EXPECT_EQ(*parse_rate(arguments), 0u);
  arguments.options = {{"-r", "2k"}};
  EXPECT_EQ(*parse_rate(arguments), 2048u);
  arguments.options = {{"-r", "fast"}};
  EXPECT_EQ(parse_rate(arguments).error().message(),
            "Invalid rate limit specified. You may use k, M, G, T, P or E suffixes for");
}

}  // namespace
}  // namespace rhea::img
