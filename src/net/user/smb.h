// SPDX-License-Identifier: MIT
// A folder of the host as an SMB share ("\\10.0.2.4\qemu"), served by Samba's smbd: a program for each of the
// guest's connections, with a configuration in a private folder that goes with this object.
#pragma once

#include <string>
#include <vector>

#include "sys/process.h"
#include "util/result.h"

namespace rhea::net::user {

class SmbShare {
 public:
  // Errors as QEMU words them: no smbd, no such folder.
  static Result<SmbShare> make(const std::string& folder);
  // What serves one connection on its standard input and output.
  std::vector<std::string> command() const;
  // The configuration of smbd (smb.conf(5)) for a share; `place` is where smbd keeps its own files.
  static std::string configuration(const std::string& folder, const std::string& place, const std::string& user);

 private:
  explicit SmbShare(sys::PrivateFolder place) : place_(std::move(place)) {}
  sys::PrivateFolder place_;
};

}  // namespace rhea::net::user
