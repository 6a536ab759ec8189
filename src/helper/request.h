// SPDX-License-Identifier: MIT
// rhea-bridge-helper: puts a new tap on a bridge for a program that may not, and passes the tap's descriptor to it.
// The same command line and protocol as QEMU's helper: either takes the other's place.
//
// It is made to be setuid root, so: it takes three options and no environment; rights other than those of
// CAP_NET_ADMIN are given up before anything of the caller's is read; files that say who may do what have to be
// root's.
#pragma once

#include <span>
#include <string>

#include "util/result.h"

namespace rhea::helper {

struct Request {
  std::string bridge;
  int fd = -1;  // the unix socket that the descriptor goes to
  bool header = false;
};

// `--use-vnet --br=BRIDGE --fd=N`. Errors say what it takes.
Result<Request> parse_request(std::span<const std::string> words);

// Does all of it. Errors are for the user.
Result<void> serve(const Request& request);

}  // namespace rhea::helper
