// SPDX-License-Identifier: MIT
// Both spellings end in the same tables: a short form is taken apart into a backend's name and address, and
// its further options ("tcp::4444,server=on,logfile=x") are read by the table of -chardev.
#include "chardev/spec.h"

#include <algorithm>

#include "util/text.h"

namespace rhea::chardev {

namespace {

using config::Kind;
using config::Parameter;
using config::Values;

constexpr Parameter kCommon[] = {
    {"backend", Kind::text, "kind of device"},
    {"id", Kind::identifier, "its name"},
    {"mux", Kind::boolean, "several frontends share it"},
    {"logfile", Kind::text, "what is written to it goes to this file too"},
    {"logappend", Kind::boolean, "that file is not emptied first"},
};
constexpr Parameter kStdio[] = {{"signal", Kind::boolean, "Ctrl-C and the like make signals [on]"}};
constexpr Parameter kFile[] = {{"path", Kind::text, "where output goes"},
                               {"input-path", Kind::text, "where input comes from"},
                               {"append", Kind::boolean, "the file is not emptied first"}};
constexpr Parameter kPath[] = {{"path", Kind::text, "the file"}};
constexpr Parameter kPty[] = {{"path", Kind::text, "a symbolic link to it"}};
constexpr Parameter kSocket[] = {
    {"host", Kind::text, "TCP: the host, or the address to listen on"},
    {"port", Kind::text, "TCP: port or service"},
    {"to", Kind::number, "TCP server: the last port to try"},
    {"ipv4", Kind::boolean, "TCP: IPv4 or not"},
    {"ipv6", Kind::boolean, "TCP: IPv6 or not"},
    {"path", Kind::text, "unix: the socket's file"},
    {"abstract", Kind::boolean, "unix: a name that is no file"},
    {"tight", Kind::boolean, "unix: an abstract name has just its length [on]"},
    {"fd", Kind::text, "an inherited descriptor of a socket"},
    {"server", Kind::boolean, "listens, instead of connecting"},
    {"wait", Kind::boolean, "server: the start waits for a client [on]"},
    {"delay", Kind::boolean, "small packets may wait for more [on]"},
    {"nodelay", Kind::boolean, "the opposite"},
    {"telnet", Kind::boolean, "speaks telnet"},
    {"tn3270", Kind::boolean, "not available"},
    {"websocket", Kind::boolean, "server: speaks websocket"},
    {"reconnect", Kind::number, "client: seconds between attempts [0: never]"},
    {"reconnect-ms", Kind::number, "client: milliseconds between attempts"},
    {"tls-creds", Kind::text, "not available"},
    {"tls-authz", Kind::text, "not available"},
};
constexpr Parameter kUdp[] = {{"host", Kind::text, "where datagrams go [localhost]"},
                              {"port", Kind::text, "its port"},
                              {"localaddr", Kind::text, "where they come in"},
                              {"localport", Kind::text, "its port"},
                              {"ipv4", Kind::boolean, "IPv4 or not"},
                              {"ipv6", Kind::boolean, "IPv6 or not"}};
constexpr Parameter kRing[] = {{"size", Kind::size, "bytes, a power of two [64k]"}};
constexpr Parameter kConsole[] = {{"width", Kind::number, "pixels"},
                                  {"height", Kind::number, "pixels"},
                                  {"cols", Kind::number, "characters"},
                                  {"rows", Kind::number, "characters"}};

struct BackendRow {
  std::string_view name;
  BackendKind kind;
  std::span<const Parameter> table;
};
constexpr BackendRow kBackends[] = {
    {"file", BackendKind::file, kFile},     {"memory", BackendKind::ringbuf, kRing},
    {"null", BackendKind::null, {}},        {"pipe", BackendKind::pipe, kPath},
    {"pty", BackendKind::pty, kPty},        {"ringbuf", BackendKind::ringbuf, kRing},
    {"serial", BackendKind::serial, kPath}, {"socket", BackendKind::socket, kSocket},
    {"stdio", BackendKind::stdio, kStdio},  {"tty", BackendKind::serial, kPath},
    {"udp", BackendKind::udp, kUdp},        {"vc", BackendKind::vc, kConsole},
};
constexpr std::string_view kQemuBackends[] = {"braille",   "console",  "dbus",    "hub",          "msmouse",
                                              "mux",       "parallel", "parport", "qemu-vdagent", "spicevmc",
                                              "spiceport", "testdev",  "wctablet"};

struct Form {
  std::string_view name;
  bool takes_rest;  // "file:PATH"
  bool available;
  std::string_view summary;
};
constexpr Form kForms[] = {
    {"stdio", false, true, "this terminal"},
    {"null", false, true, "nothing: output is dropped, no input comes"},
    {"none", false, true, "no device"},
    {"file", true, true, "file:PATH, output written to a file"},
    {"vc", true, true, "a text console in the display"},
    {"pty", false, true, "a pseudo terminal"},
    {"pipe", true, true, "pipe:PATH, named pipes PATH.in and PATH.out"},
    {"tcp", true, true, "tcp:[HOST]:PORT[,server=on][,wait=off], a TCP connection"},
    {"telnet", true, true, "telnet:[HOST]:PORT,server=on, a telnet server"},
    {"websocket", true, true, "websocket:[HOST]:PORT,server=on, a websocket server"},
    {"udp", true, true, "udp:[HOST]:PORT[@[ADDRESS]:PORT], UDP datagrams"},
    {"unix", true, true, "unix:PATH[,server=on][,wait=off], a unix socket"},
    {"chardev", true, true, "chardev:ID, a -chardev"},
    {"/dev/", true, true, "a serial port of the host"},
    {"con", true, false, "a Windows console"},
    {"fdset", true, false, "a descriptor handed over: give its path, /dev/fd/N"},
    {"braille", false, false, "a braille display"},
    {"testdev", false, false, "a device for tests"},
    {"msmouse", false, false, "a serial mouse"},
    {"wctablet", false, false, "a serial tablet"},
    {"spicevmc", false, false, "a channel of a SPICE display"},
    {"parport", false, false, "a parallel port of the host"},
};

const Form* find_form(std::string_view word, bool has_rest) {
  for (const Form& form : kForms)
    if (form.name == word && (form.takes_rest || !has_rest)) return &form;
  return nullptr;
}

const BackendRow* find_backend(std::string_view name) {
  for (const BackendRow& row : kBackends)
    if (row.name == name) return &row;
  return nullptr;
}

std::vector<Parameter> table_of(const BackendRow& row) {
  std::vector<Parameter> table(std::begin(kCommon), std::end(kCommon));
  table.insert(table.end(), row.table.begin(), row.table.end());
  return table;
}

std::optional<bool> tristate(const Values& values, std::string_view name) {
  if (!values.has(name)) return std::nullopt;
  return values.boolean(name, true);
}

Result<void> read_socket(const Values& values, Spec& spec) {
  SocketSpec& socket = spec.socket;
  sys::SocketName& name = socket.name;
  using Family = sys::SocketName::Family;
  if (values.has("path") + values.has("fd") + values.has("host") > 1)
    return Error("None or one of 'path', 'fd' or 'host' option required.");
  if (values.has("path")) {
    name.family = Family::unix_path;
    name.path = values.text("path");
    name.abstract = values.boolean("abstract", false);
    name.tight = values.boolean("tight", true);
  } else if (values.has("fd")) {
    name.family = Family::descriptor;
    name.descriptor = values.text("fd");
  } else if (values.has("host") || values.has("port")) {
    if (!values.has("port")) return Error("chardev: socket: no port given");
    name.host = values.text("host");
    name.port = values.text("port");
    if (values.has("to")) name.to = values.number("to", 0);
    name.ipv4 = tristate(values, "ipv4");
    name.ipv6 = tristate(values, "ipv6");
  } else {
    return Error("chardev: socket: one of 'path', 'fd' or 'host' with 'port' is required");
  }
  if (values.boolean("tn3270", false)) return Error("'tn3270' is known to QEMU, but Rhea does not have it");
  if (values.has("tls-creds") || values.has("tls-authz"))
    return Error("TLS is known to QEMU, but Rhea does not have it: put a tunnel (stunnel, ssh -L) in front");
  socket.server = values.boolean("server", false);
  if (values.has("wait") && !socket.server)
    return Error("'wait' option is incompatible with socket in client connect mode");
  socket.wait = values.boolean("wait", true);
  socket.no_delay = values.boolean("nodelay", false) || !values.boolean("delay", true);
  socket.telnet = values.boolean("telnet", socket.telnet);
  socket.websocket = values.boolean("websocket", socket.websocket);
  if (values.has("reconnect") && values.has("reconnect-ms"))
    return Error("'reconnect' and 'reconnect-ms' are mutually exclusive");
  constexpr u64 kLongest = u64{1} << 31;
  const u64 ms = values.has("reconnect-ms") ? values.number("reconnect-ms", 0)
                                            : std::min(values.number("reconnect", 0), kLongest) * 1000;
  socket.reconnect_ms = static_cast<s64>(std::min(ms, kLongest * 1000));
  return {};
}

void read_udp(const Values& values, Spec& spec) {
  spec.udp.remote.host = values.has("host") && !values.text("host").empty() ? values.text("host") : "localhost";
  spec.udp.remote.port = values.text("port");
  spec.udp.remote.ipv4 = tristate(values, "ipv4");
  spec.udp.remote.ipv6 = tristate(values, "ipv6");
  if (values.has("localaddr") || values.has("localport")) {
    sys::SocketName local;
    local.host = values.text("localaddr");
    local.port = values.text("localport", "0");
    if (local.port.empty()) local.port = std::string("0");
    spec.udp.local = local;
  }
}

Result<void> read_console(const Values& values, Spec& spec) {
  struct {
    std::string_view name;
    unsigned ConsoleSize::*member;
    u64 most;
  } constexpr kSizes[] = {{"width", &ConsoleSize::width, 16384},
                          {"height", &ConsoleSize::height, 16384},
                          {"cols", &ConsoleSize::columns, 1000},
                          {"rows", &ConsoleSize::rows, 1000}};
  for (const auto& size : kSizes) {
    const u64 value = values.number(size.name, 0);
    if (value > size.most) return Error("chardev: vc: {}={} is more than {}", size.name, value, size.most);
    spec.console.*size.member = static_cast<unsigned>(value);
  }
  return {};
}

Result<void> read_parameters(const Values& values, Spec& spec) {
  spec.mux = values.boolean("mux", spec.mux);
  spec.log_file = values.text("logfile");
  spec.log_append = values.boolean("logappend", false);
  if (spec.log_append && spec.log_file.empty()) return Error("'logappend' without 'logfile'");
  switch (spec.kind) {
    case BackendKind::stdio: spec.signals = values.boolean("signal", spec.signals); break;
    case BackendKind::file:
      spec.input_path = values.text("input-path");
      spec.append = values.boolean("append", false);
      [[fallthrough]];
    case BackendKind::pipe:
    case BackendKind::serial:
    case BackendKind::pty: spec.path = values.text("path"); break;
    case BackendKind::socket: RHEA_TRY(read_socket(values, spec)); break;
    case BackendKind::udp: read_udp(values, spec); break;
    case BackendKind::ringbuf: spec.ring_size = values.number("size", spec.ring_size); break;
    case BackendKind::vc: RHEA_TRY(read_console(values, spec)); break;
    default: break;
  }
  return check_spec(spec);
}

// "[::1]:22", "host:22", ":22"
bool take_host_and_port(std::string_view text, std::string& host, std::string& port) {
  usize colon = text.rfind(':');
  if (text.starts_with('[')) {
    const usize close = text.find("]:");
    if (close == text.npos) return false;
    host = std::string(text.substr(1, close - 1));
    port = std::string(text.substr(close + 2));
    return !port.empty();
  }
  if (colon == text.npos) return false;
  host = std::string(text.substr(0, colon));
  port = std::string(text.substr(colon + 1));
  return !port.empty() && host.find(':') == host.npos;
}

// Options as text for a backend's table, with the values of a short form's address in front.
struct Rewritten {
  std::string text;
  void add(std::string_view name, std::string_view value) {
    if (!text.empty()) text += ',';
    text += fmt::format("{}={}", name, config::quote_value(value));
  }
  void add_rest(std::string_view rest) {
    if (!rest.empty()) text += fmt::format(",{}", rest);
  }
};

// The first part, with ",," as a comma, and what follows behind the single comma.
std::pair<std::string, std::string_view> cut_at_comma(std::string_view text) {
  std::string first;
  for (usize i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      first += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      first += ',';
      ++i;
    } else {
      return {first, text.substr(i + 1)};
    }
  }
  return {first, {}};
}

Result<Spec> finish(std::string_view backend, const Rewritten& rewritten, Spec spec) {
  const BackendRow& row = *find_backend(backend);
  spec.kind = row.kind;
  const config::ParsedText parsed = RHEA_TRY(config::parse_options(rewritten.text, ""));
  const Values values = RHEA_TRY(config::read_values(parsed, table_of(row)));
  RHEA_TRY(read_parameters(values, spec));
  return spec;
}

Result<Spec> short_inet(std::string_view word, std::string_view rest, Spec spec) {
  const auto [address, options] = cut_at_comma(rest);
  std::string host, port;
  if (!take_host_and_port(address, host, port))
    return Error("'{}:{}' names no port: it is written {}:[HOST]:PORT", word, address, word);
  Rewritten rewritten;
  rewritten.add("host", host);
  rewritten.add("port", port);
  rewritten.add_rest(options);
  spec.socket.telnet = word == "telnet";
  spec.socket.websocket = word == "websocket";
  return finish("socket", rewritten, std::move(spec));
}

Result<Spec> short_udp(std::string_view rest, Spec spec) {
  const auto [address, options] = cut_at_comma(rest);
  const usize split_at = address.find('@');
  std::string host, port;
  if (!take_host_and_port(address.substr(0, split_at), host, port))
    return Error("'udp:{}' names no port: it is written udp:[HOST]:PORT[@[ADDRESS]:PORT]", address);
  Rewritten rewritten;
  rewritten.add("host", host);
  rewritten.add("port", port);
  if (split_at != address.npos) {
    if (!take_host_and_port(address.substr(split_at + 1), host, port))
      return Error("'udp:{}': behind the @ comes [ADDRESS]:PORT", address);
    rewritten.add("localaddr", host);
    rewritten.add("localport", port);
  }
  rewritten.add_rest(options);
  return finish("udp", rewritten, std::move(spec));
}

// "800x600" in pixels, "80Cx24C" in characters.
Result<Spec> short_console(std::string_view rest, Spec spec) {
  spec.kind = BackendKind::vc;
  if (rest.empty()) return spec;
  const std::vector<std::string> parts = split(rest, 'x');
  const bool characters = rest.ends_with('C') || rest.ends_with('c');
  unsigned sizes[2] = {};
  bool good = parts.size() == 2;
  for (usize i = 0; good && i < 2; ++i) {
    std::string_view number = parts[i];
    const bool marked = number.ends_with('C') || number.ends_with('c');
    if (marked) number.remove_suffix(1);
    const auto value = parse_number(number);
    good = value && *value > 0 && *value <= (characters ? 1000 : 16384) && (characters ? true : !marked);
    if (good) sizes[i] = static_cast<unsigned>(*value);
  }
  if (!good) return Error("'vc:{}' is no size: it is written vc:800x600 (pixels) or vc:80Cx24C (characters)", rest);
  (characters ? spec.console.columns : spec.console.width) = sizes[0];
  (characters ? spec.console.rows : spec.console.height) = sizes[1];
  return spec;
}

Result<Spec> short_with_path(std::string_view word, std::string_view rest, Spec spec) {
  if (rest.empty()) return Error("'{0}:' names no file: it is written {0}:PATH", word);
  spec.path = std::string(rest);
  spec.kind = word == "file" ? BackendKind::file : BackendKind::pipe;
  return spec;
}

Result<Spec> short_unix(std::string_view rest, Spec spec) {
  const auto [path, options] = cut_at_comma(rest);
  if (path.empty()) return Error("'unix:' names no socket: it is written unix:PATH");
  Rewritten rewritten;
  rewritten.add("path", path);
  rewritten.add_rest(options);
  return finish("socket", rewritten, std::move(spec));
}

}  // namespace

std::string_view SocketSpec::protocol() const {
  if (telnet) return "telnet";
  if (websocket) return "websocket";
  return name.family == sys::SocketName::Family::unix_path ? "unix" : "tcp";
}

Result<void> check_spec(const Spec& spec) {
  switch (spec.kind) {
    case BackendKind::file:
      if (spec.path.empty()) return Error("chardev: file: no filename given");
      break;
    case BackendKind::pipe:
      if (spec.path.empty()) return Error("chardev: pipe: no device path given");
      break;
    case BackendKind::serial:
      if (spec.path.empty()) return Error("chardev: serial/tty: no device path given");
      break;
    case BackendKind::udp:
      if (spec.udp.remote.port.empty()) return Error("chardev: udp: remote port not specified");
      break;
    case BackendKind::ringbuf:
      if (spec.ring_size == 0 || (spec.ring_size & (spec.ring_size - 1)))
        return Error("size of ringbuf chardev must be power of two");
      if (spec.ring_size > u64{1} << 30) return Error("a ringbuf chardev has at most 1 GiB");
      break;
    case BackendKind::socket:
      if (spec.socket.server && spec.socket.reconnect_ms)
        return Error("'reconnect' option is incompatible with socket in server listen mode");
      if (spec.socket.websocket && !spec.socket.server) return Error("Websocket client is not implemented");
      if (spec.socket.websocket && spec.socket.telnet) return Error("telnet and websocket exclude each other");
      break;
    default: break;
  }
  return {};
}

std::vector<KnownForm> known_forms() {
  std::vector<KnownForm> forms;
  for (const Form& form : kForms) forms.push_back({form.name, form.available, form.summary});
  return forms;
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const BackendRow& row : kBackends) names.emplace_back(row.name);
  return names;
}

std::string backend_list() {
  std::string text = "Available chardev backend types: \n";
  for (const BackendRow& row : kBackends) text += fmt::format("  {}\n", row.name);
  return text;
}

Result<std::string> backend_help(std::string_view type) {
  const BackendRow* row = find_backend(type);
  if (!row) return Error("'{}' is not a valid char driver name{}", type, did_you_mean(type, backend_names()));
  std::string text = fmt::format("{} options:\n", type);
  for (const Parameter& parameter : table_of(*row))
    if (parameter.name != "backend") text += config::help_lines(std::span(&parameter, 1));
  return text;
}

Result<Spec> parse_chardev(std::string_view text, bool needs_id) {
  const config::ParsedText parsed = RHEA_TRY(config::parse_options(text, "backend"));
  const std::string* name = parsed.find("backend");
  const std::string* id = parsed.find("id");
  if (id) RHEA_TRY(config::check_identifier("id", *id));
  if (!name) return Error("chardev: \"{}\" missing backend", id ? *id : std::string());
  const BackendRow* row = find_backend(*name);
  if (!row) {
    if (std::find(std::begin(kQemuBackends), std::end(kQemuBackends), *name) != std::end(kQemuBackends))
      return Error("chardev '{}' is known to QEMU, but Rhea does not have it", *name);
    return Error("'{}' is not a valid char driver name{}", *name, did_you_mean(*name, backend_names()));
  }
  const Values values = RHEA_TRY(config::read_values(parsed, table_of(*row)));
  if (!id && needs_id) return Error("chardev: no id specified");
  Spec spec;
  spec.kind = row->kind;
  if (id) spec.id = *id;
  spec.short_booleans = values.short_booleans();
  RHEA_TRY(read_parameters(values, spec));
  return spec;
}

Result<Spec> parse_spec(std::string_view text) {
  const std::string_view typed = text;
  Spec spec;
  if (text.starts_with("mon:")) {
    spec.with_monitor = spec.mux = true;
    spec.signals = false;
    text.remove_prefix(4);
  }
  const bool device = text.starts_with("/dev/");
  const auto [plain, options] = cut_at_comma(text);
  const usize colon = device ? text.npos : text.find(':');
  // "stdio,signal=off" has options; "tcp:..." has its own.
  const std::string_view word = device ? "/dev/" : colon == text.npos ? std::string_view(plain) : text.substr(0, colon);
  const std::string_view rest = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  const Form* form = find_form(word, colon != text.npos);
  if (!form) {
    std::vector<std::string> names;
    for (const Form& candidate : kForms) names.emplace_back(candidate.name);
    return Error("'{}' is not a valid char driver{}", typed, did_you_mean(word, names));
  }
  if (!form->available) return Error("'{}' ({}) is known to QEMU, but Rhea does not have it", typed, form->summary);
  if (word == "none") {
    if (spec.with_monitor) return Error("'{}': a device that is not there cannot be shared with the monitor", typed);
    return spec;
  }
  if (word == "chardev") {
    spec.kind = BackendKind::reference;
    spec.id = std::string(rest);
    if (spec.with_monitor) return Error("'{}': give mux=on to the -chardev, and -mon chardev={}", typed, rest);
    return spec;
  }
  if (word == "file" || word == "pipe") return short_with_path(word, rest, std::move(spec));
  if (word == "vc") return short_console(rest, std::move(spec));
  if (word == "tcp" || word == "telnet" || word == "websocket") return short_inet(word, rest, std::move(spec));
  if (word == "udp") return short_udp(rest, std::move(spec));
  if (word == "unix") return short_unix(rest, std::move(spec));
  Rewritten rewritten;
  if (device) rewritten.add("path", plain);
  rewritten.text += rewritten.text.empty() || options.empty() ? "" : ",";
  rewritten.text += std::string(options);
  return finish(device ? "serial" : word, rewritten, std::move(spec));
}

}  // namespace rhea::chardev
