// SPDX-License-Identifier: MIT
#include "helper/access_list.h"

#include "util/text.h"

namespace rhea::helper {

namespace {
constexpr unsigned kMostDepth = 8;
constexpr usize kMostRules = 4096;
}  // namespace

Result<AccessList> AccessList::parse(const std::string& path, const std::string& text, const ReadFile& read) {
  AccessList list;
  RHEA_TRY(list.add(path, text, read, 0));
  return list;
}

Result<void> AccessList::add(const std::string& path, const std::string& text, const ReadFile& read, unsigned depth) {
  if (depth == kMostDepth) return Error("{}: files include one another more than {} deep", path, kMostDepth);
  unsigned number = 0;
  for (const std::string& raw : split(text, '\n')) {
    ++number;
    const std::string line(trim(raw));
    if (line.empty() || line[0] == '#') continue;
    const usize space = line.find_first_of(" \t");
    const std::string word = line.substr(0, space);
    const std::string value(space == std::string::npos ? "" : trim(line.substr(space)));
    if (value.empty() || (word != "include" && value.find_first_of(" \t") != std::string::npos))
      return Error("{}:{}: a line is 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'", path, number);
    if (word == "include") {
      const auto included = read(value);
      if (included.ok()) RHEA_TRY(add(value, *included, read, depth + 1));
    } else if (word == "allow" || word == "deny") {
      if (rules_.size() == kMostRules) return Error("{}:{}: more than {} rules", path, number, kMostRules);
      rules_.push_back({word == "allow", value});
    } else {
      return Error("{}:{}: '{}' is not known: a line is 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'", path, number,
                   word);
    }
  }
  return {};
}

bool AccessList::allows(std::string_view bridge) const {
  bool allowed = false;
  for (const AccessRule& rule : rules_) {
    if (rule.bridge != bridge && rule.bridge != "all") continue;
    if (!rule.allow) return false;
    allowed = true;
  }
  return allowed;
}

}  // namespace rhea::helper
