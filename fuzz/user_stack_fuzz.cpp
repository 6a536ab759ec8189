// SPDX-License-Identifier: MIT
// A hostile guest and a moody host around the user-mode stack. The input is a list of steps, each an
// operation, a length of two bytes and that many bytes:
//   0 a frame as it is            1 an IPv4 packet, with Ethernet header and lengths made right
//   2 data from the host's peer   3 events of a socket    4 time passes   5 the NIC's room changes
//   6 an answer to the stack's last TCP segment (the bytes: flags, and payload)
#include <array>
#include <vector>

#include "net/user/fakes.h"
#include "net/user/user_backend.h"
#include "util/log.h"

namespace {

using namespace rhea;
using namespace rhea::net;
using namespace rhea::net::user;
using user::testing::Bytes;

class Nic final : public Port {
 public:
  Nic() : Port("nic") {}
  Caps caps() const override { return caps_; }
  Sent send(const Frame& frame) override {
    if (room == 0) return Sent::busy;
    --room;
    last.resize(frame.size());
    frame.copy(0, last.data(), last.size());
    if (last.size() < 14 || last.size() > kMaxGsoFrame) std::abort();
    return Sent::taken;
  }
  std::string type() const override { return "nic"; }
  std::string info() const override { return {}; }
  Caps caps_;
  usize room = 1000;
  Bytes last;
};

class Session {
 public:
  explicit Session(u8 flavour) {
    std::vector<std::string> warnings;
    std::vector<OptionText> options;
    if (flavour & 1) options.push_back({"restrict", "on"});
    if (flavour & 4) {
      options.push_back({"tftp", "/etc"});
      options.push_back({"bootfile", "http://x/y"});
      options.push_back({"guestfwd", "tcp:10.0.2.100:80-cmd:none"});
      options.push_back({"dhcp-lease", "52:54:00:12:34:56=10.0.2.77=x"});
      options.push_back({"hostfwd-listen", "probe"});
      options.push_back({"allow", "*.a"});
      options.push_back({"allow", "10.0.0.0/8"});
      options.push_back({"rate-in", "1M"});
      options.push_back({"rate-out", "1M"});
    }
    auto config = parse_user_options(options, warnings);
    backend_ = std::make_unique<UserBackend>("n0", config.take(), Stack::Services{loop_, log_, [](std::string) {}},
                                             [this](std::function<void()> after) {
                                               after_ = std::move(after);
                                               auto made = std::make_unique<user::testing::FakeSockets>();
                                               sockets_ = made.get();
                                               return made;
                                             });
    if (flavour & 2) nic_.caps_ = {.checksum = true, .tso4 = true, .tso6 = true, .uso = (flavour & 8) != 0};
    Port::connect(nic_, *backend_);
    (void)backend_->stack().add_forward(*parse_forward("tcp::1-:22"));
    (void)backend_->stack().add_forward(*parse_forward("udp::1-:53"));
  }
  ~Session() {
    backend_->info_usernet(-1);
    backend_->stack().info_flows();
    backend_->stack().blocked_list();
    backend_->stack().prometheus("n0");
    Port::disconnect(nic_);
  }

  void step(u8 operation, Bytes data) {
    switch (operation % 7) {
      case 0: return frame(data);
      case 1: return ipv4(data);
      case 2: return host_data(data);
      case 3: return event(data);
      case 4:
        if (data.size() >= 2) loop_.advance(s64{load_le<u16>(data.data())} * 10 * kMillisecond);
        return;
      case 5:
        nic_.room = data.empty() ? 0 : data[0];
        backend_->on_room();
        return loop_.settle();
      case 6: return answer(data);
    }
  }

 private:
  void frame(Bytes& data) {
    const Piece pieces[] = {
        {data.data(), std::min<usize>(data.size(), 60)},
        {data.data() + std::min<usize>(data.size(), 60), data.size() - std::min<usize>(data.size(), 60)}};
    send_to_peer(nic_, Frame{pieces, {}});
    loop_.settle();
  }
  void ipv4(const Bytes& data) {
    if (data.size() < 20) return;
    Bytes whole{0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0};
    whole.insert(whole.end(), data.begin(), data.end());
    whole[14] = 0x45;
    store_be<u16>(&whole[16], static_cast<u16>(data.size()));
    if (data[6] & 1) store_be<u32>(&whole[26], 0x0a00020f);
    frame(whole);
  }
  std::shared_ptr<user::testing::Wire> wire(u8 index) {
    return sockets_->wires[sockets_->wires.size() - 1 - index % sockets_->wires.size()];
  }
  void host_data(const Bytes& data) {
    if (data.empty()) return;
    const auto target = wire(data[0]);
    if (target->listening) {
      auto client = std::make_shared<user::testing::Wire>();
      client->kind = SocketKind::stream;
      target->pending.push_back({client, {IpAddress::v4(0x7f000001), u16(1024 + data[0]), 0}});
      sockets_->wires.push_back(client);
    } else if (target->kind == SocketKind::stream || target->kind == SocketKind::local) {
      if (data[0] & 0x40) target->urgent_at = target->receive_queue.size();
      target->receive_queue.insert(target->receive_queue.end(), data.begin() + 1, data.end());
      for (unsigned i = 0; i < 4 && target->receive_queue.size() < 100000; ++i)
        target->receive_queue.insert(target->receive_queue.end(), data.begin() + 1, data.end());
    } else {
      const Endpoint from =
          target->sent_to.empty() ? Endpoint{IpAddress::v4(0x08080808), 53, 0} : target->sent_to.back().first;
      Bytes reply(data.begin() + 1, data.end());
      if (reply.size() > 2 && !target->sent_to.empty() && target->sent_to.back().second.size() >= 2)
        std::copy_n(target->sent_to.back().second.begin(), 2, reply.begin());
      target->datagrams.push_back({from, reply});
    }
    target->segment = data[0] & 0x80 ? static_cast<u16>(1 + data.size() / 3) : u16{0};
    target->notify(kSocketReadable | (data[0] & 0x40 ? u32{kSocketUrgent} : 0u));
    after_();
    loop_.settle();
  }
  void event(const Bytes& data) {
    if (data.size() < 4) return;
    const auto target = wire(data[0]);
    static constexpr int kErrors[] = {0, 0, 0, ECONNREFUSED, EHOSTUNREACH, ECONNRESET, ETIMEDOUT, EPIPE};
    target->error = kErrors[data[1] & 7];
    target->end |= (data[1] & 8) != 0;
    target->room = data[2] & 0x80 ? ~usize{0} : data[2];
    if (data[1] & 16) {
      SocketError error;
      error.from_icmp = true;
      error.type = data[2];
      error.code = data[3];
      error.to = {IpAddress::v4(0x08080808), 53, 0};
      error.payload.assign(data.begin() + 4, data.end());
      target->errors.push_back(error);
    }
    target->notify(data[3] & 31);
    after_();
    loop_.settle();
  }
  void answer(const Bytes& data) {
    const Bytes& last = nic_.last;
    if (data.size() < 2 || last.size() < 54 || last[12] != 8 || last[23] != kTcp) return;
    const usize header = (last[46] >> 4) * 4u;
    const usize total = load_be<u16>(&last[16]);
    if (total < 20 + header) return;
    const u32 length = static_cast<u32>(total - 20 - header) + (last[47] & 3 ? 1 : 0);
    Bytes reply(20 + 20);
    reply[8] = 64;
    reply[9] = kTcp;
    std::copy_n(last.begin() + 30, 4, reply.begin() + 12);
    std::copy_n(last.begin() + 26, 4, reply.begin() + 16);
    std::copy_n(last.begin() + 36, 2, reply.begin() + 20);
    std::copy_n(last.begin() + 34, 2, reply.begin() + 22);
    std::copy_n(last.begin() + 42, 4, reply.begin() + 24);
    store_be<u32>(&reply[28], load_be<u32>(&last[38]) + length - (data[1] & 1 ? length / 2 : 0));
    store_be<u32>(&reply[24], load_be<u32>(&reply[24]) + (data[1] & 2 ? 1000 : 0));
    reply[32] = 0x50;
    reply[33] = data[0];
    store_be<u16>(&reply[34], data[1] & 4 ? 0 : 0xffff);
    reply.insert(reply.end(), data.begin() + 2, data.end());
    ipv4(reply);
  }

  user::testing::FakeLoop loop_;
  Log log_;
  user::testing::FakeSockets* sockets_ = nullptr;
  std::function<void()> after_;
  Nic nic_;
  std::unique_ptr<UserBackend> backend_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size == 0) return 0;
  Session session(data[0]);
  for (usize at = 1; at + 3 <= size;) {
    const usize length = std::min<usize>(load_le<u16>(data + at + 1) & 0xfff, size - at - 3);
    session.step(data[at], Bytes(data + at + 3, data + at + 3 + length));
    at += 3 + length;
  }
  return 0;
}
