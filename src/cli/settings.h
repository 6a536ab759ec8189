// SPDX-License-Identifier: MIT
// What a command line says, before anything is made of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "audio/audio.h"
#include "chardev/spec.h"
#include "config/options.h"
#include "fsdev/share.h"
#include "machine/machine.h"
#include "sys/fd.h"
#include "util/result.h"

namespace rhea::cli {

// An option as it was typed, for messages: "-netdev user,id=n0".
struct Typed {
  std::string option;
  std::string argument;
  std::string text() const { return argument.empty() ? option : option + " " + argument; }
};

// "PROGRAM: <option as typed>: message" is what an error becomes; this puts the middle part in.
inline Error at(const Typed& typed, Error&& error) { return std::move(error).in(typed.text()); }

// A machine property: from -M X,p=v, and from the options that are short for one (-kernel, -m, -smp).
struct MachineProperty {
  Typed from;
  std::string name;
  std::string value;
};

enum class Display : u8 { unspecified, none };

// The program ends with this instead of running a machine.
struct Exit {
  int status = 0;
  std::string text;  // to standard output
};

struct Settings {
  std::string program;             // argv[0] without its folder
  machine::MachineConfig machine;  // all but what holds pointers to backends
  std::optional<Typed> board;      // -M, with the name as argument
  std::optional<Typed> cpu;
  std::vector<MachineProperty> machine_properties;
  std::vector<Typed> accelerators;
  std::vector<Typed> chardevs, serials, parallels, monitors, mons;
  std::vector<Typed> qmps;  // -qmp and -qmp-pretty
  std::vector<Typed> netdevs, nics, nets, devices, globals, objects;
  std::vector<std::shared_ptr<sys::Fd>> mac_claims;  // of addresses on shared segments, while the machine runs
  std::vector<std::pair<Typed, Typed>> drives;       // as -drive, and as it was typed
  std::vector<Typed> blockdevs;
  bool snapshot = false;
  std::vector<std::pair<Typed, audio::Spec>> audiodevs;
  std::vector<std::pair<Typed, fsdev::Spec>> fsdevs;
  std::optional<Typed> gdb;  // -gdb, -s: the device as argument
  Display display = Display::unspecified;
  bool nographic = false;
  bool no_default_monitor = false;  // -qmp none
  std::string pid_file;
  bool daemonize = false;
  std::optional<Typed> chroot, run_as;
  bool timestamps = false, guest_names = false;  // -msg: before each line of ours
  std::optional<Typed> qtest;
  struct {
    std::optional<Typed> typed;  // -semihosting-config, for messages
    bool enabled = false, user = false;
    std::string chardev;
    std::vector<std::string> arguments;
  } semihosting;
  std::string qtest_log;
  bool no_defaults = false;
  u8 escape_key = 1;  // -echr
  u32 log_mask = 0;
  std::string log_file;
  std::vector<std::string> warnings;  // without "warning: "
  std::vector<std::string> notes;     // after the program's name
  std::vector<std::string> lines;     // as they are
  std::optional<Exit> exit;
  bool wants_nic_models = false;  // -nic model=help: needs the board

  // What stands before each line for the user: time and guest's name, if -msg wants them, and the program.
  std::string line_start() const;
  // "QEMU" when it was started by a qemu-system-* name, else "Rhea".
  std::string title() const { return program.starts_with("qemu") ? "QEMU" : "Rhea"; }
};

// Reads the options in order, then what depends on several: board, machine properties, accelerator.
Result<Settings> parse_command_line(const std::string& program, const std::vector<std::string>& arguments);

// A row of options.inc.
struct OptionRow {
  std::string_view name;
  std::string_view alias;     // another name, or empty
  std::string_view argument;  // as the help shows it; empty: the option has none
  std::string_view help;      // lines, separated by \n
  Result<void> (*apply)(Settings& settings, const Typed& typed);
};
std::span<const OptionRow> option_rows();
std::string help_text(const std::string& program);
std::string version_text();

// machine_options.cpp
Result<void> apply_machine(Settings& settings);
std::string machine_list();
std::string machine_help(const machine::Board& board);
Result<void> read_machine_option(Settings& settings, const Typed& typed);
Result<void> read_memory_option(Settings& settings, const Typed& typed);
Result<void> read_smp_option(Settings& settings, const Typed& typed);
Result<void> read_cpu_option(Settings& settings, const Typed& typed);

// accel_options.cpp
Result<void> apply_accelerators(Settings& settings);
Result<void> read_accel_option(Settings& settings, const Typed& typed);
Result<void> read_icount_option(Settings& settings, const Typed& typed);

// device_options.cpp
Result<void> read_device_option(Settings& settings, const Typed& typed);
Result<void> read_global_option(Settings& settings, const Typed& typed);
Result<void> read_object_option(Settings& settings, const Typed& typed);
std::string device_list();

// control_options.cpp
Result<void> read_chardev_option(Settings& settings, const Typed& typed);
Result<void> read_mon_option(Settings& settings, const Typed& typed);
Result<void> read_qmp_option(Settings& settings, const Typed& typed);
Result<void> read_parallel_option(Settings& settings, const Typed& typed);
Result<void> read_debugcon_option(Settings& settings, const Typed& typed);
Result<void> read_rtc_option(Settings& settings, const Typed& typed);
Result<void> set_no_shutdown(Settings& settings, const Typed& typed);
Result<void> read_action_option(Settings& settings, const Typed& typed);
Result<void> read_uuid_option(Settings& settings, const Typed& typed);
Result<void> read_pidfile_option(Settings& settings, const Typed& typed);
Result<void> set_daemonize(Settings& settings, const Typed& typed);
Result<void> read_runas_option(Settings& settings, const Typed& typed);
Result<void> read_chroot_option(Settings& settings, const Typed& typed);
Result<void> read_run_with_option(Settings& settings, const Typed& typed);
Result<void> read_sandbox_option(Settings& settings, const Typed& typed);
Result<void> read_msg_option(Settings& settings, const Typed& typed);
Result<void> read_set_option(Settings& settings, const Typed& typed);
Result<void> set_semihosting(Settings& settings, const Typed& typed);
Result<void> read_semihosting_option(Settings& settings, const Typed& typed);
Result<void> read_qtest_option(Settings& settings, const Typed& typed);
Result<void> read_qtest_log_option(Settings& settings, const Typed& typed);
Result<void> refuse_add_fd(Settings& settings, const Typed& typed);
Result<void> refuse_fw_cfg(Settings& settings, const Typed& typed);
Result<void> refuse_seed(Settings& settings, const Typed& typed);
Result<void> refuse_writeconfig(Settings& settings, const Typed& typed);
// share_options.cpp
Result<void> read_audiodev_option(Settings& settings, const Typed& typed);
Result<void> read_audio_option(Settings& settings, const Typed& typed);
Result<void> read_fsdev_option(Settings& settings, const Typed& typed);
Result<void> read_virtfs_option(Settings& settings, const Typed& typed);

// drive_options.cpp
Result<void> read_drive_option(Settings& settings, const Typed& typed);
Result<void> read_blockdev_option(Settings& settings, const Typed& typed);
Result<void> set_snapshot(Settings& settings, const Typed& typed);

// net_options.cpp
Result<void> read_netdev_option(Settings& settings, const Typed& typed);
Result<void> read_nic_option(Settings& settings, const Typed& typed);
Result<void> read_net_option(Settings& settings, const Typed& typed);

}  // namespace rhea::cli
