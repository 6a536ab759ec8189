// SPDX-License-Identifier: MIT
// Registers of the LCD controller, keyboard, mouse, audio interface and I2C port as a hostile guest uses them. An
// input is a row of steps of six bytes: which device and what, which register, four bytes of value.
#include <array>

#include "devices/testing.h"

using namespace rhea;
using devices::testing::Bench;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  Bench bench;
  std::array<std::unique_ptr<devices::SysbusDevice>, 5> chips = {bench.make("pl111"), bench.make("pl050_keyboard"),
                                                                 bench.make("pl050_mouse"), bench.make("pl041"),
                                                                 bench.make("versatile_i2c")};
  unsigned frames = 0;
  for (usize at = 0; at + 6 <= size && at < 6 * 4096; at += 6) {
    const u8* step = data + at;
    const u32 value = load_le<u32>(step + 2);
    devices::SysbusDevice& chip = *chips[step[0] % chips.size()];
    const u64 offset = (u32{step[1]} << 4 | step[0] >> 4) & 0xffc;
    const auto keys = display::all_keys();
    switch (step[0] / chips.size() % 8) {
      case 0: bench.clock.advance(value % 100'000'000); break;
      case 1: bench.inputs.key(keys[value % keys.size()], step[1] & 1); break;
      case 2: bench.inputs.move(static_cast<s32>(value), static_cast<s32>(value >> 8), static_cast<s8>(step[1])); break;
      case 3: bench.inputs.set_buttons(value); break;
      case 4: Bench::read(chip, 0, offset); break;
      case 5:
        if (++frames < 8) bench.screens.main()->frame();
        break;
      default: Bench::write(chip, 0, offset, value); break;
    }
  }
  for (const auto& chip : chips) {
    devices::testing::FieldStore store;
    store.save(*chip);
    store.restore(*chip);
  }
  return 0;
}
