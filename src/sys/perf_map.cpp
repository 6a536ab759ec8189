// SPDX-License-Identifier: MIT
#include "sys/perf_map.h"

#include <unistd.h>

#include <string>

namespace rhea::sys {

std::FILE* open_perf_map() { return std::fopen(("/tmp/perf-" + std::to_string(::getpid()) + ".map").c_str(), "w"); }

}  // namespace rhea::sys
