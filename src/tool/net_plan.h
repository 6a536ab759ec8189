// SPDX-License-Identifier: MIT
// What `rhea net` makes of the host: a plan is read from words, turned into steps, and each step is written into a
// journal before it is made, so that what was made can be undone whenever the program ended.
#pragma once

#include <string>
#include <vector>

#include "config/json.h"
#include "sys/links.h"
#include "sys/nat_table.h"
#include "tool/tool.h"

namespace rhea::tool {

struct NetPlan {
  enum class Kind : u8 { nat, host_only } kind = Kind::nat;
  std::string name;  // of the bridge
  IpAddress network, host;
  unsigned length = 24;
  sys::BridgeOptions bridge;
  std::vector<sys::NatForward> forwards;
};

// "nat NAME [key=value ...]". Errors say what is allowed.
Result<NetPlan> read_net_plan(const Words& words);

// One change of the host. `record` is what undoing needs: {"do": "bridge", ...}.
struct NetStep {
  std::string text;
  config::Json record;
};
// What has to be done on this host as it is now, in order. Errors: the name or the network is in use.
Result<std::vector<NetStep>> net_steps(const NetPlan& plan);
// Whether a value is a whole record of a step; the other functions take no other.
bool is_record(const config::Json& value);
// Makes a step. Errors name it.
Result<void> make_step(const config::Json& record);
// Undoes one that may have been made; says what it did, empty when nothing was there. `keep`: others still need it.
Result<std::string> undo_step(const config::Json& record, bool keep);

}  // namespace rhea::tool
