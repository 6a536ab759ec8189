// SPDX-License-Identifier: MIT
// System registers of the Versatile Express motherboard (DUI 0447J chapter 4), with the configuration bus behind
// SYS_CFGDATA/CTRL/STAT: oscillators, voltages, temperature, power off, reboot.
//
// Inputs: 0 the card slot's write protect, 1 card inserted. The 24 MHz counter is many kernels' clock and is read
// without a lock; everything else is guarded by the device's own.
#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "devices/device_type.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {
  u32 sys_id = 0x1190f500;
  u32 proc_id = 0x0c000191;
};
constexpr Property kProperties[] = {
    property<&Config::sys_id>("sys_id", PropertyKind::number, "what SYS_ID reads: the motherboard's revision"),
    property<&Config::proc_id>("proc_id", PropertyKind::number, "what SYS_PROCID0 reads: the daughterboard"),
};

// DUI 0447J table 4-2.
enum Offset : u32 {
  kLock = 0x20,
  kFlags = 0x30,
  kFlagsClr = 0x34,
  kNvFlags = 0x38,
  kNvFlagsClr = 0x3c,
  k24Mhz = 0x5c,
  kCfgData = 0xa0,
  kCfgCtrl = 0xa4,
  kCfgStat = 0xa8
};
enum CfgCtrl : u32 { kStart = 1u << 31, kWrite = 1u << 30 };
enum CfgStat : u32 { kComplete = 1, kFailed = 2 };
// SYS_CFGCTRL function field, table 4-22.
enum Function : u32 {
  kOscillator = 1,
  kVoltage = 2,
  kTemperature = 4,
  kReset = 5,
  kMuxFpga = 7,
  kShutdown = 8,
  kReboot = 9,
  kDviMode = 11
};
enum Site : u32 { kMotherboard = 0, kDaughterboard1 = 1 };

constexpr u32 kUnlock = 0xa05f;
constexpr u32 kMotherboardVoltage = 3'300'000;   // microvolts: VIO
constexpr u32 kTemperatureReading = 25'000'000;  // microdegrees
// CoreTile Express A9x4 (DUI 0448H tables 2-4 and 2-6): Hz, microvolts.
constexpr std::array<u32, 3> kTileClocks = {45'000'000, 23'750'000, 66'670'000};
constexpr std::array<u32, 6> kTileVoltages = {1'000'000, 1'000'000, 1'000'000, 1'800'000, 900'000, 3'300'000};
constexpr std::array<u32, 6> kMotherboardClocks = {50'000'000, 23'750'000, 24'000'000,
                                                   24'000'000, 24'000'000, 24'000'000};

class RealviewSysctl : public SysbusDevice, public memory::MmioHandler, public IrqSink {
 public:
  RealviewSysctl(const DeviceContext& context, const Config& config)
      : config_(config), clock_(context.clock), log_(context.log), machine_(context.machine),
        registers_(table(), this, context.id, context.log) {}

  std::span<const MmioWindow> windows() const override { return windows_; }
  IrqSink* inputs() override { return this; }
  void set_irq(unsigned input, bool level) override {
    const u32 bit = input == 0 ? 2 : 1;  // SYS_MCI: write protect, card detect
    if (level) card_ |= bit;
    else card_ &= ~bit;
  }

  void reset(ResetKind kind) override {
    std::lock_guard lock(mutex_);
    const u32 kept = registers_[kNvFlags];  // until power off (section 4.4.7)
    registers_.reset();
    if (kind == ResetKind::warm) registers_[kNvFlags] = kept;
    tile_clocks_ = kTileClocks;
    motherboard_clocks_ = kMotherboardClocks;
    mux_ = dvi_mode_ = 0;
  }
  void fields(Visitor& visitor) override {
    std::lock_guard lock(mutex_);
    registers_.fields(visitor);
    visitor.field("tile_clocks", tile_clocks_);
    visitor.field("motherboard_clocks", motherboard_clocks_);
    visitor.field("mux", mux_);
    visitor.field("dvi_mode", dvi_mode_);
  }

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes&) override {
    if (offset == k24Mhz && size == 4) return {read_24mhz()};
    std::lock_guard lock(mutex_);
    if (size == 8) {
      const u64 low = registers_.read(offset, 4);
      return {low | u64{registers_.read(offset + 4, 4)} << 32};
    }
    return {registers_.read(offset, size)};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    std::lock_guard lock(mutex_);
    registers_.write(offset, static_cast<u32>(value), std::min(size, 4u));
    if (size == 8) registers_.write(offset + 4, static_cast<u32>(value >> 32), 4);
    return true;
  }

  u32 ticks(u64 hz) const { return static_cast<u32>(static_cast<u128>(clock_.now()) * hz / kSecond); }
  u32 read_id() { return config_.sys_id; }
  u32 read_proc_id() { return config_.proc_id; }
  u32 read_100hz() { return ticks(100); }
  u32 read_24mhz() { return ticks(24'000'000); }
  u32 read_mci() { return card_; }
  u32 read_flags() { return registers_[kFlags]; }
  u32 read_nv_flags() { return registers_[kNvFlags]; }
  u32 read_lock() { return registers_[kLock] | (registers_[kLock] == kUnlock ? 0 : 0x10000); }
  void set_flags(u32 value) { registers_[kFlags] |= value; }
  void clear_flags(u32 value) { registers_[kFlags] &= ~value; }
  void set_nv_flags(u32 value) { registers_[kNvFlags] |= value; }
  void clear_nv_flags(u32 value) { registers_[kNvFlags] &= ~value; }
  void write_config_control(u32) {
    const u32 control = registers_[kCfgCtrl];
    if (!(control & kStart)) return;
    const bool done = control & kWrite ? config_write(control) : config_read(control);
    registers_[kCfgCtrl] = control & ~u32{kStart};
    registers_[kCfgStat] = kComplete | bits_if(!done, kFailed);
    if (!done) log_.unimplemented("sysreg: no such configuration: SYS_CFGCTRL {:#x}", control);
  }

 private:
  static std::span<const memory::Register> table() {
    using D = RealviewSysctl;
    using memory::hook;
    static constexpr memory::Register table[] = {
        {0x00, "SYS_ID", 0, 0, hook<D, &D::read_id>()},
        {0x04, "SYS_SW", 0, 0xff00},
        {0x08, "SYS_LED", 0, 0xff},
        {kLock, "SYS_LOCK", 0, 0xffff, hook<D, &D::read_lock>()},
        {0x24, "SYS_100HZ", 0, 0, hook<D, &D::read_100hz>()},
        {kFlags, "SYS_FLAGS", 0, 0, nullptr, hook<D, &D::set_flags>()},
        {kFlagsClr, "SYS_FLAGSCLR", 0, 0, hook<D, &D::read_flags>(), hook<D, &D::clear_flags>()},
        {kNvFlags, "SYS_NVFLAGS", 0, 0, nullptr, hook<D, &D::set_nv_flags>()},
        {kNvFlagsClr, "SYS_NVFLAGSCLR", 0, 0, hook<D, &D::read_nv_flags>(), hook<D, &D::clear_nv_flags>()},
        {0x48, "SYS_MCI", 0, 0, hook<D, &D::read_mci>()},
        {0x4c, "SYS_FLASH", 0, 1},
        {0x58, "SYS_CFGSW", 0, 0xff},
        {k24Mhz, "SYS_24MHZ", 0, 0, hook<D, &D::read_24mhz>()},
        {0x60, "SYS_MISC", 0, 0xffffffff},
        {0x64, "SYS_DMA", 0, 0x3f},
        {0x84, "SYS_PROCID0", 0, 0, hook<D, &D::read_proc_id>()},
        {0x88, "SYS_PROCID1", 0xff000000, 0},  // no second daughterboard
        {kCfgData, "SYS_CFGDATA", 0, ~0u},
        {kCfgCtrl, "SYS_CFGCTRL", 0, 0xfff3ffff, nullptr, hook<D, &D::write_config_control>()},
        {kCfgStat, "SYS_CFGSTAT", 0, 3},
    };
    return table;
  }

  // What SYS_CFGCTRL addresses: nothing unless the DCC and the position are 0 and the site is one we have.
  static bool addressed(u32 control) {
    return bits(control, 26, 4) == 0 && bits(control, 12, 4) == 0 && bits(control, 16, 2) <= kDaughterboard1;
  }
  u32* clock_of(u32 site, u32 device) {
    if (site == kMotherboard) return device < motherboard_clocks_.size() ? &motherboard_clocks_[device] : nullptr;
    return device < tile_clocks_.size() ? &tile_clocks_[device] : nullptr;
  }
  std::optional<u32> setting(u32 function, u32 site, u32 device) {
    switch (function) {
      case kOscillator:
        if (const u32* clock = clock_of(site, device)) return *clock;
        break;
      case kVoltage:
        if (site == kMotherboard && device == 0) return kMotherboardVoltage;
        if (site == kDaughterboard1 && device < kTileVoltages.size()) return kTileVoltages[device];
        break;
      case kTemperature:
        if (site == kDaughterboard1 && device == 0) return kTemperatureReading;
        break;
      case kMuxFpga:
        if (site == kMotherboard && device == 0) return mux_;
        break;
      case kDviMode:
        if (site == kMotherboard && device == 0) return dvi_mode_;
        break;
      default: break;
    }
    return std::nullopt;
  }
  bool config_read(u32 control) {
    if (!addressed(control)) return false;
    const std::optional<u32> value = setting(bits(control, 20, 6), bits(control, 16, 2), bits(control, 0, 12));
    if (value) registers_[kCfgData] = *value;
    return value.has_value();
  }
  bool config_write(u32 control) {
    if (!addressed(control)) return false;
    const u32 site = bits(control, 16, 2), device = bits(control, 0, 12), value = registers_[kCfgData];
    switch (bits(control, 20, 6)) {
      case kOscillator:
        if (u32* clock = clock_of(site, device)) return *clock = value, true;
        return false;
      case kReset:
        if (device != 0) return false;
        machine_.request_reset();
        return true;
      case kMuxFpga:
        if (site != kMotherboard || device != 0) return false;
        mux_ = value;
        return true;
      case kShutdown:
        if (site != kMotherboard || device != 0) return false;
        machine_.request_shutdown();
        return true;
      case kReboot:
        if (site != kMotherboard || device != 0) return false;
        machine_.request_reset();
        return true;
      case kDviMode:
        if (site != kMotherboard || device != 0) return false;
        dvi_mode_ = value;
        return true;
      default: return false;
    }
  }

  Config config_;
  Clock& clock_;
  Log& log_;
  MachineRequests& machine_;
  std::mutex mutex_;
  memory::RegisterFile registers_;
  std::atomic<u32> card_{0};
  std::array<u32, 3> tile_clocks_ = kTileClocks;
  std::array<u32, 6> motherboard_clocks_ = kMotherboardClocks;
  u32 mux_ = 0, dvi_mode_ = 0;
  std::array<MmioWindow, 1> windows_{{{"arm-sysctl", 0x1000, this, true}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  return std::unique_ptr<Device>(std::make_unique<RealviewSysctl>(context, *static_cast<const Config*>(config)));
}

}  // namespace

extern const DeviceType realview_sysctl;
const DeviceType realview_sysctl = {
    .name = "realview_sysctl",
    .alias = "arm-sysctl",
    .category = Category::misc,
    .summary = "Versatile Express system registers and configuration bus",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
