// SPDX-License-Identifier: MIT
// A process beside this one that finishes what this one cannot when it is killed. It is there before anything is
// changed, belongs to no terminal, and takes no notice of the signals that end what a terminal runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

class Guardian {
 public:
  // `watch` is called in the other process: with what done() was told, or with '\0' when this process ended without.
  // The other process has this one's locks too (they are let go when both have ended), and ends after it.
  // To be called while there is one thread.
  static Result<Guardian> start(const std::function<void(char)>& watch);
  Guardian(Guardian&&) = default;
  // All is well. `word` is not '\0'.
  void done(char word);
  int process() const { return process_; }

 private:
  Guardian(Fd pipe, int process) : pipe_(std::move(pipe)), process_(process) {}
  Fd pipe_;
  int process_;
};

// Ends a process at once (SIGKILL), or asks it to end (SIGTERM).
void kill_process(int process);
bool end_process(int process);
// Whether a process is in this one's network namespace.
bool shares_network(int process);
// The words that a process was started with; empty if there is none.
std::vector<std::string> words_of_process(int process);
void sleep_milliseconds(unsigned milliseconds);

}  // namespace rhea::sys
