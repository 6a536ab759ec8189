// SPDX-License-Identifier: MIT
#include "helper/request.h"

#include "helper/access_list.h"
#include "sys/interface.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"
#include "sys/privilege.h"
#include "sys/tap.h"
#include "util/text.h"

namespace rhea::helper {

namespace {

constexpr const char* kUsage = "Usage: rhea-bridge-helper [--use-vnet] --br=BRIDGE --fd=UNIXFD";
constexpr const char* kFiles[] = {"/etc/rhea/bridge.conf", "/etc/qemu/bridge.conf"};
constexpr usize kLongestName = 15;  // IFNAMSIZ with its zero is 16

bool is_interface_name(std::string_view name) {
  if (name.empty() || name.size() > kLongestName || name == "." || name == "..") return false;
  for (const char c : name)
    if (c <= ' ' || c == '/' || c == ':' || c == 127) return false;
  return true;
}

// Who may use the bridge, from the first file that is there.
Result<void> check_access(const std::string& bridge) {
  for (const char* path : kFiles) {
    if (!sys::is_there(path)) continue;
    const std::string text = RHEA_TRY(sys::read_trusted(path));
    const AccessList list = RHEA_TRY(AccessList::parse(path, text, sys::read_trusted));
    if (list.allows(bridge)) return {};
    return Error("access denied by acl file: {} does not allow '{}'", path, bridge);
  }
  return Error(
      "failed to parse default acl file '{}': there is none (nor {}); a line 'allow {}' in it lets users put "
      "taps on that bridge",
      kFiles[0], kFiles[1], bridge);
}

}  // namespace

Result<Request> parse_request(std::span<const std::string> words) {
  Request request;
  for (const std::string& word : words) {
    if (word == "--use-vnet") {
      request.header = true;
    } else if (word.starts_with("--br=")) {
      request.bridge = word.substr(5);
    } else if (word.starts_with("--fd=")) {
      const auto number = parse_number(word.substr(5));
      if (!number || *number < 3 || *number > 65535)
        return Error("--fd is the number of an inherited unix socket, not '{}'", word.substr(5));
      request.fd = static_cast<int>(*number);
    } else {
      return Error("{}", kUsage);
    }
  }
  if (request.bridge.empty() || request.fd < 0) return Error("{}", kUsage);
  if (!is_interface_name(request.bridge)) return Error("'{}' is no name of an interface", request.bridge);
  return request;
}

Result<void> serve(const Request& request) {
  // The device may be root's alone: it is opened with all rights, before anything of the caller's is looked at.
  auto tap = sys::open_tap("", request.header, false);
  RHEA_TRY(sys::keep_only_network_rights());
  if (!sys::is_unix_socket(request.fd)) return Error("file descriptor {} is no unix socket", request.fd);
  RHEA_TRY(check_access(request.bridge));
  if (!tap.ok()) return std::move(tap.error());
  if (!sys::is_bridge(request.bridge)) return Error("there is no bridge '{}'", request.bridge);
  RHEA_TRY(sys::add_to_bridge(request.bridge, tap->name, true));
  RHEA_TRY(sys::bring_up(tap->name));
  if (Result<void> sent = sys::send_descriptor(request.fd, tap->fd.get()); !sent.ok())
    return std::move(sent.error()).in("failed to write fd to unix socket");
  return {};
}

}  // namespace rhea::helper
