// SPDX-License-Identifier: MIT
// `-object memory-backend-memfd|file|ram,id=mem,size=512M,...`: what the guest's RAM lies in, once -machine
// memory-backend=mem names it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "machine/machine.h"
#include "util/result.h"

namespace rhea::cli {

inline constexpr std::string_view kMemoryBackends = "memory-backend-";

// Errors: "Parameter 'size' is missing", "Invalid parameter 'x'", and what Rhea does not have.
Result<machine::RamBackend> read_memory_backend(const std::string& type, const std::string& id,
                                                const std::vector<std::pair<std::string, std::string>>& options);
// What `-object TYPE,help` prints.
std::string memory_backend_help(const std::string& type);

}  // namespace rhea::cli
