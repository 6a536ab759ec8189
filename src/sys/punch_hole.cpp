// SPDX-License-Identifier: MIT
#include "sys/punch_hole.h"

#include <fcntl.h>

namespace rhea::sys {

void punch_hole(int fd, u64 offset, u64 size) {
  ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size));
}

}  // namespace rhea::sys
