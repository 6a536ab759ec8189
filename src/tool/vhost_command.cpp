// SPDX-License-Identifier: MIT
// `rhea vhost-user serve`: a network of this process for the guest of another one, over vhost-user.
//
//   guest's rings (in memory that the front end shares) -- VhostServer -- any backend of -netdev
#include <cstdio>

#include "config/options.h"
#include "core/loop.h"
#include "devices/virtio/vhost_server.h"
#include "net/backend.h"
#include "sys/memory_map.h"
#include "sys/named_socket.h"
#include "sys/signals.h"
#include "tool/tool.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

constexpr s64 kBetweenTries = kSecond;

struct Wish {
  std::string path;
  bool connect = false;
  std::string netdev;
  std::string name;
};

Result<Wish> read_words(const Words& words) {
  const std::vector<std::string> known{"--socket", "--connect", "--netdev", "--name"};
  Wish wish;
  for (usize i = 1; i < words.size(); i += 2) {
    const std::string& key = words[i];
    if (std::find(known.begin(), known.end(), key) == known.end())
      return Error("rhea vhost-user serve has no '{}'{}: there are {}", key, did_you_mean(key, known),
                   join(known, ", "));
    if (i + 1 == words.size()) return Error("{} expects a value behind it", key);
    const std::string& value = words[i + 1];
    if (key == "--netdev") {
      wish.netdev = value;
    } else if (key == "--name") {
      wish.name = value;
    } else {
      if (!wish.path.empty()) return Error("--socket listens and --connect connects: one of them, and once");
      wish.path = value;
      wish.connect = key == "--connect";
    }
  }
  if (wish.path.empty() || wish.netdev.empty())
    return Error("rhea vhost-user serve takes a socket and a network: --socket PATH --netdev user");
  return wish;
}

class Server {
 public:
  explicit Server(Wish wish)
      : wish_(std::move(wish)), clock_(core::make_host_clock(loop_)), network_(loop_, *clock_, log_),
        retry_(loop_.real_clock().timer([this] { connect(); })) {
    name_.family = sys::SocketName::Family::unix_path;
    name_.path = wish_.path;
    network_.machine_name = wish_.name;
    network_.on_warning = say;
  }
  ~Server() {
    session_.reset();
    if (listener_) sys::remove_socket_file(wish_.path);
  }

  Result<void> run() {
    RHEA_TRY(open_network());
    const auto signals = loop_.watch(signals_.fd(), kReadable, [this](u32) {
      while (const auto event = signals_.next())
        if (event->kind == sys::Signal::end) loop_.quit();
    });
    if (wish_.connect) {
      connect();
    } else {
      listener_ = RHEA_TRY(sys::listen_stream(name_));
      listen();
    }
    std::printf("netdev %s is served at %s, by vhost-user\n", wish_.netdev.c_str(), wish_.path.c_str());
    std::fflush(stdout);
    sys::end_on_lost_memory("rhea: the front end took its memory away while it was served\n");
    loop_.run();
    return {};
  }

 private:
  static void say(const std::string& text) { std::fprintf(stderr, "rhea: warning: %s\n", text.c_str()); }

  Result<void> open_network() {
    const auto parsed = config::parse_options(wish_.netdev, "type");
    if (!parsed.ok()) return Error(parsed.error()).in("--netdev " + wish_.netdev);
    const std::string* type = parsed->find("type");
    if (!type) return Error("--netdev {}: Parameter 'type' is missing", wish_.netdev);
    const std::string* id = parsed->find("id");
    std::vector<net::OptionText> options;
    for (const config::Part& part : parsed->parts)
      if (part.key != "type" && part.key != "id") options.emplace_back(part.key, part.value);
    auto made = network_.add(*type, id ? *id : "n0", options);
    if (!made.ok()) return std::move(made.error()).in("--netdev " + wish_.netdev);
    netdev_ = *made;
    for (const std::string& warning : network_.take_warnings()) say(warning);
    return {};
  }

  // One front end at a time: others wait in the system's queue.
  void listen() {
    watch_ = loop_.watch(listener_.get(), kReadable, [this](u32) {
      if (sys::Fd socket = sys::accept_stream(listener_.get())) {
        watch_.reset();
        serve(std::move(socket));
      }
    });
  }

  void connect() {
    if (auto socket = sys::connect_stream(name_); socket.ok()) return serve(socket.take());
    retry_->arm(loop_.real_clock().now() + kBetweenTries);
  }

  void serve(sys::Fd socket) {
    session_ = std::make_unique<devices::VhostServer>(
        loop_, *clock_, log_, *netdev_, std::move(socket),
        devices::VhostServer::Hooks{.say = [](const std::string& text) { say(text); },
                                    .ended = [this](const std::string& why) { ended(why); }});
  }

  void ended(const std::string& why) {
    if (!why.empty()) say(why + ": it is cut off");
    session_.reset();
    network_.guest_replaced();  // whoever comes next is another guest
    if (wish_.connect) retry_->arm(loop_.real_clock().now() + kBetweenTries);
    else listen();
  }

  Wish wish_;
  sys::SignalWatch signals_;
  Log log_;
  core::Loop loop_{"rhea-vhost-user"};
  std::unique_ptr<Clock> clock_;
  net::Network network_;
  net::Port* netdev_ = nullptr;
  sys::SocketName name_;
  sys::Fd listener_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> retry_;
  std::unique_ptr<devices::VhostServer> session_;
};

}  // namespace

Result<std::string> vhost_user_command(const Words& words, int&) {
  if (words.empty() || words[0] != "serve") return unknown_verb("vhost-user", words, {"serve"});
  Wish wish = RHEA_TRY(read_words(words));
  RHEA_TRY(Server(std::move(wish)).run());
  return std::string();
}

}  // namespace rhea::tool
