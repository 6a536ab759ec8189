// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string>
#include <vector>

#include "cli/session.h"
#include "cli/settings.h"

namespace {

int fail(const std::string& program, const rhea::Error& error) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), error.message().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "%s\n", error.hint().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace rhea::cli;
  const std::string path = argc > 0 ? argv[0] : "rhea-system-arm";
  const std::string program = path.substr(path.rfind('/') + 1);
  auto settings = parse_command_line(program, std::vector<std::string>(argv + (argc > 0), argv + argc));
  if (!settings.ok()) return fail(program, settings.error());
  if (settings->exit) {
    std::fputs(settings->exit->text.c_str(), stdout);
    return settings->exit->status;
  }
  Session session(settings.take());
  const rhea::Result<void> prepared = session.prepare();
  if (!prepared.ok()) return fail(program, prepared.error());
  return session.run();
}
