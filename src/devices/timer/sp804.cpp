// SPDX-License-Identifier: MIT
// ARM dual timer SP804 (DDI 0271D). Outputs: 0 TIMINTC (either), 1 TIMINT1, 2 TIMINT2.
#include <array>
#include <utility>

#include "devices/device_type.h"
#include "devices/mmio.h"
#include "devices/timer/down_counter.h"

namespace rhea::devices {
namespace {

struct Config {
  u32 freq0 = 1'000'000;
  u32 freq1 = 1'000'000;
};
constexpr Property kProperties[] = {
    property<&Config::freq0>("freq0", PropertyKind::number, "clock of the first counter, Hz"),
    property<&Config::freq1>("freq1", PropertyKind::number, "clock of the second counter, Hz"),
};

// TimerXControl, DDI 0271D table 3-2.
enum Control : u32 {
  kOneShot = 1u << 0,
  k32Bit = 1u << 1,
  kIntEnable = 1u << 5,
  kPeriodic = 1u << 6,
  kEnable = 1u << 7
};
constexpr u32 kControlReset = kIntEnable;
constexpr u32 kControlMask = 0xef;

class Counter {
 public:
  Counter(Clock& clock, u64 hz, std::function<void()> changed)
      : counter_(clock, hz, 0, [this] { return on_zero(); }), changed_(std::move(changed)) {
    reset();
  }

  void reset() {
    counter_.reset();
    load_ = 0;
    control_ = kControlReset;
    event_ = false;
    counter_.set_value(0xffffffff);
    apply();
  }
  void fields(Visitor& visitor, std::string_view name) {
    visitor.begin(name, 1);
    counter_.fields(visitor, "counter");
    visitor.field("load", load_);
    visitor.field("control", control_);
    visitor.field("event", event_);
    visitor.end();
  }

  u32 load() { return load_; }
  u32 value() { return static_cast<u32>(counter_.value()) & limit(); }
  u32 control() { return control_; }
  bool raw_interrupt() {
    counter_.sync();
    return event_;
  }
  bool interrupt() { return event_ && (control_ & kIntEnable); }

  void write_load(u32 value) {
    load_ = value;
    apply();
    counter_.set_value(load_ & limit());
  }
  void write_background_load(u32 value) {
    load_ = value;
    apply();
  }
  void write_control(u32 value) {
    const u32 now = this->value();
    const bool was_32 = control_ & k32Bit;
    control_ = value & kControlMask;
    if (was_32 != static_cast<bool>(control_ & k32Bit)) counter_.set_value(now & limit());
    apply();
    changed_();
  }
  void clear_interrupt() {
    counter_.sync();
    event_ = false;
    changed_();
    counter_.acknowledged();
  }

 private:
  u32 limit() const { return control_ & k32Bit ? 0xffffffff : 0xffff; }
  bool on_zero() {
    const bool handled = !std::exchange(event_, true);
    changed_();
    return handled;
  }
  void apply() {
    static constexpr std::array<u32, 4> kPrescale = {1, 16, 256, 256};  // 3 is undefined
    counter_.set_divisor(kPrescale[control_ >> 2 & 3]);
    counter_.set_mode(control_ & kOneShot ? DownCounter::Mode::one_shot : DownCounter::Mode::periodic);
    // A free-running counter wraps from zero to its greatest value (section 2.2.2).
    if (control_ & kPeriodic) counter_.set_reload(load_ & limit(), 0);
    else counter_.set_reload(limit(), 1);
    counter_.set_running(control_ & kEnable);
    counter_.set_notify(control_ & kIntEnable);
  }

  DownCounter counter_;
  std::function<void()> changed_;
  u32 load_ = 0;
  u32 control_ = kControlReset;
  bool event_ = false;
};

class Sp804 : public SysbusDevice {
 public:
  Sp804(const DeviceContext& context, const Config& config)
      : counters_{Counter(context.clock, config.freq0, [this] { update(); }),
                  Counter(context.clock, config.freq1, [this] { update(); })},
        registers_(table(), this, context.id, context.log), window_(registers_) {
    for (usize i = 0; i < irqs_.size() && i < context.irqs.size(); ++i) irqs_[i] = context.irqs[i];
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    registers_.reset();
    for (Counter& counter : counters_) counter.reset();
    update();
  }
  void fields(Visitor& visitor) override {
    registers_.fields(visitor);
    counters_[0].fields(visitor, "counter1");
    counters_[1].fields(visitor, "counter2");
    if (visitor.restoring()) update();
  }

  template <unsigned I>
  u32 read_load() {
    return counters_[I].load();
  }
  template <unsigned I>
  void write_load(u32 value) {
    counters_[I].write_load(value);
  }
  template <unsigned I>
  u32 read_value() {
    return counters_[I].value();
  }
  template <unsigned I>
  u32 read_control() {
    return counters_[I].control();
  }
  template <unsigned I>
  void write_control(u32 value) {
    counters_[I].write_control(value);
  }
  template <unsigned I>
  void write_clear(u32) {
    counters_[I].clear_interrupt();
  }
  template <unsigned I>
  u32 read_raw() {
    return counters_[I].raw_interrupt();
  }
  template <unsigned I>
  u32 read_masked() {
    counters_[I].raw_interrupt();
    return counters_[I].interrupt();
  }
  template <unsigned I>
  void write_background(u32 value) {
    counters_[I].write_background_load(value);
  }
  void write_test(u32) { update(); }

 private:
  enum Offset : u32 { kItcr = 0xf00, kItop = 0xf04 };

  static std::span<const memory::Register> table() {  // DDI 0271D table 3-1
    using D = Sp804;
    using memory::hook;
    static constexpr memory::Register table[] = {
        {0x00, "Timer1Load", 0, ~0u, hook<D, &D::read_load<0>>(), hook<D, &D::write_load<0>>()},
        {0x04, "Timer1Value", ~0u, 0, hook<D, &D::read_value<0>>()},
        {0x08, "Timer1Control", kControlReset, kControlMask, hook<D, &D::read_control<0>>(),
         hook<D, &D::write_control<0>>()},
        {0x0c, "Timer1IntClr", 0, 0, nullptr, hook<D, &D::write_clear<0>>()},
        {0x10, "Timer1RIS", 0, 0, hook<D, &D::read_raw<0>>()},
        {0x14, "Timer1MIS", 0, 0, hook<D, &D::read_masked<0>>()},
        {0x18, "Timer1BGLoad", 0, ~0u, hook<D, &D::read_load<0>>(), hook<D, &D::write_background<0>>()},
        {0x20, "Timer2Load", 0, ~0u, hook<D, &D::read_load<1>>(), hook<D, &D::write_load<1>>()},
        {0x24, "Timer2Value", ~0u, 0, hook<D, &D::read_value<1>>()},
        {0x28, "Timer2Control", kControlReset, kControlMask, hook<D, &D::read_control<1>>(),
         hook<D, &D::write_control<1>>()},
        {0x2c, "Timer2IntClr", 0, 0, nullptr, hook<D, &D::write_clear<1>>()},
        {0x30, "Timer2RIS", 0, 0, hook<D, &D::read_raw<1>>()},
        {0x34, "Timer2MIS", 0, 0, hook<D, &D::read_masked<1>>()},
        {0x38, "Timer2BGLoad", 0, ~0u, hook<D, &D::read_load<1>>(), hook<D, &D::write_background<1>>()},
        {kItcr, "TimerITCR", 0, 1, nullptr, hook<D, &D::write_test>()},
        {kItop, "TimerITOP", 0, 3, nullptr, hook<D, &D::write_test>()},
        {0xfe0, "TimerPeriphID0", 0x04, 0},
        {0xfe4, "TimerPeriphID1", 0x18, 0},
        {0xfe8, "TimerPeriphID2", 0x14, 0},
        {0xfec, "TimerPeriphID3", 0x00, 0},
        {0xff0, "TimerPCellID0", 0x0d, 0},
        {0xff4, "TimerPCellID1", 0xf0, 0},
        {0xff8, "TimerPCellID2", 0x05, 0},
        {0xffc, "TimerPCellID3", 0xb1, 0},
    };
    return table;
  }

  void update() {
    bool first = counters_[0].interrupt(), second = counters_[1].interrupt();
    if (registers_[kItcr] & 1) {  // integration test: the outputs are TimerITOP's bits (section 4.3)
      first = registers_[kItop] & 1;
      second = registers_[kItop] & 2;
    }
    irqs_[0].set(first || second);
    irqs_[1].set(first);
    irqs_[2].set(second);
  }

  std::array<Counter, 2> counters_;
  std::array<IrqLine, 3> irqs_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  std::array<MmioWindow, 1> windows_{{{"sp804", 0x1000, &window_, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const Config& given = *static_cast<const Config*>(config);
  if (!given.freq0 || !given.freq1) return Error("sp804: a counter's clock of 0 Hz: it must be at least 1");
  return std::unique_ptr<Device>(std::make_unique<Sp804>(context, given));
}

}  // namespace

extern const DeviceType sp804;
const DeviceType sp804 = {
    .name = "sp804",
    .category = Category::misc,
    .summary = "ARM dual timer (SP804)",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
