// SPDX-License-Identifier: MIT
// A tap on a bridge of the host. A process that may make taps does it itself; another asks a helper that has the
// right to (setuid root), which looks into a list of the bridges that are allowed and passes the tap's descriptor
// back over a unix socket: `HELPER --use-vnet --fd=N --br=BRIDGE`.
#include "net/backends/tap_backend.h"
#include "sys/interface.h"
#include "sys/pass_descriptor.h"
#include "sys/process.h"
#include "util/text.h"

namespace rhea::net {

namespace {

constexpr const char* kOwnHelper = "rhea-bridge-helper";

// Beside this program, or where it is installed.
std::string own_helper() {
  const std::string folder = sys::program_folder();
  for (const std::string& place : {folder, folder + "/../libexec", folder + "/../lib/rhea"})
    if (const std::string path = place + "/" + kOwnHelper; sys::is_executable(path)) return path;
  return {};
}

bool is_there(const std::string& helper) { return sys::is_executable(helper.substr(0, helper.find_first_of(" \t"))); }

Result<void> check_bridge(const std::string& bridge) {
  if (sys::is_bridge(bridge)) return {};
  if (sys::interface_exists(bridge)) return Error("'{}' is no bridge", bridge);
  const std::vector<std::string> names = sys::bridges();
  const std::string there = names.empty() ? "" : fmt::format("; there are: {}", join(names, " "));
  return Error("there is no bridge '{}'{}{}", bridge, did_you_mean(bridge, names), there)
      .with_hint(fmt::format("As root, this makes one: ip link add {0} type bridge && ip link set {0} up", bridge));
}

Result<sys::Tap> make_it_here(const std::string& bridge, bool header) {
  sys::Tap tap = RHEA_TRY(sys::open_tap("", header, false));
  RHEA_TRY(sys::add_to_bridge(bridge, tap.name, true));
  RHEA_TRY(sys::bring_up(tap.name));
  return tap;
}

Result<sys::Tap> ask_helper(const std::string& helper, const std::string& bridge, bool header) {
  sys::DescriptorChannel channel = RHEA_TRY(sys::descriptor_channel());
  std::vector<std::string> words;
  if (header) words.emplace_back("--use-vnet");
  words.push_back(fmt::format("--fd={}", channel.theirs.get()));
  words.push_back("--br=" + bridge);
  // One with arguments of its own is a line for the shell, as QEMU has it.
  if (helper.find_first_of(" \t") != std::string::npos) words = {helper + " " + join(words, " ")};
  else words.insert(words.begin(), helper);
  const auto status = sys::run_program(words);
  channel.theirs.reset();
  if (!status.ok()) return Error("bridge helper failed: {}", status.error().message());
  sys::Fd fd = *status == 0 ? sys::receive_descriptor(channel.ours.get()) : sys::Fd();
  if (!fd)
    return Error("bridge helper failed")
        .with_hint(fmt::format("{} needs to be setuid root and to find 'allow {}' in /etc/rhea/bridge.conf or "
                               "/etc/qemu/bridge.conf.",
                               helper, bridge));
  return sys::adopt_tap(std::move(fd));
}

}  // namespace

Result<sys::Tap> tap_on_bridge(const BackendContext& context, const std::string& bridge, const std::string& helper,
                               bool header) {
  RHEA_TRY(check_bridge(bridge));
  const std::string own = own_helper();
  if (!helper.empty()) {
    if (is_there(helper)) return ask_helper(helper, bridge, header);
    context.warnings.push_back(fmt::format("netdev {}: the helper {} is not there: {} does its work", context.id,
                                           helper, own.empty() ? "Rhea" : own));
  }
  auto here = make_it_here(bridge, header);
  if (here.ok()) return here;
  if (helper.empty() && is_there(kDefaultHelper)) return ask_helper(kDefaultHelper, bridge, header);
  if (!own.empty()) return ask_helper(own, bridge, header);
  return here;
}

}  // namespace rhea::net
