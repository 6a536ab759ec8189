// SPDX-License-Identifier: MIT
// The option grammar of the command line: "word,key=value,key=value", from text to typed values.
//
//   A comma separates; ",," is a literal comma. A first part without '=' is the value of the implied key
//   ("-netdev user,id=n0": type=user). "help" or "?" as a part of its own asks for help.
//   A later part without '=' is a short boolean where the style allows them ("server" is server=on, "nowait"
//   is wait=off), and an error where it does not.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::config {

enum class Style : u8 {
  classic,  // short booleans are taken
  strict,   // every part but the first needs its '='
};

// One part as it was typed.
struct Part {
  std::string key;
  std::string value;
  bool implied = false;        // the key was not typed
  bool short_boolean = false;  // "server", "nowait"
};

struct ParsedText {
  std::vector<Part> parts;
  bool help = false;  // "help" or "?" stood as a part

  // The last value of a key; nullptr if it was not given.
  const std::string* find(std::string_view key) const;
};

// `implied_key` may be empty: then the first part is like the others. Errors: "Expected '=' after parameter
// 'X'", a part without a name.
Result<ParsedText> parse_options(std::string_view text, std::string_view implied_key, Style style = Style::classic);
// Doubles the commas of a value, so that parse_options gives it back.
std::string quote_value(std::string_view value);

enum class Kind : u8 { text, boolean, number, size, identifier };

// A row of an option's table.
struct Parameter {
  std::string_view name;
  Kind kind;
  std::string_view summary = {};
  bool repeatable = false;  // every value counts; else the last one does
};

// The typed values of an option, checked against its table.
class Values {
 public:
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Absent keys give the value after the name.
  std::string text(std::string_view name, std::string_view absent = {}) const;
  bool boolean(std::string_view name, bool absent) const;
  u64 number(std::string_view name, u64 absent) const;  // also sizes, in bytes
  std::vector<std::string> all(std::string_view name) const;
  // Every part in order, as text.
  struct Item {
    std::string name, text;
    u64 number = 0;  // of booleans, numbers and sizes
  };
  const std::vector<Item>& items() const { return items_; }
  // Short booleans that were used ("server=on" for "server"): some options warn of them.
  const std::vector<std::string>& short_booleans() const { return short_booleans_; }

 private:
  friend Result<Values> read_values(const ParsedText&, std::span<const Parameter>);
  const Item* find(std::string_view name) const;
  std::vector<Item> items_;
  std::vector<std::string> short_booleans_;
};

// Errors: "Invalid parameter 'X' (did you mean 'Y'?)" and those of the conversions below.
Result<Values> read_values(const ParsedText& parsed, std::span<const Parameter> table);
Result<Values> read_options(std::string_view text, std::string_view implied_key, std::span<const Parameter> table,
                            Style style = Style::classic);

// The lines that `,help` prints: "  name=<kind>  - summary", in alphabetical order.
std::string help_lines(std::span<const Parameter> table);

// Conversions. The messages name the parameter and say what it takes.
Result<bool> parse_boolean(std::string_view name, std::string_view text);
Result<u64> parse_unsigned(std::string_view name, std::string_view text);
// A number of bytes: a number, or a number with a fraction and a suffix; `default_suffix` ('M', or 'B') holds
// when there is none.
Result<u64> parse_size(std::string_view name, std::string_view text, char default_suffix = 'B');
// "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."
Result<void> check_identifier(std::string_view name, std::string_view text);
bool is_identifier(std::string_view text);

// "512 MiB", as messages print a size.
std::string print_size(u64 bytes);

}  // namespace rhea::config
