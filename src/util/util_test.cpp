// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

#include "util/bits.h"
#include "util/recursive_lock.h"
#include "util/result.h"
#include "util/text.h"

namespace rhea {
namespace {

TEST(Bits, Fields) {
  EXPECT_EQ(bits(0xabcdu, 4, 8), 0xbcu);
  EXPECT_EQ(bits(~0u, 0, 32), ~0u);
  EXPECT_EQ(with_bits(0xffffu, 4, 8, 0x12u), 0xf12fu);
  EXPECT_EQ(sign_extend(0x80, 8), -128);
  EXPECT_EQ(sign_extend(0x7f, 8), 127);
  EXPECT_EQ(align_up(5, 4), 8u);
  EXPECT_TRUE(is_power_of_two(64));
  EXPECT_FALSE(is_power_of_two(0));
}

TEST(Text, Numbers) {
  EXPECT_EQ(parse_number("10"), 10u);
  EXPECT_EQ(parse_number("0x1F"), 31u);
  EXPECT_EQ(parse_number("017"), 15u);
  EXPECT_EQ(parse_number("0"), 0u);
  for (const char* bad : {"", "0x", "-1", "1 ", "9x", "08", "18446744073709551616"})
    EXPECT_FALSE(parse_number(bad).has_value()) << bad;
}

TEST(Text, SuggestsWhatWasMeant) {
  const std::vector<std::string> words = {"device", "nodefaults", "network", "rtl8139", "lan9118"};
  EXPECT_EQ(nearest("devide", words), "device");
  EXPECT_EQ(nearest("nodefaultss", words), "nodefaults");
  EXPECT_EQ(nearest("netword", words), "network");
  EXPECT_EQ(nearest("rtl8129", words), "rtl8139");
  EXPECT_EQ(nearest("ntework", words), "network");
  EXPECT_FALSE(nearest("completely", words).has_value());
  EXPECT_EQ(did_you_mean("lan911", words), " (did you mean 'lan9118'?)");
}

TEST(Text, SplitsAndJoins) {
  EXPECT_EQ(split("a,b,,c", ','), (std::vector<std::string>{"a", "b", "", "c"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string>{""}));
  EXPECT_EQ(join(split("a,b", ','), ", "), "a, b");
  EXPECT_EQ(trim("  x y\n"), "x y");
}

Result<int> half(int value) {
  if (value % 2) return Error("{} is odd", value);
  return value / 2;
}
Result<int> quarter(int value) { return half(RHEA_TRY(half(value))); }

TEST(Result, PassesErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message(), "3 is odd");
}

TEST(RecursiveLock, CountsOncePerTurn) {
  RecursiveLock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20'000; ++turn) {
        std::lock_guard outer(lock);
        std::lock_guard inner(lock);
        const int before = count;
        if (turn % 1000 == 0) std::this_thread::yield();
        count = before + 1;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 80'000);
}

TEST(RecursiveLock, IsTheOwnersUntilTheLastUnlock) {
  RecursiveLock lock;
  const auto free_elsewhere = [&] {
    bool got = false;
    std::thread([&] {
      got = lock.try_lock();
      if (got) lock.unlock();
    }).join();
    return got;
  };
  lock.lock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
  EXPECT_FALSE(free_elsewhere());
  lock.unlock();
  EXPECT_TRUE(free_elsewhere());
}

}  // namespace
}  // namespace rhea
