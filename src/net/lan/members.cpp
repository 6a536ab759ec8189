// SPDX-License-Identifier: MIT
#include "net/lan/members.h"

#include <algorithm>
#include <cerrno>

#include "sys/claim.h"
#include "sys/host_socket.h"
#include "sys/named_socket.h"

namespace rhea::net::lan {

namespace {
constexpr unsigned kAccepts = 16;  // in a row
constexpr s64 kRetry = 100 * kMillisecond;
}  // namespace

Members::Members(EventLoop& loop, MembersOwner& owner, Place place, Message hello)
    : loop_(loop), owner_(owner), place_(std::move(place)), hello_(std::move(hello)),
      retry_(loop.real_clock().timer([this] { look_around(); })) {
  hello_.kind = Kind::hello;
  hello_.id = sys::random_number();
}

Members::~Members() {
  watch_.reset();
  if (!path_.empty()) sys::remove_socket_file(path_);
}

Result<void> Members::join() {
  const std::string path = place_.socket_path(hello_.id);
  listener_ = RHEA_TRY(sys::listen_packets(path));
  path_ = path;
  watch_ = loop_.watch(listener_.get(), kReadable, [this](u32) { accept(); });
  look_around();
  return {};
}

// Members that come later find this one: it listened before it looked.
void Members::look_around() {
  bool again = false;
  for (const std::string& path : place_.sockets()) {
    if (path == path_ || called_.contains(path)) continue;
    if (neighbours_.size() >= kMost + kGreetings) break;
    again |= !call(path);
  }
  if (again) retry_->arm(loop_.real_clock().now() + kRetry);
}

// False: to be tried again.
bool Members::call(const std::string& path) {
  int error = 0;
  sys::Fd fd = sys::connect_packets(path, error);
  // Its process was killed.
  if (error == ECONNREFUSED) sys::remove_socket_file(path);
  if (error == EAGAIN) return false;
  if (!fd) return true;
  called_.insert(path);
  auto neighbour = std::make_unique<Neighbour>(loop_, *this, std::move(fd), hello_);
  if (neighbour->offer().ok()) neighbours_.push_back(std::move(neighbour));
  return true;
}

void Members::accept() {
  for (unsigned i = 0; i < kAccepts; ++i) {
    sys::Fd fd = sys::accept_packets(listener_.get());
    if (!fd) return;
    const unsigned user = sys::packet_peer(fd.get()).user;
    if (user != sys::user_id() && user != 0) continue;
    const auto greets = [](const auto& each) { return each->greeting() && !each->made_here(); };
    if (std::count_if(neighbours_.begin(), neighbours_.end(), greets) >= static_cast<std::ptrdiff_t>(kGreetings))
      bury(**std::find_if(neighbours_.begin(), neighbours_.end(), greets));
    neighbours_.push_back(std::make_unique<Neighbour>(loop_, *this, std::move(fd), hello_));
  }
}

std::vector<Neighbour*> Members::live() const {
  std::vector<Neighbour*> list;
  for (const auto& neighbour : neighbours_)
    if (neighbour->live()) list.push_back(neighbour.get());
  return list;
}

bool Members::on_hello(Neighbour& neighbour) {
  const auto maker = [this](const Neighbour& each) { return each.made_here() ? hello_.id : each.id(); };
  std::vector<Neighbour*> others = live();
  std::erase(others, &neighbour);
  const auto same =
      std::find_if(others.begin(), others.end(), [&](const Neighbour* other) { return other->id() == neighbour.id(); });
  const bool stranger = same != others.end() && (*same)->process().process != neighbour.process().process;
  if (neighbour.id() == hello_.id || stranger || (same == others.end() && others.size() >= kMost)) {
    bury(neighbour);
    return false;
  }
  if (same != others.end()) {
    if (maker(neighbour) != std::min(hello_.id, neighbour.id()) || maker(**same) == maker(neighbour)) {
      bury(neighbour);
      return false;
    }
    drop(**same, "");
  }
  owner_.on_joined(neighbour);
  return neighbour.live();
}

void Members::on_message(Neighbour& neighbour, const Message& message, sys::Fd along) {
  if (message.kind != Kind::ask && message.kind != Kind::dial) return owner_.on_message(neighbour, message);
  if (neighbour.live()) return;
  if (message.kind == Kind::dial) {
    bury(neighbour);
    return owner_.on_dial(message.port, std::move(along));
  }
  neighbour.say({.kind = Kind::report, .text = owner_.report().substr(0, kLargestReport - 1)});
  bury(neighbour);
}

void Members::on_gone(Neighbour& neighbour, const std::string& why) { drop(neighbour, why); }

void Members::drop(Neighbour& neighbour, const std::string& why) {
  const bool was_live = neighbour.live();
  bury(neighbour);
  if (was_live) owner_.on_left(neighbour, why);
}

// It may be at work further up: it is destroyed later.
void Members::bury(Neighbour& neighbour) {
  const auto at =
      std::find_if(neighbours_.begin(), neighbours_.end(), [&](const auto& each) { return each.get() == &neighbour; });
  if (at == neighbours_.end()) return;
  neighbour.end();
  dead_.push_back(std::move(*at));
  neighbours_.erase(at);
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.lock()) dead_.clear();
  });
}

}  // namespace rhea::net::lan
