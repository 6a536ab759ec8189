// SPDX-License-Identifier: MIT
// The two-wire serial bus interface of ARM's Versatile boards (DUI 0447J, section 4.5): two output bits and their read
// back. This one has the Versatile Express' DVI transmitter and its monitor on it.
#include <array>

#include "devices/device_type.h"
#include "devices/i2c/i2c_bus.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {
  bool dvi = true;
};
constexpr Property kProperties[] = {
    property<&Config::dvi>("dvi", PropertyKind::boolean, "the DVI transmitter and its monitor are on the bus"),
};

constexpr u32 kSet = 0x00, kClear = 0x04;  // SB_CONTROL(S), SB_CONTROLC
constexpr u32 kScl = 1, kSda = 2;
// What the PL111 can show at most.
constexpr u32 kWidth = 1024, kHeight = 768;

class VersatileI2c : public SysbusDevice {
 public:
  VersatileI2c(const DeviceContext& context, const Config& config)
      : registers_(table(), this, context.id, context.log), window_(registers_) {
    if (!config.dvi) return;
    wires_.add(make_sii9022());
    wires_.add(make_edid(kWidth, kHeight));
  }
  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    registers_.reset();
    out_ = kScl | kSda;
    wires_.reset();
  }
  void fields(Visitor& visitor) override {
    visitor.field("out", out_);
    wires_.fields(visitor);
  }
  u32 read_wires() { return bits_if(wires_.clock(), kScl) | bits_if(wires_.data(), kSda); }
  u32 read_nothing() { return 0; }
  void set_bits(u32 value) { drive(out_ | value); }
  void clear_bits(u32 value) { drive(out_ & ~value); }

 private:
  static std::span<const memory::Register> table() {
    using D = VersatileI2c;
    using memory::hook;
    static constexpr memory::Register table[] = {
        {kSet, "SB_CONTROL", 0, 0, hook<D, &D::read_wires>(), hook<D, &D::set_bits>()},
        {kClear, "SB_CONTROLC", 0, 0, hook<D, &D::read_nothing>(), hook<D, &D::clear_bits>()},
    };
    return table;
  }
  void drive(u32 out) {
    out_ = out & (kScl | kSda);
    wires_.set(out_ & kScl, out_ & kSda);
  }

  memory::RegisterFile registers_;
  RegisterWindow window_;
  I2cWires wires_;
  u32 out_ = kScl | kSda;
  std::array<MmioWindow, 1> windows_{{{"arm_sbcon_i2c", 0x1000, &window_, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  return std::unique_ptr<Device>(std::make_unique<VersatileI2c>(context, *static_cast<const Config*>(config)));
}

}  // namespace

extern const DeviceType versatile_i2c;
const DeviceType versatile_i2c = {
    .name = "versatile_i2c",
    .alias = "arm_sbcon_i2c",
    .category = Category::misc,
    .summary = "ARM two-wire serial bus with DVI transmitter and monitor",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
