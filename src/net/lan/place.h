// SPDX-License-Identifier: MIT
// Where the members of a LAN meet: a folder of the user's runtime folder, lan/NAME. Each member's socket is there
// (ID.sock), and a file for each address that a guest has or had, locked while a member holds it, with the guest's
// name inside, so that a guest that is started again gets the address it had.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/ip_address.h"
#include "util/result.h"

namespace rhea::net::lan {

// Letters, digits, '.', '_' and '-', at most 32, the first one no '.'.
bool is_lan_name(const std::string& name);

class Place {
 public:
  // Makes the folder. Errors: no name of a LAN, no folder that is only the user's.
  static Result<Place> open(const std::string& name);
  // The names of all LANs that have a folder.
  static std::vector<std::string> all();

  const std::string& name() const { return name_; }
  std::string socket_path(u64 id) const;
  // The sockets that are there, at most 256.
  std::vector<std::string> sockets() const;

  struct Claim {
    IpAddress address;
    sys::Fd lock;
  };
  // An address from `first` to `last`: the one that `owner` had, else one that nobody had, else any that is free.
  // `owner` may be empty; `usable`: not for anything else. Errors: all are taken, no file can be made.
  struct Range {
    IpAddress first, last;
    std::function<bool(const IpAddress&)> usable;
  };
  Result<Claim> claim_address(const std::string& owner, const Range& range) const;

 private:
  Result<std::optional<Claim>> claim_this(const std::string& owner, const IpAddress& address) const;
  Place(std::string name, std::string folder) : name_(std::move(name)), folder_(std::move(folder)) {}
  std::string name_, folder_;
};

}  // namespace rhea::net::lan
