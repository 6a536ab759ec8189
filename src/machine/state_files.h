// SPDX-License-Identifier: MIT
// Where state streams go to and come from: files, and the commands and connections of `migrate`.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "machine/state.h"
#include "sys/file.h"
#include "sys/piped_command.h"
#include "sys/stream.h"

namespace rhea::machine {

// Writes through a descriptor.
class OutputSink : public StateSink {
 public:
  explicit OutputSink(sys::Fd fd) : output_(std::move(fd)) {}
  Result<void> write(std::span<const u8> data) override;
  // What was written has arrived: it is on the disk, the command has ended well.
  virtual Result<void> finish() { return {}; }
  // A write that waits for the other side ends with an error when the flag is set.
  virtual void give_up_when(const std::atomic<bool>& flag) { output_.give_up_when(flag); }

 protected:
  sys::Output output_;
};

class FileSource final : public StateSource {
 public:
  static Result<std::unique_ptr<FileSource>> open(const std::string& path);
  Result<void> read(std::span<u8> data) override;
  bool rewind() override { return at_ = 0, true; }

 private:
  std::shared_ptr<sys::InputFile> file_;
  u64 at_ = 0;
};

// "exec:COMMAND", "file:PATH", "fd:NUMBER" (which is taken over). Errors: "unknown migration protocol: foo:bar", and
// what the host says.
Result<std::unique_ptr<OutputSink>> open_migration_sink(const std::string& uri);
Result<std::unique_ptr<StateSource>> open_migration_source(const std::string& uri);

}  // namespace rhea::machine
