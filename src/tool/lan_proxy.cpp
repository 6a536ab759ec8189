// SPDX-License-Identifier: MIT
// No frames, no member: each client's stream is handed to the member whose guest it is for, which joins it to its
// guest's port as it does with a forwarded one (net/lan/message.h, dial), and says first what the guest said.
//
//   client -- relay (a thread here) -- TCP over loopback -- member's user-mode stack -- guest
#include "tool/lan_proxy.h"

#include <atomic>
#include <cstdio>
#include <list>
#include <mutex>
#include <thread>

#include "net/lan/message.h"
#include "net/lan/place.h"
#include "net/user/verdict.h"
#include "sys/host_socket.h"
#include "sys/packet_socket.h"
#include "sys/relay.h"
#include "sys/signals.h"
#include "tool/lan_members.h"
#include "tool/proxy_dialogue.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using Failure = ProxyDialogue::Failure;
using net::user::Verdict;

constexpr unsigned kMostClients = 256;
constexpr unsigned kPatience = 30'000;        // ms for the client's request
constexpr unsigned kGuestPatience = 120'000;  // and for the guest; its machine's own ends before (hostfwd-hold=)
constexpr u16 kUsualPort = 1080;

struct NotDialed {
  Failure failure;
  std::string why;
};

// One client, on a thread of its own: looking for a member may take a while.
class Client {
 public:
  Client(sys::Fd fd, const std::string& lan)
      : fd_(std::move(fd)), lan_(lan), thread_([this] {
          serve();
          const std::lock_guard lock(closing_);
          fd_.reset();  // a reset goes out now
          done_ = true;
        }) {}
  ~Client() {
    {
      const std::lock_guard lock(closing_);
      if (fd_) sys::break_off(fd_.get());
    }
    thread_.join();
  }
  bool done() const { return done_; }

 private:
  void serve() {
    sys::set_no_delay(fd_.get());
    if (!ask()) return sys::close_politely(fd_.get());
    std::unique_ptr<sys::Socket> guest;
    if (const auto failed = dial(guest)) {
      dialogue_.fail(failed->failure, failed->why);
      if (sys::send_whole(fd_.get(), dialogue_.answers())) sys::close_politely(fd_.get());
      return;
    }
    dialogue_.succeed();
    if (!sys::send_whole(fd_.get(), dialogue_.answers())) return;
    if (!sys::send_whole(guest->fd(), dialogue_.for_guest())) return;
    sys::relay_streams(fd_.get(), guest->fd());
  }

  // What the client wants. False: nothing that can be done.
  bool ask() {
    std::array<u8, 4096> buffer;
    while (dialogue_.state() == ProxyDialogue::State::asking) {
      if (sys::wait_readable_for(fd_.get(), kPatience) != sys::Waited::ready) return false;
      const sys::ReadSome got = sys::receive_now(fd_.get(), buffer);
      if (got.outcome == sys::ReadOutcome::would_wait) continue;
      if (got.outcome != sys::ReadOutcome::data) return false;
      dialogue_.take(std::span<const u8>(buffer).first(got.count));
      if (!sys::send_whole(fd_.get(), dialogue_.answers())) return false;
    }
    return dialogue_.state() == ProxyDialogue::State::dial;
  }

  std::optional<NotDialed> dial(std::unique_ptr<sys::Socket>& ours) {
    const std::string& host = dialogue_.host();
    const auto member = find_member(lan_, host);
    if (!member)
      return NotDialed{Failure::unknown_host,
                       fmt::format("no guest of LAN '{}' is '{}'; rhea lan list shows them", lan_, host)};
    int error = 0;
    sys::StreamPair pair = sys::stream_pair(error);
    if (!pair.ours) return NotDialed{Failure::gone, sys::errno_text(error)};
    const NotDialed gone{Failure::gone, fmt::format("the machine of '{}' has ended", host)};
    const sys::Fd connection = sys::connect_packets(*member, error);
    if (!connection) return gone;
    const auto sent =
        sys::send_packet(connection.get(), net::lan::encode({.kind = net::lan::Kind::dial, .port = dialogue_.port()}),
                         pair.theirs.get());
    if (sent.outcome != sys::ReadOutcome::data) return gone;
    pair.theirs.reset();
    pair.ours->set_no_delay();
    ours = std::move(pair.ours);
    return verdict(ours->fd(), gone);
  }

  std::optional<NotDialed> verdict(int fd, const NotDialed& gone) {
    const std::string place = fmt::format("port {} of '{}'", dialogue_.port(), dialogue_.host());
    switch (sys::wait_readable_for(fd, kGuestPatience, fd_.get())) {
      case sys::Waited::ready: break;
      case sys::Waited::late: return NotDialed{Failure::silent, place + " does not answer"};
      case sys::Waited::gone: return NotDialed{Failure::gone, "the client has gone"};
    }
    u8 said = 0;
    if (sys::receive_now(fd, {&said, 1}).outcome != sys::ReadOutcome::data) return gone;
    switch (static_cast<Verdict>(said)) {
      case Verdict::open: return std::nullopt;
      case Verdict::refused: return NotDialed{Failure::refused, place + " is closed: the guest refused"};
      case Verdict::silent: return NotDialed{Failure::silent, place + " does not answer"};
    }
    return gone;
  }

  sys::Fd fd_;
  const std::string& lan_;
  ProxyDialogue dialogue_;
  std::mutex closing_;  // of fd_, by the thread
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

Error usage() {
  return Error(
      "rhea lan proxy takes the name of a LAN and where to listen, [ADDRESS:]PORT or unix:PATH: "
      "rhea lan proxy lab 127.0.0.1:{}",
      kUsualPort);
}

void announce(const std::string& lan, const sys::SocketName& at) {
  const bool local = at.family == sys::SocketName::Family::unix_path;
  std::printf("LAN '%s' is at %s, by SOCKS5 and HTTP\n", lan.c_str(), at.text().c_str());
  std::fflush(stdout);
  if (!local && at.host != "127.0.0.1" && at.host != "::1" && at.host != "localhost")
    std::fprintf(stderr, "rhea: warning: whoever reaches %s reaches the guests of LAN '%s'\n", at.text().c_str(),
                 lan.c_str());
}

}  // namespace

Result<sys::SocketName> read_proxy_place(const std::string& text) {
  sys::SocketName name;
  name.host = "127.0.0.1";
  name.port = std::to_string(kUsualPort);
  if (text.empty()) return name;
  if (text.starts_with("unix:")) {
    name.family = sys::SocketName::Family::unix_path;
    name.path = text.substr(5);
    if (name.path.empty()) return Error("unix: expects the path of a socket behind it");
    return name;
  }
  const usize colon = text.rfind(':');
  name.port = colon == std::string::npos ? text : text.substr(colon + 1);
  if (colon != std::string::npos) name.host = text.substr(0, colon);
  if (name.host.size() > 2 && name.host.front() == '[' && name.host.back() == ']')
    name.host = name.host.substr(1, name.host.size() - 2);
  const auto port = parse_number(name.port);
  if (!port || *port > 65535 || name.host.empty())
    return Error("'{}' is no place to listen: expected PORT, ADDRESS:PORT or unix:PATH", text);
  return name;
}

Result<std::string> lan_proxy(const Words& words) {
  if (words.empty() || words.size() > 2) return usage();
  const std::string& lan = words[0];
  RHEA_TRY(net::lan::Place::open(lan));
  const sys::SocketName asked = RHEA_TRY(read_proxy_place(words.size() > 1 ? words[1] : ""));
  const sys::SignalWatch signals;
  const sys::Fd listener = RHEA_TRY(sys::listen_stream(asked));
  announce(lan, sys::bound_name(listener.get(), asked));
  sys::raise_open_file_limit();

  std::list<Client> clients;
  while (sys::wait_readable(listener.get())) {
    std::erase_if(clients, [](const Client& client) { return client.done(); });
    sys::Fd fd = sys::accept_stream(listener.get());
    // One too many is closed; who is out of descriptors waits for one.
    if (fd && clients.size() < kMostClients) clients.emplace_back(std::move(fd), lan);
    else if (!fd) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (asked.family == sys::SocketName::Family::unix_path) sys::remove_socket_file(asked.path);
  return std::string();
}

}  // namespace rhea::tool
