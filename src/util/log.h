// SPDX-License-Identifier: MIT
// The log of `-d ITEMS` and `-D FILE`: one object a machine, handed to whoever writes. Writing is thread-safe;
// a disabled item costs one load and a branch.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>

#include "util/types.h"

namespace rhea {

enum class LogItem : u32 {
  in_asm = 1u << 0,         // guest code of each translated block
  op = 1u << 1,             // its IR
  op_opt = 1u << 2,         // its IR after the passes
  out_asm = 1u << 3,        // the host code made of it
  interrupt = 1u << 4,      // "int": interrupts and exceptions
  exec = 1u << 5,           // each block before it runs
  cpu = 1u << 6,            // CPU state before each block
  mmu = 1u << 7,            // address translation and TLB maintenance
  cpu_reset = 1u << 8,      // CPU state at reset
  unimp = 1u << 9,          // absent or unimplemented hardware that the guest touched
  guest_errors = 1u << 10,  // what the guest did wrong
  nochain = 1u << 11,       // not a log: blocks are not chained, so that exec and cpu see each one
  trace = 1u << 12,         // device register accesses
  net = 1u << 13,           // the user-mode network's flows and drops
};

class Log {
 public:
  Log() = default;
  explicit Log(std::FILE* file) : file_(file) {}
  ~Log() {
    if (owned_) std::fclose(file_);
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool on(LogItem item) const { return mask_.load(std::memory_order_relaxed) & static_cast<u32>(item); }
  u32 mask() const { return mask_.load(std::memory_order_relaxed); }
  void set_mask(u32 mask) { mask_.store(mask, std::memory_order_relaxed); }
  // Sends what follows to a file (owned from now on). The old one, if owned, is closed.
  void redirect(std::FILE* file) {
    std::lock_guard lock(mutex_);
    if (owned_) std::fclose(file_);
    file_ = file;
    owned_ = true;
  }

  template <typename... Args>
  void write(LogItem item, fmt::format_string<Args...> format, Args&&... args) {
    if (on(item)) write_text(fmt::format(format, std::forward<Args>(args)...));
  }
  // Appends a newline when the text has none.
  void write_text(std::string_view text) {
    std::lock_guard lock(mutex_);
    std::fwrite(text.data(), 1, text.size(), file_);
    if (text.empty() || text.back() != '\n') std::fputc('\n', file_);
    std::fflush(file_);
  }

  template <typename... Args>
  void guest_error(fmt::format_string<Args...> format, Args&&... args) {
    write(LogItem::guest_errors, format, std::forward<Args>(args)...);
  }
  template <typename... Args>
  void unimplemented(fmt::format_string<Args...> format, Args&&... args) {
    write(LogItem::unimp, format, std::forward<Args>(args)...);
  }

 private:
  std::FILE* file_ = stderr;
  bool owned_ = false;
  std::atomic<u32> mask_{0};
  std::mutex mutex_;
};

}  // namespace rhea
