// SPDX-License-Identifier: MIT
#include "net/user/encode_names.h"

#include <map>
#include <string_view>

namespace rhea::net::user {

std::vector<u8> encode_names(const std::vector<std::string>& names, bool compressed) {
  std::vector<u8> bytes;
  std::map<std::string, usize> known;
  for (const std::string& name : names) {
    std::string_view rest = name;
    for (;;) {
      if (rest.empty()) {
        bytes.push_back(0);
        break;
      }
      const auto found = known.find(std::string(rest));
      if (found != known.end()) {
        bytes.push_back(static_cast<u8>(0xc0 | found->second >> 8));
        bytes.push_back(static_cast<u8>(found->second));
        break;
      }
      if (compressed && bytes.size() < 0x3fff) known[std::string(rest)] = bytes.size();
      const usize dot = rest.find('.');
      const std::string_view label = rest.substr(0, dot);
      bytes.push_back(static_cast<u8>(label.size()));
      bytes.insert(bytes.end(), label.begin(), label.end());
      rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    }
  }
  return bytes;
}

}  // namespace rhea::net::user
