// SPDX-License-Identifier: MIT
#include "net/user/smb.h"

#include "sys/fd.h"
#include "sys/file.h"

namespace rhea::net::user {

namespace {

constexpr const char* kProgram = "/usr/sbin/smbd";

}  // namespace

std::string SmbShare::configuration(const std::string& folder, const std::string& place, const std::string& user) {
  std::string text = "[global]\n";
  for (const char* name :
       {"private dir", "pid directory", "lock directory", "state directory", "cache directory", "ncalrpc dir"})
    text += fmt::format("{} = {}\n", name, place);
  text += fmt::format("log file = {0}/log\nsmb passwd file = {0}/passwords\n", place);
  text +=
      "interfaces = 127.0.0.1\nbind interfaces only = yes\n"
      "security = user\nmap to guest = Bad User\n"
      "load printers = no\nprinting = bsd\nprintcap name = /dev/null\ndisable spoolss = yes\n"
      "usershare max shares = 0\nserver min protocol = NT1\n";
  text += fmt::format("[qemu]\npath = {}\nread only = no\nguest ok = yes\nforce user = {}\n", folder, user);
  return text;
}

Result<SmbShare> SmbShare::make(const std::string& folder) {
  if (!sys::is_executable(kProgram))
    return Error("Could not find '{}', please install it", kProgram).with_hint("It is in Debian's package samba.");
  if (const int error = sys::check_folder(folder))
    return Error("Error accessing shared directory '{}': {}", folder, sys::errno_text(error));
  if (folder.find_first_of("\n\r;#%\"") != std::string::npos)
    return Error(
        "Error accessing shared directory '{}': smbd's configuration cannot name a folder with line ends, "
        "quotes, ';', '#' or '%'",
        folder);
  SmbShare share(RHEA_TRY(sys::PrivateFolder::make("rhea-smb")));
  const std::string text = configuration(folder, share.place_.path(), sys::user_name());
  RHEA_TRY(sys::write_file(share.place_.path() + "/smb.conf", std::vector<u8>(text.begin(), text.end())));
  return share;
}

std::vector<std::string> SmbShare::command() const {
  return {kProgram, "-l", place_.path(), "-s", place_.path() + "/smb.conf"};
}

}  // namespace rhea::net::user
