// SPDX-License-Identifier: MIT
#include "net/vhost/vhost_user_backend.h"

#include "config/json.h"
#include "net/backends/options.h"
#include "util/bits.h"

namespace rhea::net::vhost {

namespace {

constexpr u64 kMostPairs = 1024;
constexpr unsigned kMostTold = 32;
constexpr u16 kReverseArp = 0x8035;  // RFC 903
// The driver's way to change offloads while it runs (VIRTIO 1.2, section 5.1.6.5.6): rings that are lent cannot follow.
constexpr u64 kCtrlGuestOffloads = u64{1} << 2;

constexpr OptionRow kVhostUserOptions[] = {
    {OptionRow::text, "chardev", "id of a socket chardev with a path"},
    {OptionRow::boolean, "vhostforce", "also for guests without MSI-X: which is so in any case"},
    {OptionRow::number, "queues", "queue pairs that the back end has to have (1)"},
};

}  // namespace

Result<std::unique_ptr<Port>> VhostUserBackend::create(const BackendContext& context,
                                                       std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kVhostUserOptions));
  if (!options.has("chardev")) return Error("Parameter 'chardev' is missing");
  options.flag("vhostforce", false);
  const u64 pairs = options.number("queues", 1);
  if (pairs < 1 || pairs > kMostPairs) return Error("vhost-user number of queues must be in range [1, {}]", kMostPairs);
  if (context.network.replaying)
    return Error("what a vhost-user back end does is not recorded: it cannot go with -icount rr=");
  const std::string chardev = options.text("chardev");
  if (!context.network.open_source) return Error("chardev \"{}\" not found", chardev);
  if (pairs > 1)
    context.warnings.push_back(
        fmt::format("netdev {}: queues={}: virtio-net-device has one pair; the others stay unused", context.id, pairs));
  auto backend = std::make_unique<VhostUserBackend>(context, chardev, static_cast<unsigned>(pairs));
  auto opened = RHEA_TRY(context.network.open_source(
      chardev, [port = backend.get(), alive = std::weak_ptr(backend->alive_)](sys::Fd socket) {
        if (alive.lock()) port->connected(std::move(socket));
      }));
  backend->source_ = std::move(opened.source);
  if (!opened.first) return Error("chardev \"{}\" is not connected: start the back end first", chardev);
  backend->connected(std::move(opened.first));
  if (Result<void> agreed = backend->client_->wait_until_ready(); !agreed.ok())
    return std::move(agreed.error()).in(fmt::format("chardev \"{}\"", chardev));
  return std::unique_ptr<Port>(std::move(backend));
}

VhostUserBackend::VhostUserBackend(const BackendContext& context, std::string chardev, unsigned pairs)
    : WireBackend(context), chardev_(std::move(chardev)), pairs_(pairs) {
  set_info("vhost-user0 to " + chardev_);
}

VhostUserBackend::~VhostUserBackend() = default;

// The rings' frames go past this. What a monitor's announce_self makes for the NIC is passed on in its own way.
Sent VhostUserBackend::send(const Frame& frame) {
  std::array<u8, kEthernetHeader> head{};
  if (frame.copy(0, head.data(), head.size()) != head.size() || load_be<u16>(&head[12]) != kReverseArp || !is_ready())
    return counted(Sent::dropped, frame);
  client_->announce(std::span<const u8, 6>(&head[6], 6));
  return counted(Sent::taken, frame);
}

u64 VhostUserBackend::limit(u64 offered) const {
  return offered & ~kCtrlGuestOffloads & (~served_features() | features_);
}

Result<void> VhostUserBackend::lend(const Lending& lending) {
  if (!client_) return Error("there is no back end");
  return client_->lend(lending);
}

void VhostUserBackend::take_back() {
  if (client_) client_->take_back();
}

void VhostUserBackend::connected(sys::Fd socket) {
  if (client_) ended(client_->why());
  client_ = std::make_unique<Client>(loop_, std::move(socket), pairs_,
                                     Client::Hooks{.ready = [this] { ready(); },
                                                   .ended = [this](const std::string& why) { ended(why); },
                                                   .used =
                                                       [this](unsigned ring) {
                                                         if (RingOwner* nic = owner()) nic->ring_used(ring);
                                                       },
                                                   .say = [this](const std::string& text) { tell(text); }});
}

void VhostUserBackend::ready() {
  features_ = client_->features();
  told_ready_ = true;
  if (event_)
    event_("NETDEV_VHOST_USER_CONNECTED",
           config::json_text(config::Json{{"netdev-id", name()}, {"chardev-id", chardev_}}));
  if (RingOwner* nic = owner()) nic->server_changed();
}

void VhostUserBackend::ended(const std::string& why) {
  if (!why.empty()) tell(why + ": the link is down until another one comes");
  if (RingOwner* nic = owner()) nic->server_changed();
  client_.reset();
  if (std::exchange(told_ready_, false) && event_)
    event_("NETDEV_VHOST_USER_DISCONNECTED", config::json_text(config::Json{{"netdev-id", name()}}));
}

// A back end that comes again and again must not fill a log.
void VhostUserBackend::tell(const std::string& text) {
  if (told_ >= kMostTold) return;
  if (++told_ < kMostTold) say(text);
  else say("what else is wrong with the back end is not told");
}

}  // namespace rhea::net::vhost

namespace rhea::net {

const BackendType kVhostUserType{
    .name = "vhost-user",
    .summary = "rings served by another process, over a socket chardev",
    .options = vhost::kVhostUserOptions,
    .create = vhost::VhostUserBackend::create,
    .shared_segment = true,
};

}  // namespace rhea::net
