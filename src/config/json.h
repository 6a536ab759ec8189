// SPDX-License-Identifier: MIT
// JSON as the control connection speaks it: values (nlohmann's, members in the order they were written),
// their text, and a parser that takes a stream piece by piece.
//
// The parser is strict about grammar as it goes, so that an error is found at the byte where it is, and what
// follows is read again from there: an unbalanced brace costs the command it is in, not those behind it.
// Strings may stand in single quotes.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::config {

using Json = nlohmann::ordered_json;

// {"a": 1, "b": [2, 3]} in one line, or over several with four blanks a level.
std::string json_text(const Json& value, bool pretty = false);
// A whole text. Errors: "JSON parse error, ...".
Result<Json> parse_json(std::string_view text);

class JsonStream {
 public:
  static constexpr usize kMostDepth = 256;
  static constexpr usize kMostBytes = usize{1} << 20;  // of one value

  using Sink = std::function<void(Result<Json>)>;
  // Every value that is complete, and every error, goes to the sink; the sink may reset the stream.
  void feed(std::string_view bytes, const Sink& sink);
  // Forgets what was begun.
  void reset();
  // A number or a word at the end of the text is complete.
  void finish(const Sink& sink);
  bool idle() const { return stack_.empty() && lexer_ == Lexer::between; }

 private:
  enum class Lexer : u8 { between, string, escape, unicode, word, skip_line, skip_garbage };
  enum class Expect : u8 { value, value_or_end, key, key_or_end, colon, comma_or_end };
  struct Frame {
    Json value;
    std::string key;
    Expect expect;
  };
  bool take(char c, const Sink& sink);  // false: the byte is to be taken again
  void take_string(char c, const Sink& sink);
  void end_string(const Sink& sink);
  void end_word(const Sink& sink);
  void structural(char c, const Sink& sink);
  void open(char c, const Sink& sink);
  void close(char c, const Sink& sink);
  bool want_value() const;
  void add(Json value, const Sink& sink);
  void fail(const std::string& what, Lexer next, const Sink& sink);

  std::vector<Frame> stack_;
  Lexer lexer_ = Lexer::between;
  char quote_ = '"';
  std::string text_;
  unsigned digits_ = 0;
  u32 unicode_ = 0, high_surrogate_ = 0;
  usize bytes_ = 0;
  usize skip_depth_ = 0;
  char skip_quote_ = 0;
  bool skip_escape_ = false;
  bool line_begins_ = true;
};

}  // namespace rhea::config
