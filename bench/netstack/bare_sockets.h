// SPDX-License-Identifier: MIT
#pragma once

#include "jobs.h"

namespace rhea::bench {

// The job to-guest or to-host with nothing between the host's sockets and a buffer.
JobResult run_bare_sockets(const JobOptions& options, bool to_host);

}  // namespace rhea::bench
