// SPDX-License-Identifier: MIT
// Sockets that carry Ethernet frames between processes: gathered sends on streams, datagrams with and without a
// fixed peer, multicast groups. Everything is non-blocking. Names are those of sys/named_socket.h.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "sys/host_socket.h"
#include "sys/named_socket.h"

namespace rhea::sys {

// Never waits; `count` bytes were taken of all pieces together. `to`: of datagrams without a fixed peer.
ReadSome send_pieces(int fd, std::span<const IoPiece> pieces, const RawAddress* to = nullptr);

struct Datagram {
  ReadSome got;
  bool truncated = false;  // it was longer than the room for it
  RawAddress from;
};
Datagram receive_datagram(int fd, std::span<u8> into);

// "127.0.0.1:1234", "[::1]:1234", a path; "" for an address without a name.
std::string address_text(const RawAddress& address);
bool same_address(const RawAddress& a, const RawAddress& b);
bool is_multicast(const RawAddress& address);
// Of an IPv4 address in host order, 0 of others.
u32 ipv4_of(const RawAddress& address);
RawAddress local_address(int fd);

enum class DescriptorKind : u8 { stream, listener, datagram, other };
// What an inherited descriptor is; a stream that listens is a listener.
DescriptorKind descriptor_kind(int fd);
bool is_unix(int fd);  // a socket of this host's processes only

// A datagram socket bound to one address: of a host, or a path (an old socket file is replaced). Errors: "can't
// bind to ...".
Result<Fd> bind_datagram(const RawAddress& local, const SocketName& name);

// A multicast group on one interface. What is sent goes out by a socket of its own, so that a member knows its own
// datagrams when they come back (`own`) and other members on this host see them.
struct Multicast {
  Fd receive, send;
  RawAddress group, own;
};
// `interface`: the address of the interface; none: the one that the host's routes say. `receive`: an inherited
// socket that is a member already, or an invalid one.
Result<Multicast> join_multicast(const RawAddress& group, const std::optional<RawAddress>& interface, Fd receive = {});

// A dead peer is noticed in a minute or so.
void keep_alive(int fd);

}  // namespace rhea::sys
