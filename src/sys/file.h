// SPDX-License-Identifier: MIT
// Whole files.
#pragma once

#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

// The bytes of a file. Errors: what open or read says, and files over `limit` bytes (devices that never end).
Result<std::vector<u8>> read_file(const std::string& path, u64 limit = u64{1} << 31);
// Replaces a file.
Result<void> write_file(const std::string& path, const std::vector<u8>& data);

}  // namespace rhea::sys
