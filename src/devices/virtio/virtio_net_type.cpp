// SPDX-License-Identifier: MIT
// The record of virtio-net-device: its properties and what they may be.
#include "devices/virtio/virtio_net.h"
#include "util/bits.h"

namespace rhea::devices {
namespace {

using C = VirtioNetConfig;
constexpr PropertyKind kBool = PropertyKind::boolean;
constexpr PropertyKind kNumber = PropertyKind::number;

constexpr Property kProperties[] = {
    property<&C::any_layout>("any_layout", kBool, "on/off"),
    property<&C::csum>("csum", kBool, "the guest may leave checksums to the device"),
    property<&C::ctrl_guest_offloads>("ctrl_guest_offloads", kBool, "the guest may change its offloads while running"),
    property<&C::ctrl_mac_addr>("ctrl_mac_addr", kBool, "the guest may set the MAC address"),
    property<&C::ctrl_rx>("ctrl_rx", kBool, "receive modes"),
    property<&C::ctrl_rx_extra>("ctrl_rx_extra", kBool, "more receive modes"),
    property<&C::ctrl_vlan>("ctrl_vlan", kBool, "VLAN filter"),
    property<&C::ctrl_vq>("ctrl_vq", kBool, "control queue"),
    property<&C::event_idx>("event_idx", kBool, "event indices in the rings"),
    property<&C::failover>("failover", kBool, "not supported: off"),
    property<&C::gso>("gso", kBool, "the guest may send large segments of any kind (legacy)"),
    property<&C::guest_announce>("guest_announce", kBool, "the guest announces itself when asked"),
    property<&C::guest_csum>("guest_csum", kBool, "frames without checksums are given to the guest"),
    property<&C::guest_ecn>("guest_ecn", kBool, "large segments with ECN are given to the guest"),
    property<&C::guest_rsc_ext>("guest_rsc_ext", kBool, "not supported: off"),
    property<&C::guest_tso4>("guest_tso4", kBool, "large IPv4 segments are given to the guest"),
    property<&C::guest_tso6>("guest_tso6", kBool, "large IPv6 segments are given to the guest"),
    property<&C::guest_ufo>("guest_ufo", kBool, "not supported: off"),
    property<&C::guest_uso4>("guest_uso4", kBool, "UDP segments over IPv4 are given to the guest"),
    property<&C::guest_uso6>("guest_uso6", kBool, "UDP segments over IPv6 are given to the guest"),
    property<&C::hash>("hash", kBool, "not supported: off"),
    property<&C::host_ecn>("host_ecn", kBool, "the guest may send large segments with ECN"),
    property<&C::host_mtu>("host_mtu", kNumber, "the MTU that the guest is told; 0: none"),
    property<&C::host_tso4>("host_tso4", kBool, "the guest may send large IPv4 segments"),
    property<&C::host_tso6>("host_tso6", kBool, "the guest may send large IPv6 segments"),
    property<&C::host_ufo>("host_ufo", kBool, "not supported: off"),
    property<&C::host_uso>("host_uso", kBool, "the guest may send UDP segments"),
    property<&C::indirect_desc>("indirect_desc", kBool, "indirect descriptors"),
    property<&C::iommu_platform>("iommu_platform", kBool, "not supported: off"),
    property<&C::mac>("mac", PropertyKind::mac, "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56"),
    property<&C::mq>("mq", kBool, "not supported: off"),
    property<&C::mrg_rxbuf>("mrg_rxbuf", kBool, "frames may be spread over several receive buffers"),
    property<&C::netdev>("netdev", PropertyKind::netdev, "ID of a netdev to use as a backend"),
    property<&C::notify_on_empty>("notify_on_empty", kBool, "an interrupt when a queue has run empty (legacy)"),
    property<&C::packed>("packed", kBool, "not supported: off"),
    property<&C::queue_reset>("queue_reset", kBool, "queues can be reset one by one"),
    property<&C::rss>("rss", kBool, "not supported: off"),
    property<&C::rx_queue_size>("rx_queue_size", kNumber, "entries of the receive queue, 256 to 1024"),
    property<&C::status>("status", kBool, "the guest is told of the link's state"),
    property<&C::tx>("tx", PropertyKind::text, "bh: frames are sent at once"),
    property<&C::tx_queue_size>("tx_queue_size", kNumber, "entries of the transmit queue, 256 to 1024"),
};

Result<void> check(const C& config) {
  const struct {
    const char* name;
    bool on;
  } unsupported[] = {{"mq", config.mq},
                     {"rss", config.rss},
                     {"hash", config.hash},
                     {"packed", config.packed},
                     {"guest_ufo", config.guest_ufo},
                     {"host_ufo", config.host_ufo},
                     {"guest_rsc_ext", config.guest_rsc_ext},
                     {"iommu_platform", config.iommu_platform},
                     {"failover", config.failover}};
  for (const auto& [name, on] : unsupported)
    if (on) return Error("virtio-net-device: {}=on is not supported yet; leave it off", name);
  if (config.tx != "bh" && !config.tx.empty())
    return Error("virtio-net-device: tx={} is not supported: frames are sent at once (tx=bh)", config.tx);
  const auto size_ok = [](u16 size) { return size >= 256 && size <= 1024 && is_power_of_two(size); };
  if (!size_ok(config.rx_queue_size))
    return Error("Invalid rx_queue_size (= {}), must be a power of 2 between 256 and 1024.", config.rx_queue_size);
  if (!size_ok(config.tx_queue_size))
    return Error("Invalid tx_queue_size (= {}), must be a power of 2 between 256 and 1024.", config.tx_queue_size);
  return {};
}

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const C& given = *static_cast<const C*>(config);
  RHEA_TRY(check(given));
  return std::unique_ptr<Device>(std::make_unique<VirtioNet>(context, given));
}

}  // namespace

extern const DeviceType virtio_net_device;
const DeviceType virtio_net_device = {
    .name = "virtio-net-device",
    .bus = Bus::virtio,
    .category = Category::network,
    .summary = "virtio network device",
    .properties = kProperties,
    .make_config = default_config<C>,
    .create = create,
};

}  // namespace rhea::devices
