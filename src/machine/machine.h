// SPDX-License-Identifier: MIT
// A whole machine: built from a board's table and a configuration, then run until the guest, the monitor or a
// signal ends it. Two machines may live in one process.
//
// Life: the command line makes a Machine (which has the loops from then on), makes chardevs and network backends
// on those loops, fills in a MachineConfig, calls build(), then run(), which returns the exit status.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "accel/accel.h"
#include "audio/audio.h"
#include "block/drive.h"
#include "chardev/backend.h"
#include "chardev/registry.h"
#include "core/balloon.h"
#include "core/clock.h"
#include "core/debug_target.h"
#include "core/event_loop.h"
#include "core/events.h"
#include "core/loop.h"
#include "devices/device_type.h"
#include "display/input.h"
#include "display/screens.h"
#include "machine/board.h"
#include "memory/address_space.h"
#include "net/port.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea::machine {

enum class ReplayMode : u8;  // replay.h

using PropertyText = std::pair<std::string, std::string>;

// A NIC of the board's table ("-nic", "-net nic"): `model` empty means the board's own.
struct NicConfig {
  std::string model;
  u64 mac = 0;                  // 0: assigned by the machine, 52:54:00:12:34:56 and up
  net::Port* netdev = nullptr;  // its peer, on the network loop; nullptr: not connected
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

// What real-time clocks show (-rtc).
struct RtcConfig {
  enum class Base : u8 { utc, local, date } base = Base::utc;
  s64 date = 0;  // of Base::date: seconds since 1970 at the start
  enum class Source : u8 { host, real, virtual_time } clock = Source::host;  // what makes it go on
};

// What the guest's RAM lies in (-machine memory-backend=). Others can be given it in any case: it is one file.
struct RamBackend {
  std::string id;
  u64 size = 0;      // bytes
  std::string path;  // a file, or a folder for one without a name; empty: memory alone
  bool shared = false;
  bool preallocate = false;
  bool sealed = false;  // nobody can make it shorter
};

struct MachineConfig {
  const Board* board = nullptr;
  std::string cpu;  // empty: the board's
  unsigned cpus = 1;
  u64 ram_size = 0;                                  // 0: the board's default
  std::string memory_backend;                        // the id of ram_backend
  std::optional<RamBackend> ram_backend;             // nothing: a memory file of ram_size
  std::string kernel, initrd, append, dtb, dumpdtb;  // file names, and the kernel's command line
  std::string firmware;                              // -bios: the boot flash's contents
  bool has_append = false;
  std::string name;
  std::array<u8, 16> uuid{};  // -uuid
  bool has_uuid = false;
  std::string uuid_text() const;
  RtcConfig rtc;
  bool watch_lines = false;     // Machine::on_line is told of interrupt lines
  bool no_reboot = false;       // a reset by the guest ends the machine
  bool no_shutdown = false;     // a shutdown by the guest stops it
  bool start_paused = false;    // -S
  std::string snapshot_folder;  // where savevm keeps states when no disk can; empty: nowhere
  std::string incoming;         // -incoming: waits for a state from there ("defer": until it is told from where)
  ReplayMode replay{};          // -icount rr=
  std::string replay_file;      // rrfile=
  std::string replay_snapshot;  // rrsnapshot=: saved at the start of the recording, loaded at that of the replay
  std::string loadvm;           // -loadvm: the snapshot to start from
  accel::Options accel;
  std::vector<chardev::Backend*> serials;  // in order; nullptr: that port is not connected
  std::vector<NicConfig> nics;
  std::vector<DeviceConfig> devices;
  const audio::Backends* audio = nullptr;                     // -audiodev
  const fsdev::Shares* fsdevs = nullptr;                      // -fsdev
  std::vector<std::pair<std::string, PropertyText>> globals;  // -global TYPE.property=value
};

// What the machine does when the guest asks (-no-reboot, -no-shutdown, -action); may be changed while it runs.
struct Actions {
  bool end_on_reboot = false;
  bool stay_on_shutdown = false;
};

enum class RunState : u8 { prelaunch, running, paused, shutdown, io_error, inmigrate, postmigrate };
std::string_view run_state_name(RunState state);  // "io-error"

class DebugPort;
class Snapshots;
class Replay;
class CountedLoop;
class RecordedChardev;
class RecordedLink;

// For `info qtree`, `info mtree` and `info network`.
struct DeviceNode {
  std::string id;  // user-given or made from the type
  const devices::DeviceType* type = nullptr;
  std::shared_ptr<void> config;
  std::unique_ptr<Device> device;
  std::string bus;                           // the bus it sits on
  std::vector<std::pair<u64, u64>> windows;  // base, size
};

// A device's output changed its level (only with MachineConfig::watch_lines).
struct LineChange {
  const DeviceNode* source = nullptr;
  unsigned output = 0;
  const DeviceNode* target = nullptr;  // the interrupt controller, or nullptr
  unsigned input = 0;
  bool level = false;
};

// A file or made-up data that is in memory at the start, for `info roms`.
struct RomInfo {
  u64 address = 0, size = 0;
  std::string name;
};

class Machine {
 public:
  explicit Machine(Log& log);
  ~Machine();

  EventLoop& loop() { return *loop_; }
  EventLoop& net_loop() { return *net_loop_; }
  Log& log() { return log_; }
  // Character devices by id. Used under the machine loop's lock; they outlive the devices.
  chardev::Registry& chardevs() { return *chardevs_; }

  // Makes everything: RAM, devices, CPUs, and loads the guest's files. With dumpdtb the device tree is written
  // and `dumped_dtb()` is true: the caller ends.
  Result<void> build(const MachineConfig& config);
  // While it runs: ports of a virtio-serial-device come and go. Errors: the bus's, "Duplicate ID 'x' for device", a bus
  // without hot-plug.
  Result<void> plug_device(const DeviceConfig& config);
  Result<void> unplug_device(const DeviceNode& node);
  bool dumped_dtb() const { return dumped_dtb_; }
  // Lines that the user should see ("warning: ..." and such), made by build().
  const std::vector<std::string>& warnings() const { return warnings_; }

  // Runs the machine's loop on this thread until it ends; returns the exit status (0: powered off or quit).
  int run();
  // Ends the CPUs, the network's thread and the devices. The loops stay until the destructor: so backends, which
  // devices refer to and which refer to the loops, are destroyed in between.
  void close();

  // Any thread.
  // `quit`, a signal, a closed terminal. `reason` is that of the SHUTDOWN event.
  void request_quit(int status = 0, std::string_view reason = "host-ui");
  void request_shutdown();  // by the guest: ends with status 0
  // By the guest it honours -no-reboot. `reason` is that of the RESET event; by default who asked.
  void request_reset(bool by_guest, std::string_view reason = {});
  // Under the loop's lock, on its thread.
  void stop();
  void cont();
  RunState state() const { return state_; }

  const MachineConfig& config() const { return config_; }
  accel::Engine& engine() { return *engine_; }
  unsigned cpu_count() const { return engine_ ? engine_->cpus() : 0; }
  // What happens, for the control connections.
  Events& events() { return events_; }
  Actions& actions() { return actions_; }
  memory::AddressSpace& memory() { return *memory_; }
  // Filled by the command line before build(), which gives each to its device.
  block::DriveTable& drives() { return drives_; }
  // What a drive tells of a failed request: stops the machine (io_error) where that is the policy.
  void drive_failed(const block::Drive::Failure& failure);
  devices::MachineRequests& requests();
  const std::vector<std::unique_ptr<DeviceNode>>& devices() const { return nodes_; }
  std::function<void(const LineChange&)> on_line;
  const std::vector<std::unique_ptr<memory::RamBlock>>& ram_blocks() const { return ram_; }
  const std::vector<RomInfo>& roms() const { return roms_; }
  bool is_interrupt_controller(const DeviceNode& node) const;
  display::Screens& screens() { return screens_; }
  display::Inputs& inputs() { return *inputs_; }
  // nullptr: there is none.
  Balloon* balloon();
  // What is done to the machine from outside; in a recorded one through its input point.
  bool set_balloon(u64 bytes);  // false: it has none
  void set_link(net::Port& nic, bool up);
  void announce(net::Port& nic);
  // NIC ports in order, for `info network`.
  std::vector<net::Port*> nic_ports();
  // Before the backends go; under the network loop's lock.
  void disconnect_network();
  // For a debugger. `monitor_command` is what runs the commands of its user.
  DebugTarget& debug_target();
  std::function<std::string(std::string_view)> monitor_command;
  int exit_status() const { return status_; }
  Snapshots& snapshots() { return *snapshots_; }
  Replay* replay() { return replay_.get(); }  // nullptr: neither recording nor replaying
  // The state that -incoming waited for; when it is there the machine runs, unless it is to start paused.
  Result<void> take_incoming(const std::string& uri);
  void set_migrated();  // its state has been sent away
  // The host's wall clock, ns since 1970, whatever clock the guest has.
  s64 wall_time() const { return wall_clock_->now(); }
  // The whole state was replaced: whoever has connections with the guest (the network) begins anew.
  void on_restored(std::function<void()> callback) { restored_observers_.push_back(std::move(callback)); }
  void tell_restored() {
    for (const auto& observer : restored_observers_) observer();
  }
  // Told when the state changes (the monitor).
  void on_state_change(std::function<void(RunState)> callback) { observers_.push_back(std::move(callback)); }

 private:
  friend class Builder;
  friend class DebugPort;
  class Requests;
  class LineTap;
  void handle_requests();
  void handle_shutdown();
  void reset_all(ResetKind kind);
  void request_counted_reset(bool by_guest);
  Result<void> start_replay();
  void tell_nic(net::Port& nic, u8 news);
  void set_state(RunState state);
  void has_arrived();
  void stop_with(RunState state);

  Log& log_;
  std::unique_ptr<core::Loop> loop_;
  Events events_{*loop_};
  Actions actions_;
  display::Screens screens_;  // before the chardevs, of which some are shown there
  std::unique_ptr<chardev::Registry> chardevs_;
  std::unique_ptr<core::LoopThread> net_loop_thread_;
  core::Loop* net_loop_ = nullptr;
  std::unique_ptr<Requests> requests_;
  std::unique_ptr<Clock> wall_clock_, host_clock_;  // of the host; what the guest's real-time clocks are set by
  std::unique_ptr<display::Inputs> inputs_;
  MachineConfig config_;
  std::vector<std::unique_ptr<LineTap>> taps_;
  std::vector<std::unique_ptr<memory::RamBlock>> ram_;
  std::unique_ptr<memory::AddressSpace> memory_;
  block::DriveTable drives_;
  std::vector<std::unique_ptr<DeviceNode>> nodes_;
  std::unique_ptr<accel::Engine> engine_;
  std::function<Result<void>()> reload_;  // puts the guest's files into RAM again, at a reset
  std::vector<RomInfo> roms_;
  std::vector<std::string> warnings_;
  std::vector<std::function<void(RunState)>> observers_;
  RunState state_ = RunState::prelaunch;
  bool dumped_dtb_ = false;
  std::atomic<bool> quit_{false};
  std::atomic<bool> reset_{false};
  int status_ = 0;
  std::mutex reasons_;
  std::string quit_reason_, reset_reason_;
  bool quit_by_guest_ = false, reset_by_guest_ = false;
  std::unique_ptr<DebugPort> debug_port_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<Replay> replay_;
  std::unique_ptr<CountedLoop> counted_loop_;
  std::vector<std::unique_ptr<RecordedChardev>> recorded_chardevs_;
  std::vector<std::unique_ptr<RecordedLink>> recorded_links_;
  std::vector<std::function<void()>> restored_observers_;
  std::vector<CpuAction> next_actions_;  // of the CPUs at the next cont(), by the debugger; empty: all go
};

}  // namespace rhea::machine
