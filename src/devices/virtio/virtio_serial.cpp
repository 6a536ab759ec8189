// SPDX-License-Identifier: MIT
#include "devices/virtio/virtio_serial.h"

#include <algorithm>
#include <utility>

#include "config/json.h"

namespace rhea::devices {
namespace {

constexpr u64 kMultiport = 1u << 1, kEmergencyWrite = 1u << 2;
enum Queue : unsigned { kControlReceive = 2, kControlTransmit = 3 };
// Section 5.3.6.2.
enum ControlEvent : u16 {
  kDeviceReady = 0,
  kDeviceAdd = 1,
  kDeviceRemove = 2,
  kPortReady = 3,
  kConsolePort = 4,
  kPortOpen = 6,
  kPortName = 7
};
constexpr u16 kQueueSize = 128;
constexpr u32 kMostPorts = 31;
constexpr usize kMostMessages = 512;
constexpr unsigned kBatch = 64;
constexpr usize kChunk = 4096;

std::vector<std::string> queue_names(u32 max_ports) {
  std::vector<std::string> names;
  const u32 pairs = max_ports > 1 ? max_ports + 1 : 1;
  for (u32 i = 0; i < pairs; ++i) {
    const std::string owner = i == 1 ? "control" : fmt::format("port{}", i ? i - 1 : 0);
    names.push_back(owner + "-receive");
    names.push_back(owner + "-transmit");
  }
  return names;
}

}  // namespace

// --- ports --------------------------------------------------------------------------------------------------------

VirtioSerialPort::VirtioSerialPort(const DeviceContext& context, const VirtioSerialPortConfig& config, bool is_console)
    : config_(config), id_(context.id == (is_console ? "virtconsole" : "virtserialport") ? std::string() : context.id),
      machine_(context.machine), console_(is_console), backend_(context.chardev),
      host_open_(context.chardev && context.chardev->is_open()) {
  if (backend_) backend_->set_frontend(this);
}

VirtioSerialPort::~VirtioSerialPort() {
  if (device_) device_->remove(*this);
  if (backend_) backend_->set_frontend(nullptr);
}

void VirtioSerialPort::set_guest_open(bool open) {
  if (guest_open_ == open) return;
  guest_open_ = open;
  if (!id_.empty()) machine_.tell("VSERPORT_CHANGE", config::json_text({{"open", open}, {"id", id_}}));
}

void VirtioSerialPort::fields(Visitor& visitor) {
  visitor.field("guest_open", guest_open_);
  visitor.field("in_hand", in_hand_);
  visitor.field("head", head_);
  // The device is restored before: it was made first.
  if (!visitor.restoring() || !in_hand_) return;
  in_hand_ = device_ && device_->queue(VirtioSerial::receive_queue(number_)).running() &&
             device_->queue(VirtioSerial::receive_queue(number_)).read_chain(head_, chain_);
}

usize VirtioSerialPort::can_receive() {
  if (!device_ || !device_->hold(*this)) return 0;
  return static_cast<usize>(chain_.writable_bytes);
}

void VirtioSerialPort::receive(std::span<const u8> data) {
  while (!data.empty() && device_ && device_->hold(*this)) {
    const unsigned index = VirtioSerial::receive_queue(number_);
    const usize written =
        device_->queue(index).write(chain_, 0, data.data(), std::min<usize>(data.size(), chain_.writable_bytes));
    device_->queue(index).give_back(head_, static_cast<u32>(written));
    in_hand_ = false;
    device_->publish(index);
    data = data.subspan(written);
  }
}

void VirtioSerialPort::event(chardev::Event event) {
  if (event != chardev::Event::opened && event != chardev::Event::closed) return;
  host_open_ = event == chardev::Event::opened;
  if (device_ && !console_) device_->control(number_, kPortOpen, host_open_);
}

// --- the device ---------------------------------------------------------------------------------------------------

VirtioSerial::VirtioSerial(const DeviceContext& context, const VirtioSerialConfig& config)
    : VirtioQueues(
          context,
          (config.max_ports > 1 ? kMultiport : 0) | (config.emergency_write ? kEmergencyWrite : 0) | config.features(),
          kQueueSize, queue_names(config.max_ports)),
      config_(config), clock_(context.clock), again_(clock_.timer([this] {
        for (unsigned i = 0; i < queue_count(); ++i) notify(i);
      })),
      ports_(config.max_ports) {}

VirtioSerial::~VirtioSerial() {
  for (VirtioSerialPort* port : ports_)
    if (port) port->device_ = nullptr;
}

u32 VirtioSerial::read_config(u32 offset, unsigned size) {
  std::array<u8, 12> space{};
  store_le<u32>(&space[4], config_.max_ports);
  return read_config_bytes(space, offset, size);
}

// Section 5.3.4: a character for the console before there are queues.
void VirtioSerial::write_config(u32 offset, u32 value, unsigned) {
  if (offset != 8 || !config_.emergency_write) return;
  const u8 byte = static_cast<u8>(value);
  for (VirtioSerialPort* port : ports_) {
    if (!port || !port->console_ || !port->backend_) continue;
    port->backend_->write({&byte, 1});
    return;
  }
}

void VirtioSerial::fields(Visitor& visitor) {
  VirtioQueues::fields(visitor);
  std::vector<u8> bytes;
  for (const Message& message : messages_) {
    u8 fixed[10];
    store_le<u32>(&fixed[0], message.id);
    store_le<u16>(&fixed[4], message.event);
    store_le<u16>(&fixed[6], message.value);
    store_le<u16>(&fixed[8], static_cast<u16>(message.text.size()));
    bytes.insert(bytes.end(), fixed, fixed + sizeof fixed);
    bytes.insert(bytes.end(), message.text.begin(), message.text.end());
  }
  visitor.bytes("messages", bytes, 1u << 20);
  if (!visitor.restoring()) return;
  messages_.clear();
  for (usize at = 0; at + 10 <= bytes.size() && messages_.size() < kMostMessages;) {
    const usize text = std::min<usize>(load_le<u16>(&bytes[at + 8]), bytes.size() - at - 10);
    messages_.push_back({load_le<u32>(&bytes[at]), load_le<u16>(&bytes[at + 4]), load_le<u16>(&bytes[at + 6]),
                         std::string(&bytes[at] + 10, &bytes[at] + 10 + text)});
    at += 10 + text;
  }
  if (ready()) again_->arm(clock_.now());
}

Result<void> VirtioSerial::plug_in(Device& device) {
  auto* port = dynamic_cast<VirtioSerialPort*>(&device);
  if (!port) return Error("{}: this is no port of a virtio-serial-device", name_);
  u32 number = port->config().nr;
  if (number == ~0u) {
    // Number 0 is kept for a console, as old guests expect one there.
    number = port->is_console() ? 0 : 1;
    while (number < ports_.size() && ports_[number]) ++number;
    if (number >= ports_.size())
      return Error("virtio-serial-bus: Maximum port limit for this device reached ({})", config_.max_ports);
  }
  if (number >= ports_.size())
    return Error("virtio-serial-bus: Out-of-range port id specified, max. allowed: {}", config_.max_ports - 1);
  if (number == 0 && !port->is_console())
    return Error("Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility.");
  if (ports_[number]) return Error("virtio-serial-bus: A port already exists at id {}", number);
  for (const VirtioSerialPort* other : ports_)
    if (other && !port->port_name().empty() && other->port_name() == port->port_name())
      return Error("virtio-serial-bus: A port already exists by name {}", port->port_name());
  ports_[number] = port;
  port->number_ = number;
  port->device_ = this;
  if (ready() && multiport()) control(number, kDeviceAdd, 1);
  return {};
}

void VirtioSerial::remove(VirtioSerialPort& port) {
  if (std::exchange(port.in_hand_, false)) queue(receive_queue(port.number_)).untake();
  ports_[port.number_] = nullptr;
  if (ready() && multiport()) control(port.number_, kDeviceRemove, 1);
}

bool VirtioSerial::multiport() const { return features() & kMultiport; }

VirtioSerialPort* VirtioSerial::port(u32 number) const { return number < ports_.size() ? ports_[number] : nullptr; }

void VirtioSerial::session_ended() {
  messages_.clear();
  again_->cancel();
  for (VirtioSerialPort* port : ports_)
    if (port) port->set_guest_open(false);
}

void VirtioSerial::driver_changed() {
  // Without control messages there is one port, and it is open.
  if (ready() && !multiport() && port(0)) port(0)->set_guest_open(true);
}

void VirtioSerial::queue_stopped(unsigned index) {
  for (VirtioSerialPort* port : ports_)
    if (port && receive_queue(port->number_) == index) port->in_hand_ = false;
}

// Whether a port has a buffer of the guest's in hand, or gets one now.
bool VirtioSerial::hold(VirtioSerialPort& port) {
  if (port.in_hand_) return true;
  const unsigned index = receive_queue(port.number_);
  if (!ready() || index >= queue_count() || !(port.guest_open_ || port.console_)) return false;
  while (take(index, port.chain_)) {
    port.head_ = port.chain_.head;
    port.in_hand_ = port.chain_.writable_bytes > 0;
    if (port.in_hand_) return true;
    queue(index).give_back(port.head_, 0);  // a buffer without room
  }
  queue(index).enable_notification();
  return false;
}

void VirtioSerial::run_queue(unsigned index) {
  if (index == kControlReceive && multiport()) {
    send_control();
  } else if (index == kControlTransmit && multiport()) {
    run_control();
  } else {
    const u32 number = index < 2 ? 0 : index / 2 - 1;
    VirtioSerialPort* owner = index < 2 || multiport() ? port(number) : nullptr;
    if (index % 2) transmit(index, owner);
    else if (owner && owner->backend_) owner->backend_->accept_input();
  }
}

// What the guest sends goes to the chardev; to a port that is not there, nowhere.
void VirtioSerial::transmit(unsigned index, VirtioSerialPort* port) {
  unsigned done = 0;
  for (; done < kBatch && take(index, chain_); ++done) {
    for (usize at = 0; at < chain_.readable_bytes; at += bytes_.size()) {
      bytes_.resize(std::min<usize>(kChunk, chain_.readable_bytes - at));
      Virtqueue::read(chain_, at, bytes_.data(), bytes_.size());
      if (port && port->backend_) port->backend_->write(bytes_);
    }
    queue(index).give_back(chain_.head, 0);
  }
  publish(index);
  if (queue(index).enable_notification()) again_->arm(clock_.now());
}

void VirtioSerial::run_control() {
  unsigned done = 0;
  for (; done < kBatch && take(kControlTransmit, chain_); ++done) {
    std::array<u8, 8> bytes;
    if (Virtqueue::read(chain_, 0, bytes.data(), bytes.size()) == bytes.size()) take_control(bytes);
    queue(kControlTransmit).give_back(chain_.head, 0);
  }
  publish(kControlTransmit);
  send_control();
  if (queue(kControlTransmit).enable_notification()) again_->arm(clock_.now());
}

void VirtioSerial::take_control(const std::array<u8, 8>& bytes) {
  const u32 id = load_le<u32>(&bytes[0]);
  const u16 event = load_le<u16>(&bytes[4]), value = load_le<u16>(&bytes[6]);
  if (event == kDeviceReady) {
    if (!value) return;
    for (const VirtioSerialPort* one : ports_)
      if (one) control(one->number_, kDeviceAdd, 1);
    return;
  }
  VirtioSerialPort* named = port(id);
  if (!named) {
    log_.guest_error("{}: control message {} for port {}, which is not there", name_, event, id);
    return;
  }
  if (event == kPortReady && value) {
    announce(*named);
  } else if (event == kPortOpen) {
    named->set_guest_open(value);
    if (named->guest_open_ && named->backend_) named->backend_->accept_input();
  }
}

void VirtioSerial::announce(const VirtioSerialPort& port) {
  if (port.console_) control(port.number_, kConsolePort, 1);
  if (!port.port_name().empty()) control(port.number_, kPortName, 1, port.port_name());
  if (port.host_open_ || port.console_) control(port.number_, kPortOpen, 1);
}

void VirtioSerial::control(u32 id, u16 event, u16 value, std::string text) {
  if (!ready() || !multiport()) return;
  if (messages_.size() >= kMostMessages) {
    log_.guest_error("{}: the driver gives no buffers for control messages", name_);
    return;
  }
  messages_.push_back({id, event, value, std::move(text)});
  send_control();
}

void VirtioSerial::send_control() {
  if (!queue(kControlReceive).running()) return;
  bool any = false;
  while (!messages_.empty() && take(kControlReceive, answer_)) {
    const Message& message = messages_.front();
    std::vector<u8> bytes(8);
    store_le<u32>(&bytes[0], message.id);
    store_le<u16>(&bytes[4], message.event);
    store_le<u16>(&bytes[6], message.value);
    bytes.insert(bytes.end(), message.text.begin(), message.text.end());
    const usize written = queue(kControlReceive).write(answer_, 0, bytes.data(), bytes.size());
    queue(kControlReceive).give_back(answer_.head, static_cast<u32>(written));
    messages_.pop_front();
    any = true;
  }
  if (any) publish(kControlReceive);
  queue(kControlReceive).enable_notification();
}

// --- records ------------------------------------------------------------------------------------------------------

namespace {

using C = VirtioSerialConfig;
using P = VirtioSerialPortConfig;

constexpr Property kProperties[] = {
    property<&C::emergency_write>("emergency-write", PropertyKind::boolean,
                                  "a register for characters before there are queues"),
    property<&C::max_ports>("max_ports", PropertyKind::number, "ports that can be plugged in, 1 to 31"),
    RHEA_VIRTIO_PROPERTIES(C),
};
constexpr Property kPortProperties[] = {
    property<&P::chardev>("chardev", PropertyKind::chardev, "ID of a chardev to use as a backend"),
    property<&P::name>("name", PropertyKind::text, "the guest finds the port by it: /dev/virtio-ports/NAME"),
    property<&P::nr>("nr", PropertyKind::number, "its number; the next free one if it is not given"),
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* given) {
  const C& config = *static_cast<const C*>(given);
  RHEA_TRY(config.check("virtio-serial-device"));
  if (config.max_ports < 1 || config.max_ports > kMostPorts)
    return Error("virtio-serial-device: max_ports={}: it takes 1 to {}", config.max_ports, kMostPorts);
  return std::unique_ptr<Device>(std::make_unique<VirtioSerial>(context, config));
}
template <bool is_console>
Result<std::unique_ptr<Device>> create_port(const DeviceContext& context, const void* given) {
  const P& config = *static_cast<const P*>(given);
  constexpr usize kMostName = 255;
  if (config.name.size() > kMostName)
    return Error("a port's name of {} bytes: it has {} at most", config.name.size(), kMostName);
  return std::unique_ptr<Device>(std::make_unique<VirtioSerialPort>(context, config, is_console));
}

}  // namespace

extern const DeviceType virtio_serial_device;
const DeviceType virtio_serial_device = {
    .name = "virtio-serial-device",
    .bus = Bus::virtio,
    .category = Category::input,
    .summary = "virtio console: a bus for virtconsole and virtserialport",
    .properties = kProperties,
    .make_config = default_config<C>,
    .create = create,
};
extern const DeviceType virtserialport;
const DeviceType virtserialport = {
    .name = "virtserialport",
    .bus = Bus::virtio_serial,
    .category = Category::input,
    .summary = "port of a virtio-serial-device",
    .properties = kPortProperties,
    .make_config = default_config<P>,
    .create = create_port<false>,
};
extern const DeviceType virtconsole;
const DeviceType virtconsole = {
    .name = "virtconsole",
    .bus = Bus::virtio_serial,
    .category = Category::input,
    .summary = "port of a virtio-serial-device that is a terminal of the guest's",
    .properties = kPortProperties,
    .make_config = default_config<P>,
    .create = create_port<true>,
};

}  // namespace rhea::devices
