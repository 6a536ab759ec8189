// SPDX-License-Identifier: MIT
// Pseudo terminals, and serial ports of the host.
#pragma once

#include <span>
#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

struct PseudoTerminal {
  Fd master;
  Fd slave;  // kept open, so that the master is never hung up while nobody else has it open
  std::string name;
};
// A raw one, that is not this process's terminal.
Result<PseudoTerminal> open_pseudo_terminal();
// A symbolic link to it, which must not exist.
Result<void> make_link(const std::string& target, const std::string& path);
void remove_link(const std::string& path);

// A terminal device (/dev/ttyS0, /dev/ttyUSB0), set raw: 8 bits, no parity; its speed stays. Non-blocking.
Result<Fd> open_serial_port(const std::string& path);
// Any file for reading and writing (a named pipe: both ends, so that it never ends). Non-blocking.
Result<Fd> open_both(const std::string& path);
Result<Fd> open_input(const std::string& path);

// As much as goes without waiting; would-wait is 0 and errno EAGAIN is `error`.
struct Written {
  usize count = 0;
  int error = 0;
};
Written write_now(int fd, std::span<const u8> data);

}  // namespace rhea::sys
