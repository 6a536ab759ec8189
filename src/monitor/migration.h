// SPDX-License-Identifier: MIT
// What both monitors do with migrations.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "machine/snapshots.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

// What can be turned on and off, by QEMU's names.
inline std::vector<std::pair<std::string, bool*>> migration_capabilities(Context& context) {
  machine::Snapshots& snapshots = context.machine.snapshots();
  return {{"compress", &snapshots.compress}, {"events", &snapshots.tell_events}};
}

inline Result<void> set_migration_capability(Context& context, const std::string& name, bool on) {
  for (const auto& [known, value] : migration_capabilities(context)) {
    if (known != name) continue;
    if (context.machine.snapshots().migrating()) return Error("There's a migration process in progress");
    *value = on;
    return {};
  }
  return Error("there is no capability '{}': Rhea has 'compress' and 'events'", name);
}

}  // namespace rhea::monitor
