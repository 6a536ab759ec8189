// SPDX-License-Identifier: MIT
// virtio-serial-device (VIRTIO 1.2, section 5.3): a device with a bus of ports, each with a pair of queues and a
// chardev behind it. virtconsole is a port that the guest makes a terminal of (hvc0), virtserialport a plain one.
//
// How it works: queues 0 and 1 are port 0's, 2 and 3 carry control messages, and port N has 2N + 2 and 2N + 3. A
// chain of a receive queue is taken into hand when the chardev asks for room, so that what it then gives has a place.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "devices/virtio/virtio_queues.h"

namespace rhea::devices {

struct VirtioSerialConfig : VirtioCommonConfig {
  u32 max_ports = 31;
  bool emergency_write = true;
};

struct VirtioSerialPortConfig {
  std::string chardev, name;
  u32 nr = ~0u;
};

class VirtioSerial;

class VirtioSerialPort final : public Device, public chardev::Frontend {
 public:
  VirtioSerialPort(const DeviceContext& context, const VirtioSerialPortConfig& config, bool is_console);
  ~VirtioSerialPort() override;

  void reset(ResetKind) override {}
  void fields(Visitor& visitor) override;

  usize can_receive() override;
  void receive(std::span<const u8> data) override;
  void event(chardev::Event event) override;

  // A process of the guest opens it or closes it.
  void set_guest_open(bool open);
  bool is_console() const { return console_; }
  const std::string& port_name() const { return config_.name; }
  const VirtioSerialPortConfig& config() const { return config_; }

 private:
  friend class VirtioSerial;
  VirtioSerialPortConfig config_;
  std::string id_;  // empty: none was given
  MachineRequests& machine_;
  bool console_;
  chardev::Backend* backend_;
  VirtioSerial* device_ = nullptr;
  u32 number_ = 0;
  bool host_open_;           // somebody is at the chardev
  bool guest_open_ = false;  // a process of the guest has the port open
  bool in_hand_ = false;     // chain_ was taken from the receive queue
  u16 head_ = 0;
  Chain chain_;
};

class VirtioSerial final : public VirtioQueues, public BusOwner {
 public:
  VirtioSerial(const DeviceContext& context, const VirtioSerialConfig& config);
  ~VirtioSerial() override;

  u32 device_id() const override { return 3; }
  u32 read_config(u32 offset, unsigned size) override;
  void write_config(u32 offset, u32 value, unsigned size) override;
  void fields(Visitor& visitor) override;
  Bus owned_bus() const override { return Bus::virtio_serial; }
  Result<void> plug_in(Device& device) override;

 private:
  friend class VirtioSerialPort;
  struct Message {
    u32 id;
    u16 event, value;
    std::string text;
  };
  void run_queue(unsigned index) override;
  void session_ended() override;
  void driver_changed() override;
  void queue_stopped(unsigned index) override;

  bool multiport() const;
  VirtioSerialPort* port(u32 number) const;
  static unsigned receive_queue(u32 number) { return number ? 2 * number + 2 : 0; }
  void transmit(unsigned index, VirtioSerialPort* port);
  void run_control();
  void take_control(const std::array<u8, 8>& bytes);
  void control(u32 id, u16 event, u16 value, std::string text = {});
  void send_control();
  void announce(const VirtioSerialPort& port);
  bool hold(VirtioSerialPort& port);
  void remove(VirtioSerialPort& port);

  VirtioSerialConfig config_;
  Clock& clock_;
  std::unique_ptr<Timer> again_;
  std::vector<VirtioSerialPort*> ports_;  // by number; nullptr: none
  std::deque<Message> messages_;          // that wait for the guest's buffers
  Chain chain_;                           // of what the guest sends; while it is worked on, answers are given in
  Chain answer_;                          // this one
  std::vector<u8> bytes_;
};

}  // namespace rhea::devices
