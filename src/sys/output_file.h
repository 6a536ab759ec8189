// SPDX-License-Identifier: MIT
// A file that is made anew and written by position.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

class OutputFile {
 public:
  // An old file of that name loses its contents. Errors: what open says.
  static Result<std::unique_ptr<OutputFile>> create(const std::string& path);
  explicit OutputFile(Fd fd) : fd_(std::move(fd)) {}
  // All of `data`; an error where the host does not take it (a full disk).
  Result<void> write_at(u64 offset, std::span<const u8> data);

 private:
  Fd fd_;
};

}  // namespace rhea::sys
