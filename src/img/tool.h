// SPDX-License-Identifier: MIT
// rhea-img: disk images from the command line, with qemu-img's syntax, messages and exit codes.
//
// A command is a row of kCommands (tool.cpp): its name, its options, its function. The options are read once for
// all of them; a function gets them typed, and prints through Tool.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/create.h"
#include "block/image.h"
#include "block/node.h"
#include "util/result.h"

namespace rhea::img {

// What was given to a command: "-f raw", "--output=json", names.
class Arguments {
 public:
  bool has(const std::string& option) const { return find(option) != nullptr; }
  std::string text(const std::string& option, const std::string& absent = {}) const {
    const std::string* value = find(option);
    return value ? *value : absent;
  }
  std::vector<std::string> all(const std::string& option) const;

  std::vector<std::pair<std::string, std::string>> options;  // in order; the value of those that take one
  std::vector<std::string> names;

 private:
  const std::string* find(const std::string& option) const;  // the last one
};

// Output, quiet or not, and progress.
class Tool {
 public:
  explicit Tool(const Arguments& arguments);
  void print(const std::string& line) const;  // not with -q
  void show(const std::string& text) const;   // always
  void warn(const std::string& text) const;
  int fail(const Error& error, int status = 1) const;  // "rhea-img: message"; returns the status
  bool json() const { return json_; }

  void begin_progress(u64 total);
  void progress(u64 done);  // of the total
  void end_progress();

 private:
  bool quiet_, progress_, json_ = false;
  u64 total_ = 0;
  int last_ = -1;
};

// -f, -U, -t/-T and -o as all commands read them.
Result<block::ImageSpec> image_spec(const Arguments& arguments, const std::string& filename,
                                    const std::string& format_option = "-f", const std::string& cache_option = "-T");
// Opens and prints the image's warnings. The message has "Could not open 'x': " before it.
Result<std::unique_ptr<block::Image>> open_image(const Tool& tool, const block::ImageSpec& spec);
// -r: bytes per second; 0, or without it: no limit.
Result<u64> parse_rate(const Arguments& arguments);
// "10M", "1.5G".
Result<u64> parse_image_size(const std::string& text);
// -o key=value,... into a spec; "help" prints what there is (`helped`).
Result<void> read_create_options(const Arguments& arguments, block::CreateSpec& spec, bool& helped);
// "Formatting 'x', fmt=qcow2 size=..."
std::string formatting_line(const block::CreateSpec& spec);
// Whether every byte is zero.
bool is_zero(std::span<const u8> data);

int create(const Arguments& arguments);
int info(const Arguments& arguments);
int check(const Arguments& arguments);
int convert(const Arguments& arguments);
int commit(const Arguments& arguments);
int compare(const Arguments& arguments);
int map(const Arguments& arguments);
int rebase(const Arguments& arguments);
int resize(const Arguments& arguments);
int snapshot(const Arguments& arguments);

// Runs a command line (without the program's name); returns the exit status.
int run(const std::vector<std::string>& words);

}  // namespace rhea::img
