// SPDX-License-Identifier: MIT
// What two processes of one user need to share memory when neither trusts the other: local sockets that keep packets
// apart (unix(7), SOCK_SEQPACKET) and pass a descriptor along, and memory files that cannot shrink under a mapping.
// Nothing waits but what says so.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "sys/memory_map.h"
#include "sys/stream.h"
#include "util/result.h"

namespace rhea::sys {

// Who made the other end of a connection (SO_PEERCRED).
struct PacketPeer {
  int process = 0;
  unsigned user = ~0u;
};

// Listens from the moment that its file is there. Errors: the path is too long for a socket, what the host says.
Result<Fd> listen_packets(const std::string& path);
// An invalid one with an errno: ECONNREFUSED when nobody listens any more, EAGAIN when too many are waiting.
Fd connect_packets(const std::string& path, int& error);
// An invalid one when there is none.
Fd accept_packets(int listener);
PacketPeer packet_peer(int fd);

// One packet, perhaps with a descriptor along.
ReadSome send_packet(int fd, std::span<const u8> data, int along = -1);
struct Packet {
  ReadSome got{ReadOutcome::would_wait};
  bool truncated = false;  // it was longer than the room for it
  Fd along;                // of several the first; the others were closed
};
Packet receive_packet(int fd, std::span<u8> into);

// Waits for a packet, or the end; false when none came in so many ms.
bool wait_packet(int fd, unsigned milliseconds);

// A memory file whose size stays (F_SEAL_SHRINK, F_SEAL_GROW).
Result<Fd> create_sealed_memory(const std::string& name, usize size);
// All of it, for reading and writing. Errors: not of this size, or it could be cut off, which would end this process
// when it touches what was cut (SIGBUS).
Result<MemoryMap> map_sealed_memory(int fd, usize size);

// The names in a folder, without "." and "..", at most `limit`; none when it cannot be read.
std::vector<std::string> names_in(const std::string& folder, usize limit);

}  // namespace rhea::sys
