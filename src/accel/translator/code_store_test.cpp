// SPDX-License-Identifier: MIT
// Translations that are kept: engines run a small guest one after the other, with the files that they leave each other.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "accel/mini_machine.h"

namespace rhea::accel {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kBlocks = 200;
constexpr u32 kResult = 0xf0;  // in words; behind the program

// A machine of its own with a program that adds 1 to r0 kBlocks times and stores it, over and over.
class StoreMachine : protected MiniMachine {
 public:
  explicit StoreMachine(const Options& options) : MiniMachine(options) {
    create(1);
    u32 at = 0;
    put(at, mini(3, 0, 0));
    for (unsigned i = 0; i < kBlocks; i++) {
      put(at, mini(0, 0, 1));
      put(at, mini(8));  // ends the block
    }
    put(at, mini(4, 0, kResult));
    put(at, mini(3, 2, 0));
    put(at, mini(6, 2));
  }
  void put(u32& at, u16 instruction) {
    store_raw(ram_->data() + at, instruction);
    at += 2;
  }
  // What ran already: as a device writes it.
  void change(u32 at, u16 instruction) { memory_.write(at, instruction, 2, {}); }
  Engine& engine() { return *engine_; }
  u32 result() { return word(4 * kResult); }
  unsigned count(const char* what) {
    const std::string text = engine_->statistics();
    const usize row = text.find("kept translations"), found = text.find(what, row);
    if (row == std::string::npos || found == std::string::npos) return 0;
    const usize begin = text.find_last_not_of("0123456789", found - 2) + 1;
    return static_cast<unsigned>(std::strtoul(text.c_str() + begin, nullptr, 10));
  }
  // Runs until the program has come round; what it stored.
  u32 run() {
    store_raw(ram_->data() + 4 * kResult, u32{0});
    engine_->resume();
    EXPECT_TRUE(eventually([&] { return result() != 0; }));
    engine_->pause();
    return result();
  }
};

class CodeStoreTest : public testing::Test {
 protected:
  CodeStoreTest() {
    std::string name = (fs::temp_directory_path() / "rhea-code-XXXXXX").string();
    options_.cache_folder = ::mkdtemp(name.data());
  }
  ~CodeStoreTest() override { fs::remove_all(options_.cache_folder); }
  std::vector<fs::path> files() {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(options_.cache_folder)) found.push_back(entry.path());
    return found;
  }
  void first_run() {
    StoreMachine machine(options_);
    ASSERT_EQ(machine.run(), kBlocks);
  }
  Options options_;
};

TEST_F(CodeStoreTest, ASecondRunTakesWhatTheFirstOneMade) {
  first_run();
  ASSERT_EQ(files().size(), 1u);
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= kBlocks; }));
  EXPECT_EQ(machine.run(), kBlocks);
  EXPECT_GE(machine.count("taken"), kBlocks);
  EXPECT_NE(machine.engine().statistics().find("blocks translated   0\n"), std::string::npos);
}

TEST_F(CodeStoreTest, AThirdRunHasWhatTheSecondOneAdded) {
  first_run();
  {
    StoreMachine machine(options_);
    ASSERT_TRUE(eventually([&] { return machine.count("read") >= kBlocks; }));
    u32 at = 0;
    machine.put(at, mini(3, 0, 0));
    for (unsigned i = 0; i < kBlocks; i++) {
      machine.put(at, mini(0, 0, 2));
      machine.put(at, mini(8));
    }
    EXPECT_EQ(machine.run(), 2 * kBlocks);
  }
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= 2 * kBlocks; }));
  EXPECT_EQ(machine.run(), kBlocks);
  EXPECT_GE(machine.count("taken"), kBlocks);
}

TEST_F(CodeStoreTest, OtherCodeIsTranslatedAnew) {
  first_run();
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= kBlocks; }));
  u32 at = 2 + 4 * 100;
  machine.put(at, mini(0, 0, 51));
  EXPECT_EQ(machine.run(), kBlocks + 50);
  EXPECT_NE(machine.engine().statistics().find("blocks translated   1\n"), std::string::npos);
}

TEST_F(CodeStoreTest, ADeadBlockComesBackInTheSameRun) {
  StoreMachine machine(options_);
  EXPECT_EQ(machine.run(), kBlocks);
  machine.engine().reset();
  EXPECT_EQ(machine.run(), kBlocks);
  EXPECT_GE(machine.count("taken"), kBlocks);
}

// Another program in its place, which adds `by` so many times.
constexpr unsigned kSteps = 150;
void load_steps(StoreMachine& machine, u16 by) {
  u32 at = 2;
  const auto put = [&](u16 instruction) {
    machine.change(at, instruction);
    at += 2;
  };
  for (unsigned i = 0; i < kSteps; i++) {
    put(mini(0, 0, by));
    put(mini(4, 0, kResult + 1));  // has a slow path
    put(mini(8));
  }
  put(mini(4, 0, kResult));
  put(mini(3, 2, 0));
  put(mini(6, 2));
}

// A program whose code changes until more than three quarters of the room is used: what was made first is kept.
TEST_F(CodeStoreTest, AFullFileHasTheFirstBlocks) {
  options_.cache_size = u64{4} << 20;
  // Of the fuller half, hot code or slow paths.
  const auto is_full = [](StoreMachine& machine) {
    const std::string text = machine.engine().statistics();
    unsigned long used = 0, size = 0, hot = 0;
    std::sscanf(text.c_str() + text.find("cache used"), "cache used %lu of %lu bytes (%lu hot", &used, &size, &hot);
    return std::max(hot, used - hot) >= size * 13 / 32;
  };
  {
    StoreMachine machine(options_);
    for (u16 by = 1; by < 250 && !is_full(machine); by++) {
      load_steps(machine, by);
      machine.run();  // was in the middle of it
      ASSERT_EQ(machine.run(), by * kSteps);
    }
    ASSERT_TRUE(is_full(machine));
  }
  ASSERT_EQ(files().size(), 1u);
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= kSteps; }));
  load_steps(machine, 1);
  EXPECT_EQ(machine.run(), kSteps);
  EXPECT_GE(machine.count("taken"), kSteps);
}

// What a file has, and was of use, is there when the buffer was emptied.
TEST_F(CodeStoreTest, AFileOutlivesAnEmptiedBuffer) {
  options_.cache_size = u64{4} << 20;
  const auto number = [](StoreMachine& machine, const char* row) {
    const std::string text = machine.engine().statistics();
    return std::strtoul(text.c_str() + text.find(row) + std::strlen(row), nullptr, 10);
  };
  first_run();
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= kBlocks; }));
  EXPECT_EQ(machine.run(), kBlocks);
  for (unsigned emptied = 1; emptied <= 2; emptied++) {
    for (u16 by = 1; by < 250 && number(machine, "cache emptied") < emptied; by++) {
      load_steps(machine, by);
      machine.run();
      ASSERT_EQ(machine.run(), by * kSteps);
    }
    ASSERT_EQ(number(machine, "cache emptied"), emptied);
    u32 at = 0;
    machine.change(at, mini(3, 0, 0));
    for (unsigned i = 0; i < kBlocks; i++) {
      machine.change(at += 2, mini(0, 0, 1));
      machine.change(at += 2, mini(8));
    }
    for (const u16 instruction : {mini(4, 0, kResult), mini(3, 2, 0), mini(6, 2)}) machine.change(at += 2, instruction);
    const unsigned taken = machine.count("taken");
    const unsigned long translated = number(machine, "blocks translated");
    machine.run();
    EXPECT_EQ(machine.run(), kBlocks);
    EXPECT_GE(machine.count("taken"), taken + kBlocks);
    EXPECT_LT(number(machine, "blocks translated"), translated + kBlocks / 4);
  }
  EXPECT_GE(machine.count("read"), kBlocks);
}

TEST_F(CodeStoreTest, OtherSettingsHaveAFileOfTheirOwn) {
  first_run();
  options_.chain = false;  // changes no code
  first_run();
  EXPECT_EQ(files().size(), 1u);
  options_.pin = false;
  StoreMachine machine(options_);
  EXPECT_EQ(machine.run(), kBlocks);
  EXPECT_EQ(machine.count("taken"), 0u);
}

TEST_F(CodeStoreTest, ADamagedFileCostsTranslationsOnly) {
  first_run();
  const fs::path path = files().at(0);
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  for (usize at = 0; at < whole.size(); at += whole.size() / 60 + 1) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << damaged;
    StoreMachine machine(options_);
    ASSERT_TRUE(eventually([&] {
      return machine.engine().statistics().find("damaged)") != std::string::npos ||
             machine.engine().statistics().find("build)") != std::string::npos ||
             machine.engine().statistics().find("short)") != std::string::npos || machine.count("read") >= kBlocks;
    }));
    EXPECT_EQ(machine.run(), kBlocks) << "with byte " << at << " of " << whole.size() << " changed";
  }
}

TEST_F(CodeStoreTest, AFileThatIsCutShortIsNotRead) {
  first_run();
  const fs::path path = files().at(0);
  const u64 size = fs::file_size(path);
  for (const u64 left : {size - 1, size / 2, u64{100}, u64{10}, u64{0}}) {
    fs::resize_file(path, left);
    StoreMachine machine(options_);
    EXPECT_EQ(machine.run(), kBlocks);
    EXPECT_EQ(machine.count("read"), 0u);
    machine.engine().end();
  }
  first_run();  // has left a whole one again
  EXPECT_GE(fs::file_size(path), size);
}

TEST_F(CodeStoreTest, ProgramsMayWriteAtATime) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; i++) {
    threads.emplace_back([this] {
      for (unsigned round = 0; round < 5; round++) {
        StoreMachine machine(options_);
        EXPECT_EQ(machine.run(), kBlocks);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files().size(), 1u);
  StoreMachine machine(options_);
  ASSERT_TRUE(eventually([&] { return machine.count("read") >= kBlocks; }));
  EXPECT_EQ(machine.run(), kBlocks);
}

TEST_F(CodeStoreTest, AFolderThatIsGoneIsNoHarm) {
  options_.cache_folder += "/none";
  StoreMachine machine(options_);
  EXPECT_EQ(machine.run(), kBlocks);
}

}  // namespace
}  // namespace rhea::accel
