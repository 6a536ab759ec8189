// SPDX-License-Identifier: MIT
#include "config/options.h"

#include <algorithm>

#include "util/text.h"

namespace rhea::config {

namespace {

// The text up to the next single comma, with doubled ones made single; `at` moves behind the comma.
std::string take_part(std::string_view text, usize& at) {
  std::string part;
  while (at < text.size()) {
    if (text[at] == ',') {
      if (at + 1 >= text.size() || text[at + 1] != ',') {
        ++at;
        break;
      }
      ++at;
    }
    part += text[at++];
  }
  return part;
}

Part short_boolean(std::string_view word) {
  Part part{.key = std::string(word), .value = "on", .short_boolean = true};
  if (word.size() > 2 && word.starts_with("no")) {
    part.key = std::string(word.substr(2));
    part.value = "off";
  }
  return part;
}

// A short boolean whose name has "no" in front by itself ("node" is no "de=off") is what the table says it
// is.
Part match_short(const Part& part, std::span<const Parameter> table) {
  if (!part.short_boolean || part.value != "off") return part;
  const std::string whole = "no" + part.key;
  for (const Parameter& row : table)
    if (row.name == whole) return Part{.key = whole, .value = "on", .short_boolean = true};
  return part;
}

const Parameter* find_row(std::span<const Parameter> table, std::string_view name) {
  for (const Parameter& row : table)
    if (row.name == name) return &row;
  return nullptr;
}

Result<u64> convert(const Parameter& row, const std::string& text) {
  switch (row.kind) {
    case Kind::boolean: return u64{RHEA_TRY(parse_boolean(row.name, text))};
    case Kind::number: return parse_unsigned(row.name, text);
    case Kind::size: return parse_size(row.name, text);
    case Kind::identifier: RHEA_TRY(check_identifier(row.name, text)); return u64{0};
    case Kind::text: break;
  }
  return u64{0};
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::boolean: return "<bool (on/off)>";
    case Kind::number: return "<num>";
    case Kind::size: return "<size>";
    case Kind::identifier: return "<id>";
    case Kind::text: break;
  }
  return "<str>";
}

constexpr const char* kSizeHint =
    "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.";
constexpr const char* kIdentifierHint =
    "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.";

}  // namespace

const std::string* ParsedText::find(std::string_view key) const {
  const std::string* found = nullptr;
  for (const Part& part : parts)
    if (part.key == key) found = &part.value;
  return found;
}

Result<ParsedText> parse_options(std::string_view text, std::string_view implied_key, Style style) {
  ParsedText parsed;
  usize at = 0;
  for (bool first = true; at < text.size(); first = false) {
    const std::string part = take_part(text, at);
    const usize equals = part.find('=');
    if (equals == 0) return Error("Expected a parameter's name before '{}'", part);
    if (equals != part.npos) {
      parsed.parts.push_back({.key = part.substr(0, equals), .value = part.substr(equals + 1)});
    } else if (part == "help" || part == "?") {
      parsed.help = true;
    } else if (first && !implied_key.empty()) {
      parsed.parts.push_back({.key = std::string(implied_key), .value = part, .implied = true});
    } else if (style == Style::strict) {
      return Error("Expected '=' after parameter '{}'", part);
    } else if (!part.empty()) {
      parsed.parts.push_back(short_boolean(part));
    }
  }
  return parsed;
}

std::string quote_value(std::string_view value) {
  std::string quoted;
  for (const char c : value) {
    quoted += c;
    if (c == ',') quoted += ',';
  }
  return quoted;
}

const Values::Item* Values::find(std::string_view name) const {
  const Item* found = nullptr;
  for (const Item& item : items_)
    if (item.name == name) found = &item;
  return found;
}

std::string Values::text(std::string_view name, std::string_view absent) const {
  const Item* item = find(name);
  return item ? item->text : std::string(absent);
}

bool Values::boolean(std::string_view name, bool absent) const {
  const Item* item = find(name);
  return item ? item->number != 0 : absent;
}

u64 Values::number(std::string_view name, u64 absent) const {
  const Item* item = find(name);
  return item ? item->number : absent;
}

std::vector<std::string> Values::all(std::string_view name) const {
  std::vector<std::string> found;
  for (const Item& item : items_)
    if (item.name == name) found.push_back(item.text);
  return found;
}

Result<Values> read_values(const ParsedText& parsed, std::span<const Parameter> table) {
  Values values;
  for (const Part& typed : parsed.parts) {
    const Part part = match_short(typed, table);
    const Parameter* row = find_row(table, part.key);
    if (!row) {
      std::vector<std::string> names;
      for (const Parameter& candidate : table) names.emplace_back(candidate.name);
      return Error("Invalid parameter '{}'{}", part.key, did_you_mean(part.key, names));
    }
    if (part.short_boolean && row->kind != Kind::boolean)
      return Error("Parameter '{}' needs a value: {}={}", row->name, row->name, kind_name(row->kind));
    if (part.short_boolean) values.short_booleans_.push_back(part.key + "=" + part.value);
    const u64 number = RHEA_TRY(convert(*row, part.value));
    values.items_.push_back({part.key, part.value, number});
  }
  return values;
}

Result<Values> read_options(std::string_view text, std::string_view implied_key, std::span<const Parameter> table,
                            Style style) {
  return read_values(RHEA_TRY(parse_options(text, implied_key, style)), table);
}

std::string help_lines(std::span<const Parameter> table) {
  std::vector<std::string> lines;
  for (const Parameter& row : table) {
    std::string line = fmt::format("  {}={}", row.name, kind_name(row.kind));
    if (!row.summary.empty()) line = fmt::format("{:<24} - {}", line, row.summary);
    lines.push_back(line + "\n");
  }
  std::sort(lines.begin(), lines.end());
  return join(lines, "");
}

Result<bool> parse_boolean(std::string_view name, std::string_view text) {
  for (const std::string_view yes : {"on", "yes", "true", "y"})
    if (text == yes) return true;
  for (const std::string_view no : {"off", "no", "false", "n"})
    if (text == no) return false;
  return Error("Parameter '{}' expects 'on' or 'off'", name);
}

Result<u64> parse_unsigned(std::string_view name, std::string_view text) {
  if (const auto number = parse_number(text)) return *number;
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  if (digits && text[0] != '0') return Error("Value '{}' is too large for parameter '{}'", text, name);
  return Error("Parameter '{}' expects a number", name);
}

Result<u64> parse_size(std::string_view name, std::string_view typed, char default_suffix) {
  const auto wrong = [&] {
    return Error("Parameter '{}' expects a non-negative number below 2^64", name).with_hint(kSizeHint);
  };
  const auto out_of_range = [&] { return Error("Value '{}' is out of range for parameter '{}'", typed, name); };
  std::string_view text = typed;
  constexpr std::string_view kSuffixes = "bkmgtpe";
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  char suffix = default_suffix;
  if (!text.empty() && !(text.back() >= '0' && text.back() <= '9') && !(hexadecimal && (text.back() | 32) <= 'f')) {
    suffix = text.back();
    text.remove_suffix(1);
  }
  const usize power = kSuffixes.find(static_cast<char>(suffix | 0x20));
  if (power == kSuffixes.npos || text.empty()) return wrong();
  const unsigned shift = static_cast<unsigned>(10 * power);
  std::string_view fraction;
  if (const usize point = text.find('.'); point != text.npos) {
    fraction = text.substr(point + 1);
    text = text.substr(0, point);
    if (fraction.find_first_not_of("0123456789") != fraction.npos || shift == 0) return wrong();
  }
  // Sizes are decimal or hexadecimal, never octal: "-m 0512" is 512 MiB.
  if (!hexadecimal) text.remove_prefix(std::min(text.find_first_not_of('0'), text.empty() ? 0 : text.size() - 1));
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  const auto number = parse_number(text);
  if (!number) return digits ? out_of_range() : wrong();
  if (shift && *number >> (64 - shift)) return out_of_range();
  u64 bytes = *number << shift;
  u64 scale = u64{1} << shift;
  for (const char digit : fraction) {  // each decimal place, rounded down to bytes
    if (scale < 10) break;
    bytes += scale * static_cast<u64>(digit - '0') / 10;
    scale /= 10;
  }
  return bytes;
}

bool is_identifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || !letter(text[0])) return false;
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; });
}

Result<void> check_identifier(std::string_view name, std::string_view text) {
  if (is_identifier(text)) return {};
  return Error("Parameter '{}' expects an identifier", name).with_hint(kIdentifierHint);
}

std::string print_size(u64 bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  unsigned unit = 0;
  while (unit < 6 && bytes && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

}  // namespace rhea::config
