// SPDX-License-Identifier: MIT
#include "util/text.h"

#include <algorithm>
#include <cctype>

namespace rhea {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  usize start = 0;
  for (;;) {
    const usize end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end == text.npos ? text.npos : end - start));
    if (end == text.npos) return parts;
    start = end + 1;
  }
}

std::string_view trim(std::string_view text) {
  const char* blanks = " \t\r\n";
  const usize first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool starts_with_nocase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && to_lower(text.substr(0, prefix.size())) == to_lower(prefix);
}

namespace {

// Optimal string alignment distance: insertions, deletions, changes and exchanges of neighbours.
usize edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<usize>> cost(a.size() + 1, std::vector<usize>(b.size() + 1));
  for (usize i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (usize j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (usize i = 1; i <= a.size(); ++i) {
    for (usize j = 1; j <= b.size(); ++j) {
      const usize change = a[i - 1] == b[j - 1] ? 0 : 1;
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

template <typename Candidates>
std::optional<std::string> nearest_of(std::string_view word, const Candidates& candidates) {
  const std::string lower = to_lower(word);
  usize best = std::max<usize>(1, word.size() / 3) + 1;
  std::optional<std::string> found;
  for (const auto& candidate : candidates) {
    if (word.size() > 64 || candidate.size() > 64) continue;
    const usize distance = edit_distance(lower, to_lower(candidate));
    if (distance < best) {
      best = distance;
      found = std::string(candidate);
    }
  }
  return found;
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> candidates) {
  return nearest_of(word, candidates);
}
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
  return nearest_of(word, candidates);
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const auto found = nearest(word, candidates);
  return found ? " (did you mean '" + *found + "'?)" : std::string();
}

std::optional<u64> parse_number(std::string_view text) {
  unsigned base = 10;
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  if (text.empty()) return std::nullopt;
  u64 value = 0;
  for (const char c : text) {
    unsigned digit;
    if (c >= '0' && c <= '9') digit = c - '0';
    else if (std::isxdigit(static_cast<unsigned char>(c))) digit = (c | 0x20) - 'a' + 10;
    else return std::nullopt;
    if (digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
      return std::nullopt;
  }
  return value;
}

}  // namespace rhea
