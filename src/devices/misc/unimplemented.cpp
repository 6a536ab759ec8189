// SPDX-License-Identifier: MIT
// Hardware that is not there: reads as zero, takes writes, and says so in the log (-d unimp).
#include <array>

#include "devices/device_type.h"

namespace rhea::devices {
namespace {

struct Config {
  std::string name = "unimplemented";
  u64 size = 0x1000;
};
constexpr Property kProperties[] = {
    property<&Config::name>("name", PropertyKind::text, "what would be here"),
    property<&Config::size>("size", PropertyKind::size, "bytes of its window"),
};

class Unimplemented : public SysbusDevice, public memory::MmioHandler {
 public:
  Unimplemented(Log& log, const Config& config) : log_(log), name_(config.name) {
    windows_[0] = {name_, config.size, this, true};
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {}
  void fields(Visitor&) override {}
  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes&) override {
    log_.unimplemented("{}: absent hardware: read of {} bytes at {:#x} answers 0", name_, size, offset);
    return {};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    log_.unimplemented("{}: absent hardware: write of {:#x}, {} bytes, at {:#x} has no effect", name_, value, size,
                       offset);
    return true;
  }

 private:
  Log& log_;
  std::string name_;
  std::array<MmioWindow, 1> windows_;
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const Config& given = *static_cast<const Config*>(config);
  if (given.size == 0) return Error("unimplemented-device '{}': its size is 0", given.name);
  return std::unique_ptr<Device>(std::make_unique<Unimplemented>(context.log, given));
}

}  // namespace

extern const DeviceType unimplemented_device;
const DeviceType unimplemented_device = {
    .name = "unimplemented-device",
    .category = Category::misc,
    .summary = "absent hardware: reads as zero, accesses are logged",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
