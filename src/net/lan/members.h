// SPDX-License-Identifier: MIT
// All other members of a LAN: each has a connection with each. A newcomer connects to every socket in the meeting
// place; two that come at once may get two connections, of which both keep the one that the smaller number made. There
// is no middle: whoever dies, the others go on.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/lan/neighbour.h"
#include "net/lan/place.h"

namespace rhea::net::lan {

class MembersOwner {
 public:
  virtual ~MembersOwner() = default;
  virtual void on_joined(Neighbour& neighbour) = 0;
  virtual void on_left(Neighbour& neighbour, const std::string& why) = 0;
  virtual void on_bell(Neighbour& neighbour) = 0;
  virtual void on_message(Neighbour& neighbour, const Message& message) = 0;
  // What `rhea lan show` is told, JSON.
  virtual std::string report() = 0;
  // A stream for a port of the own guest.
  virtual void on_dial(u16 port, sys::Fd stream) = 0;
};

class Members final : public NeighbourOwner {
 public:
  static constexpr usize kMost = 64;       // neighbours
  static constexpr usize kGreetings = 16;  // connections that have not said hello

  // `hello`: of this member; its id is made here.
  Members(EventLoop& loop, MembersOwner& owner, Place place, Message hello);
  ~Members() override;
  // Takes part. Errors: no socket can be made in the place.
  Result<void> join();
  // Ends the connection with a neighbour; on_left is told.
  void drop(Neighbour& neighbour, const std::string& why);
  // The live ones, as they are now.
  std::vector<Neighbour*> live() const;
  const Message& hello() const { return hello_; }

 private:
  bool on_hello(Neighbour& neighbour) override;
  void on_bell(Neighbour& neighbour) override { owner_.on_bell(neighbour); }
  void on_message(Neighbour& neighbour, const Message& message, sys::Fd along) override;
  void on_gone(Neighbour& neighbour, const std::string& why) override;
  void accept();
  void look_around();
  bool call(const std::string& path);
  void bury(Neighbour& neighbour);

  EventLoop& loop_;
  MembersOwner& owner_;
  Place place_;
  Message hello_;
  sys::Fd listener_;
  std::string path_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> retry_;
  std::set<std::string> called_;  // sockets that were connected to
  std::vector<std::unique_ptr<Neighbour>> neighbours_;
  std::vector<std::unique_ptr<Neighbour>> dead_;  // until the loop's next turn
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::net::lan
