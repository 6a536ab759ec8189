// SPDX-License-Identifier: MIT
// The human monitor on a character device: a line editor, a table of commands (commands.inc), and what they
// print.
#pragma once

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "block/copy_job.h"
#include "chardev/backend.h"
#include "machine/machine.h"
#include "monitor/readline.h"
#include "net/backend.h"
#include "util/log.h"

namespace rhea::monitor {

// An option of the command line, for query-command-line-options.
struct OptionDescription {
  std::string name;
};

// Work that a QMP client started and asks after (query-jobs). It stays until it is dismissed.
struct Job {
  std::string id, type;
  std::string status = "created";
  std::string error;                     // empty: none
  std::unique_ptr<block::CopyJob> copy;  // of a drive's job; nullptr: a snapshot's, whose work is done in one go
};

// The last dump-guest-memory.
struct DumpStatus {
  const char* status = "none";
  u64 completed = 0, total = 0;  // bytes
};

// What the commands act on; one for all monitors of a machine.
struct Context {
  machine::Machine& machine;
  net::Network& network;
  Log& log;
  std::string title;  // in the banner: "Rhea"
  std::string version;
  // Opens the file of `logfile`; nullptr with errno.
  std::function<std::FILE*(const std::string& path)> open_log = [](const std::string& path) {
    return std::fopen(path.c_str(), "w");
  };
  std::function<std::vector<OptionDescription>()> command_line_options;
  // Objects of -object and object_add: ID and type; making and removing them.
  using Texts = std::vector<std::pair<std::string, std::string>>;
  std::function<Texts()> objects;
  std::function<Result<void>(const std::string& type, const std::string& id, const Texts& options)> add_object;
  std::function<Result<void>(const std::string& id)> delete_object;
  // A device for a bus that takes some while the machine runs.
  std::function<Result<void>(const std::string& driver, const Texts& options)> plug_device;
  // A drive by the text of -drive, a node by that of -blockdev (key=value or JSON); and a node taken away.
  std::function<Result<void>(const std::string&options)> add_drive, add_node;
  std::function<Result<void>(const std::string& name)> delete_node;
  std::vector<Job> jobs;
  // Descriptors that clients have handed over (getfd), by name, for whoever of the monitors wants one.
  std::map<std::string, sys::Fd> descriptors;
  DumpStatus dump;
  audio::Backends* audio = nullptr;  // nullptr: there are none
  // Puts a gdb server on a character device ("tcp::1234"; "none" ends it).
  std::function<Result<void>(const std::string& device)> open_gdb = [](const std::string&) -> Result<void> {
    return Error("this machine has no debugger's line");
  };
};

class Monitor final : public chardev::Frontend {
 public:
  // `shared`: on a multiplexer, which shows the monitor when it gets the focus.
  Monitor(chardev::Backend& backend, Context& context, bool shared);
  ~Monitor() override;
  Monitor(const Monitor&) = delete;

  // Shows banner and prompt, unless it is shared and has not had the focus yet.
  void start();
  // Runs one command line, as if it had been typed.
  void execute(std::string_view line);
  // The same, with what it prints returned instead (lines end in \r\n).
  std::string output_of(std::string_view line);
  // No more prompts.
  void set_quit() { quit_ = true; }
  // No prompt, and what is typed waits, until resume(). False: nobody waits at this one (its command's output is
  // another's answer).
  bool suspend();
  void resume();
  // Whether the monitor is still there, for what calls back later.
  std::weak_ptr<bool> alive() const { return alive_; }
  // Text of a command; \n starts a line.
  void print(std::string_view text);
  // "Error: ..." of a command that failed; nothing when it did not.
  void report(const Result<void>& result);

  Context& context() { return context_; }
  chardev::Backend& backend() { return backend_; }
  const Readline& readline() const { return readline_; }

  // The CPU that commands act on (`cpu N`), and the last format of x, xp and p.
  unsigned cpu = 0;
  char format = 'x';
  unsigned unit = 4;

  usize can_receive() override;
  void receive(std::span<const u8> data) override;
  void event(chardev::Event event) override;

 private:
  void show_banner();
  void show_prompt();
  void feed();

  chardev::Backend& backend_;
  Context& context_;
  Readline readline_;
  bool shared_;
  bool focused_ = false;
  bool banner_shown_ = false;
  bool quit_ = false;
  bool started_ = false;
  std::string* capture_ = nullptr;
  bool suspended_ = false;
  std::vector<u8> held_;  // typed meanwhile
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::monitor
