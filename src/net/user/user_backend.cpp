// SPDX-License-Identifier: MIT
#include "net/user/user_backend.h"

#include "net/user/host_sockets.h"

namespace rhea::net::user {

Result<std::unique_ptr<Port>> UserBackend::create(const BackendContext& context, std::span<const OptionText> options) {
  UserConfig config = RHEA_TRY(parse_user_options(options, context.warnings));
  const std::vector<ForwardRule> forwards = config.forwards;
  std::optional<SmbShare> share;
  if (!config.smb.empty()) {
    share.emplace(RHEA_TRY(SmbShare::make(config.smb)));
    for (const u16 port : {u16{139}, u16{445}})
      config.guest_forwards.push_back({.address = config.smb_server,
                                       .port = port,
                                       .command = share->command(),
                                       .target_name = {},
                                       .target = {},
                                       .device = {},
                                       .text = "smb=" + config.smb});
  }
  if (!config.tftp.empty())
    if (const int error = sys::check_folder(config.tftp))
      context.warnings.push_back(
          fmt::format("tftp={}: {}; files are looked for when the guest asks", config.tftp, sys::errno_text(error)));
  const Stack::Services services{context.loop, context.log, context.warn};
  auto backend = std::make_unique<UserBackend>(
      context.id, std::move(config), services,
      [&](std::function<void()> after_events) -> std::unique_ptr<Sockets> {
        return std::make_unique<HostSockets>(context.loop, std::move(after_events));
      },
      std::move(share));
  backend->stack_.look_up_names();
  RHEA_TRY(backend->stack_.open_devices(context.network.open_device));
  RHEA_TRY(backend->stack_.open_metrics(context.id));
  for (const ForwardRule& rule : forwards) RHEA_TRY(backend->stack_.add_forward(rule));
  return std::unique_ptr<Port>(std::move(backend));
}

UserBackend::UserBackend(const std::string& id, UserConfig config, const Stack::Services& services,
                         const Stack::MakeSockets& make_sockets, std::optional<SmbShare> share)
    : Port(id), share_(std::move(share)), stack_(*this, std::move(config), services, make_sockets) {}

// Checksums of the guest are not looked at: the link is memory. Large segments go to sockets as they are.
Caps UserBackend::caps() const {
  return {.checksum = true, .tso4 = true, .tso6 = true, .uso = true, .max_frame = kMaxGsoFrame};
}

Sent UserBackend::send(const Frame& frame) {
  if (!link_up_) return Sent::dropped;
  ++counters_.frames_in;
  counters_.bytes_in += frame.size();
  stack_.input(frame);
  return Sent::taken;
}

std::string UserBackend::info() const {
  const UserConfig& config = stack_.config();
  return fmt::format("net={},restrict={}", config.ipv4 ? config.network.text() : config.prefix6.text(),
                     config.restricted ? "on" : "off");
}

std::string UserBackend::info_usernet(int hub) const {
  return fmt::format("Hub {} ({}):\n{}", hub, name(), stack_.info());
}

std::string UserBackend::hostfwd_add(const std::string& text) {
  auto rule = parse_forward(text);
  if (!rule) return rule.error().message() + "\n";
  if (auto added = stack_.add_forward(*rule); !added) return added.error().message() + "\n";
  return {};
}

std::string UserBackend::hostfwd_remove(const std::string& text) {
  const auto rule = parse_forward_removal(text);
  if (!rule) return "invalid format\n";
  return fmt::format("host forwarding rule for {} {}\n", text, stack_.remove_forward(*rule) ? "removed" : "not found");
}

}  // namespace rhea::net::user
