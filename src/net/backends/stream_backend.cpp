// SPDX-License-Identifier: MIT
// States: waiting for a client (watch on the listener), trying to connect (watch on the attempt, or the timer until
// the next one), connected (link). The end of a link leads back to the first two.
#include "net/backends/stream_backend.h"

#include <cerrno>

#include "config/json.h"
#include "net/backends/options.h"
#include "sys/frame_socket.h"
#include "util/text.h"

namespace rhea::net {

namespace {

bool is_inet(const sys::SocketName& name) { return name.family == sys::SocketName::Family::inet; }

bool on_all_interfaces(const sys::SocketName& name) {
  return is_inet(name) && (name.host.empty() || name.host == "0.0.0.0" || name.host == "::");
}

}  // namespace

StreamBackend::StreamBackend(const BackendContext& context, StreamPlan plan)
    : WireBackend(context), plan_(std::move(plan)),
      retry_timer_(context.loop.real_clock().timer([this] { connect(); })) {}

StreamBackend::~StreamBackend() {
  watch_.reset();
  if (listener_ && plan_.name.family == sys::SocketName::Family::unix_path && !plan_.name.abstract)
    sys::remove_socket_file(plan_.name.path);
}

Result<std::unique_ptr<Port>> StreamBackend::create(const BackendContext& context, StreamPlan plan) {
  auto backend = std::make_unique<StreamBackend>(context, std::move(plan));
  RHEA_TRY(backend->start());
  if (backend->listener_ && on_all_interfaces(backend->plan_.name))
    context.warnings.push_back(
        fmt::format("netdev {}: port {} is open on all interfaces of this host: who reaches it is on the guest's "
                    "network; 127.0.0.1:{} keeps it on this host",
                    context.id, backend->plan_.name.port, backend->plan_.name.port));
  return std::unique_ptr<Port>(std::move(backend));
}

Result<void> StreamBackend::start() {
  using Start = StreamPlan::Start;
  if (plan_.start == Start::connected) {
    attach(std::move(plan_.fd));
    return {};
  }
  if (plan_.start == Start::listen) {
    listener_ = plan_.fd ? std::move(plan_.fd) : RHEA_TRY(sys::listen_stream(plan_.name));
    plan_.name = sys::bound_name(listener_.get(), plan_.name);
    wait_for_client();
    return {};
  }
  addresses_ = RHEA_TRY(sys::resolve(plan_.name, false));
  if (addresses_.empty()) return Error("'{}' has no address", plan_.name.text());
  connect();
  return {};
}

void StreamBackend::wait_for_client() {
  set_info(fmt::format("{}listening on {}", plan_.legacy ? "socket: " : "", plan_.name.text()));
  watch_ = loop_.watch(listener_.get(), kReadable, [this](u32) { accept(); });
}

void StreamBackend::accept() {
  sys::Fd fd = sys::accept_stream(listener_.get());
  if (!fd) return;
  watch_.reset();
  attach(std::move(fd));
}

void StreamBackend::connect() {
  int error = 0;
  set_info(fmt::format("{}connecting to {}", plan_.legacy ? "socket: " : "", plan_.name.text()));
  connecting_ = sys::begin_connect(addresses_[next_address_], error);
  next_address_ = (next_address_ + 1) % addresses_.size();
  if (error && error != EINPROGRESS) return failed(error);
  if (!error) return attach(std::move(connecting_));
  watch_ = loop_.watch(connecting_.get(), kWritable, [this](u32) { connecting_ended(); });
}

void StreamBackend::connecting_ended() {
  watch_.reset();
  if (const int error = sys::pending_error(connecting_.get())) return failed(error);
  attach(std::move(connecting_));
}

void StreamBackend::failed(int error) {
  connecting_.reset();
  // The addresses of a name are tried one after the other; after the last one it counts as a failure.
  if (next_address_ != 0) {
    loop_.post([this, alive = std::weak_ptr(alive_)] {
      if (alive.lock()) connect();
    });
    return;
  }
  const std::string why = sys::errno_text(error);
  set_info(fmt::format("{}not connected to {}: {}", plan_.legacy ? "socket: " : "", plan_.name.text(), why));
  if (why != last_failure_)
    say(fmt::format("Failed to connect to '{}': {}; {}", plan_.name.text(), why,
                    plan_.retry ? "trying again until somebody answers" : "reconnect-ms=1000 would try again"));
  last_failure_ = why;
  if (plan_.retry) retry_timer_->arm(loop_.real_clock().now() + plan_.retry);
}

void StreamBackend::attach(sys::Fd fd) {
  last_failure_.clear();
  next_address_ = 0;
  if (is_inet(plan_.name) || plan_.name.family == sys::SocketName::Family::descriptor) sys::set_no_delay(fd.get());
  if (plan_.keep_alive && is_inet(plan_.name)) sys::keep_alive(fd.get());
  const int number = fd.get();
  StreamLink::Hooks hooks;
  hooks.frame = [this](const Frame& frame) { return deliver(frame); };
  hooks.room = [this] {
    if (peer()) peer()->on_room();
  };
  hooks.ended = [this](const std::string& why) { detached(why); };
  link_ = std::make_unique<StreamLink>(loop_, std::move(fd), false, std::move(hooks));
  if (plan_.legacy && plan_.start == StreamPlan::Start::connected) set_info(fmt::format("socket: fd={}", number));
  else if (plan_.legacy && listener_) set_info("socket: connection from " + peer_name(number));
  else if (plan_.legacy) set_info("socket: connect to " + peer_name(number));
  else set_info(peer_name(number));
  tell_connected(number);
  if (peer()) peer()->on_room();
}

std::string StreamBackend::peer_name(int fd) const {
  const std::string peer = sys::peer_text(fd);
  if (!peer.empty()) return (plan_.legacy ? "" : "tcp:") + peer;
  if (plan_.name.family == sys::SocketName::Family::unix_path) return "unix:" + plan_.name.path;
  return fmt::format("fd:{}", fd);
}

void StreamBackend::tell_connected(int fd) {
  if (!event_ || plan_.legacy) return;
  config::Json address = config::Json::object();
  if (const std::string peer = sys::peer_text(fd); !peer.empty()) {
    const usize colon = peer.rfind(':');
    std::string host = peer.substr(0, colon);
    const bool v6 = host.starts_with('[');
    if (v6) host = host.substr(1, host.size() - 2);
    address = {{"port", peer.substr(colon + 1)}, {v6 ? "ipv6" : "ipv4", true}, {"host", host}, {"type", "inet"}};
  } else if (plan_.name.family == sys::SocketName::Family::unix_path) {
    address = {{"path", plan_.name.path}, {"type", "unix"}};
  } else {
    address = {{"str", plan_.name.descriptor}, {"type", "fd"}};
  }
  event_("NETDEV_STREAM_CONNECTED", config::json_text({{"netdev-id", name()}, {"addr", address}}));
}

void StreamBackend::detached(const std::string& why) {
  const bool lost = why != "closed by the other side";
  link_.reset();
  if (event_ && !plan_.legacy) event_("NETDEV_STREAM_DISCONNECTED", config::json_text({{"netdev-id", name()}}));
  if (lost) say(why);
  if (listener_) return wait_for_client();
  set_info(fmt::format("{}disconnected", plan_.legacy ? "socket: " : ""));
  if (plan_.start != StreamPlan::Start::connect) return;
  if (plan_.retry) retry_timer_->arm(loop_.real_clock().now() + plan_.retry);
  else if (!plan_.legacy) set_info("disconnected: " + why);
}

Sent StreamBackend::send(const Frame& frame) {
  return counted(link_ && is_up() ? link_->send(frame) : Sent::dropped, frame);
}

void StreamBackend::on_room() {
  if (link_) link_->resume();
}

namespace {

constexpr OptionRow kStreamOptions[] = {
    {OptionRow::boolean, "server", "wait for the other side (off: connect to it)"},
    {OptionRow::number, "reconnect-ms", "client: try again after so many milliseconds (0: never)"},
    {OptionRow::number, "reconnect", "the same in seconds"},
    RHEA_ADDRESS_ROWS("addr"),
};

Result<std::unique_ptr<Port>> create_stream(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kStreamOptions));
  StreamPlan plan;
  plan.name = RHEA_TRY(options.address("addr"));
  const bool server = options.flag("server", false);
  plan.start = server ? StreamPlan::Start::listen : StreamPlan::Start::connect;
  plan.keep_alive = options.flag("addr.keep-alive", true);
  if (options.has("reconnect") && options.has("reconnect-ms"))
    return Error("'reconnect' and 'reconnect-ms' are mutually exclusive");
  if (server && (options.has("reconnect") || options.has("reconnect-ms")))
    return Error("'reconnect-ms' option is incompatible with socket in server mode");
  constexpr u64 kLongest = 86'400'000;
  const u64 wait = options.has("reconnect") ? options.number("reconnect", 0) : options.number("reconnect-ms", 0);
  const u64 ms = options.has("reconnect") && wait <= kLongest ? wait * 1000 : wait;
  if (ms > kLongest) return Error("a client tries again after at most a day ({} ms), not {} ms", kLongest, ms);
  plan.retry = static_cast<s64>(ms) * kMillisecond;
  if (plan.name.family == sys::SocketName::Family::descriptor) {
    plan.fd = RHEA_TRY(sys::take_socket(plan.name.descriptor));
    const auto kind = sys::descriptor_kind(plan.fd.get());
    if (server && kind != sys::DescriptorKind::listener)
      return Error("file descriptor {} is no socket that listens, which server=on needs", plan.name.descriptor);
    if (!server && kind != sys::DescriptorKind::stream)
      return Error("file descriptor {} is no connected stream socket", plan.name.descriptor);
    if (!server) plan.start = StreamPlan::Start::connected;
  }
  return StreamBackend::create(context, std::move(plan));
}

}  // namespace

const BackendType kStreamType{
    .name = "stream",
    .summary = "frames over a stream socket to another program (QEMU, passt, Rhea)",
    .options = kStreamOptions,
    .create = create_stream,
    .shared_segment = true,
};

}  // namespace rhea::net
