// SPDX-License-Identifier: MIT
// What a character device is to be, read from its short form ("stdio", "tcp::4444,server=on", "mon:pty"), as
// -serial, -monitor, -qmp and -gdb take it, or from -chardev's ("socket,id=c0,path=/x,server=on").
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"
#include "sys/named_socket.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::chardev {

enum class BackendKind : u8 { none, null, stdio, file, pty, pipe, serial, socket, udp, ringbuf, vc, reference };

struct SocketSpec {
  sys::SocketName name;
  bool server = false;
  bool wait = true;  // a server: the start waits for the first client
  bool no_delay = false;
  bool telnet = false;
  bool websocket = false;
  s64 reconnect_ms = 0;  // a client: 0 never
  // "tcp", "unix", "telnet", "websocket"
  std::string_view protocol() const;
};

struct UdpSpec {
  sys::SocketName remote;
  std::optional<sys::SocketName> local;
};

// A text console: its size in pixels or in characters; 0 where it is not said.
struct ConsoleSize {
  unsigned width = 0, height = 0, columns = 0, rows = 0;
};

struct Spec {
  BackendKind kind = BackendKind::none;
  std::string id;             // of -chardev; of "chardev:ID" with kind `reference`
  std::string path;           // of a file, a pipe, a serial port, a pty's link
  std::string input_path;     // file: where input comes from
  bool append = false;        // file
  bool signals = true;        // stdio: Ctrl-C makes a signal (with a multiplexer the guest gets it)
  bool mux = false;           // several frontends share it
  bool with_monitor = false;  // "mon:": and the monitor is one of them
  std::string log_file;       // what the frontend writes goes there too
  bool log_append = false;
  SocketSpec socket;
  UdpSpec udp;
  u64 ring_size = u64{64} << 10;
  ConsoleSize console;
  std::vector<std::string> short_booleans;  // "server=on" that was written "server": -chardev warns of them
};

// A short form. Errors: "'foo' is not a valid char driver (did you mean ...?)", and what is wrong with its
// rest.
Result<Spec> parse_spec(std::string_view text);
// The argument of -chardev and of the monitor's chardev-add (`needs_id` false: chardev-change).
Result<Spec> parse_chardev(std::string_view text, bool needs_id = true);
// Checks what goes together, as parse_spec and parse_chardev do: for specs made otherwise (QMP).
Result<void> check_spec(const Spec& spec);

// A backend by name, and what is to be said of it.
struct KnownForm {
  std::string_view name;
  bool available;
  std::string_view summary;
};
// The short forms, for help and completion.
std::vector<KnownForm> known_forms();
// What -chardev takes: "null", "socket", ...
std::vector<std::string> backend_names();
// The text of "-chardev help" and of "-chardev TYPE,help".
std::string backend_list();
Result<std::string> backend_help(std::string_view type);

}  // namespace rhea::chardev
