// SPDX-License-Identifier: MIT
// The objects of -object and object_add, by id: filters of a network, sources of random numbers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "net/backend.h"
#include "util/result.h"

namespace rhea::cli {

class UserObjects {
 public:
  using Texts = std::vector<std::pair<std::string, std::string>>;
  void set_network(net::Network* network);

  // Errors: "Parameter 'qom-type' does not accept value 'foo'", and the type's own.
  Result<void> add(const std::string& type, const std::string& id, const Texts& options);
  Result<void> remove(const std::string& id);
  // Ids and types.
  const Texts& list() const { return objects_; }
  // The type of one; empty if there is none.
  std::string type_of(const std::string& id) const;

 private:
  void forget(const std::string& id);
  net::Network* network_ = nullptr;
  Texts objects_;
};

// The types there are, for help and messages.
std::vector<std::string> object_types();
// Whether a type exists, with the message where it does not.
Result<void> check_object_type(const std::string& type);

}  // namespace rhea::cli
