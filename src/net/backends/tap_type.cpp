// SPDX-License-Identifier: MIT
// The options of `-netdev tap`: whose tap it is, and what is done to bring it up.
#include "config/options.h"
#include "net/backends/options.h"
#include "net/backends/tap_backend.h"
#include "sys/interface.h"
#include "sys/links.h"
#include "sys/pass_descriptor.h"
#include "sys/process.h"
#include "util/text.h"

namespace rhea::net {

namespace {

constexpr const char* kUpScript = "/etc/qemu-ifup";
constexpr const char* kDownScript = "/etc/qemu-ifdown";
constexpr const char* kDefaultBridge = "br0";
constexpr u64 kMostQueues = 1024;

constexpr OptionRow kTapOptions[] = {
    {OptionRow::text, "ifname", "interface, a tap or a macvtap (default: the kernel's next tap%d)"},
    {OptionRow::text, "fd", "number of an inherited tap"},
    {OptionRow::text, "fds", "numbers of inherited queues of one tap, A:B:C"},
    {OptionRow::text, "script", "run with the interface's name at the start; no: none (default /etc/qemu-ifup)"},
    {OptionRow::text, "downscript", "run with the interface's name at the end; no: none (default /etc/qemu-ifdown)"},
    {OptionRow::text, "br", "bridge that the helper puts it on (br0)"},
    {OptionRow::text, "helper", "program that makes a tap on a bridge"},
    {OptionRow::text, "sndbuf", "bytes that wait in the kernel before the guest does (0: no bound)"},
    {OptionRow::boolean, "vnet_hdr", "pass offloads between guest and kernel (on)"},
    {OptionRow::boolean, "vhost", "let the host's kernel serve the rings: refused"},
    {OptionRow::text, "vhostfd", "refused"},
    {OptionRow::text, "vhostfds", "refused"},
    {OptionRow::boolean, "vhostforce", "refused"},
    {OptionRow::number, "queues", "queues of the interface (1)"},
    {OptionRow::number, "poll-us", "for vhost: refused"},
};

constexpr OptionRow kBridgeOptions[] = {
    {OptionRow::text, "br", "bridge (br0)"},
    {OptionRow::text, "helper", "program that makes a tap on a bridge"},
};

bool any_of(const Options& options, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (options.has(name)) return true;
  return false;
}

Result<void> check_combination(const Options& options) {
  if (options.has("fd") &&
      any_of(options, {"ifname", "script", "downscript", "vnet_hdr", "helper", "queues", "fds", "vhostfds"}))
    return Error(
        "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=");
  if (options.has("fds") &&
      any_of(options, {"ifname", "script", "downscript", "vnet_hdr", "helper", "queues", "vhostfd"}))
    return Error("ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, and vhostfd= are invalid with fds=");
  if (options.has("helper") && any_of(options, {"ifname", "script", "downscript", "vnet_hdr", "queues", "vhostfds"}))
    return Error("ifname=, script=, downscript=, vnet_hdr=, queues=, and vhostfds= are invalid with helper=");
  if (options.has("br") && !options.has("helper"))
    return Error("br= is for helper=; -netdev bridge,br={} puts a tap on a bridge", options.text("br"));
  if (options.flag("vhost", false) || options.flag("vhostforce", false) || any_of(options, {"vhostfd", "vhostfds"})) {
    if (const int error = sys::check_vhost())
      return Error("tap: open vhost char device failed: {}", sys::errno_text(error))
          .with_hint("Without vhost=on the same tap works; offloads cross it either way.");
    return Error("vhost=on is not supported; leave it out: offloads cross the tap either way");
  }
  if (options.number("poll-us", 0)) return Error("poll-us= is for vhost=on, which is not supported");
  return {};
}

// What Debian's /etc/qemu-ifup does: up, and onto the bridge of the default route, if that is one; else br0, if
// there is one. Where this process may do neither and somebody else did, nothing is said.
Result<void> set_up(const std::string& interface) {
  std::string bridge = sys::default_route_interface();
  if (!sys::is_bridge(bridge)) bridge = sys::is_bridge(kDefaultBridge) ? kDefaultBridge : "";
  if (sys::is_up(interface)) return {};
  if (!bridge.empty()) RHEA_TRY(sys::add_to_bridge(bridge, interface, true));
  return sys::bring_up(interface);
}

// `asked`: script= or downscript= as given, or nullptr.
std::string script_of(const Options& options, const char* name, const char* standard) {
  if (!options.has(name)) return sys::is_executable(standard) ? standard : "";
  const std::string given = options.text(name);
  return given == "no" ? "" : given;
}

Result<void> run_script(const std::string& script, const std::string& interface) {
  const auto status = sys::run_program({script, interface});
  if (!status.ok()) return Error("could not launch network script {}", status.error().message());
  if (*status) return Error("network script {} failed with status {}", script, *status);
  return {};
}

// A macvtap that is there, by its name. Where the host does not tell, there is none.
std::optional<sys::Link> find_macvtap(const std::string& name) {
  if (name.empty()) return std::nullopt;
  auto links = sys::Links::open();
  if (!links.ok()) return std::nullopt;
  auto link = links->find(name);
  if (!link.ok() || !link.value() || (*link)->kind != "macvtap") return std::nullopt;
  return std::move(*link.value());
}

// No script by default: it is on its NIC's network already.
Result<TapPlan> plan_macvtap(const BackendContext& context, const Options& options, const sys::Link& link) {
  if (options.number("queues", 1) != 1) return Error("queues= of macvtap {} is 1", link.name);
  TapPlan plan;
  plan.queues.push_back(RHEA_TRY(sys::open_macvtap(link.name, link.index, options.flag("vnet_hdr", true))));
  u64 station = 0;
  for (const u8 byte : link.mac) station = station << 8 | byte;
  plan.station = station;
  const auto script = [&](const char* option) {
    const std::string given = options.text(option);
    return given == "no" ? std::string() : given;
  };
  plan.down_script = script("downscript");
  if (const std::string up = script("script"); !up.empty()) {
    RHEA_TRY(run_script(up, link.name));
  } else if (!options.has("script") && !link.up) {
    if (const Result<void> done = sys::bring_up(link.name); !done.ok())
      context.warnings.push_back(
          fmt::format("netdev {}: {}; as root: ip link set {} up", context.id, done.error().message(), link.name));
  }
  plan.info = fmt::format("ifname={},macvtap", link.name);
  return plan;
}

Result<TapPlan> plan_own(const BackendContext& context, const Options& options) {
  const u64 queues = options.number("queues", 1);
  if (queues < 1 || queues > kMostQueues) return Error("queues is 1 to {}, not {}", kMostQueues, queues);
  TapPlan plan;
  const bool header = options.flag("vnet_hdr", true);
  std::string name = options.text("ifname");
  if (const auto macvtap = find_macvtap(name)) return plan_macvtap(context, options, *macvtap);
  for (u64 i = 0; i < queues; ++i) {
    plan.queues.push_back(RHEA_TRY(sys::open_tap(name, header, queues > 1)));
    name = plan.queues[0].name;
  }
  const std::string up = script_of(options, "script", kUpScript);
  plan.down_script = script_of(options, "downscript", kDownScript);
  if (!up.empty()) {
    RHEA_TRY(run_script(up, name));
  } else if (!options.has("script")) {
    if (const Result<void> done = set_up(name); !done.ok())
      context.warnings.push_back(
          fmt::format("netdev {}: {}; as root: ip link set {} up", context.id, done.error().message(), name));
  }
  const auto shown = [&](const char* option, const std::string& script) {
    return options.has(option) ? options.text(option) : script.empty() ? std::string("no") : script;
  };
  plan.info = fmt::format("ifname={},script={},downscript={}", name, shown("script", up),
                          shown("downscript", plan.down_script));
  return plan;
}

Result<TapPlan> plan_descriptors(const std::vector<std::string>& numbers) {
  TapPlan plan;
  for (const std::string& number : numbers) {
    plan.queues.push_back(RHEA_TRY(sys::adopt_tap(number)));
    const sys::Tap& tap = plan.queues.back();
    if (tap.name != plan.queues[0].name)
      return Error("fds= are queues of one tap, but {} and {} are two", plan.queues[0].name, tap.name);
    if (tap.header != plan.queues[0].header)
      return Error("fds: some have vnet_hdr and some have not: all are opened alike");
  }
  plan.info = "fd=" + numbers[0];
  return plan;
}

Result<std::unique_ptr<Port>> create_tap(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kTapOptions));
  RHEA_TRY(check_combination(options));
  u64 send_buffer = 0;
  if (options.has("sndbuf")) send_buffer = RHEA_TRY(config::parse_size("sndbuf", options.text("sndbuf")));
  TapPlan plan;
  if (options.has("fd") || options.has("fds")) {
    const std::string text = options.has("fd") ? options.text("fd") : options.text("fds");
    auto planned = plan_descriptors(options.has("fd") ? std::vector{text} : split(text, ':'));
    if (!planned.ok()) return std::move(planned.error()).in(context.id);
    plan = planned.take();
  } else if (options.has("helper")) {
    const std::string bridge = options.has("br") ? options.text("br") : kDefaultBridge;
    plan.queues.push_back(RHEA_TRY(tap_on_bridge(context, bridge, options.text("helper"), true)));
    plan.info = "helper=" + options.text("helper");
  } else {
    plan = RHEA_TRY(plan_own(context, options));
  }
  for (const sys::Tap& tap : plan.queues)
    if (Result<void> set = sys::set_tap_send_buffer(tap.fd.get(), send_buffer); !set.ok() && options.has("sndbuf"))
      return std::move(set.error());
  return std::unique_ptr<Port>(std::make_unique<TapBackend>(context, std::move(plan)));
}

Result<std::unique_ptr<Port>> create_bridge(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kBridgeOptions));
  const std::string bridge = options.has("br") ? options.text("br") : kDefaultBridge;
  TapPlan plan;
  plan.queues.push_back(RHEA_TRY(tap_on_bridge(context, bridge, options.text("helper"), true)));
  plan.info = fmt::format("helper={},br={}", options.has("helper") ? options.text("helper") : kDefaultHelper, bridge);
  return std::unique_ptr<Port>(std::make_unique<TapBackend>(context, std::move(plan)));
}

}  // namespace

const BackendType kTapType{
    .name = "tap",
    .summary = "an interface of the host",
    .options = kTapOptions,
    .create = create_tap,
    .shared_segment = true,
};

const BackendType kBridgeType{
    .name = "bridge",
    .summary = "a tap on a bridge of the host",
    .options = kBridgeOptions,
    .create = create_bridge,
    .shared_segment = true,
};

}  // namespace rhea::net
