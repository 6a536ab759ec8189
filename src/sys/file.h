// SPDX-License-Identifier: MIT
// Whole files.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

// A file that stays open for reading by position.
class InputFile;

// A regular file in a folder or below it, and nowhere else, whatever dots and links in `name` say (openat2
// RESOLVE_BENEATH, Linux 5.6). Null with an errno: EXDEV when the name leads out.
std::shared_ptr<InputFile> open_beneath(const std::string& folder, const std::string& name, int& error);

// The bytes of a file. Errors: what open or read says, and files over `limit` bytes (devices that never end).
Result<std::vector<u8>> read_file(const std::string& path, u64 limit = u64{1} << 31);
// Replaces a file.
Result<void> write_file(const std::string& path, const std::vector<u8>& data);

// Replaces a file as a whole, with these pieces one behind the other: who reads it sees the old or the new one. Only
// this user may read it. Errors: what the host says; the old file is still there then.
Result<void> replace_file(const std::string& path, std::span<const std::span<const u8>> pieces);
bool is_folder(const std::string& path);
// Removes files of a folder whose names begin so, but for the `keep` that were changed last.
void prune_files(const std::string& folder, const std::string& prefix, usize keep);

class InputFile {
 public:
  // Errors: what open says; directories and devices are no such files.
  static Result<std::shared_ptr<InputFile>> open(const std::string& path);
  u64 size() const { return size_; }
  const std::string& path() const { return path_; }
  // Fills all of `data`; an error where the file is shorter (it may have shrunk).
  Result<void> read_at(u64 offset, std::span<u8> data) const;

 private:
  friend std::shared_ptr<InputFile> open_beneath(const std::string&, const std::string&, int&);
  Fd fd_;
  u64 size_ = 0;
  std::string path_;
};

}  // namespace rhea::sys
