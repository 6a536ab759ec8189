// SPDX-License-Identifier: MIT
// `-netdev socket`: the older spelling of stream and dgram, in one type.
#include <optional>

#include "net/backends/datagram_backend.h"
#include "net/backends/options.h"
#include "net/backends/stream_backend.h"

namespace rhea::net {

namespace {

constexpr s64 kRetry = kSecond;

constexpr OptionRow kSocketOptions[] = {
    {OptionRow::text, "fd", "number of an inherited socket, stream or datagram"},
    {OptionRow::text, "listen", "[host]:port to wait on for the other side"},
    {OptionRow::text, "connect", "host:port to connect to, again and again until somebody is there"},
    {OptionRow::text, "mcast", "address:port of a multicast group"},
    {OptionRow::text, "localaddr", "mcast: address of the interface; udp: [host]:port to send from and receive on"},
    {OptionRow::text, "udp", "host:port to send datagrams to"},
};

Result<sys::RawAddress> resolve_one(const sys::SocketName& name, bool passive) {
  const std::vector<sys::RawAddress> found = RHEA_TRY(sys::resolve(name, passive, true));
  if (found.empty()) return Error("'{}' has no address", name.text());
  return found[0];
}

// The group of mcast=, which has to be one.
Result<sys::RawAddress> group_of(const std::string& text) {
  const sys::SocketName name = RHEA_TRY(parse_host_port(text));
  const sys::RawAddress group = RHEA_TRY(resolve_one(name, false));
  if (!sys::is_multicast(group))
    return Error("specified mcastaddr {} (0x{:08x}) does not contain a multicast address", name.host,
                 sys::ipv4_of(group));
  return group;
}

// localaddr= of a group is an address without a port.
Result<std::optional<sys::RawAddress>> interface_of(const Options& options) {
  if (!options.has("localaddr")) return std::optional<sys::RawAddress>();
  sys::SocketName name;
  name.host = options.text("localaddr");
  name.port = "0";
  name.numeric = true;
  auto address = resolve_one(name, true);
  if (!address.ok()) return Error("localaddr '{}' is no address of an interface", name.host);
  return std::optional(*address);
}

Result<std::unique_ptr<Port>> make(const BackendContext& context, DatagramPlan plan) {
  plan.type = "socket";
  plan.info = "socket: " + plan.info;
  return std::unique_ptr<Port>(std::make_unique<DatagramBackend>(context, std::move(plan)));
}

Result<std::unique_ptr<Port>> from_descriptor(const BackendContext& context, const Options& options) {
  sys::Fd fd = RHEA_TRY(sys::take_socket(options.text("fd")));
  switch (sys::descriptor_kind(fd.get())) {
    case sys::DescriptorKind::datagram: {
      std::optional<sys::RawAddress> group;
      if (options.has("mcast")) group = RHEA_TRY(group_of(options.text("mcast")));
      return make(context, RHEA_TRY(plan_inherited(std::move(fd), group)));
    }
    case sys::DescriptorKind::stream:
    case sys::DescriptorKind::listener: {
      StreamPlan plan;
      plan.legacy = true;
      plan.start = sys::descriptor_kind(fd.get()) == sys::DescriptorKind::stream ? StreamPlan::Start::connected
                                                                                 : StreamPlan::Start::listen;
      plan.name.family = sys::SocketName::Family::descriptor;
      plan.name.descriptor = options.text("fd");
      plan.fd = std::move(fd);
      return StreamBackend::create(context, std::move(plan));
    }
    default: return Error("socket type of file descriptor {} is neither stream nor datagram", options.text("fd"));
  }
}

Result<std::unique_ptr<Port>> from_stream(const BackendContext& context, const std::string& address, bool listens) {
  StreamPlan plan;
  plan.legacy = true;
  plan.start = listens ? StreamPlan::Start::listen : StreamPlan::Start::connect;
  plan.name = RHEA_TRY(parse_host_port(address));
  plan.retry = kRetry;
  return StreamBackend::create(context, std::move(plan));
}

Result<std::unique_ptr<Port>> from_udp(const BackendContext& context, const Options& options) {
  if (!options.has("localaddr")) return Error("localaddr= is mandatory with udp=");
  const sys::SocketName remote = RHEA_TRY(parse_host_port(options.text("udp")));
  const sys::SocketName local = RHEA_TRY(parse_host_port(options.text("localaddr")));
  DatagramPlan plan;
  plan.to = RHEA_TRY(resolve_one(remote, false));
  plan.receive = RHEA_TRY(sys::bind_datagram(RHEA_TRY(resolve_one(local, true)), local));
  plan.info = "udp=" + sys::address_text(*plan.to);
  return make(context, std::move(plan));
}

Result<std::unique_ptr<Port>> create_socket(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kSocketOptions));
  const unsigned modes = options.has("listen") + options.has("connect") + options.has("mcast") + options.has("udp");
  if (modes > 1 || (modes == 0 && !options.has("fd")))
    return Error("exactly one of listen=, connect=, mcast= or udp= is required");
  if (options.has("localaddr") && !options.has("mcast") && !options.has("udp"))
    return Error("localaddr= is only valid with mcast= or udp=");
  if (options.has("fd")) {
    if (modes && !options.has("mcast")) return Error("listen=, connect=, udp= are invalid with fd=");
    return from_descriptor(context, options);
  }
  if (options.has("listen")) return from_stream(context, options.text("listen"), true);
  if (options.has("connect")) return from_stream(context, options.text("connect"), false);
  if (options.has("udp")) return from_udp(context, options);
  return make(context,
              RHEA_TRY(plan_multicast(RHEA_TRY(group_of(options.text("mcast"))), RHEA_TRY(interface_of(options)))));
}

}  // namespace

const BackendType kSocketType{
    .name = "socket",
    .summary = "frames over TCP or UDP to another program (QEMU, Rhea)",
    .options = kSocketOptions,
    .create = create_socket,
    .shared_segment = true,
};

}  // namespace rhea::net
