// SPDX-License-Identifier: MIT
// The private memory region of a Cortex-A9 MPCore (DDI 0407I table 1-3): snoop control unit, interrupt controller,
// global timer, private timers and watchdogs. The windows, in the order of windows():
//
//   0  +0x0000  SCU                     3  +0x0600  private timer, banked by CPU
//   1  +0x0100  GIC CPU interface       4  +0x0620  watchdog, banked by CPU
//   2  +0x0200  global timer            5  +0x1000  GIC distributor
//
// Outputs: 2 * cpu is the CPU's IRQ, 2 * cpu + 1 its FIQ. Inputs: SPIs by number (0 is interrupt id 32).
//
// The interrupt controller has a lock of its own; the timers are guarded by the loop's lock.
#include <algorithm>
#include <vector>

#include "core/insight.h"
#include "devices/device_type.h"
#include "devices/irq/gic.h"
#include "devices/mmio.h"
#include "devices/timer/a9_global_timer.h"
#include "devices/timer/mpcore_timer.h"

namespace rhea::devices {
namespace {

using memory::Attributes;
using memory::ReadResult;

constexpr u64 kPeriphClk = 100'000'000;  // Hz
constexpr unsigned kGlobalTimerPpi = 27;
constexpr unsigned kPrivateTimerPpi = 29;
constexpr unsigned kWatchdogPpi = 30;

struct Config {
  u32 cpus = 0;  // 0: as the machine has
};
constexpr Property kProperties[] = {
    property<&Config::cpus>("num-cpu", PropertyKind::number, "CPUs that the device serves; 0: as the machine has"),
};

// A window made of two functions.
template <typename Read, typename Write>
class Window : public memory::MmioHandler {
 public:
  Window(Read read, Write write) : read_(read), write_(write) {}
  ReadResult read(u64 offset, unsigned size, const Attributes& attributes) override {
    return read_words(offset, size, [&](u32 at) { return read_(attributes, at); });
  }
  bool write(u64 offset, u64 value, unsigned size, const Attributes& attributes) override {
    return write_words(offset, value, size, [&](u32 at, u32 word, u32 mask) { write_(attributes, at, word, mask); });
  }

 private:
  Read read_;
  Write write_;
};

template <typename Read, typename Write>
std::unique_ptr<memory::MmioHandler> make_window(Read read, Write write) {
  return std::make_unique<Window<Read, Write>>(read, write);
}

class A9MpcorePriv : public SysbusDevice, public IrqSink, public IrqCounter {
 public:
  A9MpcorePriv(const DeviceContext& context, unsigned cpus)
      : cpus_(cpus), gic_(cpus, outputs(context), context.log),
        scu_(scu_table(), this, context.id + ".scu", context.log), scu_window_(scu_),
        global_timer_(
            context.clock, kPeriphClk, cpus,
            [this](unsigned cpu, bool level) { gic_.set_ppi(cpu, kGlobalTimerPpi, level); }, context.log) {
    for (unsigned cpu = 0; cpu < cpus; ++cpu) {
      private_timers_.push_back(std::make_unique<MpcoreTimer>(
          context.clock, kPeriphClk,
          MpcoreTimer::Wiring{[this, cpu](bool level) { gic_.set_ppi(cpu, kPrivateTimerPpi, level); }}, context.log));
      watchdogs_.push_back(std::make_unique<MpcoreTimer>(
          context.clock, kPeriphClk,
          MpcoreTimer::Wiring{[this, cpu](bool level) { gic_.set_ppi(cpu, kWatchdogPpi, level); },
                              [machine = &context.machine] {
                                machine->tell("WATCHDOG", R"({"action": "reset"})");
                                machine->request_reset();
                              }},
          context.log));
    }
    make_windows();
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  IrqSink* inputs() override { return this; }
  void set_irq(unsigned input, bool level) override { gic_.set_spi(input, level); }
  std::vector<u64> irq_counts() override {
    const auto counts = gic_.counts();
    return {counts.begin(), counts.end()};
  }

  void reset(ResetKind kind) override {
    scu_.reset();
    global_timer_.reset();
    for (auto& timer : private_timers_) timer->reset(kind == ResetKind::power_on);
    for (auto& watchdog : watchdogs_) watchdog->reset(kind == ResetKind::power_on);
    gic_.reset();
  }
  void fields(Visitor& visitor) override {
    gic_.fields(visitor);
    scu_.fields(visitor);
    global_timer_.fields(visitor);
    for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
      private_timers_[cpu]->fields(visitor, fmt::format("private_timer{}", cpu));
      watchdogs_[cpu]->fields(visitor, fmt::format("watchdog{}", cpu));
    }
  }

  // SCU registers, DDI 0407I table 2-1.
  u32 read_scu_config() { return ((1u << cpus_) - 1) << 4 | (cpus_ - 1); }
  static std::span<const memory::Register> scu_table() {
    using D = A9MpcorePriv;
    static constexpr memory::Register table[] = {
        {0x00, "SCUControl", 0, 0x3f},
        {0x04, "SCUConfiguration", 0, 0, memory::hook<D, &D::read_scu_config>()},
        {0x08, "SCUCPUPowerStatus", 0, 0x03030303},
        {0x0c, "SCUInvalidateAll", 0, 0},        // the tags are always clean here
        {0x30, "SCUDiagnosticControl", 0, 0x1},  // erratum 764369 asks for bit 0
        {0x40, "FilteringStartAddress", 0, 0xfff00000},
        {0x44, "FilteringEndAddress", 0, 0xfff00000},
        {0x50, "SAC", 0xf, 0xf},
        {0x54, "SNSAC", 0, 0xfff},
    };
    return table;
  }

 private:
  static Gic::Outputs outputs(const DeviceContext& context) {
    Gic::Outputs lines;
    for (unsigned cpu = 0; cpu < Gic::kMaxCpus; ++cpu) {
      if (2 * cpu < context.irqs.size()) lines.irq[cpu] = context.irqs[2 * cpu];
      if (2 * cpu + 1 < context.irqs.size()) lines.fiq[cpu] = context.irqs[2 * cpu + 1];
    }
    return lines;
  }

  std::unique_ptr<memory::MmioHandler> timer_window(std::vector<std::unique_ptr<MpcoreTimer>>& timers) {
    const auto of = [&timers](const Attributes& who) -> MpcoreTimer& {
      return *timers[who.cpu < timers.size() ? who.cpu : 0];
    };
    return make_window([of](const Attributes& who, u32 offset) { return of(who).read(offset); },
                       [of](const Attributes& who, u32 offset, u32 value, u32) { of(who).write(offset, value); });
  }

  void make_windows() {
    interface_window_ =
        make_window([this](const Attributes& who,
                           u32 offset) { return gic_.read_interface(who.cpu, who.secure, offset, who.debug); },
                    [this](const Attributes& who, u32 offset, u32 value, u32 mask) {
                      gic_.write_interface(who.cpu, who.secure, offset, value, mask);
                    });
    distributor_window_ = make_window(
        [this](const Attributes& who, u32 offset) { return gic_.read_distributor(who.cpu, who.secure, offset); },
        [this](const Attributes& who, u32 offset, u32 value, u32 mask) {
          gic_.write_distributor(who.cpu, who.secure, offset, value, mask);
        });
    global_timer_window_ = make_window(
        [this](const Attributes& who, u32 offset) { return global_timer_.read(who.cpu, offset); },
        [this](const Attributes& who, u32 offset, u32 value, u32) { global_timer_.write(who.cpu, offset, value); });
    private_timer_window_ = timer_window(private_timers_);
    watchdog_window_ = timer_window(watchdogs_);
    windows_ = {{"a9-scu", 0x100, &scu_window_, false},
                {"gic_cpu", 0x100, interface_window_.get(), true},
                {"a9gtimer", 0x20, global_timer_window_.get(), false},
                {"arm_mptimer_timer", 0x20, private_timer_window_.get(), false},
                {"arm_mptimer_watchdog", 0x20, watchdog_window_.get(), false},
                {"gic_dist", 0x1000, distributor_window_.get(), true}};
  }

  unsigned cpus_;
  Gic gic_;
  memory::RegisterFile scu_;
  RegisterWindow scu_window_;
  A9GlobalTimer global_timer_;
  std::vector<std::unique_ptr<MpcoreTimer>> private_timers_;
  std::vector<std::unique_ptr<MpcoreTimer>> watchdogs_;
  std::unique_ptr<memory::MmioHandler> interface_window_, distributor_window_, global_timer_window_,
      private_timer_window_, watchdog_window_;
  std::vector<MmioWindow> windows_;
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const u32 given = static_cast<const Config*>(config)->cpus;
  const u32 cpus = given ? given : context.cpus;
  if (cpus < 1 || cpus > 4) return Error("a9mpcore_priv: num-cpu={}: it has 1 to 4 CPUs", cpus);
  return std::unique_ptr<Device>(std::make_unique<A9MpcorePriv>(context, cpus));
}

}  // namespace

extern const DeviceType a9mpcore_priv;
const DeviceType a9mpcore_priv = {
    .name = "a9mpcore_priv",
    .category = Category::controller,
    .summary = "Cortex-A9 MPCore private peripherals: SCU, GIC, timers, watchdogs",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
