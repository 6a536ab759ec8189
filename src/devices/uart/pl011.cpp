// SPDX-License-Identifier: MIT
// ARM PL011 UART on the system bus. Outputs: 0 UARTINTR (any), 1 UARTRXINTR, 2 UARTTXINTR, 3 UARTRTINTR,
// 4 UARTMSINTR, 5 UARTEINTR.
#include <array>

#include "devices/device_type.h"
#include "devices/mmio.h"
#include "devices/uart/pl011_chip.h"

namespace rhea::devices {
namespace {

struct Config {
  std::string chardev;
};
constexpr Property kProperties[] = {
    property<&Config::chardev>("chardev", PropertyKind::chardev, "ID of a chardev to use as a backend"),
};

class Pl011 : public SysbusDevice, public chardev::Frontend {
 public:
  explicit Pl011(const DeviceContext& context)
      : backend_(context.chardev), chip_(context.clock, context.id,
                                         {[this](u8 byte) {
                                            if (backend_) backend_->write({&byte, 1});
                                          },
                                          [this](u32 interrupts) { set_interrupts(interrupts); },
                                          [this] {
                                            if (backend_) backend_->accept_input();
                                          }},
                                         context.log),
        window_(chip_.registers()) {
    for (usize i = 0; i < irqs_.size() && i < context.irqs.size(); ++i) irqs_[i] = context.irqs[i];
    if (backend_) backend_->set_frontend(this);
  }
  ~Pl011() override {
    if (backend_) backend_->set_frontend(nullptr);
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override { chip_.reset(); }
  void fields(Visitor& visitor) override { chip_.fields(visitor); }

  usize can_receive() override { return chip_.room(); }
  void receive(std::span<const u8> data) override { chip_.receive(data); }
  void event(chardev::Event event) override {
    if (event == chardev::Event::line_break) chip_.receive_break();
  }

 private:
  void set_interrupts(u32 masked) {
    using Chip = Pl011Chip;
    const std::array<bool, 6> levels = {
        masked != 0,
        (masked & Chip::kRx) != 0,
        (masked & Chip::kTx) != 0,
        (masked & Chip::kRt) != 0,
        (masked & (Chip::kRi | Chip::kCts | Chip::kDcd | Chip::kDsr)) != 0,
        (masked & (Chip::kFe | Chip::kPe | Chip::kBe | Chip::kOe)) != 0,
    };
    for (usize i = 0; i < levels.size(); ++i) {
      if (levels[i] == levels_[i]) continue;
      irqs_[i].set(levels[i]);
    }
    levels_ = levels;
  }

  chardev::Backend* backend_;
  std::array<IrqLine, 6> irqs_;
  std::array<bool, 6> levels_{};
  Pl011Chip chip_;
  RegisterWindow window_;
  std::array<MmioWindow, 1> windows_{{{"pl011", 0x1000, &window_, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  return std::unique_ptr<Device>(std::make_unique<Pl011>(context));
}

}  // namespace

extern const DeviceType pl011;
const DeviceType pl011 = {
    .name = "pl011",
    .category = Category::input,
    .summary = "ARM UART (PL011)",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
