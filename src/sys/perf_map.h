// SPDX-License-Identifier: MIT
// The file by which `perf` names generated code: /tmp/perf-PID.map, lines of "address size name" in hexadecimal.
#pragma once

#include <cstdio>

namespace rhea::sys {

// nullptr when it cannot be made. It stays open until the process ends.
std::FILE* open_perf_map();

}  // namespace rhea::sys
