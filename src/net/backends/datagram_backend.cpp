// SPDX-License-Identifier: MIT
#include "net/backends/datagram_backend.h"

#include <cerrno>

#include "net/backends/options.h"
#include "util/bits.h"

namespace rhea::net {

namespace {

constexpr usize kLargestDatagram = 65536 + 4096;
constexpr unsigned kReads = 64;           // in a row, before the loop gets to others
constexpr s64 kUnixRetry = kMillisecond;  // nothing tells when the other's queue has room again

}  // namespace

DatagramBackend::DatagramBackend(const BackendContext& context, DatagramPlan plan)
    : WireBackend(context), plan_(std::move(plan)), buffer_(kLargestDatagram),
      room_timer_(context.loop.real_clock().timer([this] { room(); })) {
  set_info(plan_.info);
  watch_ = loop_.watch(plan_.receive.get(), kReadable, [this](u32 events) {
    if (events & kWritable) room();
    if (events & (kReadable | kHangup)) read();
  });
}

DatagramBackend::~DatagramBackend() {
  watch_.reset();
  send_watch_.reset();
  if (!plan_.path.empty()) sys::remove_socket_file(plan_.path);
}

Sent DatagramBackend::send(const Frame& frame) {
  if (full_) return Sent::busy;
  return counted(is_up() ? send_now(frame) : Sent::dropped, frame);
}

Sent DatagramBackend::send_now(const Frame& frame) {
  std::array<sys::IoPiece, kMaxSegments + 2> pieces;
  if (frame.pieces.size() > pieces.size()) return Sent::dropped;
  usize count = 0;
  for (const Piece& piece : frame.pieces) pieces[count++] = {piece.data, piece.size};
  const sys::ReadSome sent = sys::send_pieces(out(), std::span(pieces).first(count), plan_.to ? &*plan_.to : nullptr);
  if (sent.outcome == sys::ReadOutcome::data) return Sent::taken;
  if (sent.outcome == sys::ReadOutcome::would_wait) {
    wait_for_room();
    return Sent::busy;
  }
  // Nobody is there (yet), or the frame is too large: lost, as on a wire.
  if (sent.error == EMSGSIZE && !std::exchange(too_large_said_, true))
    say(fmt::format("a frame of {} bytes is too large for a datagram to {}", frame.size(), info()));
  return Sent::dropped;
}

void DatagramBackend::wait_for_room() {
  full_ = true;
  if (plan_.unix_socket) {
    room_timer_->arm(loop_.real_clock().now() + kUnixRetry);
  } else if (plan_.send) {
    send_watch_ = loop_.watch(plan_.send.get(), kWritable, [this](u32) { room(); });
  } else {
    set_watch();
  }
}

void DatagramBackend::room() {
  full_ = false;
  if (plan_.send) send_watch_.reset();
  else set_watch();
  if (peer()) peer()->on_room();
}

void DatagramBackend::set_watch() {
  const bool writes = full_ && !plan_.send && !plan_.unix_socket;
  if (watch_) watch_->set_events(bits_if(!held_, kReadable) | bits_if(writes, kWritable));
}

void DatagramBackend::read() {
  if (held_) return;
  for (unsigned i = 0; i < kReads; ++i) {
    const sys::Datagram datagram = sys::receive_datagram(plan_.receive.get(), buffer_);
    if (datagram.got.outcome == sys::ReadOutcome::would_wait) return;
    // An error is what an earlier datagram of ours met (nobody there); it is over when it has been read.
    if (datagram.got.outcome != sys::ReadOutcome::data) continue;
    if (datagram.truncated || datagram.got.count == 0) {
      ++counters_.dropped;
      continue;
    }
    if (plan_.own && sys::same_address(*plan_.own, datagram.from)) continue;
    held_ = datagram.got.count;
    if (!hand_on()) return;
  }
}

bool DatagramBackend::hand_on() {
  const Piece piece{buffer_.data(), held_};
  if (deliver(Frame{{&piece, 1}, {}}) == Sent::busy) {
    set_watch();
    return false;
  }
  held_ = 0;
  return true;
}

void DatagramBackend::on_room() {
  if (!held_ || !hand_on()) return;
  set_watch();
}

Result<DatagramPlan> plan_inherited(sys::Fd fd, const std::optional<sys::RawAddress>& group) {
  DatagramPlan plan;
  plan.info = fmt::format("fd={}", fd.get());
  plan.unix_socket = sys::is_unix(fd.get());
  plan.to = group;
  plan.receive = std::move(fd);
  return plan;
}

Result<DatagramPlan> plan_multicast(const sys::RawAddress& group, const std::optional<sys::RawAddress>& interface) {
  sys::Multicast joined = RHEA_TRY(sys::join_multicast(group, interface));
  DatagramPlan plan;
  plan.receive = std::move(joined.receive);
  plan.send = std::move(joined.send);
  plan.own = joined.own;
  plan.info = "mcast=" + sys::address_text(group);
  return plan;
}

namespace {

using Family = sys::SocketName::Family;

constexpr OptionRow kDgramOptions[] = {RHEA_ADDRESS_ROWS("local"), RHEA_ADDRESS_ROWS("remote")};

Result<sys::RawAddress> first_address(const sys::SocketName& name, bool passive) {
  const std::vector<sys::RawAddress> found = RHEA_TRY(sys::resolve(name, passive, true));
  if (found.empty()) return Error("'{}' has no address", name.text());
  return found[0];
}

Result<DatagramPlan> plan_group(const Options& options, const sys::RawAddress& group) {
  if (!options.has_group("local.")) return plan_multicast(group, {});
  sys::SocketName local = RHEA_TRY(options.address("local"));
  if (local.family == Family::descriptor) {
    sys::Fd fd = RHEA_TRY(sys::take_socket(local.descriptor));
    if (sys::descriptor_kind(fd.get()) != sys::DescriptorKind::datagram)
      return Error("file descriptor {} is no datagram socket", local.descriptor);
    DatagramPlan plan = RHEA_TRY(plan_inherited(std::move(fd), group));
    plan.info = "mcast=" + sys::address_text(group);
    return plan;
  }
  if (local.family != Family::inet) return Error("multicast requires local.type=inet or local.type=fd");
  return plan_multicast(group, RHEA_TRY(first_address(local, true)));
}

Result<DatagramPlan> plan_pair(const sys::SocketName& local, const std::optional<sys::SocketName>& remote) {
  if (local.family == Family::descriptor) {
    if (remote) return Error("remote.* cannot be given with local.type=fd: the socket has its remote already");
    sys::Fd fd = RHEA_TRY(sys::take_socket(local.descriptor));
    if (sys::descriptor_kind(fd.get()) != sys::DescriptorKind::datagram)
      return Error("file descriptor {} is no datagram socket", local.descriptor);
    return plan_inherited(std::move(fd), {});
  }
  if (!remote) return Error("type=inet or type=unix requires remote parameter");
  if (remote->family != local.family) return Error("don't mix local.type and remote.type: both are inet, or both unix");
  DatagramPlan plan;
  plan.to = RHEA_TRY(first_address(*remote, false));
  sys::SocketName near = local;
  if (near.family == Family::inet && !near.ipv4 && !near.ipv6) (sys::ipv4_of(*plan.to) ? near.ipv4 : near.ipv6) = true;
  const sys::RawAddress address = RHEA_TRY(first_address(near, true));
  plan.receive = RHEA_TRY(sys::bind_datagram(address, local));
  plan.unix_socket = local.family == Family::unix_path;
  if (plan.unix_socket && !local.abstract) plan.path = local.path;
  plan.info = plan.unix_socket ? fmt::format("unix={}:{}", local.path, remote->path)
                               : fmt::format("udp={}/{}", sys::address_text(sys::local_address(plan.receive.get())),
                                             sys::address_text(*plan.to));
  return plan;
}

Result<std::unique_ptr<Port>> create_dgram(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kDgramOptions));
  std::optional<sys::SocketName> remote;
  if (options.has_group("remote.")) {
    remote = RHEA_TRY(options.address("remote"));
    if (remote->family == Family::descriptor) return Error("remote.type=fd is not possible: remote is inet or unix");
    if (remote->family == Family::inet) {
      const sys::RawAddress address = RHEA_TRY(first_address(*remote, false));
      if (sys::is_multicast(address))
        return std::unique_ptr<Port>(
            std::make_unique<DatagramBackend>(context, RHEA_TRY(plan_group(options, address))));
    }
  }
  if (!options.has_group("local.")) return Error("dgram requires local= parameter");
  const sys::SocketName local = RHEA_TRY(options.address("local"));
  return std::unique_ptr<Port>(std::make_unique<DatagramBackend>(context, RHEA_TRY(plan_pair(local, remote))));
}

}  // namespace

const BackendType kDgramType{
    .name = "dgram",
    .summary = "a frame in each datagram to another program, or to a multicast group",
    .options = kDgramOptions,
    .create = create_dgram,
    .shared_segment = true,
};

}  // namespace rhea::net
