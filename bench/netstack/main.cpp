// SPDX-License-Identifier: MIT
// Drives one network stack with one job and prints what was found as a line of JSON; status 1 when something failed.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bare_sockets.h"
#include "jobs.h"
#include "subject.h"

namespace rhea::bench {

namespace {

struct SubjectType {
  std::string_view name, summary;
  std::unique_ptr<Subject> (*make)(const SubjectOptions& options);
};
constexpr SubjectType kSubjects[] = {
    {"rhea", "the user-mode stack of this tree", make_rhea},
    {"libslirp", "Debian's libslirp, in this process", make_slirp},
    {"passt", "passt, over its socket", make_passt},
    {"sockets", "no stack: the host's sockets and a buffer (to-guest and to-host)", nullptr},
};

[[noreturn]] void usage(const std::string& why) {
  if (!why.empty()) fmt::print(stderr, "rhea-net-bench: {}\n", why);
  fmt::print(stderr,
             "usage: rhea-net-bench STACK JOB [--offload] [--mtu N] [--batch N] [--flows N] [--seconds S] "
             "[--rate N] [--option KEY=VALUE]\nstacks:\n");
  for (const SubjectType& type : kSubjects) fmt::print(stderr, "  {:14} {}\n", type.name, type.summary);
  fmt::print(stderr, "jobs:\n");
  for (const JobType& type : job_types()) fmt::print(stderr, "  {:14} {}\n", type.name, type.summary);
  std::exit(2);
}

double number(std::string_view word, const char* text, double least, double most) {
  double value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value < least || value > most)
    usage(fmt::format("{} takes a number from {} to {}, not '{}'", word, least, most, text));
  return value;
}

struct Command {
  const SubjectType* subject = nullptr;
  JobType job{};
  SubjectOptions subject_options;
  JobOptions job_options;
};

Command parse(int count, char** words) {
  Command command;
  if (count < 3) usage("");
  for (const SubjectType& type : kSubjects)
    if (type.name == words[1]) command.subject = &type;
  for (const JobType& type : job_types())
    if (type.name == words[2]) command.job = type;
  if (!command.subject) usage(fmt::format("no stack '{}'", words[1]));
  if (!command.job.make) usage(fmt::format("no job '{}'", words[2]));
  for (int i = 3; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--offload") {
      command.subject_options.offload = true;
      continue;
    }
    if (i + 1 == count) usage(fmt::format("unknown or incomplete option '{}'", word));
    const char* value = words[++i];
    if (word == "--mtu") command.subject_options.mtu = static_cast<unsigned>(number(word, value, 576, 65520));
    else if (word == "--batch") command.subject_options.batch = static_cast<unsigned>(number(word, value, 1, 64));
    else if (word == "--option") command.subject_options.options.emplace_back(value);
    else if (word == "--flows") command.job_options.flows = static_cast<unsigned>(number(word, value, 1, 60000));
    else if (word == "--seconds") command.job_options.seconds = number(word, value, 0.01, 3600);
    else if (word == "--rate") command.job_options.rate = static_cast<unsigned>(number(word, value, 1, 1e6));
    else usage(fmt::format("unknown option '{}'", word));
  }
  return command;
}

int print(const Command& command, const JobResult& result) {
  std::string line = fmt::format(R"({{"stack": "{}", "job": "{}")", command.subject->name, command.job.name);
  for (const auto& [name, value] : result.numbers) line += fmt::format(R"(, "{}": {:.6g})", name, value);
  fmt::print(R"({}, "failed": "{}"}})"
             "\n",
             line, result.failed);
  return result.failed.empty() ? 0 : 1;
}

int run(const Command& command) {
  if (!command.subject->make) {
    const bool to_host = command.job.name == "to-host";
    if (!to_host && command.job.name != "to-guest") return 77;
    raise_descriptor_limit();
    return print(command, run_bare_sockets(command.job_options, to_host));
  }
  const std::unique_ptr<Job> job = command.job.make(command.job_options);
  const std::unique_ptr<Subject> subject = command.subject->make(command.subject_options);
  if (!subject) {
    fmt::print(stderr, "rhea-net-bench: {} is not available here with these options\n", command.subject->name);
    return 77;
  }
  Guest guest(*subject, command.subject_options);
  subject->attach(guest);
  return print(command, job->run(*subject, guest));
}

}  // namespace

}  // namespace rhea::bench

int main(int count, char** words) { return rhea::bench::run(rhea::bench::parse(count, words)); }
