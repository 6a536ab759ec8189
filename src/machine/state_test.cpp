// SPDX-License-Identifier: MIT
// A machine's state through a stream, and streams that are damaged.
#include "machine/state.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <thread>

#include "core/loop.h"
#include "machine/machine.h"
#include "machine/snapshots.h"
#include "util/bits.h"

namespace rhea::machine {
namespace {

struct World {
  explicit World(unsigned cpus = 2, u64 megabytes = 2, bool nic = true) : machine(log) {
    MachineConfig config;
    config.board = find_board("vexpress-a9");
    config.ram_size = megabytes << 20;
    config.cpus = cpus;
    config.accel.engine = "interp";
    config.start_paused = true;
    if (nic) config.nics.push_back({});
    const Result<void> built = machine.build(config);
    EXPECT_TRUE(built.ok()) << (built.ok() ? "" : built.error().message());
  }
  std::vector<u8> save(bool compress = false) {
    MemorySink sink;
    const auto saved = save_machine(machine, sink, {.compress = compress, .progress = {}});
    EXPECT_TRUE(saved.ok());
    return std::move(sink.bytes);
  }
  Result<void> load(std::span<const u8> bytes) {
    MemorySource source(bytes);
    return load_machine(machine, source);
  }
  // Something to keep: memory, registers of devices and CPUs.
  void touch(unsigned seed) {
    std::mt19937 random(seed);
    memory::AddressSpace& space = machine.memory();
    std::vector<u8> data(100'000);
    for (u8& byte : data) byte = static_cast<u8>(random());
    EXPECT_TRUE(space.write_bytes(0x60000000 + seed * 0x1000, data));
    for (const u64 base : {0x10009000u, 0x10011000u, 0x10017000u, 0x10000000u, 0x1e001000u}) {
      for (unsigned i = 0; i < 64; ++i) space.write(base + i * 4, random() & 0xff, 4, {});
    }
    const std::array<u8, 4> value = {static_cast<u8>(seed), 2, 3, 4};
    machine.engine().cpu(0).write_register(5, value);
  }
  Log log;
  Machine machine;
};

TEST(State, GoesIntoAnotherMachine) {
  for (const bool compress : {false, true}) {
    World from, to;
    from.touch(1);
    to.touch(2);
    const std::vector<u8> state = from.save(compress);
    const Result<void> loaded = to.load(state);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    const std::vector<u8> again = to.save(compress);
    ASSERT_EQ(again.size(), state.size());
    // The first section says when it was made.
    constexpr usize kInfo = 12 + 12 + 100;
    EXPECT_TRUE(std::equal(state.begin() + kInfo, state.end(), again.begin() + kInfo));
    if (compress) { EXPECT_LT(state.size(), from.save(false).size()); }
  }
}

TEST(State, MustBeOfTheSameMachine) {
  World here;
  const auto refused = [&](World& other) { return here.load(other.save()).error().message(); };
  World more_cpus(4), more_memory(2, 4), no_nic(2, 2, false);
  EXPECT_EQ(refused(more_cpus), "it has 4 CPUs, this machine has 2");
  EXPECT_EQ(refused(more_memory), "its memory 'vexpress.highmem' has 4096 KiB, this machine's has 2048 (-m)");
  EXPECT_NE(refused(no_nic).find("both sides need the same -device"), std::string::npos);
}

TEST(State, DamageIsFoundAndChangesNothing) {
  World here, other;
  here.touch(1);
  other.touch(2);
  const std::vector<u8> good = other.save(), before = here.save();
  std::mt19937 random(3);
  constexpr usize kInfo = 12 + 12 + 100;
  const auto same = [&] {
    const std::vector<u8> now = here.save();
    return now.size() == before.size() && std::equal(now.begin() + kInfo, now.end(), before.begin() + kInfo);
  };
  for (unsigned i = 0; i < 60; ++i) {
    std::vector<u8> damaged = good;
    if (i % 2) damaged.resize(random() % good.size());
    else damaged[200 + random() % (good.size() - 200)] ^= static_cast<u8>(1 + random() % 255);
    const Result<void> loaded = here.load(damaged);
    ASSERT_FALSE(loaded.ok());
    EXPECT_FALSE(loaded.error().message().empty());
  }
  EXPECT_TRUE(same());
  EXPECT_EQ(here.load(std::vector<u8>(100)).error().message(), "this is no machine state");
  std::vector<u8> newer = good;
  newer[8] = 9;
  EXPECT_EQ(here.load(newer).error().message(), "its format is version 9, this Rhea reads 1");
  EXPECT_TRUE(same());
}

// Runs a machine's loop until `done`.
template <typename Done>
void turn_until(std::initializer_list<Machine*> machines, const Done& done) {
  while (!done()) {
    bool ran = false;
    for (Machine* machine : machines) ran |= dynamic_cast<core::Loop&>(machine->loop()).run_once();
    if (!ran) std::this_thread::yield();
  }
}

// Migrates and waits for the end.
Snapshots::Migration send(Machine& machine, const std::string& uri) {
  bool ended = false;
  const Result<void> begun = machine.snapshots().migrate(uri);
  EXPECT_TRUE(begun.ok()) << begun.error().message();
  machine.snapshots().when_ended([&] { ended = true; });
  turn_until({&machine}, [&] { return ended; });
  return machine.snapshots().migration();
}

TEST(State, GoesThroughCommands) {
  World from, to;
  from.touch(1);
  const std::string path = ::testing::TempDir() + "rhea-state-through-commands";
  const Snapshots::Migration sent = send(from.machine, "exec:cat > " + path);
  EXPECT_EQ(sent.status, Snapshots::Status::completed) << sent.error;
  EXPECT_EQ(from.machine.state(), RunState::postmigrate);
  const Result<bool> taken = to.machine.snapshots().incoming("exec:cat " + path);
  ASSERT_TRUE(taken.ok()) << taken.error().message();
  EXPECT_TRUE(*taken);
  std::remove(path.c_str());
  const Snapshots::Migration failed = send(from.machine, "exec:cat > /dev/null; exit 3");
  EXPECT_EQ(failed.status, Snapshots::Status::failed);
  EXPECT_EQ(failed.error, "it exited with status 3");
}

TEST(State, GoesOverConnections) {
  World from, to;
  from.touch(1);
  to.touch(2);
  const std::string uri = "unix:" + ::testing::TempDir() + "rhea-state-socket";
  const Snapshots::Migration nobody = send(from.machine, uri);
  EXPECT_EQ(nobody.status, Snapshots::Status::failed);
  EXPECT_NE(nobody.error.find("No such file or directory"), std::string::npos) << nobody.error;
  std::optional<Result<void>> came;
  to.machine.snapshots().on_arrived = [&](Result<void> result) { came = std::move(result); };
  const Result<bool> waits = to.machine.snapshots().incoming(uri);
  ASSERT_TRUE(waits.ok()) << waits.error().message();
  EXPECT_FALSE(*waits);
  EXPECT_FALSE(to.machine.snapshots().incoming(uri).ok());
  EXPECT_FALSE(to.machine.snapshots().migrate(uri).ok());
  const std::vector<u8> state = from.save();
  ASSERT_TRUE(from.machine.snapshots().migrate(uri).ok());
  turn_until({&from.machine, &to.machine}, [&] { return came.has_value(); });
  ASSERT_TRUE(came->ok()) << came->error().message();
  EXPECT_EQ(from.machine.snapshots().migration().status, Snapshots::Status::completed);
  const std::vector<u8> again = to.save();
  ASSERT_EQ(again.size(), state.size());
  constexpr usize kInfo = 12 + 12 + 100;
  EXPECT_TRUE(std::equal(state.begin() + kInfo, state.end(), again.begin() + kInfo));
}

TEST(State, SavingCanBeCancelled) {
  World here;
  MemorySink sink;
  const auto saved =
      save_machine(here.machine, sink, {.compress = false, .progress = [](const StateProgress&) { return false; }});
  ASSERT_FALSE(saved.ok());
  EXPECT_EQ(saved.error().message(), "cancelled");
}

}  // namespace
}  // namespace rhea::machine
