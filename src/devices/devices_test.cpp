// SPDX-License-Identifier: MIT
// What every device must do, for each type in devices.inc; and the small devices.
#include <gtest/gtest.h>

#include <random>

#include "core/state_codec.h"
#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;
using testing::FieldStore;

class EveryDevice : public ::testing::TestWithParam<const DeviceType*> {};

TEST_P(EveryDevice, HasARecordThatIsWhole) {
  const DeviceType& type = *GetParam();
  EXPECT_EQ(find_device_type(type.name), &type);
  EXPECT_FALSE(type.summary.empty());
  auto config = type.make_config();
  for (const Property& property : type.properties) {
    EXPECT_FALSE(property.summary.empty()) << property.name;
    const std::string text = property.get(config.get(), property.kind);
    const std::string value = text.substr(0, text.find(" ("));  // "16 (0x10)"
    if (value.empty()) continue;
    EXPECT_TRUE(property.set(config.get(), property.kind, value).ok()) << property.name << "=" << value;
    EXPECT_EQ(property.get(config.get(), property.kind), text);
  }
}

// A device of the type, with what it cannot be without: a disk, a folder.
std::unique_ptr<Device> make_any(Bench& bench, const DeviceType& type) {
  if (type.category == Category::storage) bench.insert_disk(u64{4} << 20);
  std::vector<std::pair<std::string, std::string>> properties;
  if (type.name == "virtio-9p-device") {
    auto share = fsdev::Share::open({.id = "folder", .path = ::testing::TempDir(), .read_only = true});
    if (!share.ok()) return nullptr;
    bench.fsdevs.add(share.take());
    properties = {{"fsdev", "folder"}, {"mount_tag", "tag"}};
  }
  return bench.make<Device>(type.name, properties);
}

TEST_P(EveryDevice, TakesAnyAccessAndRestoresItsFields) {
  Bench bench;
  auto device = make_any(bench, *GetParam());
  ASSERT_TRUE(device);
  auto* sysbus = dynamic_cast<SysbusDevice*>(device.get());
  if (!sysbus) return;
  std::mt19937 random(7);
  for (const MmioWindow& window : sysbus->windows()) {
    ASSERT_TRUE(window.handler);
    EXPECT_FALSE(window.name.empty());
    for (unsigned i = 0; i < 20'000; ++i) {
      const unsigned size = 1u << random() % 4;
      const u64 offset = random() % window.size & ~u64{size - 1};
      memory::Attributes who;
      who.cpu = static_cast<u16>(random() % 9);
      who.secure = random() % 2;
      if (random() % 2) window.handler->write(offset, random() >> random() % 32, size, who);
      else window.handler->read(offset, size, who);
      if (i % 64 == 0) {
        bench.clock.advance(random() % 100'000);
        bench.loop.run(100);
        bench.net_loop.run(100);
      }
    }
  }
  FieldStore before, after;
  before.save(*device);
  before.restore(*device);
  after.save(*device);
  EXPECT_EQ(before.all(), after.all());
  device->reset(ResetKind::warm);
  bench.loop.run();
  bench.net_loop.run();
}

// Restores made-up values of the widths that fields have.
class RandomState : public Visitor {
 public:
  explicit RandomState(unsigned seed) : random_(seed) {}
  void number(std::string_view, u64& value, unsigned bytes) override {
    const u64 wide = u64{random_()} << 32 | random_();
    value = bytes >= 8 ? wide : wide & ((u64{1} << bytes * 8) - 1);
    if (random_() % 2) value &= 0xff;
  }
  void bytes(std::string_view, std::vector<u8>& value, usize limit) override {
    // Some are long. A device that keeps thousands of them (9p's fids) has short ones then.
    const usize most = std::min({limit, kLongest, std::max(kShort, left_)});
    value.resize(random_() % 4 ? random_() % (most + 1) : 0);
    left_ -= std::min(left_, value.size());
    for (u8& byte : value) byte = static_cast<u8>(random_());
  }
  void raw(std::string_view, void* data, usize size) override {
    for (usize i = 0; i < size; ++i) static_cast<u8*>(data)[i] = static_cast<u8>(random_() % 2 ? random_() : 0);
  }
  unsigned begin(std::string_view, unsigned version) override { return version; }
  void end() override {}
  bool restoring() const override { return true; }

 private:
  static constexpr usize kLongest = 4096, kShort = 8;
  std::mt19937 random_;
  usize left_ = usize{1} << 20;  // bytes
};

TEST_P(EveryDevice, KeepsAnyStateThroughAStream) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Bench bench, other;
    auto device = make_any(bench, *GetParam());
    auto fresh = make_any(other, *GetParam());
    ASSERT_TRUE(device && fresh);
    RandomState made_up(seed);
    device->fields(made_up);
    const std::vector<u8> saved = core::save_state(*device);
    const auto tree = core::StateTree::parse(saved);
    ASSERT_TRUE(tree.ok()) << tree.error().message();
    const std::vector<u8> before = core::save_state(*fresh);
    const Result<void> fits = core::check_state(*fresh, *tree);
    ASSERT_TRUE(fits.ok()) << fits.error().message();
    EXPECT_EQ(core::save_state(*fresh), before) << "a check changes nothing";
    const Result<void> loaded = core::load_state(*fresh, *tree);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(core::save_state(*fresh), saved) << "seed " << seed;
    for (Bench* world : {&bench, &other}) {
      world->loop.run(100);
      world->net_loop.run(100);
    }
    if (auto* sysbus = dynamic_cast<SysbusDevice*>(fresh.get())) {
      for (const MmioWindow& window : sysbus->windows())
        for (u64 offset = 0; offset < std::min<u64>(window.size, 4096); offset += 4)
          window.handler->read(offset, 4, {});
    }
    other.clock.advance(kSecond);
    other.host_clock.advance(kSecond);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryDevice, ::testing::ValuesIn(all_device_types().begin(), all_device_types().end()),
                         [](const auto& info) {
                           std::string name(info.param->name);
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

TEST(Sysregs, FlagsAndClock) {
  Bench bench;
  auto sysregs = bench.make("realview_sysctl");
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x00), 0x1190f500u);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x84), 0x0c000191u);
  Bench::write(*sysregs, 0, 0x30, 0x60008000);
  Bench::write(*sysregs, 0, 0x30, 1);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x30), 0x60008001u);
  Bench::write(*sysregs, 0, 0x34, ~0u);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x30), 0u);
  Bench::write(*sysregs, 0, 0x38, 5);
  sysregs->reset(ResetKind::warm);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x38), 5u);
  bench.clock.advance(kSecond);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x5c), 24'000'000u);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x24), 100u);
  sysregs->inputs()->set_irq(1, true);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0x48), 1u);
}

TEST(Sysregs, ConfigurationBus) {
  Bench bench;
  auto sysregs = bench.make("realview_sysctl");
  const auto command = [&](u32 control) {
    Bench::write(*sysregs, 0, 0xa8, 0);
    Bench::write(*sysregs, 0, 0xa4, control | 1u << 31);
    return Bench::read(*sysregs, 0, 0xa8);
  };
  EXPECT_EQ(command(1u << 20 | 1u << 16 | 0), 1u);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0xa0), 45'000'000u);
  EXPECT_EQ(command(2u << 20 | 1u << 16 | 9), 3u) << "no such sensor";
  Bench::write(*sysregs, 0, 0xa0, 12'345'678);
  EXPECT_EQ(command(1u << 30 | 1u << 20 | 1), 1u);
  EXPECT_EQ(command(1u << 20 | 1), 1u);
  EXPECT_EQ(Bench::read(*sysregs, 0, 0xa0), 12'345'678u);
  EXPECT_EQ(command(1u << 30 | 8u << 20), 1u);
  EXPECT_EQ(bench.machine.shutdowns, 1u);
  EXPECT_EQ(command(1u << 30 | 9u << 20), 1u);
  EXPECT_EQ(bench.machine.resets, 1u);
}

TEST(Pl031, TellsTimeAndWakes) {
  Bench bench;
  bench.host_clock.advance(1'700'000'000 * kSecond);
  auto rtc = bench.make("pl031");
  EXPECT_EQ(Bench::read(*rtc, 0, 0), 1'700'000'000u);
  Bench::write(*rtc, 0, 0x08, 1000);
  EXPECT_EQ(Bench::read(*rtc, 0, 0), 1000u);
  EXPECT_EQ(bench.machine.told, (std::vector<std::string>{"RTC_CHANGE {\"offset\": -1699999000}"}));
  Bench::write(*rtc, 0, 0x04, 1010);
  EXPECT_EQ(bench.host_clock.armed(), 0u);
  Bench::write(*rtc, 0, 0x10, 1);
  bench.host_clock.advance(9 * kSecond);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.host_clock.advance(kSecond);
  EXPECT_TRUE(bench.irqs.levels[0]);
  Bench::write(*rtc, 0, 0x1c, 1);
  EXPECT_FALSE(bench.irqs.levels[0]);
  EXPECT_EQ(Bench::read(*rtc, 0, 0xfe0), 0x31u);
}

struct Pl011Test : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> uart = bench.make("pl011");
  u32 get(u32 offset) { return Bench::read(*uart, 0, offset); }
  void put(u32 offset, u32 value) { Bench::write(*uart, 0, offset, value); }
};

TEST_F(Pl011Test, Sends) {
  for (char c : std::string("hello")) put(0, static_cast<u8>(c));
  EXPECT_EQ(bench.chardev.output, "hello");
  put(0x38, 0x20);
  EXPECT_TRUE(bench.irqs.levels[0] && bench.irqs.levels[2]);
  put(0x44, 0x20);
  EXPECT_FALSE(bench.irqs.levels[0]);
  EXPECT_EQ(get(0x18) & 0xa8, 0x80u);
}

TEST_F(Pl011Test, ReceivesWithoutLoss) {
  put(0x2c, 0x70);
  put(0x30, 0x301);
  put(0x38, 0x50);
  bench.chardev.type("0123456789abcdefghij");
  EXPECT_EQ(bench.chardev.waiting, "ghij");
  EXPECT_EQ(get(0x18) & 0x50, 0x40u);
  EXPECT_EQ(get(0x40), 0x10u);
  std::string read;
  while (!(get(0x18) & 0x10)) read += static_cast<char>(get(0));
  EXPECT_EQ(read, "0123456789abcdefghij");
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.chardev.type("x");
  EXPECT_EQ(get(0x40), 0x40u) << "below the trigger level: receive timeout";
  put(0x44, 0x7ff);
  EXPECT_EQ(get(0x40), 0u);
  bench.clock.advance(kMillisecond);
  EXPECT_EQ(get(0x40), 0x40u) << "an unread character times out again";
}

TEST_F(Pl011Test, HoldsInputWhileTheReceiverIsOff) {
  put(0x30, 0);
  bench.chardev.type("z");
  EXPECT_EQ(bench.chardev.waiting, "z");
  put(0x30, 0x301);
  EXPECT_EQ(get(0), u32{'z'});
}

TEST_F(Pl011Test, LoopbackAndModem) {
  put(0x2c, 0x70);
  put(0x30, 0x381);
  put(0, 'q');
  EXPECT_EQ(bench.chardev.output, "");
  EXPECT_EQ(get(0), u32{'q'});
  put(0x44, 0x7ff);
  put(0x30, 0x381 | 1u << 11);
  EXPECT_EQ(get(0x3c), 2u) << "RTS is looped to CTS";
  EXPECT_EQ(get(0x18) & 7, 1u);
}

TEST_F(Pl011Test, Break) {
  put(0x2c, 0x70);
  put(0x38, 0x200);
  bench.chardev.frontend->event(chardev::Event::line_break);
  EXPECT_TRUE(bench.irqs.levels[5]);
  EXPECT_EQ(get(0), 0x400u);
  EXPECT_EQ(get(4), 4u);
}

TEST(Unimplemented, AnswersZero) {
  Bench bench;
  auto device = bench.make("unimplemented-device", {{"name", "usb"}, {"size", "0x20000"}});
  EXPECT_EQ(device->windows()[0].size, 0x20000u);
  Bench::write(*device, 0, 0x1f000, 5);
  EXPECT_EQ(Bench::read(*device, 0, 0x1f000), 0u);
}

TEST(L2x0, MaintenanceIsDoneAtOnce) {
  Bench bench;
  auto cache = bench.make("l2x0");
  EXPECT_EQ(Bench::read(*cache, 0, 0), 0x410000c8u);
  Bench::write(*cache, 0, 0x77c, 0xff);
  EXPECT_EQ(Bench::read(*cache, 0, 0x77c), 0u);
  Bench::write(*cache, 0, 0x100, 1);
  EXPECT_EQ(Bench::read(*cache, 0, 0x100), 1u);
}

}  // namespace
}  // namespace rhea::devices
