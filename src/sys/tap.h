// SPDX-License-Identifier: MIT
// Taps: Ethernet interfaces of the host whose other end is a descriptor (Linux, Documentation/networking/tuntap).
// One that this program made goes with its last descriptor, however the program ends; a persistent one stays.
#pragma once

#include <array>
#include <span>
#include <string>

#include "sys/fd.h"
#include "sys/host_socket.h"
#include "sys/stream.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

constexpr usize kTapHeader = 12;  // struct virtio_net_hdr_mrg_rxbuf before each frame, when it was asked for

struct Tap {
  Fd fd;
  std::string name;
  bool header = false;
};

// `name` empty: the kernel's "tap%d"; it may hold a %d. Errors: "could not configure /dev/net/tun (tap0): Operation
// not permitted", with what would help.
Result<Tap> open_tap(const std::string& name, bool header, bool multi_queue);
// A descriptor that is a tap already. Errors: "Can't use file descriptor 3: Bad file descriptor".
Result<Tap> adopt_tap(Fd fd);
Result<Tap> adopt_tap(const std::string& number);

// One that stays until it is removed, for a user (its number) to open, with a MAC address. Until it has all that it
// goes with this program. Errors as of open_tap, or that it is there.
Result<void> make_persistent_tap(const std::string& name, unsigned user, const std::array<u8, 6>& mac);

// A macvtap: an interface of its own beside a NIC, on the NIC's network (Linux, drivers/net/macvtap.c); `index` is the
// interface's number. One program has it at a time. Errors say what its device file lacks.
Result<Tap> open_macvtap(const std::string& name, u32 index, bool header);
// Lets a user (its number) open it. Errors: the device file is not there.
Result<void> give_macvtap(const std::string& name, u32 index, unsigned user);

// What the kernel may leave undone in frames that we read.
struct TapOffload {
  bool checksum = false, tso4 = false, tso6 = false, uso = false;
  bool operator==(const TapOffload&) const = default;
};
// False where the kernel does not know it (uso: Linux 6.2).
bool set_tap_offload(int fd, const TapOffload& offload);
// Bytes that wait in the kernel before a sender has to; 0: no bound.
Result<void> set_tap_send_buffer(int fd, u64 bytes);

// 0, or why the kernel's own server of rings (vhost-net) cannot be used.
int check_vhost();

// Never wait.
ReadSome read_tap(int fd, std::span<u8> into);
ReadSome write_tap(int fd, std::span<const IoPiece> pieces);

}  // namespace rhea::sys
