// SPDX-License-Identifier: MIT
// A filter on a link: two ports that pass everything on, and see the frames that were taken. It sits between
// a backend and that backend's peer (a NIC, a hub's port), or beside others of its kind.
#pragma once

#include <memory>
#include <string>

#include "net/port.h"

namespace rhea::net {

class Filter {
 public:
  // Which frames, as seen from the backend: those it receives (the guest sends them), those it sends.
  enum class Queue : u8 { all, rx, tx };

  explicit Filter(const std::string& id);
  virtual ~Filter();
  Filter(const Filter&) = delete;

  // Between the backend and its present peer: next to the backend (head), or on the far side of the filters
  // that are there already (tail). The backend's peer may also come later: it connects to `guest_side()`.
  void insert(Port& backend, bool tail);
  void remove();
  Port& guest_side();
  // The port behind this one, if `port` is a side of a filter; else `port` itself.
  static Port* skip(Port* port);

 protected:
  // A frame that was taken by the other side.
  virtual void see(bool from_guest, const Frame& frame) = 0;

 private:
  class Side;
  std::unique_ptr<Side> guest_side_;    // its peer is nearer to the guest
  std::unique_ptr<Side> backend_side_;  // its peer is nearer to the backend
};

}  // namespace rhea::net
