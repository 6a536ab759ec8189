// SPDX-License-Identifier: MIT
// The soft MMU with a guest whose mappings are a table of the test, one page of device, and 1 MiB of RAM. The last
// test lets random accesses, changes of mappings and maintenance loose and compares tables with the walker.
#include "accel/soft_mmu.h"

#include <gtest/gtest.h>

#include <random>

#include "accel/mini_guest.h"
#include "util/bits.h"

namespace rhea::accel {
namespace {

constexpr u64 kRamBase = 0x10000000, kRamSize = 1u << 20, kDevice = 0x20000000;

struct FakeDevice final : memory::MmioHandler {
  u64 last = 0;
  std::vector<std::pair<u64, unsigned>> reads, writes;
  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes&) override {
    reads.push_back({offset, size});
    return {offset | 0x100, offset < 0x800};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    writes.push_back({offset, size});
    last = value;
    return offset < 0x800;
  }
};

struct Owner final : MmuOwner {
  void device_accessed() override { accesses++; }
  void exec_mappings_dropped() override { drops++; }
  int accesses = 0, drops = 0;
};

struct Tracker final : CodeTracker {
  void code_written(memory::RamBlock&, u64 offset, u64 size) override { writes.push_back({offset, size}); }
  std::vector<std::pair<u64, u64>> writes;
};

class SoftMmuTest : public testing::Test {
 protected:
  SoftMmuTest() {
    memory_.begin();
    memory_.add_ram(kRamBase, *ram_, 0, kRamSize, false, "ram");
    memory_.add_device(kDevice, 0x1000, device_, nullptr, "device");
    memory_.commit();
    mmu_ = std::make_unique<SoftMmu>(guest_, memory_, owner_, log_, 0, true);
    mmu_->set_tracker(&tracker_);
    guest_.mapped = true;
    mmu_->update_space();
  }
  // Maps a page of a space to a page of RAM.
  void map(u64 space, u64 page, u64 ram_page, bool writable = true, bool global = false) {
    guest_.pages[{space, page}] = {
        .mapping = {
            .physical = kRamBase + (ram_page << 12), .writable = writable, .executable = true, .global = global}};
  }
  void map_device(u64 page) {
    guest_.pages[{0, page}] = {.mapping = {.physical = kDevice, .writable = true, .device = true}};
  }
  u32 read(u64 address, unsigned size = 4, u8 flags = 0) {
    ir::Value value;
    ok_ = mmu_->load(address, size, flags, value);
    return static_cast<u32>(value.lo);
  }
  bool write(u64 address, u64 value, unsigned size = 4, u8 flags = 0) {
    return ok_ = mmu_->store(address, size, flags, {value});
  }
  u64 read_entry(u64 address) { return guest_.s.header.read_table[address >> 12]; }
  u64 write_entry(u64 address) { return guest_.s.header.read_table[kTableEntries + (address >> 12)]; }
  void use_space(u64 space) {
    guest_.current_space = space;
    mmu_->update_space();
  }

  u8* window() { return reinterpret_cast<u8*>(guest_.s.header.read_table) + kWindow; }
  void use_windows() {
    mmu_ = std::make_unique<SoftMmu>(guest_, memory_, owner_, log_, 0, true, SoftMmu::Windows::eager);
    mmu_->set_tracker(&tracker_);
    mmu_->update_space();
  }
  void fuzz(bool windows);

  Log log_;
  std::unique_ptr<memory::RamBlock> ram_ = memory::RamBlock::create("ram", kRamSize).take();
  FakeDevice device_;
  memory::AddressSpace memory_{"system", log_};
  MiniGuest guest_;
  Owner owner_;
  Tracker tracker_;
  std::unique_ptr<SoftMmu> mmu_;
  bool ok_ = false;
};

TEST_F(SoftMmuTest, EntersWhatItWalked) {
  map(0, 5, 1);
  store_raw<u32>(ram_->data() + 0x1010, 0x11223344);
  EXPECT_EQ(read(0x5010), 0x11223344u);
  EXPECT_EQ(guest_.walks, 1u);
  EXPECT_EQ(read_entry(0x5010) + 0x5010, reinterpret_cast<u64>(ram_->data()) + 0x1010);
  EXPECT_EQ(write_entry(0x5010), 0u);
  EXPECT_TRUE(write(0x5014, 7));
  EXPECT_EQ(write_entry(0x5010) + 0x5014, reinterpret_cast<u64>(ram_->data()) + 0x1014);
  EXPECT_EQ(read(0x5010, 4, ir::kBigEndian), 0x44332211u);
}

TEST_F(SoftMmuTest, FaultsComeWithAddressAndAccess) {
  map(0, 5, 1, false);
  guest_.s.header.location = 0x123;
  EXPECT_FALSE(write(0x5abc, 1));
  ASSERT_EQ(guest_.faults.size(), 1u);
  EXPECT_EQ(guest_.faults[0].address, 0x5abcu);
  EXPECT_EQ(guest_.faults[0].access, ir::Access::write);
  EXPECT_EQ(guest_.s.link, 0x123u);
  EXPECT_EQ(guest_.s.header.exception, 1u);
  guest_.pages[{0, 6}] = {.mapping = {.physical = 0x70000000, .writable = true}};
  read(0x6000);
  EXPECT_FALSE(ok_);
  EXPECT_TRUE(guest_.faults.back().external);
}

TEST_F(SoftMmuTest, AnAccessOverAPageEndIsAllOrNothing) {
  map(0, 5, 1);
  store_raw<u32>(ram_->data() + 0x1ffc, 0);
  EXPECT_FALSE(write(0x5ffe, 0xffffffff));
  EXPECT_EQ(guest_.faults.back().address, 0x6000u);
  EXPECT_EQ(load_raw<u32>(ram_->data() + 0x1ffc), 0u);
  map(0, 6, 9);
  EXPECT_TRUE(write(0x5ffe, 0x44332211));
  EXPECT_EQ(load_raw<u16>(ram_->data() + 0x1ffe), 0x2211u);
  EXPECT_EQ(load_raw<u16>(ram_->data() + 0x9000), 0x4433u);
  EXPECT_EQ(read(0x5ffe), 0x44332211u);
  EXPECT_EQ(read(0x5ffd, 8) >> 8, 0x332211u);
}

TEST_F(SoftMmuTest, Alignment) {
  map(0, 5, 1);
  map_device(7);
  read(0x5001, 4, ir::kAligned);
  EXPECT_FALSE(ok_);
  EXPECT_TRUE(guest_.faults.back().alignment);
  read(0x5001, 4);
  EXPECT_TRUE(ok_);
  guest_.unaligned = false;
  read(0x5001, 4);
  EXPECT_FALSE(ok_);
  guest_.unaligned = true;
  read(0x7001, 4);
  EXPECT_FALSE(ok_);
  EXPECT_TRUE(guest_.faults.back().alignment);
  EXPECT_TRUE(device_.reads.empty());
}

TEST_F(SoftMmuTest, DevicesAreNeverEntered) {
  map_device(7);
  EXPECT_EQ(read(0x7010, 4), 0x110u);
  EXPECT_EQ(read(0x7020, 1), 0x120u);
  EXPECT_TRUE(write(0x7030, 0xab, 2));
  EXPECT_EQ(read_entry(0x7010), 0u);
  EXPECT_EQ(write_entry(0x7010), 0u);
  EXPECT_EQ(owner_.accesses, 3);
  EXPECT_EQ(device_.reads, (std::vector<std::pair<u64, unsigned>>{{0x10, 4}, {0x20, 1}}));
  EXPECT_EQ(device_.last, 0xabu);
  read(0x7900, 4);
  EXPECT_FALSE(ok_);
  EXPECT_TRUE(guest_.faults.back().external);
}

TEST_F(SoftMmuTest, SpacesKeepTheirTables) {
  guest_.is_privileged = false;
  for (u64 space = 1; space <= 3; space++) {
    map(space, 5, space);
    store_raw<u32>(ram_->data() + space * 0x1000, static_cast<u32>(space * 100));
  }
  for (int round = 0; round < 3; round++) {
    for (u64 space = 1; space <= 3; space++) {
      use_space(space);
      if (round) { EXPECT_NE(read_entry(0x5000), 0u); }
      EXPECT_EQ(read(0x5000), space * 100);
    }
  }
  mmu_->flush_space(2);
  use_space(2);
  EXPECT_EQ(read_entry(0x5000), 0u);
  use_space(3);
  EXPECT_NE(read_entry(0x5000), 0u);
}

TEST_F(SoftMmuTest, PrivilegedGlobalEntriesSurviveASwitch) {
  for (u64 space : {1, 2}) map(space, 0xc0000, 10, true, true);
  map(1, 5, 1);
  map(2, 5, 2);
  store_raw<u32>(ram_->data() + 0x1000, 111);
  store_raw<u32>(ram_->data() + 0x2000, 222);
  use_space(1);
  read(0xc0000000);
  EXPECT_EQ(read(0x5000), 111u);
  use_space(2);
  EXPECT_NE(read_entry(0xc0000000), 0u);
  EXPECT_EQ(read_entry(0x5000), 0u);
  EXPECT_EQ(read(0x5000), 222u);
  // Another regime has tables of its own.
  use_space(u64{7} << 32 | 2);
  EXPECT_EQ(read_entry(0xc0000000), 0u);
}

TEST_F(SoftMmuTest, MaintenanceOfOneAddressDropsAllOfItsMapping) {
  for (u64 page = 0x100; page < 0x200; page++) {
    map(0, page, page & 0xff, true, true);
    guest_.pages[{0, page}].mapping.size_bits = 20;
  }
  read(0x100000);
  read(0x1ff000);
  mmu_->flush_page(0, 0x180000, false);
  EXPECT_EQ(read_entry(0x100000), 0u);
  EXPECT_EQ(read_entry(0x1ff000), 0u);
}

TEST_F(SoftMmuTest, StoresToCodeAreAnnounced) {
  map(0, 5, 1);
  map(0, 6, 1);  // an alias
  EXPECT_TRUE(write(0x5000, 1));
  EXPECT_TRUE(write(0x6000, 1));
  EXPECT_NE(write_entry(0x5000), 0u);
  SoftMmu* mmus[] = {mmu_.get()};
  SoftMmu::page_becomes_code(*ram_, 0x1000, mmus);
  EXPECT_EQ(write_entry(0x5000), 0u);
  EXPECT_EQ(write_entry(0x6000), 0u);
  EXPECT_NE(read_entry(0x5000), 0u);
  EXPECT_TRUE(write(0x6010, 5, 2));
  EXPECT_EQ(write_entry(0x6000), 0u);
  EXPECT_EQ(tracker_.writes, (std::vector<std::pair<u64, u64>>{{0x1010, 2}}));
  ram_->page_flags(0x1000) = 0;
  EXPECT_TRUE(write(0x6010, 5, 2));
  EXPECT_NE(write_entry(0x6000), 0u);
  EXPECT_EQ(tracker_.writes.size(), 1u);
}

TEST_F(SoftMmuTest, Groups) {
  map(0, 5, 1);
  map(0, 6, 9);
  map_device(7);
  EXPECT_EQ(mmu_->group_read(0x5020, 32, 0), reinterpret_cast<u64>(ram_->data()) + 0x1020);
  u64 pointer = mmu_->group_write(0x5ff8, 16, 0);
  ASSERT_NE(pointer, 0u);
  for (u64 i = 0; i < 4; i++) store_raw<u32>(reinterpret_cast<u8*>(pointer) + 4 * i, static_cast<u32>(i + 1));
  mmu_->group_commit(pointer);
  EXPECT_EQ(load_raw<u32>(ram_->data() + 0x1ffc), 2u);
  EXPECT_EQ(load_raw<u32>(ram_->data() + 0x9000), 3u);
  pointer = mmu_->group_read(0x5ff8, 16, 0);
  EXPECT_EQ(load_raw<u32>(reinterpret_cast<u8*>(pointer) + 12), 4u);
  pointer = mmu_->group_read(0x7010, 8, 0);
  EXPECT_EQ(load_raw<u64>(reinterpret_cast<u8*>(pointer)), 0x11400000110u);
  pointer = mmu_->group_write(0x7010, 8, 0);
  mmu_->group_commit(pointer);
  EXPECT_EQ(device_.writes.size(), 2u);
  EXPECT_EQ(mmu_->group_read(0x5002, 8, ir::kAligned), 0u);
  EXPECT_TRUE(guest_.faults.back().alignment);
  EXPECT_EQ(mmu_->group_write(0x8000, 8, 0), 0u);
}

TEST_F(SoftMmuTest, Exclusives) {
  map(0, 5, 1);
  for (unsigned size : {1u, 2u, 4u, 8u}) {
    u64 value = 0;
    u32 failed = 0;
    ASSERT_TRUE(mmu_->load_exclusive(0x5008, size, 0, value));
    ASSERT_TRUE(mmu_->store_exclusive(0x5008, size, 0, value + 1, failed));
    EXPECT_EQ(failed, 0u);
    ASSERT_TRUE(mmu_->store_exclusive(0x5008, size, 0, value + 1, failed));
    EXPECT_EQ(failed, 1u);
    ASSERT_TRUE(mmu_->load_exclusive(0x5008, size, 0, value));
    ram_->data()[0x1008]++;
    ASSERT_TRUE(mmu_->store_exclusive(0x5008, size, 0, value + 1, failed));
    EXPECT_EQ(failed, 1u);
  }
  u64 value;
  EXPECT_FALSE(mmu_->load_exclusive(0x5002, 4, 0, value));
  EXPECT_TRUE(guest_.faults.back().alignment);
}

TEST_F(SoftMmuTest, Execution) {
  map(0, 5, 1);
  CodePage page;
  ir::Fault fault;
  ASSERT_TRUE(mmu_->code_page(0x5123, page, fault));
  EXPECT_EQ(page.id, page_id(*ram_, 0x1000));
  EXPECT_EQ(page.physical, kRamBase + 0x1000);
  EXPECT_EQ(reinterpret_cast<u32*>(guest_.s.header.exec_table)[5], page.id);
  const unsigned walks = guest_.walks;
  ASSERT_TRUE(mmu_->code_page(0x5456, page, fault));
  EXPECT_EQ(guest_.walks, walks);
  EXPECT_EQ(page.host, ram_->data() + 0x1000);
  EXPECT_FALSE(mmu_->code_page(0x9000, page, fault));
  map_device(7);
  guest_.pages[{0, 7}].mapping.executable = true;
  EXPECT_FALSE(mmu_->code_page(0x7000, page, fault));
  EXPECT_TRUE(fault.external);
}

TEST_F(SoftMmuTest, WindowsShowWhatTheTablesHave) {
  guest_.is_privileged = false;
  use_windows();
  map(0, 5, 1);
  map(0, 6, 2, false);
  map(0, 0x40, 9);
  read(0x5010);
  EXPECT_FALSE(sys::can_read(window() + 0x5010));
  mmu_->look_around(0);
  EXPECT_TRUE(sys::can_read(window() + 0x5010));
  EXPECT_FALSE(sys::can_read(window() + 0x6000));
  // What comes now comes with its neighbours, writable where that is allowed.
  write(0x5014, 7);
  EXPECT_TRUE(sys::can_write(window() + 0x5014));
  EXPECT_EQ(load_raw<u32>(window() + 0x5014), 7u);
  EXPECT_TRUE(sys::can_read(window() + 0x6000));
  EXPECT_FALSE(sys::can_write(window() + 0x6000));
  EXPECT_FALSE(sys::can_read(window() + 0x40000));
  // Code is found with an id of its own, and its page is not written through the window.
  CodePage page;
  ir::Fault fault;
  ASSERT_TRUE(mmu_->code_page(0x5000, page, fault));
  EXPECT_EQ(page.key, page.id | kWindowedCode);
  SoftMmu* mmus[] = {mmu_.get()};
  SoftMmu::page_becomes_code(*ram_, 0x1000, mmus);
  EXPECT_FALSE(sys::can_write(window() + 0x5014));
  EXPECT_TRUE(sys::can_read(window() + 0x5014));
  // Maintenance is done with the barrier.
  guest_.pages.erase({0, 6});
  mmu_->flush_page(0, 0x6000, false);
  mmu_->finish_windows();
  EXPECT_FALSE(sys::can_read(window() + 0x6000));
  mmu_->flush_all();
  EXPECT_FALSE(sys::can_read(window() + 0x5014));
  EXPECT_EQ(mmu_->statistics().windows_opened.get(), mmu_->statistics().windows_closed.get());
}

// What changes with the address space stays out, sections come whole, code of any space is written by the tables.
TEST_F(SoftMmuTest, AKernelsWindowHasItsGlobalPages) {
  use_windows();
  map(0, 5, 1);
  for (u64 page = 0x100; page < 0x200; page++) {
    map(0, page, page & 63, true, true);
    guest_.pages[{0, page}].mapping.size_bits = 20;
  }
  map(0, 0x300, 7, true, true);
  SoftMmu* mmus[] = {mmu_.get()};
  SoftMmu::page_becomes_code(*ram_, 0x9000, mmus);
  read(0x5000);
  write(0x110000, 1);
  mmu_->look_around(0);
  EXPECT_TRUE(read_entry(0x5000));
  EXPECT_FALSE(sys::can_read(window() + 0x5000));
  read(0x5004);
  EXPECT_FALSE(sys::can_read(window() + 0x5000));
  EXPECT_TRUE(sys::can_write(window() + 0x110000));
  EXPECT_FALSE(sys::can_read(window() + 0x1ff000));
  write(0x120000, 2);
  EXPECT_TRUE(sys::can_write(window() + 0x1ff000));
  EXPECT_TRUE(sys::can_read(window() + 0x109000));
  EXPECT_FALSE(sys::can_write(window() + 0x109000));
  EXPECT_FALSE(sys::can_read(window() + 0x300000));
  // Another process: the kernel's pages stay where they are.
  use_space(1);
  EXPECT_FALSE(read_entry(0x5000));
  EXPECT_TRUE(sys::can_write(window() + 0x1ff000));
  // Any address of a section means all of it.
  for (u64 page = 0x100; page < 0x200; page++) guest_.pages.erase({0, page});
  mmu_->flush_page(1, 0x100000, true);
  mmu_->finish_windows();
  EXPECT_FALSE(sys::can_read(window() + 0x1ff000));
  EXPECT_FALSE(sys::can_read(window() + 0x110000));
}

// Random mappings, maintenance as an architecture demands it, random accesses: tables and walker agree.
void SoftMmuTest::fuzz(bool windows) {
  for (u32 seed = 0; seed < 8; seed++) {
    std::mt19937 random(seed);
    guest_.pages.clear();
    mmu_->flush_all();
    for (int step = 0; step < 20000; step++) {
      const u64 space = 1 + random() % 20, page = random() % 8 + (random() % 2) * 0xfffff0;
      const bool global = page >= 0x100;
      const u64 page_number = page & 0xfffff;
      switch (random() % 16) {
        case 0: {  // change a mapping, with its maintenance
          const u64 ram_page = random() % 64;
          for (u64 s = 1; s <= 20; s++) {
            if (!global && s != space) continue;
            if (random() % 4 == 0) guest_.pages.erase({s, page_number});
            else map(s, page_number, global ? page_number & 63 : ram_page, random() % 2, global);
          }
          if (global) {  // the same in all spaces
            const auto one = guest_.pages.find({1, page_number});
            for (u64 s = 2; s <= 20; s++) {
              if (one == guest_.pages.end()) guest_.pages.erase({s, page_number});
              else guest_.pages[{s, page_number}] = one->second;
            }
          }
          mmu_->flush_page(space, page_number << 12, global);
          break;
        }
        case 1: use_space(space | u64{random() % 3} << 32); break;
        case 2:
          guest_.is_privileged = random() % 2;
          mmu_->update_space_tables();
          break;
        case 3:
          if (random() % 20 == 0) mmu_->flush_all();
          else mmu_->flush_space(space);
          break;
        case 4: {
          SoftMmu* mmus[] = {mmu_.get()};
          SoftMmu::page_becomes_code(*ram_, (random() % 64) << 12, mmus);
          break;
        }
        case 5: ram_->page_flags((random() % 64) << 12) = 0; break;
        default: {
          const u64 address = page_number << 12 | (random() % 0xffc);
          const bool is_write = random() % 2;
          ir::Mapping mapping;
          ir::Fault ignored;
          const bool allowed = guest_.walk(address, is_write ? ir::Access::write : ir::Access::read,
                                           !guest_.privileged(), mapping, ignored);
          const u64 entry = is_write ? write_entry(address) : read_entry(address);
          u8* host = allowed ? ram_->data() + (mapping.physical - kRamBase) + (address & 0xfff) : nullptr;
          if (windows && random() % 4 == 0) {
            mmu_->look_around(0);
            u8* there = window() + address;
            if (is_write ? sys::can_write(there) : sys::can_read(there)) {
              ASSERT_TRUE(entry) << "seed " << seed << " step " << step;
              ASSERT_EQ(load_raw<u32>(there), load_raw<u32>(host)) << "seed " << seed << " step " << step;
            }
          }
          if (entry) {
            ASSERT_TRUE(allowed) << "seed " << seed << " step " << step;
            ASSERT_EQ(entry + address, reinterpret_cast<u64>(host)) << "seed " << seed << " step " << step;
            if (is_write) { ASSERT_FALSE(ram_->page_flags(mapping.physical - kRamBase) & memory::kPageHasCode); }
            break;
          }
          const u32 value = random();
          if (windows) {
            mmu_->look_around(0);
            ASSERT_FALSE(sys::can_read(window() + address) && !read_entry(address))
                << "seed " << seed << " step " << step;
          }
          if (is_write) {
            ASSERT_EQ(write(address, value), allowed);
            if (allowed) { ASSERT_EQ(load_raw<u32>(host), value); }
          } else {
            const u32 got = read(address);
            ASSERT_EQ(ok_, allowed);
            if (allowed) { ASSERT_EQ(got, load_raw<u32>(host)); }
          }
        }
      }
    }
  }
}

TEST_F(SoftMmuTest, Fuzz) { fuzz(false); }

TEST_F(SoftMmuTest, FuzzWithWindows) {
  use_windows();
  fuzz(true);
  EXPECT_GT(mmu_->statistics().windows_opened.get(), 100u);
}

}  // namespace
}  // namespace rhea::accel
