// SPDX-License-Identifier: MIT
// `-netdev vde`: a port of a VDE switch, with frames in datagrams.
#include "net/backends/datagram_backend.h"
#include "net/backends/options.h"
#include "sys/vde_switch.h"
#include "util/text.h"

namespace rhea::net {

namespace {

constexpr OptionRow kVdeOptions[] = {
    {OptionRow::text, "sock", "folder of the switch (default: where vde_switch makes one)"},
    {OptionRow::number, "port", "port of the switch (0: the next that is free)"},
    {OptionRow::text, "group", "group that the port's socket belongs to"},
    {OptionRow::text, "mode", "permissions of the port's socket, in octal (0700)"},
};

Result<std::unique_ptr<Port>> create_vde(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kVdeOptions));
  sys::VdeOptions wanted;
  wanted.place = options.text("sock");
  wanted.group = options.text("group");
  wanted.description = "Rhea netdev " + context.id;
  const u64 port = options.number("port", 0);
  if (port > 65535) return Error("a switch has ports from 1 to 65535, not {}", port);
  wanted.port = static_cast<unsigned>(port);
  if (options.has("mode")) {
    const auto mode = parse_number("0" + options.text("mode"));
    if (!mode || *mode > 0777)
      return Error("Parameter 'mode' expects permissions in octal, like 0700, not '{}'", options.text("mode"));
    wanted.mode = static_cast<unsigned>(*mode);
  }
  sys::VdePlug plug = RHEA_TRY(sys::plug_into_vde(wanted));
  DatagramPlan plan;
  plan.type = "vde";
  plan.info = fmt::format("sock={},fd={}", plug.place, plug.data.get());
  plan.receive = std::move(plug.data);
  plan.kept = std::move(plug.control);
  plan.path = plug.path;
  plan.unix_socket = true;
  return std::unique_ptr<Port>(std::make_unique<DatagramBackend>(context, std::move(plan)));
}

}  // namespace

const BackendType kVdeType{
    .name = "vde",
    .summary = "a port of a VDE switch",
    .options = kVdeOptions,
    .create = create_vde,
    .shared_segment = true,
};

}  // namespace rhea::net
