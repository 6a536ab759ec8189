// SPDX-License-Identifier: MIT
// sd-card: a card for the slot of an SD host controller.
#include "devices/sd/sd_card_device.h"

namespace rhea::devices {
namespace {

struct Config {
  std::string drive;
  bool spi = false;
};

constexpr Property kProperties[] = {
    property<&Config::drive>("drive", PropertyKind::text, "Node name or ID of a block device to use as a backend"),
    property<&Config::spi>("spi", PropertyKind::boolean, "a card on an SPI bus (only off: no board has such a slot)"),
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  if (static_cast<const Config*>(config)->spi) return Error("sd-card: spi=on: no board here has a slot on an SPI bus");
  return std::unique_ptr<Device>(std::make_unique<SdCardDevice>(context.drive));
}

}  // namespace

extern const DeviceType sd_card;
const DeviceType sd_card = {
    .name = "sd-card",
    .bus = Bus::sd,
    .category = Category::storage,
    .summary = "SD memory card for the board's slot",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
