// SPDX-License-Identifier: MIT
// A machine's whole state as a stream: what `savevm` keeps and `migrate` sends.
//
// The stream is a header (magic, version) and sections {type u32, length u32, CRC-32 of the content u32, content}:
//   info      when it was made
//   machine   board, CPUs, RAM blocks, device types: what must be the same on both sides
//   clock     virtual time
//   ram       a run of pages of one block: zeros, raw or deflated; every page comes once
//   device    one device's fields (core/state_codec.h), by its number
//   cpu       one CPU's fields
//   end       how many sections came before
// A source that can go back is read twice: nothing of the machine is changed before the whole stream was found good
// and every field was found to fit. From a pipe it is applied as it comes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/snapshot.h"
#include "memory/ram.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::machine {

class Machine;

class StateSink {
 public:
  virtual ~StateSink() = default;
  virtual Result<void> write(std::span<const u8> data) = 0;
};

class StateSource {
 public:
  virtual ~StateSource() = default;
  // Fills all of `data`; an error where the stream ends before.
  virtual Result<void> read(std::span<u8> data) = 0;
  // Back to the start. False: it cannot.
  virtual bool rewind() { return false; }
};

struct StateProgress {
  u64 ram_total = 0, ram_done = 0;  // bytes of guest memory
  u64 zero_pages = 0, normal_pages = 0;
  u64 bytes = 0;  // of the stream
};

struct SaveOptions {
  bool compress = false;
  // Called now and then; false ends the saving with the error "cancelled".
  std::function<bool(const StateProgress&)> progress;
};

// Everything of a machine but the contents of its memory.
struct SavedParts {
  std::vector<u8> shape, clock, info;
  std::vector<std::vector<u8>> devices, cpus;
  std::vector<memory::RamBlock*> ram;
};

// What a stream says of itself in its first section.
struct StateInfo {
  s64 date = 0;     // seconds since 1970
  s64 clock = 0;    // virtual time, ns
  s64 icount = -1;  // instructions, with -icount
  void fields(Visitor& visitor);
};

// The machine must be stopped, and stay so until all is written; save_parts on its loop, under its lock.
StateInfo state_info(Machine& machine);
SavedParts save_parts(Machine& machine);
Result<StateProgress> write_state(const SavedParts& parts, StateSink& sink, const SaveOptions& options);
inline Result<StateProgress> save_machine(Machine& machine, StateSink& sink, const SaveOptions& options) {
  return write_state(save_parts(machine), sink, options);
}
// The first section alone.
Result<StateInfo> read_state_info(StateSource& source);
// Errors tell what does not fit; from a source that can go back the machine is as before then.
// `found_good`: called in between, when the state is known to fit and before anything is changed.
Result<void> load_machine(Machine& machine, StateSource& source, const std::function<Result<void>()>& found_good = {});

// In memory.
class MemorySink final : public StateSink {
 public:
  Result<void> write(std::span<const u8> data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<u8> bytes;
};

class MemorySource final : public StateSource {
 public:
  explicit MemorySource(std::span<const u8> bytes) : bytes_(bytes) {}
  Result<void> read(std::span<u8> data) override;
  bool rewind() override { return at_ = 0, true; }

 private:
  std::span<const u8> bytes_;
  usize at_ = 0;
};

}  // namespace rhea::machine
