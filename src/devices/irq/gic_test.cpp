// SPDX-License-Identifier: MIT
#include "devices/irq/gic.h"

#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

struct GicTest : ::testing::Test {
  static constexpr unsigned kCpus = 2;
  Log log;
  testing::FakeIrqs irqs{kCpus}, fiqs{kCpus};
  Gic gic{kCpus, outputs(), log};

  Gic::Outputs outputs() {
    Gic::Outputs lines;
    for (unsigned cpu = 0; cpu < kCpus; ++cpu) {
      lines.irq[cpu] = irqs.lines[cpu];
      lines.fiq[cpu] = fiqs.lines[cpu];
    }
    return lines;
  }
  void set_dist(u32 offset, u32 value, unsigned cpu = 0, bool secure = true, u32 mask = ~0u) {
    gic.write_distributor(cpu, secure, offset, value, mask);
  }
  u32 dist(u32 offset, bool secure = true, unsigned cpu = 0) { return gic.read_distributor(cpu, secure, offset); }
  void set_if(unsigned cpu, u32 offset, u32 value, bool secure = true) {
    gic.write_interface(cpu, secure, offset, value, ~0u);
  }
  u32 cpu_if(unsigned cpu, u32 offset, bool secure = true) { return gic.read_interface(cpu, secure, offset, false); }
  u32 ack(unsigned cpu = 0, bool secure = true) { return cpu_if(cpu, 0x0c, secure); }
  void eoi(u32 id, unsigned cpu = 0) { set_if(cpu, 0x10, id); }

  // Everything on, SPIs 0 to 31 enabled for CPU 0 at priority 0xa0.
  void enable() {
    set_dist(0x000, 1);
    for (unsigned cpu = 0; cpu < kCpus; ++cpu) {
      set_if(cpu, 0x00, 1);
      set_if(cpu, 0x04, 0xf0);
    }
    set_dist(0x104, ~0u);
    for (u32 id = 32; id < 64; id += 4) {
      set_dist(0x400 + id, 0xa0a0a0a0);
      set_dist(0x800 + id, 0x01010101);
    }
  }
};

TEST_F(GicTest, Identifies) {
  EXPECT_EQ(dist(0x004), 2u | 1u << 5 | 1u << 10);
  EXPECT_EQ(dist(0xfe4), 0xb3u);
  EXPECT_EQ(cpu_if(0, 0xfc), 0x3901243bu);
  EXPECT_EQ(ack(), 1023u);
}

TEST_F(GicTest, LevelInterruptStaysPendingWhileTheLineIsUp) {
  enable();
  gic.set_spi(5, true);
  EXPECT_TRUE(irqs.levels[0]);
  EXPECT_FALSE(irqs.levels[1]);
  EXPECT_EQ(cpu_if(0, 0x18), 37u);
  EXPECT_EQ(ack(), 37u);
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_EQ(cpu_if(0, 0x14), 0xa0u);
  EXPECT_EQ(ack(), 1023u);
  eoi(37);
  EXPECT_TRUE(irqs.levels[0]) << "the line is still up";
  EXPECT_EQ(ack(), 37u);
  gic.set_spi(5, false);
  eoi(37);
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_EQ(cpu_if(0, 0x14), 0xffu);
}

TEST_F(GicTest, EdgeInterruptIsLatchedOnce) {
  enable();
  set_dist(0xc08, 2u << 10);  // id 37
  EXPECT_EQ(dist(0xc08), 2u << 10);
  gic.set_spi(5, true);
  gic.set_spi(5, false);
  EXPECT_EQ(ack(), 37u);
  gic.set_spi(5, true);  // again, while active
  EXPECT_FALSE(irqs.levels[0]);
  eoi(37);
  EXPECT_TRUE(irqs.levels[0]);
  EXPECT_EQ(ack(), 37u);
  eoi(37);
  EXPECT_FALSE(irqs.levels[0]) << "the line is up but the edge is spent";
}

TEST_F(GicTest, PreemptsByGroupPriority) {
  enable();
  set_dist(0x400 + 36, 0x90, 0, true, 0xff);
  gic.set_spi(5, true);
  EXPECT_EQ(ack(), 37u);
  gic.set_spi(4, true);
  EXPECT_TRUE(irqs.levels[0]);
  EXPECT_EQ(ack(), 36u);
  EXPECT_EQ(cpu_if(0, 0x14), 0x90u);
  gic.set_spi(6, true);
  EXPECT_FALSE(irqs.levels[0]);
  gic.set_spi(4, false);
  eoi(36);
  EXPECT_EQ(cpu_if(0, 0x14), 0xa0u);
  EXPECT_FALSE(irqs.levels[0]) << "same priority does not preempt";
  // With a binary point of 6 only bit 7 decides.
  set_if(0, 0x08, 6);
  gic.set_spi(4, true);
  EXPECT_FALSE(irqs.levels[0]);
}

TEST_F(GicTest, PriorityMaskHoldsBack) {
  enable();
  set_if(0, 0x04, 0xa0);
  gic.set_spi(5, true);
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_EQ(ack(), 1023u);
  EXPECT_EQ(cpu_if(0, 0x18), 37u) << "HPPIR does not look at the mask";
  set_if(0, 0x04, 0xa8);
  EXPECT_TRUE(irqs.levels[0]);
}

TEST_F(GicTest, SgiTellsItsSender) {
  enable();
  set_dist(0xf00, 1u << 24 | 3, 0);  // to all but self
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_TRUE(irqs.levels[1]);
  set_dist(0xf00, 2u << 16 | 3, 1);  // CPU 1 to itself, the same SGI
  EXPECT_EQ(ack(1), 3u);
  eoi(3, 1);
  EXPECT_TRUE(irqs.levels[1]);
  EXPECT_EQ(ack(1), 3u | 1u << 10);
  eoi(3 | 1u << 10, 1);
  EXPECT_FALSE(irqs.levels[1]);
  EXPECT_EQ(ack(1), 1023u);
}

TEST_F(GicTest, PrivateInterruptsAreBanked) {
  enable();
  set_dist(0x100, 1u << 29, 1);
  EXPECT_EQ(dist(0x100, true, 0), 0xffffu);
  EXPECT_EQ(dist(0x100, true, 1), 1u << 29 | 0xffff);
  gic.set_ppi(0, 29, true);
  gic.set_ppi(1, 29, true);
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_TRUE(irqs.levels[1]);
}

TEST_F(GicTest, SharedInterruptGoesToOneCpuOnly) {
  enable();
  set_dist(0x800 + 36, 3u << 8, 0, true, 0xff00);
  gic.set_spi(5, true);
  EXPECT_TRUE(irqs.levels[0] && irqs.levels[1]);
  EXPECT_EQ(ack(1), 37u);
  EXPECT_FALSE(irqs.levels[0] || irqs.levels[1]);
  EXPECT_EQ(ack(0), 1023u);
}

TEST_F(GicTest, GroupsAndFiq) {
  enable();
  set_dist(0x000, 3);
  set_if(0, 0x00, 1 | 2 | 8);  // both groups, FIQ for group 0
  set_dist(0x084, 1u << 5);    // id 37 is in group 1
  gic.set_spi(4, true);
  EXPECT_TRUE(fiqs.levels[0]);
  EXPECT_FALSE(irqs.levels[0]);
  EXPECT_EQ(ack(0, false), 1023u) << "group 0 is hidden from non-secure code";
  EXPECT_EQ(ack(0, true), 36u);
  gic.set_spi(4, false);
  eoi(36);
  gic.set_spi(5, true);
  EXPECT_TRUE(irqs.levels[0]);
  EXPECT_EQ(ack(0, true), 1022u);
  EXPECT_EQ(ack(0, false), 37u);
  EXPECT_EQ(cpu_if(0, 0x14, false), 0x40u) << "priority 0xa0 as the non-secure side sees it";
}

TEST_F(GicTest, NonSecureViewOfPriorities) {
  set_dist(0x084, 1u << 5);
  set_dist(0x400 + 36, 0x4040, 0, false);  // ids 36 (group 0: ignored) and 37
  EXPECT_EQ(dist(0x400 + 36), 0xa000u);
  EXPECT_EQ(dist(0x400 + 36, false), 0x4000u);
  set_if(0, 0x04, 0x70);
  set_if(0, 0x04, 0xf0, false);
  EXPECT_EQ(cpu_if(0, 0x04), 0x70u);
  set_if(0, 0x04, 0xf0);
  set_if(0, 0x04, 0x80, false);
  EXPECT_EQ(cpu_if(0, 0x04), 0xc0u);
}

TEST(GicAlone, OneCpuIsAlwaysTheTarget) {
  Log log;
  Gic gic(1, {}, log);
  gic.write_distributor(0, true, 0x820, 0, ~0u);
  EXPECT_EQ(gic.read_distributor(0, true, 0x800), 0x01010101u);
  EXPECT_EQ(gic.read_distributor(0, true, 0x820), 0x01010101u);
}

TEST_F(GicTest, SoftwarePending) {
  enable();
  set_dist(0x204, 1u << 7);
  EXPECT_EQ(dist(0x284), 1u << 7);
  EXPECT_TRUE(irqs.levels[0]);
  set_dist(0x284, 1u << 7);
  EXPECT_FALSE(irqs.levels[0]);
}

}  // namespace
}  // namespace rhea::devices
