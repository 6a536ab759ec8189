// SPDX-License-Identifier: MIT
#include "img/tool.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "config/options.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::img {

namespace {

struct Command {
  const char* name;
  int (*function)(const Arguments&);
  const char* with_value;   // letters of options that take one
  const char* plain;        // letters of those that do not
  const char* long_values;  // "--output=" and such, separated by blanks
  const char* long_plain;
  const char* syntax;
};

// clang-format off
constexpr Command kCommands[] = {
    {"check", check, "frT", "qU", "output", "force-share", "[-q] [-f fmt] [--output=human|json] [-r leaks|all] [-U] filename"},
    {"commit", commit, "ftbr", "qdp", "", "", "[-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename"},
    {"compare", compare, "fFT", "pqsU", "", "force-share", "[-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2"},
    {"convert", convert, "ftTOBFolSrm", "UcCpqnW", "", "force-share target-is-zero salvage",
     "[-U] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] "
     "[-l snapshot_param] [-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] [--target-is-zero] "
     "filename [filename2 [...]] output_filename"},
    {"create", create, "fbFo", "qu", "", "", "[-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]"},
    {"info", info, "f", "U", "output", "backing-chain force-share", "[-f fmt] [--output=human|json] [--backing-chain] [-U] filename"},
    {"map", map, "fs l", "U", "output start-offset max-length", "force-share",
     "[-f fmt] [--start-offset=offset] [--max-length=len] [--output=human|json] [-U] filename"},
    {"rebase", rebase, "ftTbF", "Uqpu", "", "force-share", "[-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename"},
    {"resize", resize, "f", "q", "preallocation", "shrink", "[-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename [+|-]size"},
    {"snapshot", snapshot, "acdf", "lqU", "", "force-share", "[-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename"},
};
// clang-format on

// Of qemu-img, and not here.
constexpr const char* kForeign[] = {"amend", "bench", "bitmap", "dd", "measure"};

void print_help() {
  std::printf("usage: rhea-img COMMAND [OPTIONS]\nDisk images: raw and qcow2, with qemu-img's syntax.\n\nCommands:\n");
  for (const Command& command : kCommands) std::printf("  %s %s\n", command.name, command.syntax);
  std::printf(
      "\nSizes are bytes, or have a suffix: k, M, G, T, P, E.\n"
      "'-o help' lists the options of a format; '-V' shows the version.\n");
}

bool in_words(const char* words, const std::string& word) {
  const auto list = split(words, ' ');
  return std::find(list.begin(), list.end(), word) != list.end();
}

Result<void> read_long(const Command& command, const std::vector<std::string>& words, usize& i, Arguments& arguments) {
  const std::string body = words[i].substr(2);
  const usize equals = body.find('=');
  const std::string name = body.substr(0, equals);
  if (in_words(command.long_plain, name)) {
    if (equals != std::string::npos) return Error("option '--{}' doesn't allow an argument", name);
    arguments.options.emplace_back(name == "force-share" ? "-U" : "--" + name, "");
    return {};
  }
  if (!in_words(command.long_values, name)) {
    std::vector<std::string> known;
    for (const auto* list : {command.long_values, command.long_plain}) {
      for (const auto& word : split(list, ' ')) known.push_back(word);
    }
    return Error("unrecognized option '--{}'{}", name, did_you_mean(name, known));
  }
  if (equals == std::string::npos && i + 1 >= words.size()) return Error("missing argument for option '--{}'", name);
  arguments.options.emplace_back("--" + name, equals != std::string::npos ? body.substr(equals + 1) : words[++i]);
  return {};
}

// "-qf raw": letters of options without a value, then one with.
Result<void> read_short(const Command& command, const std::vector<std::string>& words, usize& i, Arguments& arguments) {
  const std::string letters = words[i].substr(1);
  for (usize at = 0; at < letters.size(); ++at) {
    const char letter = letters[at];
    const std::string option = std::string("-") + letter;
    if (std::strchr(command.plain, letter)) {
      arguments.options.emplace_back(option, "");
      continue;
    }
    if (letter == ' ' || !std::strchr(command.with_value, letter)) return Error("unrecognized option '{}'", option);
    if (at + 1 < letters.size()) {
      arguments.options.emplace_back(option, letters.substr(at + 1));
      return {};
    }
    if (i + 1 >= words.size()) return Error("missing argument for option '{}'", option);
    arguments.options.emplace_back(option, words[++i]);
    return {};
  }
  return {};
}

Result<Arguments> read_arguments(const Command& command, const std::vector<std::string>& words) {
  Arguments arguments;
  bool only_names = false;
  for (usize i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    // "-1G" is a size to resize by, not an option.
    const bool number =
        std::string(command.name) == "resize" && word.size() > 1 && std::isdigit(static_cast<unsigned char>(word[1]));
    if (only_names || word.size() < 2 || word[0] != '-' || number) arguments.names.push_back(word);
    else if (word == "--") only_names = true;
    else if (word[1] == '-') RHEA_TRY(read_long(command, words, i, arguments));
    else RHEA_TRY(read_short(command, words, i, arguments));
  }
  return arguments;
}

constexpr const char* kTry = "Try 'rhea-img --help' for more information";

int complain(const std::string& message) {
  std::fprintf(stderr, "rhea-img: %s\n%s\n", message.c_str(), kTry);
  return 1;
}

}  // namespace

const std::string* Arguments::find(const std::string& option) const {
  const std::string* value = nullptr;
  for (const auto& [name, text] : options) {
    if (name == option) value = &text;
  }
  return value;
}

std::vector<std::string> Arguments::all(const std::string& option) const {
  std::vector<std::string> values;
  for (const auto& [name, text] : options) {
    if (name == option) values.push_back(text);
  }
  return values;
}

Tool::Tool(const Arguments& arguments)
    : quiet_(arguments.has("-q")), progress_(arguments.has("-p") && !arguments.has("-q")) {
  json_ = arguments.text("--output") == "json";
}

void Tool::print(const std::string& line) const {
  if (!quiet_) std::printf("%s\n", line.c_str());
}
void Tool::show(const std::string& text) const { std::fputs(text.c_str(), stdout); }
void Tool::warn(const std::string& text) const { std::fprintf(stderr, "%s\n", text.c_str()); }
int Tool::fail(const Error& error, int status) const {
  std::fflush(stdout);
  std::fprintf(stderr, "rhea-img: %s\n", error.message().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "%s\n", error.hint().c_str());
  return status;
}

void Tool::begin_progress(u64 total) {
  total_ = std::max<u64>(1, total);
  progress(0);
}
void Tool::progress(u64 done) {
  if (!progress_) return;
  const int hundredths =
      static_cast<int>(static_cast<double>(std::min(done, total_)) / static_cast<double>(total_) * 10000);
  if (last_ >= 0 && hundredths - last_ < 100 && hundredths < 10000) return;
  last_ = hundredths;
  std::printf("    (%d.%02d/100%%)\r", hundredths / 100, hundredths % 100);
  std::fflush(stdout);
}
void Tool::end_progress() {
  if (!progress_) return;
  std::printf("    (100.00/100%%)\r\n");
}

Result<block::ImageSpec> image_spec(const Arguments& arguments, const std::string& filename,
                                    const std::string& format_option, const std::string& cache_option) {
  block::ImageSpec spec;
  spec.filename = filename;
  spec.read_only = true;
  spec.format = arguments.text(format_option);
  spec.share = arguments.has("-U");
  spec.discard = block::DiscardMode::unmap;
  if (!spec.format.empty() && !block::is_known_format(spec.format))
    return Error("Unknown file format '{}'", spec.format);
  if (arguments.has(cache_option)) {
    auto mode = block::parse_cache_mode(arguments.text(cache_option));
    if (!mode) return Error("Invalid cache option: {}", arguments.text(cache_option));
    spec.cache = *mode;
  }
  return spec;
}

Result<std::unique_ptr<block::Image>> open_image(const Tool& tool, const block::ImageSpec& spec) {
  auto image = block::open_image(spec);
  if (!image) {
    const std::string prefix = fmt::format("Could not open '{}'", spec.filename);
    if (image.error().message().starts_with(prefix)) return image;
    return std::move(image.error()).in(prefix);
  }
  for (const std::string& warning : (*image)->warnings()) tool.warn(warning);
  return image;
}

constexpr const char* kUnitsHint = "rhea-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.";

Result<u64> parse_rate(const Arguments& arguments) {
  if (!arguments.has("-r")) return u64{0};
  auto rate = config::parse_size("rate", arguments.text("-r"));
  if (!rate || *rate > (u64{1} << 62))
    return Error("Invalid rate limit specified. You may use k, M, G, T, P or E suffixes for").with_hint(kUnitsHint);
  return rate;
}

Result<u64> parse_image_size(const std::string& text) {
  auto size = config::parse_size("size", text);
  if (!size || *size > (u64{1} << 62)) {
    return Error("Invalid image size specified. You may use k, M, G, T, P or E suffixes for").with_hint(kUnitsHint);
  }
  return size;
}

bool is_zero(std::span<const u8> data) {
  return data.empty() || (data[0] == 0 && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

int run(const std::vector<std::string>& words) {
  if (words.empty()) return complain("Not enough arguments");
  const std::string& name = words[0];
  if (name == "--help" || name == "-h" || name == "help") {
    print_help();
    return 0;
  }
  if (name == "--version" || name == "-V") {
    std::printf("rhea-img version %s\n", RHEA_VERSION);
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    names.push_back(command.name);
    if (name != command.name) continue;
    if (words.size() > 1 && (words[1] == "--help" || words[1] == "-h")) {
      std::printf("usage: rhea-img %s %s\n", command.name, command.syntax);
      return 0;
    }
    auto arguments = read_arguments(command, {words.begin() + 1, words.end()});
    return arguments ? command.function(*arguments) : complain(arguments.error().message());
  }
  for (const char* foreign : kForeign) {
    if (name == foreign)
      return complain(
          fmt::format("Command not found: {} (qemu-img has it; here there are {})", name, join(names, ", ")));
  }
  return complain(fmt::format("Command not found: {}{}", name, did_you_mean(name, names)));
}

}  // namespace rhea::img
