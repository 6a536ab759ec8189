// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string>
#include <vector>

#include "cli/session.h"
#include "cli/settings.h"
#include "sys/daemon.h"

namespace {

int fail(const std::string& line_start, const rhea::Error& error) {
  std::fprintf(stderr, "%s%s\n", line_start.c_str(), error.message().c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "%s\n", error.hint().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace rhea::cli;
  const std::string path = argc > 0 ? argv[0] : "rhea-system-arm";
  const std::string program = path.substr(path.rfind('/') + 1);
  auto settings = parse_command_line(program, std::vector<std::string>(argv + (argc > 0), argv + argc));
  if (!settings.ok()) return fail(program + ": ", settings.error());
  if (settings->exit) {
    std::fputs(settings->exit->text.c_str(), stdout);
    return settings->exit->status;
  }
  rhea::sys::Daemon daemon;
  if (settings->daemonize)
    if (const auto status = daemon.start()) return *status;
  const std::string line_start = settings->line_start();
  Session session(settings.take());
  const rhea::Result<void> prepared = session.prepare();
  if (!prepared.ok()) return fail(line_start, prepared.error());
  daemon.ready();
  return session.run();
}
