// SPDX-License-Identifier: MIT
#include "core/loop.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace rhea::core {
namespace {

TEST(Loop, RunsPostedWorkInOrder) {
  Loop loop("test");
  std::string order;
  loop.post([&] { order += "a"; });
  loop.post([&] { order += "b"; });
  loop.run_once();
  EXPECT_EQ(order, "ab");
}

TEST(Loop, TimersFireInOrderOfDeadline) {
  Loop loop("test");
  std::string order;
  auto late = loop.real_clock().timer([&] { order += "2"; });
  auto early = loop.real_clock().timer([&] { order += "1"; });
  const s64 now = loop.real_clock().now();
  late->arm(now - 1);
  early->arm(now - 2);
  loop.run_once();
  EXPECT_EQ(order, "12");
  EXPECT_EQ(late->deadline(), kNever);
}

TEST(Loop, ATimerMayEndItself) {
  Loop loop("test");
  std::unique_ptr<Timer> timer;
  timer = loop.real_clock().timer([&] { timer.reset(); });
  timer->arm(0);
  loop.run_once();
  EXPECT_EQ(timer, nullptr);
}

TEST(Loop, CancelledTimersStaySilent) {
  Loop loop("test");
  bool fired = false;
  auto timer = loop.real_clock().timer([&] { fired = true; });
  timer->arm(0);
  timer->cancel();
  loop.run_once();
  EXPECT_FALSE(fired);
}

TEST(Loop, WatchesDescriptors) {
  Loop loop("test");
  sys::EventFd event;
  unsigned calls = 0;
  auto watch = loop.watch(event.fd(), kReadable, [&](u32 events) {
    EXPECT_EQ(events, u32{kReadable});
    event.clear();
    ++calls;
  });
  loop.run_once();
  EXPECT_EQ(calls, 0u);
  event.signal();
  loop.run_once();
  EXPECT_EQ(calls, 1u);
  watch->set_events(0);
  event.signal();
  loop.run_once();
  EXPECT_EQ(calls, 1u);
}

TEST(Loop, WhatCannotBePolledIsAlwaysReady) {
  Loop loop("test");
  std::FILE* file = std::tmpfile();
  unsigned calls = 0;
  auto watch = loop.watch(fileno(file), kReadable, [&](u32) { ++calls; });
  loop.run_once();
  loop.run_once();
  EXPECT_EQ(calls, 2u);
  watch.reset();
  loop.run_once();
  EXPECT_EQ(calls, 2u);
  std::fclose(file);
}

TEST(Loop, AThreadedLoopTakesWorkFromOutside) {
  LoopThread thread("test");
  std::atomic<bool> done{false};
  thread.loop().post([&] { done = thread.loop().on_loop_thread(); });
  while (!done) std::this_thread::yield();
  SUCCEED();
}

TEST(HostClock, TimersKeepTheirDistance) {
  Loop loop("test");
  auto clock = make_host_clock(loop);
  bool fired = false;
  auto timer = clock->timer([&] { fired = true; });
  timer->arm(clock->now() - 5);
  loop.run_once();
  EXPECT_TRUE(fired);
}

}  // namespace
}  // namespace rhea::core
