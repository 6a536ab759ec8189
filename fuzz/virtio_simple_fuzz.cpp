// SPDX-License-Identifier: MIT
// Rings and buffers of the serial, balloon and keyboard devices as a hostile guest fills them. The first bytes of an
// input choose device and features; the rest is laid over the rings, which are then notified again and again.
#include <algorithm>

#include "core/balloon.h"
#include "virtio_rings.h"

using namespace rhea;
using namespace rhea::devices;
using namespace rhea::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 24) return 0;
  static constexpr const char* kTypes[] = {"virtio-serial-device", "virtio-balloon-device", "virtio-keyboard-device",
                                           "virtio-tablet-device"};
  DriverSide driver(kTypes[data[16] % 4], false,
                    data[16] % 4 == 1 ? std::vector<std::pair<std::string, std::string>>{{"free-page-reporting", "on"}}
                                      : std::vector<std::pair<std::string, std::string>>{});
  std::unique_ptr<Device> console;
  if (auto* owner = dynamic_cast<BusOwner*>(driver.device.get())) {
    console = driver.bench.make<Device>("virtconsole", {{"name", "x"}});
    if (!owner->plug_in(*console).ok()) return 0;
  }
  const unsigned queues = std::min(driver.device->queue_count(), 6u);
  start(driver, data, queues);
  plant(driver, data + 24, size - 24, queues);
  const auto keys = display::all_keys();
  for (usize at = 8; at < 16; ++at) {
    offer(driver, data[at] % queues, data[at], data[at] / 6);
    driver.bench.inputs.key(keys[data[at] % keys.size()], data[at] & 1);
    driver.bench.inputs.move(data[17], data[18], data[19]);
    driver.bench.chardev.type(std::string(data[20] % 40, 'x'));
    if (auto* balloon = dynamic_cast<Balloon*>(driver.device.get())) balloon->set_target(u64{data[21]} << 14);
    driver.bench.clock.advance(kSecond);
    if (data[23] % 16 == at) driver.put(load_le<u16>(data) & 0x1fc, load_le<u32>(data + 4));
  }
  devices::testing::FieldStore store;
  store.save(*driver.device);
  store.restore(*driver.device);
  driver.put(0x70, 0);
  driver.settle();
  return 0;
}
