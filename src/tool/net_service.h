// SPDX-License-Identifier: MIT
// DHCP and DNS on a network that `rhea net` made: by dnsmasq where it is there, else by a process of Rhea's own, which
// has no rights but a socket for the interface's frames.
#pragma once

#include <string>

#include "config/json.h"
#include "tool/net_plan.h"

namespace rhea::tool {

// Its path; empty when it is not there.
std::string find_dnsmasq();
std::string service_text(const NetPlan& plan, bool own);
// `dnsmasq` empty: Rhea's own.
config::Json service_record(const NetPlan& plan, const std::string& dnsmasq);
bool is_service_record(const config::Json& value);

Result<void> start_service(const config::Json& record);
// Says what it did, empty when there was none.
Result<std::string> end_service(const config::Json& record);
bool service_runs(const config::Json& record);

// The own server's process, "NAME key=value ..." with the user network's options; it returns when it cannot start, and
// in the process that started it.
Result<std::string> serve_network(const Words& words);

// Whether the own server looks at a frame from the network, and lets one out; `server`: its own address.
bool is_for_server(std::span<const u8> frame, const IpAddress& server);
bool is_from_server(std::span<const u8> frame, const IpAddress& server);

}  // namespace rhea::tool
