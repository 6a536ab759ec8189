// SPDX-License-Identifier: MIT
// virtio-keyboard-device, virtio-mouse-device, virtio-tablet-device (VIRTIO 1.2, section 5.8): events in the numbers of
// Linux' input layer. Queues: events to the guest, and status (LEDs) from it.
#include <array>
#include <deque>

#include "devices/virtio/virtio_queues.h"

namespace rhea::devices {
namespace {

struct Config : VirtioCommonConfig {
  std::string serial;
};
struct PointerConfig : VirtioCommonConfig {
  std::string serial;
  bool wheel_axis = true;
};
constexpr Property kKeyboardProperties[] = {
    property<&Config::serial>("serial", PropertyKind::text, "the serial number that the guest sees"),
    RHEA_VIRTIO_PROPERTIES(Config),
};
constexpr Property kPointerProperties[] = {
    property<&PointerConfig::serial>("serial", PropertyKind::text, "the serial number that the guest sees"),
    property<&PointerConfig::wheel_axis>("wheel-axis", PropertyKind::boolean, "the wheel is an axis; off: two buttons"),
    RHEA_VIRTIO_PROPERTIES(PointerConfig),
};

constexpr u32 kDeviceId = 18;
constexpr u16 kQueueSize = 64;
enum Queue : unsigned { kEvents, kStatus };
// Section 5.8.5, virtio_input_config_select.
enum Select : u8 { kIdName = 1, kIdSerial = 2, kIdDevIds = 3, kPropBits = 0x10, kEvBits = 0x11, kAbsInfo = 0x12 };
enum EventType : u16 { kSyn = 0, kKey = 1, kRel = 2, kAbs = 3, kLed = 0x11, kRep = 0x14 };
enum Axis : u16 { kX = 0, kY = 1, kWheel = 8 };
constexpr u16 kButtonCodes[] = {0x110, 0x112, 0x111, 0x113, 0x114};  // in the order of display::Button's bits
constexpr u16 kGearDown = 0x150, kGearUp = 0x151;
constexpr usize kMostPending = 1024;  // events that wait for the guest's buffers

struct Event {
  u16 type, code;
  u32 value;
};

class VirtioInput : public VirtioQueues {
 public:
  u32 device_id() const override { return kDeviceId; }
  u32 read_config(u32 offset, unsigned size) override { return read_config_bytes(config_space(), offset, size); }
  void write_config(u32 offset, u32 value, unsigned size) override {
    for (unsigned i = 0; i < size; ++i) {
      if (offset + i == 0) select_ = static_cast<u8>(value >> (8 * i));
      if (offset + i == 1) subselect_ = static_cast<u8>(value >> (8 * i));
    }
  }
  void fields(Visitor& visitor) override {
    VirtioQueues::fields(visitor);
    visitor.field("select", select_);
    visitor.field("subselect", subselect_);
    visitor.field("buttons", buttons_);
    std::vector<u8> bytes;
    for (const Event& event : pending_) {
      const std::array<u8, 8> packed = pack(event);
      bytes.insert(bytes.end(), packed.begin(), packed.end());
    }
    visitor.bytes("pending", bytes, kMostPending * 8);
    if (!visitor.restoring()) return;
    pending_.clear();
    for (usize at = 0; at + 8 <= bytes.size() && pending_.size() < kMostPending; at += 8)
      pending_.push_back({load_le<u16>(&bytes[at]), load_le<u16>(&bytes[at + 2]), load_le<u32>(&bytes[at + 4])});
  }

 protected:
  VirtioInput(const DeviceContext& context, u64 features, std::string name, std::string serial, u16 product)
      : VirtioQueues(context, features, kQueueSize, {"events", "status"}), product_name_(std::move(name)),
        serial_(std::move(serial)), product_(product) {}

  virtual std::vector<u8> event_bits(u16 type) const = 0;
  static void set_bit(std::vector<u8>& bits, u16 code) {
    if (code / 8u >= bits.size()) bits.resize(code / 8u + 1);
    bits[code / 8] = static_cast<u8>(bits[code / 8] | 1u << code % 8);
  }

  void add(u16 type, u16 code, u32 value) { group_.push_back({type, code, value}); }
  // What was added is one report: it reaches the guest whole or not at all.
  void report() {
    if (group_.empty()) return;
    add(kSyn, 0, 0);
    if (ready() && pending_.size() + group_.size() <= kMostPending)
      pending_.insert(pending_.end(), group_.begin(), group_.end());
    group_.clear();
    deliver();
  }
  void report_buttons(u32 buttons) {
    const u32 changed = buttons ^ buttons_;
    buttons_ = buttons;
    for (unsigned i = 0; i < std::size(kButtonCodes); ++i)
      if (changed >> i & 1) add(kKey, kButtonCodes[i], buttons >> i & 1);
    report();
  }
  void report_wheel(s32 wheel, bool as_axis) {
    if (!wheel) return;
    if (as_axis) {
      add(kRel, kWheel, static_cast<u32>(wheel));
      return;
    }
    const u16 button = wheel > 0 ? kGearUp : kGearDown;
    add(kKey, button, 1);
    report();
    add(kKey, button, 0);
  }
  virtual void led(u16 code, bool on) {}
  virtual bool has_range() const { return false; }

 private:
  static std::array<u8, 8> pack(const Event& event) {
    std::array<u8, 8> bytes;
    store_le<u16>(&bytes[0], event.type);
    store_le<u16>(&bytes[2], event.code);
    store_le<u32>(&bytes[4], event.value);
    return bytes;
  }
  void session_ended() override {
    pending_.clear();
    select_ = subselect_ = 0;
    buttons_ = 0;
  }
  void run_queue(unsigned index) override {
    if (index == kEvents) {
      deliver();
      return;
    }
    while (take(kStatus, chain_)) {
      std::array<u8, 8> event{};
      if (Virtqueue::read(chain_, 0, event.data(), event.size()) == event.size() && load_le<u16>(&event[0]) == kLed)
        led(load_le<u16>(&event[2]), load_le<u32>(&event[4]) != 0);
      queue(kStatus).give_back(chain_.head, 0);
    }
    publish(kStatus);
    queue(kStatus).enable_notification();
  }
  void deliver() {
    if (!ready() || !queue(kEvents).running()) return;
    bool any = false;
    while (!pending_.empty() && take(kEvents, chain_)) {
      const std::array<u8, 8> bytes = pack(pending_.front());
      pending_.pop_front();
      const usize written = queue(kEvents).write(chain_, 0, bytes.data(), bytes.size());
      queue(kEvents).give_back(chain_.head, static_cast<u32>(written));
      any = true;
    }
    if (any) publish(kEvents);
    queue(kEvents).enable_notification();
  }
  std::vector<u8> config_space() const {
    std::vector<u8> data = selected();
    data.resize(std::min<usize>(data.size(), 128));
    std::vector<u8> space(8);
    space[0] = select_;
    space[1] = subselect_;
    space[2] = static_cast<u8>(data.size());
    space.insert(space.end(), data.begin(), data.end());
    return space;
  }
  std::vector<u8> selected() const {
    switch (select_) {
      case kIdName: return {product_name_.begin(), product_name_.end()};
      case kIdSerial: return {serial_.begin(), serial_.end()};
      case kIdDevIds: {
        std::vector<u8> ids(8);
        store_le<u16>(&ids[0], 6);       // BUS_VIRTUAL
        store_le<u16>(&ids[2], 0x0627);  // what guests know from other emulators of these devices
        store_le<u16>(&ids[4], product_);
        store_le<u16>(&ids[6], 1);
        return ids;
      }
      case kEvBits: return event_bits(subselect_);
      case kAbsInfo: {
        std::vector<u8> range;
        if (!has_range() || subselect_ > kY) return range;
        range.resize(20);  // minimum, maximum, fuzz, flat, resolution
        store_le<u32>(&range[4], static_cast<u32>(display::Inputs::kPointerRange));
        return range;
      }
      default: return {};
    }
  }

  std::string product_name_, serial_;
  u16 product_;
  u8 select_ = 0, subselect_ = 0;
  u32 buttons_ = 0;
  std::vector<Event> group_;
  std::deque<Event> pending_;
  Chain chain_;
};

class VirtioKeyboard final : public VirtioInput, public display::Keyboard {
 public:
  VirtioKeyboard(const DeviceContext& context, const Config& config)
      : VirtioInput(context, config.features(), "QEMU Virtio Keyboard", config.serial, 1), inputs_(context.inputs) {
    if (inputs_) inputs_->add(*this);
  }
  ~VirtioKeyboard() override {
    if (inputs_) inputs_->remove(*this);
  }
  std::string input_name() const override { return "QEMU Virtio Keyboard"; }
  void key(const display::Key& key, bool down) override {
    add(kKey, key.event_code, down);
    report();
  }

 private:
  void driver_changed() override {
    if (!inputs_) return;
    if (ready()) inputs_->activate(*this);
    else inputs_->deactivate(*this);
  }
  std::vector<u8> event_bits(u16 type) const override {
    std::vector<u8> bits;
    if (type == kKey)
      for (const display::Key& key : display::all_keys()) set_bit(bits, key.event_code);
    if (type == kRep) set_bit(bits, 0);
    if (type == kLed)
      for (u16 led = 0; led < 3; ++led) set_bit(bits, led);
    return bits;
  }
  display::Inputs* inputs_;
};

class VirtioPointer final : public VirtioInput, public display::Pointer {
 public:
  VirtioPointer(const DeviceContext& context, const PointerConfig& config, bool is_tablet)
      : VirtioInput(context, config.features(), name_of(is_tablet), config.serial, is_tablet ? 3 : 2),
        inputs_(context.inputs), tablet_(is_tablet), wheel_axis_(config.wheel_axis) {
    if (inputs_) inputs_->add(*this);
  }
  ~VirtioPointer() override {
    if (inputs_) inputs_->remove(*this);
  }
  std::string pointer_name() const override { return name_of(tablet_); }
  bool absolute() const override { return tablet_; }
  void move(s32 dx, s32 dy, s32 wheel) override {
    if (dx && !tablet_) add(kRel, kX, static_cast<u32>(dx));
    if (dy && !tablet_) add(kRel, kY, static_cast<u32>(dy));
    report_wheel(wheel, wheel_axis_);
    report();
  }
  void move_to(s32 x, s32 y) override {
    if (!tablet_) return;
    add(kAbs, kX, static_cast<u32>(x));
    add(kAbs, kY, static_cast<u32>(y));
    report();
  }
  void set_buttons(u32 buttons) override { report_buttons(buttons & 0x1f); }

 private:
  static std::string name_of(bool tablet) { return tablet ? "QEMU Virtio Tablet" : "QEMU Virtio Mouse"; }
  void driver_changed() override {
    if (!inputs_) return;
    if (ready()) inputs_->activate(*this);
    else inputs_->deactivate(*this);
  }
  bool has_range() const override { return tablet_; }
  std::vector<u8> event_bits(u16 type) const override {
    std::vector<u8> bits;
    if (type == kKey) {
      for (const u16 code : kButtonCodes) set_bit(bits, code);
      if (!wheel_axis_)
        for (const u16 code : {kGearDown, kGearUp}) set_bit(bits, code);
    }
    if (type == kRel && !tablet_)
      for (const u16 code : {kX, kY}) set_bit(bits, code);
    if (type == kRel && wheel_axis_) set_bit(bits, kWheel);
    if (type == kAbs && tablet_)
      for (const u16 code : {kX, kY}) set_bit(bits, code);
    return bits;
  }
  display::Inputs* inputs_;
  bool tablet_, wheel_axis_;
};

Result<std::unique_ptr<Device>> create_keyboard(const DeviceContext& context, const void* given) {
  const Config& config = *static_cast<const Config*>(given);
  RHEA_TRY(config.check("virtio-keyboard-device"));
  return std::unique_ptr<Device>(std::make_unique<VirtioKeyboard>(context, config));
}
template <bool tablet>
Result<std::unique_ptr<Device>> create_pointer(const DeviceContext& context, const void* given) {
  const PointerConfig& config = *static_cast<const PointerConfig*>(given);
  RHEA_TRY(config.check(tablet ? "virtio-tablet-device" : "virtio-mouse-device"));
  return std::unique_ptr<Device>(std::make_unique<VirtioPointer>(context, config, tablet));
}

}  // namespace

extern const DeviceType virtio_keyboard_device;
const DeviceType virtio_keyboard_device = {
    .name = "virtio-keyboard-device",
    .bus = Bus::virtio,
    .category = Category::input,
    .summary = "virtio keyboard (needs virtio-mmio.force-legacy=false)",
    .properties = kKeyboardProperties,
    .make_config = default_config<Config>,
    .create = create_keyboard,
};
extern const DeviceType virtio_mouse_device;
const DeviceType virtio_mouse_device = {
    .name = "virtio-mouse-device",
    .bus = Bus::virtio,
    .category = Category::input,
    .summary = "virtio mouse (needs virtio-mmio.force-legacy=false)",
    .properties = kPointerProperties,
    .make_config = default_config<PointerConfig>,
    .create = create_pointer<false>,
};
extern const DeviceType virtio_tablet_device;
const DeviceType virtio_tablet_device = {
    .name = "virtio-tablet-device",
    .bus = Bus::virtio,
    .category = Category::input,
    .summary = "virtio tablet, absolute positions (needs virtio-mmio.force-legacy=false)",
    .properties = kPointerProperties,
    .make_config = default_config<PointerConfig>,
    .create = create_pointer<true>,
};

}  // namespace rhea::devices
