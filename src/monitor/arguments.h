// SPDX-License-Identifier: MIT
// A command's arguments, read by the pattern in its row of commands.inc:
//   s  a word, or "text in quotes"       F  a file name           S  the rest of the line
//   o  a size in bytes, by itself in MiB  (10, 512k, 4G)
//   l  an expression                     b  on or off             /  a memory format: /[count][format][size]
//   Q  a text in quotes, or the rest of the line
//   -x a flag                            ?  behind one of them: it may be left out
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "monitor/expression.h"
#include "util/result.h"

namespace rhea::monitor {

struct MemoryFormat {
  u64 count = 1;
  char format = 0;    // x d u o c i; 0: as before
  unsigned unit = 0;  // bytes; 0: as before
};

struct Arguments {
  std::string flags;
  std::vector<std::string> texts;
  std::vector<u64> numbers;
  bool on = false;
  MemoryFormat memory;

  bool has_flag(char flag) const { return flags.find(flag) != flags.npos; }
};

// `name` is the command's, for messages: "stop|s: extraneous characters at the end of line".
Result<Arguments> read_arguments(std::string_view text, std::string_view pattern, std::string_view name,
                                 const RegisterLookup& lookup);

}  // namespace rhea::monitor
