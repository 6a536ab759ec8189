// SPDX-License-Identifier: MIT
// The types of commands and events, in a small language:
//   str int bool number any      values
//   [T]                          a list
//   <a|b|c>                      one of these words
//   {name:T,*name:T}             an object; * marks a member that may be absent
//   {name:T,...}                 and others, which the command checks itself
// A command's arguments are the inside of an object's braces.
#pragma once

#include "config/json.h"

namespace rhea::monitor {

// Whether a value is of a type. Errors: "Parameter 'x' is missing", "Parameter 'x' is unexpected", "Invalid
// parameter type for 'x', expected: boolean", "Parameter 'x' does not accept value 'y'".
Result<void> check_arguments(const config::Json& arguments, std::string_view type);

// What query-qmp-schema returns, made from the tables.
config::Json qmp_schema();

}  // namespace rhea::monitor
