// SPDX-License-Identifier: MIT
// Text helpers: splitting, numbers as the command line writes them, and "did you mean".
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/types.h"

namespace rhea {

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string to_lower(std::string_view text);
bool starts_with_nocase(std::string_view text, std::string_view prefix);

// The candidate nearest to a mistyped word, when it is near enough to be worth saying (an edit, an exchange of
// neighbours, a missing or doubled letter: at most a third of the word's length).
std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> candidates);
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);
// " (did you mean 'X'?)" or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

// An unsigned number in decimal, 0x hexadecimal or 0 octal; the whole text must be it.
std::optional<u64> parse_number(std::string_view text);

}  // namespace rhea
