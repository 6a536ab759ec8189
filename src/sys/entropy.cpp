// SPDX-License-Identifier: MIT
#include "sys/entropy.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace rhea::sys {

void fill_random(std::span<u8> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    if (got > 0) bytes = bytes.subspan(static_cast<usize>(got));
    else if (errno != EINTR) std::abort();  // a kernel older than 3.17
  }
}

}  // namespace rhea::sys
