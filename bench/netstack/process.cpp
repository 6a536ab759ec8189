// SPDX-License-Identifier: MIT
// What processes use, from getrusage() and /proc.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "subject.h"

namespace rhea::bench {

namespace {

u64 number_in(const std::string& path, const char* format) {
  unsigned long long value = 0;
  if (FILE* file = std::fopen(path.c_str(), "r")) {
    if (std::fscanf(file, format, &value) != 1) value = 0;
    std::fclose(file);
  }
  return value;
}

}  // namespace

double Subject::cpu_seconds() const {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

u64 Subject::resident() const { return resident_of(getpid()); }

// schedstat counts nanoseconds on the CPU; of the main thread, and the helpers measured have one.
double cpu_seconds_of(int pid) {
  return static_cast<double>(number_in("/proc/" + std::to_string(pid) + "/schedstat", "%llu")) * 1e-9;
}

u64 resident_of(int pid) {
  return number_in("/proc/" + std::to_string(pid) + "/statm", "%*u %llu") * static_cast<u64>(sysconf(_SC_PAGESIZE));
}

usize open_descriptors() {
  usize count = 0;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (readdir(folder)) ++count;
    closedir(folder);
  }
  return count - 3;  // ".", "..", and the folder itself
}

usize raise_descriptor_limit() {
  constexpr rlim_t kWanted = 131072;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit more{std::max(limit.rlim_max, kWanted), std::max(limit.rlim_max, kWanted)};
  if (setrlimit(RLIMIT_NOFILE, &more) == 0) return more.rlim_cur;  // root may
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace rhea::bench
