// SPDX-License-Identifier: MIT
#include "net/backends/l2tpv3_backend.h"

#include "net/backends/options.h"
#include "sys/tunnel_socket.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::net {

namespace {
constexpr u32 kDataMessage = 0x00030000;  // RFC 3931, section 4.1.2.1: T and the rest 0, version 3
constexpr unsigned kReads = 64;           // in a row, before the loop gets to others
constexpr usize kLargest = 65536;
constexpr u32 kMostOffset = 256;
}  // namespace

usize TunnelHeader::size() const {
  return (udp ? 4u : 0u) + 4 + (with_cookies ? (cookie64 ? 8u : 4u) : 0u) + (counter ? 4u : 0u) + offset;
}

void TunnelHeader::write(u32 count, std::vector<u8>& to) const {
  to.assign(size(), 0);
  u8* at = to.data();
  const auto put = [&](u32 word) {
    store_be<u32>(at, word);
    at += 4;
  };
  if (udp) put(kDataMessage);
  put(tx_session);
  if (with_cookies && cookie64) put(static_cast<u32>(tx_cookie >> 32));
  if (with_cookies) put(static_cast<u32>(tx_cookie));
  if (counter) put(pin_counter ? 0 : count);
}

bool TunnelHeader::accepts(std::span<const u8> packet) const {
  if (packet.size() < size()) return false;
  const u8* at = packet.data();
  if (udp) {
    // A control message has its T bit.
    if (load_be<u32>(at) >> 31) return false;
    at += 4;
  }
  if (load_be<u32>(at) != rx_session) return false;
  at += 4;
  if (!with_cookies) return true;
  return cookie64 ? load_be<u64>(at) == rx_cookie : load_be<u32>(at) == static_cast<u32>(rx_cookie);
}

TunnelBackend::TunnelBackend(const BackendContext& context, sys::Fd fd, const TunnelHeader& header, bool strip_ip,
                             std::string info)
    : WireBackend(context), fd_(std::move(fd)), header_(header), strip_ip_(strip_ip), buffer_(kLargest) {
  set_info(std::move(info));
  watch_ = loop_.watch(fd_.get(), kReadable, [this](u32 events) {
    if (events & kWritable) {
      full_ = false;
      set_watch();
      if (peer()) peer()->on_room();
    }
    if (events & (kReadable | kHangup)) read();
  });
}

void TunnelBackend::set_watch() {
  if (watch_) watch_->set_events(bits_if(held_.empty(), kReadable) | bits_if(full_, kWritable));
}

Sent TunnelBackend::send(const Frame& frame) {
  if (full_) return Sent::busy;
  if (!is_up() || frame.pieces.size() > kMaxSegments + 2) return counted(Sent::dropped, frame);
  header_.write(count_, head_);
  std::array<sys::IoPiece, kMaxSegments + 3> pieces;
  usize count = 0;
  pieces[count++] = {head_.data(), head_.size()};
  for (const Piece& piece : frame.pieces) pieces[count++] = {piece.data, piece.size};
  const sys::ReadSome sent = sys::send_pieces(fd_.get(), std::span(pieces).first(count));
  if (sent.outcome == sys::ReadOutcome::would_wait) {
    full_ = true;
    set_watch();
    return Sent::busy;
  }
  if (sent.outcome != sys::ReadOutcome::data) return counted(Sent::dropped, frame);
  ++count_;
  return counted(Sent::taken, frame);
}

void TunnelBackend::read() {
  if (!held_.empty()) return;
  for (unsigned i = 0; i < kReads; ++i) {
    const sys::Datagram datagram = sys::receive_datagram(fd_.get(), buffer_);
    if (datagram.got.outcome == sys::ReadOutcome::would_wait) return;
    if (datagram.got.outcome != sys::ReadOutcome::data) continue;  // what an earlier packet of ours met
    std::span<u8> packet(buffer_.data(), datagram.got.count);
    if (strip_ip_) {
      const usize ip = packet.empty() ? 0 : (packet[0] & 15u) * 4u;
      if (ip < 20 || packet.size() < ip) continue;
      packet = packet.subspan(ip);
    }
    if (datagram.truncated || !header_.accepts(packet)) {
      ++counters_.dropped;
      continue;
    }
    held_ = packet.subspan(header_.size());
    if (!hand_on()) return;
  }
}

bool TunnelBackend::hand_on() {
  const Piece piece{held_.data(), held_.size()};
  if (deliver(Frame{{&piece, 1}, {}}) == Sent::busy) {
    set_watch();
    return false;
  }
  held_ = {};
  return true;
}

void TunnelBackend::on_room() {
  if (!held_.empty() && hand_on()) set_watch();
}

namespace {

constexpr OptionRow kTunnelOptions[] = {
    {OptionRow::text, "src", "address of this end"},
    {OptionRow::text, "dst", "address of the other end"},
    {OptionRow::text, "srcport", "UDP port of this end"},
    {OptionRow::text, "dstport", "UDP port of the other end"},
    {OptionRow::boolean, "udp", "in UDP datagrams (off: in IP packets of protocol 115)"},
    {OptionRow::boolean, "ipv6", "over IPv6 (off)"},
    {OptionRow::boolean, "cookie64", "cookies of 64 bits (off: 32)"},
    {OptionRow::boolean, "counter", "a word that counts packets (off)"},
    {OptionRow::boolean, "pincounter", "that word stays 0 (off)"},
    {OptionRow::number, "txcookie", "cookie of packets to the other end"},
    {OptionRow::number, "rxcookie", "cookie that packets from the other end have to have"},
    {OptionRow::number, "txsession", "session number of packets to the other end"},
    {OptionRow::number, "rxsession", "session number of packets from the other end (default: txsession)"},
    {OptionRow::number, "offset", "bytes between the header and the frame (0)"},
};

Result<TunnelHeader> read_header(const Options& options) {
  TunnelHeader header;
  header.udp = options.flag("udp", false);
  header.cookie64 = options.flag("cookie64", false);
  header.counter = options.flag("counter", false);
  header.pin_counter = options.flag("pincounter", false);
  if (header.pin_counter && !header.counter) header.counter = true;
  header.with_cookies = header.cookie64 || options.has("txcookie") || options.has("rxcookie");
  header.tx_cookie = options.number("txcookie", 0);
  header.rx_cookie = options.number("rxcookie", 0);
  const u64 tx = options.number("txsession", 0), rx = options.number("rxsession", tx);
  const u64 offset = options.number("offset", 0);
  if (!header.cookie64 && (header.tx_cookie > UINT32_MAX || header.rx_cookie > UINT32_MAX))
    return Error("a cookie of more than 32 bits goes with cookie64=on");
  if (tx > UINT32_MAX || rx > UINT32_MAX) return Error("session numbers have 32 bits");
  if (offset > kMostOffset) return Error("offset is at most {}, not {}", kMostOffset, offset);
  header.tx_session = static_cast<u32>(tx);
  header.rx_session = static_cast<u32>(rx);
  header.offset = static_cast<u32>(offset);
  return header;
}

Result<std::unique_ptr<Port>> create_tunnel(const BackendContext& context, std::span<const OptionText> given) {
  const Options options = RHEA_TRY(Options::read(given, kTunnelOptions));
  for (const char* name : {"src", "dst", "txsession"})
    if (!options.has(name)) return Error("Parameter '{}' is missing", name);
  const TunnelHeader header = RHEA_TRY(read_header(options));
  if (header.udp && (!options.has("srcport") || !options.has("dstport")))
    return Error("need both src and dst port for udp");
  if (!header.udp && (options.has("srcport") || options.has("dstport")))
    return Error("srcport= and dstport= are for udp=on");
  const bool v6 = options.flag("ipv6", false);
  const sys::TunnelEnds ends{.v6 = v6,
                             .udp = header.udp,
                             .source = options.text("src"),
                             .source_port = options.text("srcport"),
                             .target = options.text("dst"),
                             .target_port = options.text("dstport")};
  sys::Fd fd = RHEA_TRY(sys::open_tunnel(ends));
  return std::unique_ptr<Port>(std::make_unique<TunnelBackend>(context, std::move(fd), header, !v6 && !header.udp,
                                                               fmt::format("l2tpv3: connected to {}", ends.target)));
}

}  // namespace

const BackendType kTunnelType{
    .name = "l2tpv3",
    .summary = "frames in a static L2TPv3 tunnel",
    .options = kTunnelOptions,
    .create = create_tunnel,
    .shared_segment = true,
};

}  // namespace rhea::net
