// SPDX-License-Identifier: MIT
// The objects of -object and object_add, by id: filters of a network, sources of random numbers, limits of drives,
// memory for the guest.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/drive.h"
#include "machine/machine.h"
#include "net/backend.h"
#include "util/result.h"

namespace rhea::cli {

class UserObjects {
 public:
  using Texts = std::vector<std::pair<std::string, std::string>>;
  void set_network(net::Network* network);
  void set_drives(block::DriveTable* drives) { drives_ = drives; }

  // Errors: "Parameter 'qom-type' does not accept value 'foo'", and the type's own.
  Result<void> add(const std::string& type, const std::string& id, const Texts& options);
  Result<void> remove(const std::string& id);
  // Ids and types.
  const Texts& list() const { return objects_; }
  // Nothing: there is no memory backend of this id.
  std::optional<machine::RamBackend> memory_backend(const std::string& id) const;
  // The type of one; empty if there is none.
  std::string type_of(const std::string& id) const;

 private:
  void forget(const std::string& id);
  net::Network* network_ = nullptr;
  block::DriveTable* drives_ = nullptr;
  Texts objects_;
  std::map<std::string, machine::RamBackend> memory_backends_;
};

// The types there are, for help and messages.
std::vector<std::string> object_types();
// What `-object TYPE,help` prints; empty: the type has no options.
std::string object_help(const std::string& type);
// Whether a type exists, with the message where it does not.
Result<void> check_object_type(const std::string& type);

}  // namespace rhea::cli
