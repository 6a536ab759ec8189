// SPDX-License-Identifier: MIT
// A plan as steps on this host, and what making and undoing one takes. A step's record is all that undoing needs: it
// is in the journal (net_journal.h) before the step is made.
//
//   bridge  name mac stp delay hello up      undone: removed, if it is still the one that was made
//   tap     name mac user                    the same
//   macvtap name over mac mode user          the same
//   address name address length              goes with its interface
//   port    name bridge                      taken off the bridge
//   move    from to addresses routes         put back (rtnetlink messages in hexadecimal, see sys/routes.h)
//   sysctl  name was now                     set back, unless another network needs it
//   nat     table network length forwards    removed
//   service name program ...                 ended (net_service.h)
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/json.h"
#include "tool/net_plan.h"

namespace rhea::tool {

struct NetStep {
  std::string text;
  config::Json record;
};

struct NetSteps {
  std::vector<NetStep> steps;
  std::vector<std::string> notes;  // what to know before
  // Of bridged: who has to answer on the bridge; unspecified: nobody.
  IpAddress gateway = IpAddress::v4(0), own = IpAddress::v4(0);
};

// What has to be done on this host as it is now, in order. Errors: the name or the network is in use.
Result<NetSteps> net_steps(const NetPlan& plan);

// Whether a value is a whole record of a step; the other functions take no other.
bool is_record(const config::Json& value);
// Makes a step; `between` is called between its parts. Errors name it.
Result<void> make_step(const config::Json& record, const std::function<void()>& between);
// Undoes one that may have been made, or half; says what it did, empty when nothing was there. `keep`: others still
// need it.
Result<std::string> undo_step(const config::Json& record, bool keep);

}  // namespace rhea::tool
