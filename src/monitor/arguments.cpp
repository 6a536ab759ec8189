// SPDX-License-Identifier: MIT
#include "monitor/arguments.h"

#include <cctype>

#include "config/options.h"

namespace rhea::monitor {

namespace {

bool blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

void skip(std::string_view& text) {
  while (!text.empty() && blank(text[0])) text.remove_prefix(1);
}

// A word, or a text in double quotes with \n, \r, \\, \' and \".
Result<std::string> take_word(std::string_view& text) {
  std::string word;
  if (text[0] != '"') {
    usize end = 0;
    while (end < text.size() && !blank(text[end])) ++end;
    word = std::string(text.substr(0, end));
    text.remove_prefix(end);
    return word;
  }
  text.remove_prefix(1);
  for (;;) {
    if (text.empty()) return Error("unterminated string");
    const char c = text[0];
    text.remove_prefix(1);
    if (c == '"') return word;
    if (c != '\\') {
      word += c;
      continue;
    }
    if (text.empty()) return Error("unterminated string");
    const char escaped = text[0];
    text.remove_prefix(1);
    switch (escaped) {
      case 'n': word += '\n'; break;
      case 'r': word += '\r'; break;
      case '\\':
      case '\'':
      case '"': word += escaped; break;
      default: return Error("unsupported escape code: '\\{}'", escaped);
    }
  }
}

// "10" and "10M" are ten MiB, "512k" is half of one; "4096B" are bytes.
Result<u64> take_size(std::string_view& text) {
  const auto size = config::parse_size("size", RHEA_TRY(take_word(text)), 'M');
  if (!size.ok()) return Error("invalid size");
  return *size;
}

Result<MemoryFormat> take_format(std::string_view& text) {
  MemoryFormat format;
  if (text.empty() || text[0] != '/') return format;
  text.remove_prefix(1);
  if (!text.empty() && std::isdigit(static_cast<unsigned char>(text[0]))) {
    format.count = 0;
    for (; !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])); text.remove_prefix(1))
      if (__builtin_mul_overflow(format.count, u64{10}, &format.count) ||
          __builtin_add_overflow(format.count, static_cast<u64>(text[0] - '0'), &format.count))
        return Error("the count of the format is too large");
  }
  for (; !text.empty() && !blank(text[0]); text.remove_prefix(1)) {
    switch (text[0]) {
      case 'o':
      case 'd':
      case 'u':
      case 'x':
      case 'i':
      case 'c': format.format = text[0]; break;
      case 'b': format.unit = 1; break;
      case 'h': format.unit = 2; break;
      case 'w': format.unit = 4; break;
      case 'g': format.unit = 8; break;
      default: return Error("invalid char in format: '{}'", text[0]);
    }
  }
  return format;
}

}  // namespace

Result<Arguments> read_arguments(std::string_view text, std::string_view pattern, std::string_view name,
                                 const RegisterLookup& lookup) {
  Arguments arguments;
  for (usize i = 0; i < pattern.size(); ++i) {
    const char kind = pattern[i];
    skip(text);
    if (kind == '-') {
      const char flag = pattern[++i];
      if (text.size() < 2 || text[0] != '-' || blank(text[1])) continue;
      const bool more_flags = i + 1 < pattern.size() && pattern[i + 1] == '-';
      if (text[1] != flag && more_flags) continue;
      if (text[1] != flag) return Error("{}: unsupported option -{}", name, text[1]);
      arguments.flags += flag;
      text.remove_prefix(2);
      continue;
    }
    const bool optional = i + 1 < pattern.size() && pattern[i + 1] == '?';
    if (optional) ++i;
    if (optional && text.empty()) continue;
    switch (kind) {
      case 's':
      case 'F':
        if (text.empty()) return Error("{}: {} expected", name, kind == 's' ? "string" : "filename");
        arguments.texts.push_back(RHEA_TRY(take_word(text)));
        break;
      case 'Q':
        if (text.starts_with('"')) {
          arguments.texts.push_back(RHEA_TRY(take_word(text)));
          break;
        }
        [[fallthrough]];
      case 'S':
        if (text.empty()) return Error("{}: string expected", name);
        arguments.texts.emplace_back(text);
        text = {};
        break;
      case 'l': {
        // "16 /tmp/file" is a number and a path, not a division.
        const bool path_follows = pattern.substr(i + 1).starts_with("F");
        std::string_view number = path_follows ? text.substr(0, text.find_first_of(" \t")) : text;
        const usize before = number.size();
        arguments.numbers.push_back(RHEA_TRY(take_expression(number, lookup)));
        text.remove_prefix(before - number.size());
        break;
      }
      case 'o':
        if (text.empty()) return Error("{}: size expected", name);
        arguments.numbers.push_back(RHEA_TRY(take_size(text)));
        break;
      case '/': arguments.memory = RHEA_TRY(take_format(text)); break;
      case 'b': {
        const std::string word = text.empty() ? std::string() : RHEA_TRY(take_word(text));
        if (word != "on" && word != "off") return Error("Expected 'on' or 'off'");
        arguments.on = word == "on";
        break;
      }
      default: break;
    }
  }
  skip(text);
  if (!text.empty()) return Error("{}: extraneous characters at the end of line", name);
  return arguments;
}

}  // namespace rhea::monitor
