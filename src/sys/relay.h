// SPDX-License-Identifier: MIT
// Bytes between two connected streams, by a thread of their own.
#pragma once

#include <span>
#include <string_view>

#include "util/types.h"

namespace rhea::sys {

// Copies both ways until both have ended. The end of one direction is passed on alone; a connection that breaks resets
// the other. Both are left for their owners to close.
void relay_streams(int a, int b);

enum class Waited : u8 { ready, late, gone };
// Waits so many ms until `fd` is readable. `other`, if it is not -1: gone when that one has broken, or both of its
// directions ended.
Waited wait_readable_for(int fd, unsigned milliseconds, int other = -1);

// Sends all, waiting where it must. False: the other side is gone.
bool send_whole(int fd, std::string_view data);
// Says no more, and waits for the other side's end (some seconds at most, reading what it says), so that it gets what
// was sent.
void close_politely(int fd);
// Reading and writing end now, also those of another thread.
void break_off(int fd);

}  // namespace rhea::sys
