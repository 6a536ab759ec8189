// SPDX-License-Identifier: MIT
// This process becomes a member of the LAN as a machine is, with a tap where that has its NIC. The tap is in a network
// namespace of the program's own, made by the child before it becomes the program, and its descriptor is here:
//
//   program -- lan0 (kernel, in the namespace) == descriptor -- TapBackend -- LanBackend -- other members
#include "tool/lan_exec.h"

#include <algorithm>

#include "core/loop.h"
#include "net/backend.h"
#include "net/lan/lan_backend.h"
#include "sys/claim.h"
#include "sys/links.h"
#include "sys/own_network.h"
#include "sys/pass_descriptor.h"
#include "sys/tap.h"
#include "tool/lan_members.h"
#include "util/text.h"

namespace rhea::tool {

using config::Json;

namespace {

constexpr const char* kInterface = "lan0";
constexpr const char* kResolvers = "/etc/resolv.conf";
constexpr int kCannotRun = 127;  // as a shell says it

// The options with which the others are there, so that all have one network.
std::vector<net::OptionText> options_of(const std::string& lan) {
  std::vector<net::OptionText> options = {{"name", lan}};
  const std::vector<Json> members = ask_lan(lan);
  if (members.empty() || !members[0].contains("network") || !members[0]["network"].is_string()) return options;
  for (const std::string& word : split(members[0]["network"].get<std::string>(), ',')) {
    const usize equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const bool known = key == "net" || key == "host" || key == "dns" || key == "ipv6-prefix";
    if (known && equals != std::string::npos) options.emplace_back(key, word.substr(equals + 1));
  }
  return options;
}

// In the child.
class Inside {
 public:
  Inside(const net::user::UserConfig& config, const Words& command, int channel)
      : config_(config), command_(command), channel_(channel) {}
  int run() {
    Result<void> ready = prepare();
    if (!ready.ok()) return say(ready.error());
    // Names are asked in the LAN; without such a file programs know addresses only.
    const std::string text = "nameserver " + config_.dns.text() + "\n";
    if (const Result<void> covered = sys::cover_file(kResolvers, text); !covered.ok())
      std::fprintf(stderr, "rhea: warning: names of the LAN are not known: %s\n", covered.error().message().c_str());
    sys::default_terminal_signals();
    return say(sys::become_program(command_));
  }

 private:
  static int say(const Error& error) {
    std::fprintf(stderr, "rhea: %s\n", error.message().c_str());
    if (!error.hint().empty()) std::fprintf(stderr, "%s\n", error.hint().c_str());
    return kCannotRun;
  }
  Result<void> prepare() const {
    auto entered = sys::enter_own_network();
    if (!entered.ok()) return std::move(entered.error());
    const sys::Tap tap = RHEA_TRY(sys::open_tap(kInterface, true, false));
    sys::Links links = RHEA_TRY(sys::Links::open());
    for (const sys::Link& link : RHEA_TRY(links.links())) {
      if (link.loopback) RHEA_TRY(links.set_up(link.index));
      if (link.name != tap.name) continue;
      RHEA_TRY(links.add_address({link.index, config_.dhcp_start, config_.prefix_length}));
      RHEA_TRY(links.set_up(link.index));
      RHEA_TRY(links.add_default_route(link.index, config_.host));
    }
    return sys::send_descriptor(channel_, tap.fd.get());
  }
  const net::user::UserConfig& config_;
  const Words& command_;
  int channel_;
};

}  // namespace

Result<std::string> lan_exec(const Words& words, int& status) {
  Words command(words.begin() + std::min<usize>(1, words.size()), words.end());
  if (!command.empty() && command[0] == "--") command.erase(command.begin());
  if (command.empty())
    return Error("rhea lan exec takes the name of a LAN and a command: rhea lan exec lab ssh root@bob");
  core::Loop loop("rhea-lan");
  const std::unique_ptr<Clock> clock = core::make_host_clock(loop);
  Log log;
  net::Network network(loop, *clock, log);
  network.machine_name = fmt::format("shell-{}", sys::process_id());
  net::Port* lan = RHEA_TRY(network.add("lan", "lan", options_of(words[0])));
  const auto& config = static_cast<net::lan::LanBackend*>(lan)->router().stack().config();
  for (const std::string& warning : network.take_warnings())
    std::fprintf(stderr, "rhea: warning: %s\n", warning.c_str());

  sys::DescriptorChannel channel = RHEA_TRY(sys::descriptor_channel());
  sys::Fork child = RHEA_TRY(sys::Fork::start([&] { return Inside(config, command, channel.theirs.get()).run(); }));
  channel.theirs.reset();
  sys::ignore_terminal_signals();
  if (sys::Fd tap = sys::receive_descriptor(channel.ours.get())) {
    net::Port* wire =
        RHEA_TRY(network.add("tap", "tap", std::vector<net::OptionText>{{"fd", std::to_string(tap.release())}}));
    net::Port::connect(*wire, *lan);
    const auto ended = loop.watch(child.fd(), kReadable, [&](u32) { loop.quit(); });
    loop.run();
    net::Port::disconnect(*wire);
  }
  status = child.wait();
  return std::string();
}

}  // namespace rhea::tool
