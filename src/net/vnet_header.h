// SPDX-License-Identifier: MIT
// The offload header that guests, taps and streams put before a frame.
#pragma once

#include <span>

#include "net/frame.h"

namespace rhea::net {

// struct virtio_net_hdr (VIRTIO 1.2, section 5.1.6), 12 bytes with num_buffers, in host order.
constexpr usize kVnetHeader = 12;
void write_vnet_header(const Offload& offload, std::span<u8, kVnetHeader> to);
// False: it makes no sense for a frame of this size.
bool read_vnet_header(std::span<const u8> from, usize frame_size, Offload& offload);

}  // namespace rhea::net
