// SPDX-License-Identifier: MIT
// The request, version 3: a magic number, the version, what is wanted (a port in its upper bits), the address of our
// data socket, a description. The answer is the address of the switch's.
#include "sys/vde_switch.h"

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace rhea::sys {

namespace {

constexpr u32 kMagic = 0xfeedface, kVersion = 3;
constexpr int kWait = 5000;  // ms for the switch's answer

struct [[gnu::packed]] Request {
  u32 magic = kMagic, version = kVersion, type = 0;
  sockaddr_un socket{};
  char description[128] = {};
};

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

std::vector<std::string> places(const std::string& given) {
  if (!given.empty()) return {given};
  std::vector<std::string> list;
  if (const char* home = std::getenv("HOME")) list.push_back(std::string(home) + "/.vde2/default.switch");
  for (const char* path : {"/var/run/vde.ctl", "/run/vde2/default.ctl", "/tmp/vde.ctl"}) list.emplace_back(path);
  return list;
}

Error could_not(int error, const std::string& tried) {
  return Error("Could not open vde: {}", errno_text(error))
      .with_hint(
          fmt::format("Looked for a switch at {}; vde_switch -s FOLDER makes one, sock=FOLDER names it.", tried));
}

// A control connection to the first switch that is there.
Fd connect_control(const std::vector<std::string>& tried, std::string& place, int& error) {
  error = ENOENT;
  for (const std::string& each : tried) {
    for (const std::string& path : {each + "/ctl", each}) {
      Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_un address = address_of(path);
      if (path.size() >= sizeof address.sun_path) continue;
      if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        place = each;
        return fd;
      }
      if (errno != ENOENT && errno != ENOTDIR) error = errno;
    }
  }
  return {};
}

// Bound to a name in the switch's folder, else in /tmp.
Fd bind_data(const std::string& place, std::string& path) {
  for (const std::string& folder : {place, std::string("/tmp")}) {
    for (unsigned number = 0; number < 64; ++number) {
      path = fmt::format("{}/.rhea-{}-{}", folder, ::getpid(), number);
      if (path.size() >= sizeof(sockaddr_un::sun_path)) break;
      Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const sockaddr_un address = address_of(path);
      if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
      if (errno != EADDRINUSE) break;
    }
  }
  path.clear();
  return {};
}

bool give_to_group(const std::string& path, const VdeOptions& options) {
  gid_t group = static_cast<gid_t>(-1);
  if (!options.group.empty()) {
    const struct group* entry = ::getgrnam(options.group.c_str());
    if (!entry) return errno = ENOENT, false;
    group = entry->gr_gid;
    if (::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) return false;
  }
  return ::chmod(path.c_str(), options.mode) == 0;
}

bool read_answer(int control, sockaddr_un& answer) {
  pollfd waiting{.fd = control, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kWait) != 1) return errno = ETIMEDOUT, false;
  const ssize_t count = ::recv(control, &answer, sizeof answer, 0);
  if (count <= static_cast<ssize_t>(offsetof(sockaddr_un, sun_path))) return errno = EPROTO, false;
  answer.sun_path[sizeof answer.sun_path - 1] = 0;
  if (answer.sun_family != AF_UNIX) return errno = EPROTO, false;
  return true;
}

}  // namespace

Result<VdePlug> plug_into_vde(const VdeOptions& options) {
  const std::vector<std::string> tried = places(options.place);
  std::string looked;
  for (const std::string& place : tried) looked += (looked.empty() ? "" : ", ") + place;
  VdePlug plug;
  int error = 0;
  plug.control = connect_control(tried, plug.place, error);
  if (!plug.control) return could_not(error, looked);
  plug.data = bind_data(plug.place, plug.path);
  if (!plug.data) return could_not(errno, looked);
  const auto failed = [&](int number) {
    ::unlink(plug.path.c_str());
    return could_not(number, looked);
  };
  if (!give_to_group(plug.path, options)) return failed(errno);
  Request request;
  request.type = options.port << 8;
  request.socket = address_of(plug.path);
  std::memcpy(request.description, options.description.c_str(),
              std::min(options.description.size(), sizeof request.description - 1));
  if (::send(plug.control.get(), &request, sizeof request, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof request))
    return failed(errno);
  sockaddr_un answer{};
  if (!read_answer(plug.control.get(), answer)) return failed(errno);
  const int size = 1 << 20;
  ::setsockopt(plug.data.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  ::setsockopt(plug.data.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (::connect(plug.data.get(), reinterpret_cast<const sockaddr*>(&answer), sizeof answer) != 0) return failed(errno);
  return plug;
}

}  // namespace rhea::sys
