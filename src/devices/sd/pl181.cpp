// SPDX-License-Identifier: MIT
// ARM PL181 MultiMedia Card Interface on the system bus, with the slot's SD card. Outputs: 0 MCIINTR0, 1 MCIINTR1,
// 2 the card is write protected, 3 a card is in the slot.
#include <array>

#include "devices/device_type.h"
#include "devices/mmio.h"
#include "devices/sd/pl181_chip.h"
#include "devices/sd/sd_card_device.h"

namespace rhea::devices {
namespace {

struct Config {};

class Pl181 : public SysbusDevice, public memory::MmioHandler, public block::DriveClient, public BusOwner {
 public:
  explicit Pl181(const DeviceContext& context)
      : name_(context.id), drive_(context.drive),
        card_(context.drive, context.id + ".sd", {[this] { chip_.card_changed(); }, [this] { slot_changed(); }},
              context.log),
        chip_(
            context.clock, card_, context.id, [this](bool first, bool second) { set_interrupts(first, second); },
            context.log),
        registers_(chip_.registers()) {
    for (usize i = 0; i < irqs_.size() && i < context.irqs.size(); ++i) irqs_[i] = context.irqs[i];
  }
  ~Pl181() override {
    if (attached_) drive_->detach();
  }

  Result<void> connect() {
    if (!drive_) return {};
    if (drive_->has_medium()) RHEA_TRY(sd::check_capacity(drive_->size(), drive_->image()->info().filename));
    RHEA_TRY(drive_->attach(this, "/machine/unattached/" + name_, true));
    attached_ = true;
    card_.medium_changed();
    return {};
  }

  // The slot is a bus with one place: that of if=sd, or of -device sd-card.
  Bus owned_bus() const override { return Bus::sd; }
  Result<void> plug_in(Device& device) override {
    auto* card = dynamic_cast<SdCardDevice*>(&device);
    if (!card) return Error("only a card goes into the slot");
    if (attached_ || plugged_)
      return Error("there is a card in the slot already (-drive if=sd, -sd or another sd-card)");
    plugged_ = true;
    drive_ = card->drive();
    card_.set_drive(drive_);
    return connect();
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    card_.machine_reset();
    chip_.reset();
    slot_changed();
  }
  void fields(Visitor& visitor) override {
    chip_.fields(visitor);
    card_.fields(visitor);
    if (visitor.restoring()) {
      chip_.card_changed();
      slot_changed();
    }
  }

  void medium_changed(bool) override {
    card_.medium_changed();
    chip_.card_changed();
  }
  void resized() override { medium_changed(true); }

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (offset < Pl181Chip::kFifoFirst || offset > Pl181Chip::kFifoLast)
      return registers_.read(offset, size, attributes);
    if (attributes.debug) return {};
    if (size < 4) return {chip_.read_fifo() & ((1u << 8 * size) - 1)};
    const u64 low = chip_.read_fifo();
    return {size == 4 ? low : low | u64{chip_.read_fifo()} << 32};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes& attributes) override {
    if (offset < Pl181Chip::kFifoFirst || offset > Pl181Chip::kFifoLast)
      return registers_.write(offset, value, size, attributes);
    chip_.write_fifo(static_cast<u32>(value));
    if (size == 8) chip_.write_fifo(static_cast<u32>(value >> 32));
    return true;
  }

 private:
  void set_interrupts(bool first, bool second) {
    if (first != levels_[0]) irqs_[0].set(levels_[0] = first);
    if (second != levels_[1]) irqs_[1].set(levels_[1] = second);
  }
  void slot_changed() {
    irqs_[2].set(card_.write_protected());
    irqs_[3].set(card_.inserted());
  }

  std::string name_;
  block::Drive* drive_;
  bool attached_ = false, plugged_ = false;
  std::array<IrqLine, 4> irqs_;
  std::array<bool, 2> levels_{};
  sd::SdCard card_;
  Pl181Chip chip_;
  RegisterWindow registers_;
  std::array<MmioWindow, 1> windows_{{{"pl181", 0x1000, this, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  auto device = std::make_unique<Pl181>(context);
  RHEA_TRY(device->connect());
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace

extern const DeviceType pl181;
const DeviceType pl181 = {
    .name = "pl181",
    .category = Category::storage,
    .summary = "ARM MultiMedia Card Interface (PL181) with an SD card",
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
