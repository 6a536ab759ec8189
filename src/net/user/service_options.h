// SPDX-License-Identifier: MIT
// Options of `-netdev user` beyond addresses: boot files, shares, leases, names, how forwards listen.
#pragma once

#include "net/user/config.h"

namespace rhea::net::user {

// An option that is in the table and no address. Errors as for parse_user_options.
Result<void> take_service_option(const std::string& name, const std::string& value, UserConfig& config);

}  // namespace rhea::net::user
