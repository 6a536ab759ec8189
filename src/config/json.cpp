// SPDX-License-Identifier: MIT
// A stack of open objects and lists, each with what may come next in it; a small lexer for strings and words.
//
// After an error: bytes that no text has (control characters, broken UTF-8) drop all that was begun, and the
// next brace or line starts anew. An error of grammar drops what was begun too, and skips to the end of the
// line, or to where the braces that were open are closed. A brace at the start of a line where none may be is
// taken for the next command: the closing brace before it is what was forgotten.
#include "config/json.h"

#include <algorithm>
#include <cmath>

namespace rhea::config {

namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '+' ||
         c == '.' || c == '_';
}

void put_utf8(std::string& text, u32 code) {
  const auto put = [&text](u32 byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 63));
    put(0x80 | (code >> 6 & 63));
    put(0x80 | (code & 63));
  }
}

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text) {
  for (usize i = 0; i < text.size();) {
    const u8 first = static_cast<u8>(text[i++]);
    if (first < 0x80) continue;
    const unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || i + more > text.size()) return false;
    u32 code = first & (0x3f >> more);
    for (unsigned k = 0; k < more; ++k) {
      const u8 next = static_cast<u8>(text[i++]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 63);
    }
    constexpr u32 kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (code < kLeast[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  }
  return true;
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<u8>(c) < 32 || c == 127) out += fmt::format("\\u{:04x}", static_cast<u8>(c));
        else out += c;
    }
  }
  out += '"';
}

class Writer {
 public:
  explicit Writer(bool pretty) : pretty_(pretty) {}
  std::string out;

  void write(const Json& value, unsigned level) {
    if (value.is_object() || value.is_array()) {
      write_items(value, level);
    } else if (value.is_string()) {
      const std::string& text = value.get_ref<const std::string&>();
      write_string(out, is_utf8(text) ? text : replaced(text));
    } else {
      out += value.dump();
    }
  }

 private:
  // Text of a guest or a file that is no UTF-8.
  static std::string replaced(const std::string& text) {
    std::string clean;
    for (const char c : text) clean += static_cast<u8>(c) < 0x80 ? std::string(1, c) : std::string("\xef\xbf\xbd");
    return clean;
  }

  void write_items(const Json& value, unsigned level) {
    const bool object = value.is_object();
    out += object ? '{' : '[';
    bool first = true;
    for (auto item = value.begin(); item != value.end(); ++item) {
      if (!first) out += pretty_ ? "," : ", ";
      first = false;
      new_line(level + 1);
      if (object) {
        write_string(out, item.key());
        out += ": ";
      }
      write(*item, level + 1);
    }
    if (!first) new_line(level);
    out += object ? '}' : ']';
  }

  void new_line(unsigned level) {
    if (!pretty_) return;
    out += '\n';
    out.append(usize{4} * level, ' ');
  }
  bool pretty_;
};

}  // namespace

std::string json_text(const Json& value, bool pretty) {
  Writer writer(pretty);
  writer.write(value, 0);
  return std::move(writer.out);
}

Result<Json> parse_json(std::string_view text) {
  JsonStream stream;
  std::vector<Result<Json>> found;
  const auto sink = [&](Result<Json> value) { found.push_back(std::move(value)); };
  stream.feed(text, sink);
  stream.finish(sink);
  if (found.empty()) return Error("JSON parse error, expecting value");
  if (!found[0].ok()) return std::move(found[0].error());
  if (found.size() > 1 || !stream.idle()) return Error("JSON parse error, something follows the value, or is missing");
  return found[0].take();
}

void JsonStream::reset() {
  stack_.clear();
  text_.clear();
  lexer_ = Lexer::between;
  bytes_ = 0;
  high_surrogate_ = 0;
}

void JsonStream::fail(const std::string& what, Lexer next, const Sink& sink) {
  skip_depth_ = stack_.size();
  reset();
  lexer_ = next == Lexer::skip_line && skip_depth_ == 0 ? Lexer::between : next;
  skip_quote_ = 0;
  skip_escape_ = false;
  sink(Error("JSON parse error, {}", what));
}

void JsonStream::feed(std::string_view bytes, const Sink& sink) {
  for (const char c : bytes) {
    if (++bytes_ > kMostBytes && (!stack_.empty() || lexer_ != Lexer::between)) {
      if (lexer_ != Lexer::skip_line && lexer_ != Lexer::skip_garbage)
        fail(fmt::format("a command has at most {} bytes", kMostBytes), Lexer::skip_line, sink);
      bytes_ = 0;
    }
    while (!take(c, sink)) {}
    if (c == '\n') line_begins_ = true;
    else if (c != ' ' && c != '\t' && c != '\r') line_begins_ = false;
  }
}

void JsonStream::finish(const Sink& sink) {
  if (lexer_ == Lexer::word) end_word(sink);
}

bool JsonStream::take(char c, const Sink& sink) {
  const u8 byte = static_cast<u8>(c);
  switch (lexer_) {
    case Lexer::skip_garbage:
      if (c == '{' || c == '[') {
        lexer_ = Lexer::between;
        return false;
      }
      if (c == '\n' || c == '\r') lexer_ = Lexer::between;
      return true;
    case Lexer::skip_line:
      if (c == '\n') {
        lexer_ = Lexer::between;
      } else if (skip_quote_) {
        if (skip_escape_) skip_escape_ = false;
        else if (c == '\\') skip_escape_ = true;
        else if (c == skip_quote_) skip_quote_ = 0;
      } else if (c == '"' || c == '\'') {
        skip_quote_ = c;
      } else if (c == '{' || c == '[') {
        ++skip_depth_;
      } else if ((c == '}' || c == ']') && --skip_depth_ == 0) {
        lexer_ = Lexer::between;
      }
      return true;
    case Lexer::string:
    case Lexer::escape:
    case Lexer::unicode: take_string(c, sink); return true;
    case Lexer::word:
      if (is_word(c) && text_.size() < 64) {
        text_ += c;
        return true;
      }
      end_word(sink);
      return false;
    case Lexer::between: break;
  }
  if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return true;
  if (byte < 32 || byte >= 127 || c == '%') {
    fail(fmt::format("stray byte 0x{:02x}", byte), Lexer::skip_garbage, sink);
  } else if (c == '"' || c == '\'') {
    quote_ = c;
    lexer_ = Lexer::string;
  } else if (is_word(c)) {
    text_ = c;
    lexer_ = Lexer::word;
  } else {
    structural(c, sink);
  }
  return true;
}

void JsonStream::take_string(char c, const Sink& sink) {
  // Skipping starts within the string.
  const auto give_up = [&](const char* what) {
    fail(what, Lexer::skip_line, sink);
    if (lexer_ == Lexer::skip_line && c != quote_) skip_quote_ = quote_;
  };
  const u8 byte = static_cast<u8>(c);
  if (byte < 32 || byte == 0xc0 || byte == 0xc1 || byte > 0xf4) {
    fail("invalid byte in a string", c == '\n' ? Lexer::between : Lexer::skip_garbage, sink);
    return;
  }
  if (lexer_ == Lexer::string) {
    if (c != '\\' && high_surrogate_) {
      give_up("half a surrogate pair in a string");
    } else if (c == quote_) {
      end_string(sink);
    } else if (c == '\\') {
      lexer_ = Lexer::escape;
    } else {
      text_ += c;
    }
    return;
  }
  if (lexer_ == Lexer::escape) {
    constexpr std::string_view kNames = "bfnrt\"'\\/", kMeant = "\b\f\n\r\t\"'\\/";
    const usize at = kNames.find(c);
    if (c == 'u') {
      lexer_ = Lexer::unicode;
      digits_ = 0;
      unicode_ = 0;
    } else if (at == kNames.npos || high_surrogate_) {
      give_up("invalid escape sequence in a string");
    } else {
      text_ += kMeant[at];
      lexer_ = Lexer::string;
    }
    return;
  }
  const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  if (digit < 0) return give_up("invalid hexadecimal digit in a string");
  unicode_ = unicode_ << 4 | static_cast<u32>(digit);
  if (++digits_ < 4) return;
  lexer_ = Lexer::string;
  const bool low = unicode_ >= 0xdc00 && unicode_ < 0xe000, high = unicode_ >= 0xd800 && unicode_ < 0xdc00;
  if (low != (high_surrogate_ != 0) || unicode_ == 0) return give_up("invalid character in a string");
  if (low) put_utf8(text_, 0x10000 + ((high_surrogate_ - 0xd800) << 10) + (unicode_ - 0xdc00));
  else if (!high) put_utf8(text_, unicode_);
  high_surrogate_ = high ? unicode_ : 0;
}

void JsonStream::end_string(const Sink& sink) {
  lexer_ = Lexer::between;
  std::string text = std::move(text_);
  text_.clear();
  if (!is_utf8(text)) return fail("invalid UTF-8 in a string", Lexer::skip_line, sink);
  if (!stack_.empty() && (stack_.back().expect == Expect::key || stack_.back().expect == Expect::key_or_end)) {
    Frame& top = stack_.back();
    if (top.value.contains(text)) return fail("duplicate key", Lexer::skip_line, sink);
    top.key = std::move(text);
    top.expect = Expect::colon;
    return;
  }
  add(Json(std::move(text)), sink);
}

void JsonStream::end_word(const Sink& sink) {
  lexer_ = Lexer::between;
  const std::string text = std::move(text_);
  text_.clear();
  if (text == "true") return add(Json(true), sink);
  if (text == "false") return add(Json(false), sink);
  if (text == "null") return add(Json(nullptr), sink);
  const bool number = text[0] == '-' || (text[0] >= '0' && text[0] <= '9');
  const Json value = number ? Json::parse(text, nullptr, false) : Json(Json::value_t::discarded);
  if (value.is_discarded() || (value.is_number_float() && !std::isfinite(value.get<double>())))
    return fail(fmt::format("invalid {} '{}'", number ? "number" : "keyword", text), Lexer::skip_line, sink);
  add(value, sink);
}

bool JsonStream::want_value() const {
  return stack_.empty() || stack_.back().expect == Expect::value || stack_.back().expect == Expect::value_or_end;
}

void JsonStream::structural(char c, const Sink& sink) {
  switch (c) {
    case '{':
    case '[': return open(c, sink);
    case '}':
    case ']': return close(c, sink);
    case ':':
      if (!stack_.empty() && stack_.back().expect == Expect::colon) {
        stack_.back().expect = Expect::value;
        return;
      }
      return fail("stray ':'", Lexer::skip_line, sink);
    case ',':
      if (!stack_.empty() && stack_.back().expect == Expect::comma_or_end) {
        stack_.back().expect = stack_.back().value.is_object() ? Expect::key : Expect::value;
        return;
      }
      return fail("expecting value", Lexer::skip_line, sink);
    default: return fail(fmt::format("stray '{}'", c), Lexer::skip_line, sink);
  }
}

void JsonStream::open(char c, const Sink& sink) {
  if (!want_value()) {
    const bool next_command = line_begins_ && c == '{';
    fail("a brace is missing before '{'", Lexer::skip_line, sink);
    if (next_command) {
      lexer_ = Lexer::between;
      return open(c, sink);
    }
    if (lexer_ == Lexer::skip_line) ++skip_depth_;
    return;
  }
  if (stack_.size() >= kMostDepth) {
    fail(fmt::format("it is nested more than {} deep", kMostDepth), Lexer::skip_line, sink);
    ++skip_depth_;
    return;
  }
  if (stack_.empty()) bytes_ = 1;
  const bool object = c == '{';
  stack_.push_back({object ? Json::object() : Json::array(), {}, object ? Expect::key_or_end : Expect::value_or_end});
}

void JsonStream::close(char c, const Sink& sink) {
  const bool object = c == '}';
  const Expect begun = object ? Expect::key_or_end : Expect::value_or_end;
  if (stack_.empty() || stack_.back().value.is_object() != object ||
      (stack_.back().expect != begun && stack_.back().expect != Expect::comma_or_end)) {
    const bool mismatched = stack_.empty() || stack_.back().value.is_object() != object;
    fail(fmt::format("unexpected '{}'", c), Lexer::skip_line, sink);
    if (mismatched || --skip_depth_ == 0) lexer_ = Lexer::between;
    return;
  }
  Json value = std::move(stack_.back().value);
  stack_.pop_back();
  add(std::move(value), sink);
}

void JsonStream::add(Json value, const Sink& sink) {
  if (stack_.empty()) {
    bytes_ = 0;
    sink(std::move(value));
    return;
  }
  Frame& top = stack_.back();
  if (!want_value()) return fail("expecting ',' or the end", Lexer::skip_line, sink);
  if (top.value.is_object()) top.value[top.key] = std::move(value);
  else top.value.push_back(std::move(value));
  top.expect = Expect::comma_or_end;
}

}  // namespace rhea::config
