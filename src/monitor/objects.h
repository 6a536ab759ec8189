// SPDX-License-Identifier: MIT
// What both monitors do with objects and devices; errors' hints are QMP classes.
#pragma once

#include "config/json.h"
#include "machine/object_tree.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

machine::ObjectTree object_tree(Context& context);
Result<config::Json> get_property(Context& context, const std::string& path, const std::string& name);
Result<void> set_property(Context& context, const std::string& path, const std::string& name,
                          const config::Json& value);

using OptionText = std::pair<std::string, std::string>;

// A device at run time: ports of a virtio-serial-device; other buses have no hot-plug. `options`: with `id` and `bus`.
Result<void> add_device(Context& context, const std::string& driver, std::vector<OptionText> options);
Result<void> delete_device(Context& context, const std::string& id);

Result<void> add_object(Context& context, const std::string& type, const std::string& id,
                        std::vector<OptionText> options);
Result<void> delete_object(Context& context, const std::string& id);
Result<void> add_netdev(Context& context, const std::string& type, const std::string& id,
                        std::vector<OptionText> options);

}  // namespace rhea::monitor
