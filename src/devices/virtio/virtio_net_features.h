// SPDX-License-Identifier: MIT
// Feature bits of virtio network devices (VIRTIO 1.2, section 5.1.3).
#pragma once

#include "util/types.h"

namespace rhea::devices::virtio_net {

constexpr u64 feature(unsigned bit) { return u64{1} << bit; }

constexpr u64 kCsum = feature(0), kGuestCsum = feature(1), kCtrlGuestOffloads = feature(2), kMtu = feature(3);
constexpr u64 kMac = feature(5), kGso = feature(6), kGuestTso4 = feature(7), kGuestTso6 = feature(8);
constexpr u64 kGuestEcn = feature(9), kHostTso4 = feature(11), kHostTso6 = feature(12), kHostEcn = feature(13);
constexpr u64 kMrgRxbuf = feature(15), kStatus = feature(16), kCtrlVq = feature(17), kCtrlRx = feature(18);
constexpr u64 kCtrlVlan = feature(19), kCtrlRxExtra = feature(20), kGuestAnnounce = feature(21);
constexpr u64 kCtrlMacAddr = feature(23), kGuestUso4 = feature(54), kGuestUso6 = feature(55);
constexpr u64 kHostUso = feature(56);

constexpr u64 kGuestOffloads = kGuestCsum | kGuestTso4 | kGuestTso6 | kGuestEcn | kGuestUso4 | kGuestUso6;

}  // namespace rhea::devices::virtio_net
