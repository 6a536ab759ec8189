// SPDX-License-Identifier: MIT
// SMSC LAN9118 on the system bus. Output 0: the IRQ pin.
#include <array>

#include "devices/device_type.h"
#include "devices/net/lan9118_chip.h"
#include "devices/net/queued_port.h"

namespace rhea::devices {
namespace {

struct Config {
  u64 mac = 0;
  std::string netdev;
  u32 mode_16bit = 0;
};
constexpr Property kProperties[] = {
    property<&Config::mac>("mac", PropertyKind::mac, "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56"),
    property<&Config::mode_16bit>("mode_16bit", PropertyKind::number, "1: the chip's bus is 16 bits wide"),
    property<&Config::netdev>("netdev", PropertyKind::netdev, "ID of a netdev to use as a backend"),
};

std::array<u8, 6> address_bytes(u64 mac) {
  std::array<u8, 6> bytes;
  for (unsigned i = 0; i < 6; ++i) bytes[i] = static_cast<u8>(mac >> (40 - 8 * i));
  return bytes;
}

class Lan9118 : public SysbusDevice, public memory::MmioHandler {
 public:
  Lan9118(const DeviceContext& context, const Config& config)
      : irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]),
        port_(context.id, "model=lan9118,macaddr=" + format_mac(config.mac), net::Caps{.max_frame = 1518},
              {context.loop, context.net_loop},
              {[this] { pull(); }, [this] { chip_.transmit_again(); }, [this](bool up) { chip_.set_link(up); }}),
        chip_(context.clock, context.id, address_bytes(config.mac), config.mode_16bit != 0,
              {[this](std::span<const u8> frame) { return port_.transmit(frame); },
               [this](bool level) { set_irq(level); }, [this] { pull(); }, [this] { receiver_changed(); },
               [this] { stop_receiving(); }},
              context.log) {
    if (context.netdev) port_.connect_to(*context.netdev);
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  net::Port* port() override { return &port_; }

  void reset(ResetKind kind) override { chip_.reset(kind == ResetKind::power_on); }
  void fields(Visitor& visitor) override {
    visitor.field("ever_received", ever_received_);
    port_.fields(visitor);  // first: with its registers the chip looks for frames
    chip_.fields(visitor);
  }

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (attributes.debug) return {};  // reading has side effects
    const u32 at = static_cast<u32>(offset);
    if (size == 8) {
      const u64 low = chip_.read(at, 4);
      return {low | u64{chip_.read(at + 4, 4)} << 32};
    }
    return {chip_.read(at, size)};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    const u32 at = static_cast<u32>(offset);
    chip_.write(at, static_cast<u32>(value), size == 8 ? 4 : size);
    if (size == 8) chip_.write(at + 4, static_cast<u32>(value >> 32), 4);
    return true;
  }

 private:
  void set_irq(bool level) {
    if (level == irq_level_) return;
    irq_level_ = level;
    irq_.set(level);
  }

  // Moves frames from the port into the chip's FIFO as far as they fit. When the port is empty a wake-up is asked
  // for; when the FIFO is full, the guest's reading brings us here again.
  void pull() {
    if (pulling_) return;
    pulling_ = true;
    do {
      for (;;) {
        const std::span<const u8> frame = port_.next();
        if (frame.empty()) break;
        if (!chip_.can_receive(frame.size())) {
          pulling_ = false;
          return;
        }
        chip_.receive(frame);
        port_.pop();
      }
    } while (!port_.arm());
    pulling_ = false;
  }

  // Frames that come before the driver has started the receiver are lost, as on a wire. While it only pauses (to
  // change a filter) they wait.
  void receiver_changed() {
    const bool on = chip_.receiver_on();
    ever_received_ |= on;
    if (on) {
      port_.set_intake(QueuedPort::Intake::flow);
      pull();
    } else {
      port_.set_intake(ever_received_ ? QueuedPort::Intake::hold : QueuedPort::Intake::drop);
    }
  }
  void stop_receiving() {
    ever_received_ = false;
    port_.set_intake(QueuedPort::Intake::drop);
    port_.discard_received();
  }

  IrqLine irq_;
  bool irq_level_ = false;
  bool ever_received_ = false;
  bool pulling_ = false;
  QueuedPort port_;
  Lan9118Chip chip_;
  std::array<MmioWindow, 1> windows_{{{"lan9118-mmio", 0x100, this, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  return std::unique_ptr<Device>(std::make_unique<Lan9118>(context, *static_cast<const Config*>(config)));
}

}  // namespace

extern const DeviceType lan9118;
const DeviceType lan9118 = {
    .name = "lan9118",
    .category = Category::network,
    .summary = "SMSC LAN9118 10/100 Ethernet controller",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
