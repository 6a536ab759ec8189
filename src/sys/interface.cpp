// SPDX-License-Identifier: MIT
// Plain ioctls (netdevice(7)): /sys may be another namespace's.
#include "sys/interface.h"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "sys/fd.h"

namespace rhea::sys {

namespace {

Fd open_control() { return Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }

bool fill_name(ifreq& request, const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return false;
  // All of it: a request that is used again had another, perhaps longer name.
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ);
  return true;
}

// 0 or an errno.
int ask(unsigned long what, const std::string& name, ifreq& request) {
  const Fd control = open_control();
  if (!control) return errno;
  if (!fill_name(request, name)) return ENODEV;
  return ::ioctl(control.get(), what, &request) ? errno : 0;
}

}  // namespace

bool interface_exists(const std::string& name) {
  return !name.empty() && name.size() < IFNAMSIZ && ::if_nametoindex(name.c_str()) != 0;
}

bool is_bridge(const std::string& name) {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request{};
  request.ifr_data = reinterpret_cast<char*>(&info);
  return ask(SIOCETHTOOL, name, request) == 0 && std::strcmp(info.driver, "bridge") == 0;
}

bool is_up(const std::string& name) {
  ifreq request{};
  return ask(SIOCGIFFLAGS, name, request) == 0 && (request.ifr_flags & IFF_UP);
}

std::vector<std::string> bridges() {
  std::vector<std::string> names;
  if (struct if_nameindex* list = ::if_nameindex()) {
    for (struct if_nameindex* at = list; at->if_index; ++at)
      if (is_bridge(at->if_name)) names.emplace_back(at->if_name);
    ::if_freenameindex(list);
  }
  return names;
}

std::string default_route_interface() {
  std::ifstream routes("/proc/net/route");
  std::string line;
  std::getline(routes, line);
  while (std::getline(routes, line)) {
    std::istringstream words(line);
    std::string name, destination;
    if (words >> name >> destination && destination == "00000000") return name;
  }
  return {};
}

Result<void> bring_up(const std::string& name) {
  ifreq request{};
  int error = ask(SIOCGIFFLAGS, name, request);
  if (!error && (request.ifr_flags & IFF_UP)) return {};
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (!error) error = ask(SIOCSIFFLAGS, name, request);
  if (error) return Error("could not bring {} up: {}", name, errno_text(error));
  return {};
}

Result<void> add_to_bridge(const std::string& bridge, const std::string& name, bool from_tap) {
  ifreq request{};
  if (ask(SIOCGIFMTU, bridge, request) == 0)
    if (const int error = ask(SIOCSIFMTU, name, request))
      return Error("could not set the MTU of {} to {}: {}", name, request.ifr_mtu, errno_text(error));
  request = {};
  if (from_tap && ask(SIOCGIFHWADDR, name, request) == 0) {
    request.ifr_hwaddr.sa_data[0] = static_cast<char>(0xfe);
    if (const int error = ask(SIOCSIFHWADDR, name, request))
      return Error("could not set the MAC address of {}: {}", name, errno_text(error));
  }
  request = {};
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  if (const int error = ask(SIOCBRADDIF, bridge, request))
    return Error("could not add interface '{}' to bridge '{}': {}", name, bridge, errno_text(error));
  return {};
}

}  // namespace rhea::sys
