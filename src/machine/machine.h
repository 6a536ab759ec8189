// SPDX-License-Identifier: MIT
// A whole machine: built from a board's table and a configuration, then run until the guest, the monitor or a
// signal ends it. Two machines may live in one process.
//
// Life: the command line makes a Machine (which has the loops from then on), makes chardevs and network backends
// on those loops, fills in a MachineConfig, calls build(), then run(), which returns the exit status.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "accel/accel.h"
#include "chardev/backend.h"
#include "core/clock.h"
#include "core/event_loop.h"
#include "core/loop.h"
#include "devices/device_type.h"
#include "machine/board.h"
#include "memory/address_space.h"
#include "net/port.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea::machine {

using PropertyText = std::pair<std::string, std::string>;

// A NIC of the board's table ("-nic", "-net nic"): `model` empty means the board's own.
struct NicConfig {
  std::string model;
  u64 mac = 0;                   // 0: assigned by the machine, 52:54:00:12:34:56 and up
  net::Port* netdev = nullptr;   // its peer, on the network loop; nullptr: not connected
  std::string id;
};

// A device of the command line ("-device").
struct DeviceConfig {
  std::string type;
  std::string id;
  std::vector<PropertyText> properties;  // without id, netdev, chardev
  net::Port* netdev = nullptr;
  chardev::Backend* chardev = nullptr;
};

struct MachineConfig {
  const Board* board = nullptr;
  std::string cpu;                // empty: the board's
  unsigned cpus = 1;
  u64 ram_size = 0;               // 0: the board's default
  std::string kernel, initrd, append, dtb, dumpdtb;  // file names, and the kernel's command line
  bool has_append = false;
  std::string name;
  bool no_reboot = false;         // a reset by the guest ends the machine
  bool start_paused = false;      // -S
  accel::Options accel;
  std::vector<chardev::Backend*> serials;  // in order; nullptr: that port is not connected
  std::vector<NicConfig> nics;
  std::vector<DeviceConfig> devices;
  std::vector<std::pair<std::string, PropertyText>> globals;  // -global TYPE.property=value
};

enum class RunState : u8 { prelaunch, running, paused, shutdown };

// For `info qtree`, `info mtree` and `info network`.
struct DeviceNode {
  std::string id;                        // user-given or made from the type
  const devices::DeviceType* type = nullptr;
  std::shared_ptr<void> config;
  std::unique_ptr<Device> device;
  std::string bus;                       // the bus it sits on
  std::vector<std::pair<u64, u64>> windows;  // base, size
};

class Machine {
 public:
  explicit Machine(Log& log);
  ~Machine();

  EventLoop& loop() { return *loop_; }
  EventLoop& net_loop() { return *net_loop_; }
  Log& log() { return log_; }

  // Makes everything: RAM, devices, CPUs, and loads the guest's files. With dumpdtb the device tree is written
  // and `dumped_dtb()` is true: the caller ends.
  Result<void> build(const MachineConfig& config);
  bool dumped_dtb() const { return dumped_dtb_; }
  // Lines that the user should see ("warning: ..." and such), made by build().
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Runs the machine's loop on this thread until it ends; returns the exit status (0: powered off or quit).
  int run();
  // Ends the CPUs, the network's thread and the devices. The loops stay until the destructor: so backends, which
  // devices refer to and which refer to the loops, are destroyed in between.
  void close();

  // Any thread.
  void request_quit(int status = 0);   // `quit`, a signal, a closed terminal
  void request_shutdown();             // by the guest: ends with status 0
  void request_reset(bool by_guest);   // by the guest it honours -no-reboot
  // Under the loop's lock, on its thread.
  void stop();
  void cont();
  RunState state() const { return state_; }

  const MachineConfig& config() const { return config_; }
  accel::Engine& engine() { return *engine_; }
  memory::AddressSpace& memory() { return *memory_; }
  devices::MachineRequests& requests();
  const std::vector<std::unique_ptr<DeviceNode>>& devices() const { return nodes_; }
  // NIC ports in order, for `info network`.
  std::vector<net::Port*> nic_ports();
  // Told when the state changes (the monitor).
  void on_state_change(std::function<void(RunState)> callback) { observers_.push_back(std::move(callback)); }

 private:
  friend class Builder;
  class Requests;
  void handle_requests();
  void reset_all(ResetKind kind);
  void set_state(RunState state);

  Log& log_;
  std::unique_ptr<core::Loop> loop_;
  std::unique_ptr<core::LoopThread> net_loop_thread_;
  core::Loop* net_loop_ = nullptr;
  std::unique_ptr<Requests> requests_;
  std::unique_ptr<Clock> host_clock_;
  MachineConfig config_;
  std::vector<std::unique_ptr<memory::RamBlock>> ram_;
  std::unique_ptr<memory::AddressSpace> memory_;
  std::vector<std::unique_ptr<DeviceNode>> nodes_;
  std::unique_ptr<accel::Engine> engine_;
  std::function<Result<void>()> reload_;  // puts the guest's files into RAM again, at a reset
  std::vector<std::string> warnings_;
  std::vector<std::function<void(RunState)>> observers_;
  RunState state_ = RunState::prelaunch;
  bool dumped_dtb_ = false;
  std::atomic<bool> quit_{false};
  std::atomic<bool> reset_{false};
  int status_ = 0;
};

}  // namespace rhea::machine
