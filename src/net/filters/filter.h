// SPDX-License-Identifier: MIT
// A filter on a link: two ports between a backend and that backend's peer (a NIC, a hub's port), or beside others of
// its kind. One that only looks passes frames on as they are, lent buffers too (see()); one that holds, copies away or
// changes frames decides for each what becomes of it (pass()).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/port.h"
#include "util/result.h"

namespace rhea::net {

// What all filters are told.
struct FilterPlace {
  // Which frames, as seen from the backend: those it receives (the guest sends them), those it sends.
  enum class Queue : u8 { all, rx, tx };
  std::string id, netdev;
  Queue queue = Queue::all;
  bool status = true;             // off: everything passes as if it were not there
  std::string position = "tail";  // head | tail | id=FILTER
  std::string insert = "behind";  // behind | before, of a position that names a filter
};

class Filter {
 public:
  using Queue = FilterPlace::Queue;

  explicit Filter(FilterPlace place);
  virtual ~Filter();
  Filter(const Filter&) = delete;

  const FilterPlace& place() const { return place_; }
  // Between the backend and its present peer: next to the backend (head), on the far side of the filters that are
  // there (tail), or beside `beside`. The backend's peer may also come later: it connects to `guest_side()`.
  void insert(Port& backend, const Filter* beside);
  // What is held is let go first, as far as it is taken.
  void remove();
  Port& guest_side();
  // The port behind this one, if `port` is a side of a filter; else `port` itself.
  static Port* skip(Port* port);

  void set_status(bool on);
  // Properties that may change while it runs, others than status. Errors say what there is.
  virtual Result<void> set(const std::string& name, const std::string& value);
  virtual std::string_view type() const = 0;
  // "type=filter-dump,file=x.pcap,maxlen=65536,position=tail,status=on,insert=behind,netdev=n0,queue=all"
  std::string info() const;
  // Its own properties and the common ones, as text.
  using Texts = std::vector<std::pair<std::string, std::string>>;
  Texts properties() const;

 protected:
  // Whether it only looks: then large buffers are lent through it.
  virtual bool only_looks() const { return true; }
  // What goes through it, of what the far side takes.
  virtual Caps limit(const Caps& beyond) const { return beyond; }
  // A frame that was taken by the other side.
  virtual void see(bool from_guest, const Frame& frame) {}
  // A frame on its way: the default hands it on and sees it.
  virtual Sent pass(bool from_guest, const Frame& frame);
  // On to the far side, with what that cannot take done first.
  Sent forward(bool from_guest, const Frame& frame);
  // Who sends that way may go on (it had been told that we are busy).
  void tell_room(bool from_guest);
  // The far side that had been busy for frames going that way has room again.
  virtual void room_ahead(bool from_guest) {}
  virtual Texts own_properties() const = 0;
  // The status went off, or it is about to be taken out: what is held goes on.
  virtual void let_go() {}
  // Whether frames that way are its business.
  bool wants(bool from_guest) const { return place_.status && place_.queue != (from_guest ? Queue::tx : Queue::rx); }

 private:
  class Side;
  FilterPlace place_;
  std::unique_ptr<Side> guest_side_;    // its peer is nearer to the guest
  std::unique_ptr<Side> backend_side_;  // its peer is nearer to the backend
};

// A frame that is kept.
struct OwnedFrame {
  std::vector<u8> bytes;
  Offload offload;
  static OwnedFrame copy(const Frame& frame) {
    OwnedFrame owned;
    owned.bytes.resize(frame.size());
    frame.copy(0, owned.bytes.data(), owned.bytes.size());
    owned.offload = frame.offload;
    return owned;
  }
};

}  // namespace rhea::net
