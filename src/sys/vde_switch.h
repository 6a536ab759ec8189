// SPDX-License-Identifier: MIT
// Joining a VDE switch (vde_switch(1)): a request goes over the switch's control socket, frames go in datagrams
// between two unix sockets. The port is ours as long as the control connection is.
#pragma once

#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

struct VdeOptions {
  std::string place;  // the switch's folder; "" for where one is looked for
  unsigned port = 0;  // of the switch; 0: the next that is free
  std::string group;  // owner of the data socket's file; "" as it is
  unsigned mode = 0700;
  std::string description;  // as the switch's list of ports shows it
};

struct VdePlug {
  Fd control, data;  // `data` is connected
  std::string path;  // of the data socket's file, which goes with it
  std::string place;
};

// Errors: "Could not open vde: No such file or directory", with what was tried.
Result<VdePlug> plug_into_vde(const VdeOptions& options);

}  // namespace rhea::sys
