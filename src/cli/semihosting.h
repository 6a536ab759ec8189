// SPDX-License-Identifier: MIT
// Arm semihosting on the host's files and a console (Semihosting for AArch32 and AArch64, release 2.0,
// chapters 5 to 7).
#pragma once

#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "chardev/backend.h"
#include "core/event_loop.h"
#include "core/semihosting.h"

namespace rhea::cli {

class HostSemihosting final : public Semihosting, public chardev::Frontend {
 public:
  struct Setup {
    EventLoop& loop;
    chardev::Backend* console = nullptr;  // nullptr: standard output, error and input
    std::string command_line;
    u32 ram_base = 0, ram_end = 0;  // for SYS_HEAPINFO
    std::function<void(int status)> exit;
  };
  explicit HostSemihosting(Setup setup);
  ~HostSemihosting() override;

  Answer call(u32 operation, u32 parameter, SemihostingMemory& memory) override;

  usize can_receive() override;
  void receive(std::span<const u8> data) override;

 private:
  enum class Kind : u8 { file, features, console_in, console_out, console_error };
  struct Handle {
    Kind kind = Kind::file;
    std::FILE* file = nullptr;
    usize position = 0;  // in `features`
  };
  class Block;
  Answer open(Block& block);
  Answer close(u32 handle);
  Answer write(Block& block, SemihostingMemory& memory);
  Answer read(Block& block, SemihostingMemory& memory);
  Answer read_character();
  Answer seek(u32 handle, u32 position);
  Answer length(u32 handle);
  Answer temporary_name(Block& block, SemihostingMemory& memory);
  Answer remove(Block& block);
  Answer rename(Block& block);
  Answer command_line(Block& block, SemihostingMemory& memory);
  Answer heap_info(Block& block, SemihostingMemory& memory);
  Answer elapsed(u32 parameter, SemihostingMemory& memory);
  Answer fail(int error);
  Handle* find(u32 handle);
  void print(std::span<const u8> data, bool error);
  usize take_input(std::span<u8> to);

  Setup setup_;
  s64 started_;
  std::map<u32, Handle> handles_;
  int errno_ = 0;
  std::mutex mutex_;  // of all of it: any CPU may call
  std::deque<u8> input_;
};

}  // namespace rhea::cli
