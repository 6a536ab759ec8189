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

class Journal {
 public:
  // Errors: another rhea net is at work on it.
  static Result<Journal> open(const std::string& name);
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
