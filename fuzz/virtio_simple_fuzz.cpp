// SPDX-License-Identifier: MIT
// Rings and buffers of the serial, balloon and keyboard devices as a hostile guest fills them. The first bytes of an
// input choose device and features; the rest is laid over the rings, which are then notified again and again.
#include <algorithm>

#include "core/balloon.h"
#include "devices/virtio/fake_driver.h"

using namespace rhea;
using namespace rhea::devices;
using devices::testing::Bench;
using devices::testing::DriverQueue;
using devices::testing::DriverSide;

namespace {

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr usize kTable = DriverQueue::kSize * 16;

void plant(DriverSide& driver, const u8* data, usize size, unsigned queues) {
  u8* ram = driver.bench.ram->data() + (kRings - Bench::kRamBase);
  for (usize at = 0; at + 16 <= size && at < queues * kTable; at += 16) {
    u8* to = ram + at / kTable * 0x4000 + at % kTable;
    std::copy_n(data + at, 16, to);
    if (data[at + 7] < 0xf0) store_le<u64>(to, Bench::kRamBase + (load_le<u32>(data + at) % Bench::kRamSize));
    if (data[at + 11] < 0xf0) store_le<u32>(to + 8, load_le<u16>(data + at + 8));
    store_le<u16>(to + 14, data[at + 14] % 9);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 24) return 0;
  static constexpr const char* kTypes[] = {"virtio-serial-device", "virtio-balloon-device", "virtio-keyboard-device", "virtio-tablet-device"};
  DriverSide driver(kTypes[data[16] % 4], false, data[16] % 4 == 1 ? std::vector<std::pair<std::string, std::string>>{{"free-page-reporting", "on"}} : std::vector<std::pair<std::string, std::string>>{});
  std::unique_ptr<Device> console;
  if (auto* owner = dynamic_cast<BusOwner*>(driver.device.get())) {
    console = driver.bench.make<Device>("virtconsole", {{"name", "x"}});
    if (!owner->plug_in(*console).ok()) return 0;
  }
  driver.negotiate((load_le<u64>(data) & driver.offered()) | virtio::kVersion1);
  const unsigned queues = std::min(driver.device->queue_count(), 6u);
  for (unsigned index = 0; index < queues; ++index) {
    DriverQueue queue(driver.bench, kRings + index * 0x4000);
    driver.start_queue(index, queue);
  }
  driver.ready();
  plant(driver, data + 24, size - 24, queues);
  u8* ram = driver.bench.ram->data() + (kRings - Bench::kRamBase);
  const auto keys = display::all_keys();
  for (usize at = 8; at < 16; ++at) {
    const unsigned index = data[at] % queues;
    u8* available = ram + index * 0x4000 + kTable;
    const u16 count = load_le<u16>(available + 2);
    store_le<u16>(available + 4 + count % DriverQueue::kSize * 2u, data[at] / 6 % 9);
    store_le<u16>(available + 2, static_cast<u16>(count + 1 + (data[at] > 250 ? data[at] : 0)));
    driver.notify(index);
    driver.bench.inputs.key(keys[data[at] % keys.size()], data[at] & 1);
    driver.bench.inputs.move(data[17], data[18], data[19]);
    driver.bench.chardev.type(std::string(data[20] % 40, 'x'));
    if (auto* balloon = dynamic_cast<Balloon*>(driver.device.get())) balloon->set_target(u64{data[21]} << 14);
    driver.bench.clock.advance(kSecond);
    if (data[23] % 16 == at) driver.put(load_le<u16>(data) & 0x1fc, load_le<u32>(data + 4));
  }
  testing::FieldStore store;
  store.save(*driver.device);
  store.restore(*driver.device);
  driver.put(0x70, 0);
  driver.settle();
  return 0;
}
