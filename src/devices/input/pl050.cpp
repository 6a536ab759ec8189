// SPDX-License-Identifier: MIT
// ARM PrimeCell PS2 Keyboard/Mouse Interface PL050 (DDI 0143C), with the keyboard or the mouse on its cable. Output 0:
// KMIINTR. Bytes take no time on the cable: the transmit register is always empty.
#include <array>
#include <bit>

#include "devices/device_type.h"
#include "devices/input/ps2.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {};

enum Offset : u32 { kCr = 0x00, kStat = 0x04, kData = 0x08, kClkDiv = 0x0c, kIr = 0x10 };  // DDI 0143C table 3-1
enum Control : u32 { kForceClock = 1, kForceData = 2, kEnable = 4, kTxIntrEn = 8, kRxIntrEn = 16 };
enum Status : u32 { kDataLine = 1, kClockLine = 2, kRxParity = 4, kRxFull = 0x10, kTxEmpty = 0x40 };
enum Interrupt : u32 { kRxIntr = 1, kTxIntr = 2 };

class Pl050 : public SysbusDevice {
 public:
  explicit Pl050(const DeviceContext& context)
      : irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]), registers_(table(), this, context.id, context.log),
        window_(registers_) {}

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    registers_.reset();
    last_ = 0;
    device_->reset();
    update();
  }
  void fields(Visitor& visitor) override {
    registers_.fields(visitor);
    visitor.field("last", last_);
    device_->fields(visitor);
    if (visitor.restoring()) update();
  }

  void write_control(u32) { update(); }
  u32 read_status() {
    const u32 control = registers_[kCr];
    return kTxEmpty | bits_if(device_->has_data(), kRxFull) | bits_if(std::popcount(last_) % 2 == 0, kRxParity) |
           bits_if(!(control & kForceClock), kClockLine) | bits_if(!(control & kForceData), kDataLine);
  }
  u32 read_data() {
    if (device_->has_data()) last_ = device_->read();
    return last_;
  }
  void write_data(u32 value) {
    if (registers_[kCr] & kEnable) device_->write(static_cast<u8>(value));
  }
  u32 read_interrupts() { return bits_if(device_->has_data() && (registers_[kCr] & kEnable), kRxIntr) | kTxIntr; }

 protected:
  void plug_cable(std::unique_ptr<Ps2Device> device) { device_ = std::move(device); }
  void update() {
    const u32 control = registers_[kCr];
    irq_.set((control & kEnable) && (((control & kRxIntrEn) && device_->has_data()) || (control & kTxIntrEn)));
  }

 private:
  static std::span<const memory::Register> table() {
    using D = Pl050;
    using memory::hook;
    static constexpr memory::Register table[] = {
        {kCr, "KMICR", 0, 0x3f, nullptr, hook<D, &D::write_control>()},
        {kStat, "KMISTAT", 0x43, 0, hook<D, &D::read_status>()},
        {kData, "KMIDATA", 0, 0, hook<D, &D::read_data>(), hook<D, &D::write_data>()},
        {kClkDiv, "KMICLKDIV", 0, 0xf},
        {kIr, "KMIIR", 0, 0, hook<D, &D::read_interrupts>()},
        {0xfe0, "KMIPeriphID0", 0x50, 0},
        {0xfe4, "KMIPeriphID1", 0x10, 0},
        {0xfe8, "KMIPeriphID2", 0x04, 0},
        {0xfec, "KMIPeriphID3", 0x00, 0},
        {0xff0, "KMIPCellID0", 0x0d, 0},
        {0xff4, "KMIPCellID1", 0xf0, 0},
        {0xff8, "KMIPCellID2", 0x05, 0},
        {0xffc, "KMIPCellID3", 0xb1, 0},
    };
    return table;
  }

  IrqLine irq_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  u8 last_ = 0;
  std::unique_ptr<Ps2Device> device_;
  std::array<MmioWindow, 1> windows_{{{"pl050", 0x1000, &window_, false}}};
};

class Pl050Keyboard final : public Pl050 {
 public:
  explicit Pl050Keyboard(const DeviceContext& context) : Pl050(context), inputs_(context.inputs) {
    auto keyboard = std::make_unique<Ps2Keyboard>(context.clock, [this] { update(); });
    keyboard_ = keyboard.get();
    plug_cable(std::move(keyboard));
    if (inputs_) inputs_->add(*keyboard_);
  }
  ~Pl050Keyboard() override {
    if (inputs_) inputs_->remove(*keyboard_);
  }

 private:
  display::Inputs* inputs_;
  Ps2Keyboard* keyboard_;
};

class Pl050Mouse final : public Pl050 {
 public:
  explicit Pl050Mouse(const DeviceContext& context) : Pl050(context), inputs_(context.inputs) {
    auto mouse = std::make_unique<Ps2Mouse>([this] { update(); });
    mouse_ = mouse.get();
    plug_cable(std::move(mouse));
    if (inputs_) inputs_->add(*mouse_);
  }
  ~Pl050Mouse() override {
    if (inputs_) inputs_->remove(*mouse_);
  }

 private:
  display::Inputs* inputs_;
  Ps2Mouse* mouse_;
};

template <typename T>
Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  return std::unique_ptr<Device>(std::make_unique<T>(context));
}

}  // namespace

extern const DeviceType pl050_keyboard;
const DeviceType pl050_keyboard = {
    .name = "pl050_keyboard",
    .category = Category::input,
    .summary = "ARM PS/2 interface (PL050) with a keyboard",
    .make_config = default_config<Config>,
    .create = create<Pl050Keyboard>,
};

extern const DeviceType pl050_mouse;
const DeviceType pl050_mouse = {
    .name = "pl050_mouse",
    .category = Category::input,
    .summary = "ARM PS/2 interface (PL050) with a mouse",
    .make_config = default_config<Config>,
    .create = create<Pl050Mouse>,
};

}  // namespace rhea::devices
