// SPDX-License-Identifier: MIT
// Sockets by name for control connections and character devices: TCP and UDP by host and service, unix
// sockets by path. Everything is non-blocking; what has to wait says so. Errors are texts that name the
// address. (net/ has sockets of its own: sys/host_socket.h.)
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "sys/stream.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

struct SocketName {
  enum class Family : u8 { inet, unix_path, descriptor } family = Family::inet;
  std::string host, port;          // inet; an empty host: all interfaces, or this host
  std::optional<u64> to;           // inet: the last port that is tried
  std::optional<bool> ipv4, ipv6;  // inet: which families
  bool numeric = false;            // inet: no look-up of names
  std::string path;                // unix
  bool abstract = false;           // unix: a name that is no file
  bool tight = true;               // unix: an abstract name is no longer than its text
  std::string descriptor;          // a number that was inherited

  // "127.0.0.1:1234", "[::1]:1234", "/a/path": as messages and `info chardev` show it.
  std::string text() const;
};

// An address that a name stands for.
struct RawAddress {
  std::array<u8, 128> bytes{};
  unsigned size = 0;
};

// Looking up a host's name may wait for a name server. Errors: "address resolution failed for H:P: ...".
Result<std::vector<RawAddress>> resolve(const SocketName& name, bool passive, bool datagram = false);

// A listening stream socket. An old socket file that nobody listens on is replaced. Errors: "Failed to bind
// socket to ...", "Failed to find an available port: ...".
Result<Fd> listen_stream(const SocketName& name);
// The name with the port that was got (to=, port 0).
SocketName bound_name(int fd, const SocketName& asked);

// A connection on its way: 0 or EINPROGRESS (then it is writable when it is decided), or what went wrong.
Fd begin_connect(const RawAddress& address, int& error);
// Waits for the connection, but not when a signal that ends the process is pending. "Failed to connect to
// 'H:P': Connection refused".
Result<Fd> connect_stream(const SocketName& name);
// Whether there is a connection to take; an invalid one if not.
Fd accept_stream(int listener);
// A datagram socket with a fixed peer; `local` may be empty.
Result<Fd> connect_datagram(const SocketName& remote, const std::optional<SocketName>& local);

// An inherited descriptor that must be a socket. Errors say what it is instead.
Result<Fd> take_socket(const std::string& number);

int pending_error(int fd);  // SO_ERROR
// The addresses of a connection, "" for unix sockets.
std::string local_text(int fd);
std::string peer_text(int fd);
void set_no_delay(int fd);
// The other side gets a reset when it is closed.
void reset_on_close(int fd);

// Never waits: bytes taken, or would_wait, or failed with errno.
ReadSome send_now(int fd, std::span<const u8> data);
ReadSome receive_now(int fd, std::span<u8> to);
bool is_unix_socket(int fd);
// The same of a Unix socket, with the descriptors that were sent along (SCM_RIGHTS).
ReadSome receive_with_descriptors(int fd, std::span<u8> to, std::vector<Fd>& descriptors);
// To a Unix socket, with descriptors along (at most kMostDescriptors). Never waits.
inline constexpr usize kMostDescriptors = 16;
ReadSome send_with_descriptors(int fd, std::span<const u8> data, std::span<const int> descriptors);
// Waits until a descriptor is readable or a signal that ends the process is pending (then false).
bool wait_readable(int fd);
// So many ms; false when a signal that ends the process is pending.
bool sleep_unless_ending(s64 milliseconds);

void remove_socket_file(const std::string& path);

}  // namespace rhea::sys
