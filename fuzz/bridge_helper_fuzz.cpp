// SPDX-License-Identifier: MIT
// rhea-bridge-helper's command line and the files that it reads, which include one another.
#include <string>

#include "helper/access_list.h"
#include "helper/request.h"
#include "util/text.h"

using namespace rhea;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto request = helper::parse_request(split(text, '\0'));
  if (request.ok() && (request->fd < 3 || request->bridge.empty() || request->bridge.size() > 15)) __builtin_trap();
  const std::vector<std::string> files = split(text, '\1');
  const auto read = [&](const std::string& path) -> Result<std::string> {
    const auto number = parse_number(path);
    if (!number || *number >= files.size()) return Error("none");
    return files[*number];
  };
  const auto list = helper::AccessList::parse("x", files[0], read);
  return list.ok() && list->allows("br0") && !list->allows("br0");
}
