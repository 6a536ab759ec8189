// SPDX-License-Identifier: MIT
// ARM real-time clock PL031 (DDI 0224C): seconds since 1970 from the host's clock, plus what the guest sets.
// Output 0: RTCINTR.
#include <array>

#include <fmt/format.h>

#include "devices/device_type.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {};

class Pl031 : public SysbusDevice {
 public:
  explicit Pl031(const DeviceContext& context)
      : clock_(context.host_clock), machine_(context.machine), irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]),
        alarm_(clock_.timer([this] { on_alarm(); })), registers_(table(), this, context.id, context.log),
        window_(registers_) {}

  std::span<const MmioWindow> windows() const override { return windows_; }
  // The count is the battery's: a reset leaves it.
  void reset(ResetKind) override {
    const u32 match = registers_[kRtcmr];
    registers_.reset();
    registers_[kRtcmr] = match;
    update();
    arm();
  }
  void fields(Visitor& visitor) override {
    registers_.fields(visitor);
    visitor.field("offset", offset_);
    if (visitor.restoring()) {
      update();
      arm();
    }
  }

  u32 read_data() { return static_cast<u32>(clock_.now() / kSecond) + offset_; }
  void write_match(u32) { arm(); }
  void write_load(u32 value) {
    offset_ += value - read_data();
    // Seconds that it is ahead of the clock it was started with.
    machine_.tell("RTC_CHANGE", fmt::format("{{\"offset\": {}}}", static_cast<s32>(offset_)), this);
    arm();
  }
  u32 read_control() { return 1; }  // it runs
  void write_mask(u32) {
    update();
    arm();
  }
  u32 read_masked() { return registers_[kRtcris] & registers_[kRtcimsc]; }
  void write_clear(u32 value) {
    if (value & 1) registers_[kRtcris] = 0;
    update();
  }

 private:
  enum Offset : u32 { kRtcmr = 0x04, kRtcimsc = 0x10, kRtcris = 0x14 };

  static std::span<const memory::Register> table() {  // DDI 0224C table 3-1
    using D = Pl031;
    using memory::hook;
    static constexpr memory::Register table[] = {
        {0x00, "RTCDR", 0, 0, hook<D, &D::read_data>()},
        {kRtcmr, "RTCMR", 0, ~0u, nullptr, hook<D, &D::write_match>()},
        {0x08, "RTCLR", 0, ~0u, nullptr, hook<D, &D::write_load>()},
        {0x0c, "RTCCR", 1, 1, hook<D, &D::read_control>()},
        {kRtcimsc, "RTCIMSC", 0, 1, nullptr, hook<D, &D::write_mask>()},
        {kRtcris, "RTCRIS", 0, 0},
        {0x18, "RTCMIS", 0, 0, hook<D, &D::read_masked>()},
        {0x1c, "RTCICR", 0, 0, nullptr, hook<D, &D::write_clear>()},
        {0xfe0, "RTCPeriphID0", 0x31, 0},
        {0xfe4, "RTCPeriphID1", 0x10, 0},
        {0xfe8, "RTCPeriphID2", 0x14, 0},
        {0xfec, "RTCPeriphID3", 0x00, 0},
        {0xff0, "RTCPCellID0", 0x0d, 0},
        {0xff4, "RTCPCellID1", 0xf0, 0},
        {0xff8, "RTCPCellID2", 0x05, 0},
        {0xffc, "RTCPCellID3", 0xb1, 0},
    };
    return table;
  }

  void update() { irq_.set(registers_[kRtcris] & registers_[kRtcimsc]); }
  void on_alarm() {
    if (read_data() != registers_[kRtcmr]) {  // the host's clock was set meanwhile
      arm();
      return;
    }
    registers_[kRtcris] = 1;
    update();
  }
  // Nobody waits for a masked alarm, so it takes no timer.
  void arm() {
    const u32 seconds = registers_[kRtcmr] - read_data();
    if (!registers_[kRtcimsc]) {
      alarm_->cancel();
    } else if (seconds == 0) {
      registers_[kRtcris] = 1;
      update();
    } else {
      const s64 now = clock_.now();
      alarm_->arm(now - now % kSecond + static_cast<s64>(seconds) * kSecond);
    }
  }

  Clock& clock_;
  MachineRequests& machine_;
  IrqLine irq_;
  u32 offset_ = 0;
  std::unique_ptr<Timer> alarm_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  std::array<MmioWindow, 1> windows_{{{"pl031", 0x1000, &window_, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  return std::unique_ptr<Device>(std::make_unique<Pl031>(context));
}

}  // namespace

extern const DeviceType pl031;
const DeviceType pl031 = {
    .name = "pl031",
    .category = Category::misc,
    .summary = "ARM real-time clock (PL031)",
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
