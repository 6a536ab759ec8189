// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string>
#include <vector>

#include "helper/request.h"
#include "sys/privilege.h"

int main(int argc, char** argv) {
  if (!rhea::sys::enter_setuid_program()) return 1;
  const std::vector<std::string> words(argv + (argc > 0), argv + argc);
  auto request = rhea::helper::parse_request(words);
  rhea::Result<void> served = request.ok() ? rhea::helper::serve(*request) : rhea::Result<void>(request.error());
  if (served.ok()) return 0;
  std::fprintf(stderr, "rhea-bridge-helper: %s\n", served.error().message().c_str());
  return 1;
}
