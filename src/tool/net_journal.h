// SPDX-License-Identifier: MIT
// The journal of a network: a line of JSON for each step, written before the step is made. It is a file NAME in the
// host's state folder (root: /run/rhea/net), locked while a program is at work on the network.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "config/json.h"
#include "sys/fd.h"
#include "util/result.h"

namespace rhea::tool {

// What a record of a step that forwards has under "name".
constexpr const char* kForwarding = "net/ipv4/ip_forward";
// A record's text, which is_record() has seen to be there.
std::string text_at(const config::Json& record, const char* key);

// The folder, in that for the host's state, of what programs for networks leave while they run.
constexpr const char* kRunFolder = "net-run";
// The file of a network in it, NAME and `end`; empty when there is no such folder.
std::string run_file(const std::string& name, const char* end);

class Journal {
 public:
  // `patient`: one that is about to end (a guardian that was told that all is well) is waited for. Errors: another rhea
  // net is at work on it.
  static Result<Journal> open(const std::string& name, bool patient = true);
  // The networks that have one, with what is in it.
  static std::vector<std::pair<std::string, std::vector<config::Json>>> all();
  static std::vector<config::Json> read(const std::string& name);
  std::vector<config::Json> records() const { return read(name_); }
  Result<void> add(const config::Json& record) const;
  void clear() const;

 private:
  Journal(std::string name, sys::Fd lock) : name_(std::move(name)), lock_(std::move(lock)) {}
  std::string name_;
  sys::Fd lock_;
};

}  // namespace rhea::tool
