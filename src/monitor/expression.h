// SPDX-License-Identifier: MIT
// Arithmetic on addresses as the monitor takes it: numbers (0x, 0, decimal), 'c', $register, + - * / % & | ^
// ~ ( ). From weak to strong: + -, then & | ^, then * / %, then signs. 64 bits, wrapping.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "util/result.h"
#include "util/types.h"

namespace rhea::monitor {

using RegisterLookup = std::function<std::optional<u64>(std::string_view name)>;

// Takes an expression from the front of `text`, and blanks behind it. Errors: "unexpected end of expression",
// "invalid char 'x' in expression", "unknown register", "division by zero", "')' expected", "number too
// large".
Result<u64> take_expression(std::string_view& text, const RegisterLookup& lookup);

}  // namespace rhea::monitor
