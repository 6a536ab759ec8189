// SPDX-License-Identifier: MIT
// Descriptors between processes (unix(7), SCM_RIGHTS), and programs that are waited for.
#pragma once

#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// A connected pair of unix stream sockets. `theirs` is inherited by programs that are started.
struct DescriptorChannel {
  Fd ours, theirs;
};
Result<DescriptorChannel> descriptor_channel();

// With one byte along. Errors: what the host says.
Result<void> send_descriptor(int channel, int fd);
// Waits for it; an invalid one when the other side closed without sending any.
Fd receive_descriptor(int channel);

// Starts a program (words[0] in PATH; one word with blanks or quotes goes through /bin/sh) with standard streams,
// signals as at the start of this process and the descriptors that are inherited, and waits for its end. Returns the
// status as wait(2) has it. Errors: it cannot be started.
Result<int> run_program(const std::vector<std::string>& words);

// The folder of this program's own file; "" if it cannot be known.
std::string program_folder();

}  // namespace rhea::sys
