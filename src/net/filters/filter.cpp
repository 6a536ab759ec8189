// SPDX-License-Identifier: MIT
#include "net/filters/filter.h"

#include <fmt/format.h>

namespace rhea::net {

// What is sent to one side leaves by the other.
class Filter::Side final : public Port {
 public:
  Side(Filter& filter, const std::string& name, bool faces_guest)
      : Port(name), filter_(filter), faces_guest_(faces_guest) {}

  Side& other() const { return faces_guest_ ? *filter_.backend_side_ : *filter_.guest_side_; }
  Port* beyond() const { return other().peer(); }

  Caps caps() const override {
    if (!beyond()) return {};
    const Caps theirs = beyond()->caps();
    return filter_.place_.status ? filter_.limit(theirs) : theirs;
  }
  Sent send(const Frame& frame) override {
    if (!beyond()) return Sent::dropped;
    const Sent sent = filter_.pass(faces_guest_, frame);
    if (sent == Sent::taken) count(frame);
    return sent;
  }
  bool can_reserve() const override { return filter_.only_looks() && beyond() && beyond()->can_reserve(); }
  bool reserve(usize bytes, Reservation& reservation) override {
    return beyond() && beyond()->reserve(bytes, reservation);
  }
  void commit(Reservation& reservation, usize used, const Offload& offload) override {
    if (!beyond()) return;
    // Seen first: the buffers belong to the guest afterwards.
    std::array<Piece, kMaxSegments> pieces;
    usize count_of = 0;
    for (const Piece& piece : reservation.pieces) {
      if (used == 0 || count_of == pieces.size()) break;
      pieces[count_of] = {piece.data, std::min(piece.size, used)};
      used -= pieces[count_of++].size;
    }
    const Frame frame{std::span(pieces.data(), count_of), offload};
    const usize size = frame.size();
    count(frame);
    if (filter_.wants(faces_guest_)) filter_.see(faces_guest_, frame);
    beyond()->commit(reservation, size, offload);
  }
  void abort(Reservation& reservation) override {
    if (beyond()) beyond()->abort(reservation);
  }
  // Our peer has room: for what the other side's peer sends.
  void on_room() override {
    filter_.room_ahead(!faces_guest_);
    if (beyond()) beyond()->on_room();
  }
  void on_link(bool up) override {
    if (beyond()) beyond()->on_link(up);
  }
  std::string type() const override { return beyond() ? beyond()->type() : "filter"; }
  std::string info() const override { return beyond() ? beyond()->info() : std::string(); }

 private:
  void count(const Frame& frame) {
    ++counters_.frames_in;
    counters_.bytes_in += frame.size();
  }
  Filter& filter_;
  bool faces_guest_;
};

Filter::Filter(FilterPlace place)
    : place_(std::move(place)), guest_side_(std::make_unique<Side>(*this, place_.id, true)),
      backend_side_(std::make_unique<Side>(*this, place_.id, false)) {}

Filter::~Filter() { remove(); }

Port& Filter::guest_side() { return *guest_side_; }

Sent Filter::pass(bool from_guest, const Frame& frame) {
  const Sent sent = forward(from_guest, frame);
  if (sent == Sent::taken && wants(from_guest)) see(from_guest, frame);
  return sent;
}

Sent Filter::forward(bool from_guest, const Frame& frame) {
  return send_to_peer(from_guest ? static_cast<Port&>(*backend_side_) : *guest_side_, frame);
}

void Filter::tell_room(bool from_guest) {
  if (Port* sender = (from_guest ? guest_side_ : backend_side_)->peer()) sender->on_room();
}

void Filter::insert(Port& backend, const Filter* beside) {
  Port* near = &backend;
  if (beside) {
    near = place_.insert == "before" ? beside->backend_side_->peer() : beside->guest_side_.get();
  } else if (place_.position != "head") {
    while (const auto* side = dynamic_cast<Side*>(near->peer())) near = &side->other();
  }
  Port* far = near->peer();
  Port::disconnect(*near);
  Port::connect(*near, *backend_side_);
  if (far) Port::connect(*guest_side_, *far);
}

void Filter::remove() {
  Port* near = backend_side_->peer();
  Port* far = guest_side_->peer();
  Port::disconnect(*backend_side_);
  Port::disconnect(*guest_side_);
  if (!near || !far) return;
  Port::connect(*near, *far);
  // Whoever had been told to wait by the filter, or by its far side through it, tries again.
  near->on_room();
  far->on_room();
}

Port* Filter::skip(Port* port) {
  while (const auto* side = dynamic_cast<Side*>(port)) port = side->beyond();
  return port;
}

void Filter::set_status(bool on) {
  if (!on && place_.status) let_go();
  place_.status = on;
}

Result<void> Filter::set(const std::string& name, const std::string&) {
  return Error("Property '{}.{}' is not writable", type(), name);
}

Filter::Texts Filter::properties() const {
  Texts texts = own_properties();
  const char* queue = place_.queue == Queue::rx ? "rx" : place_.queue == Queue::tx ? "tx" : "all";
  for (auto& text : Texts{{"position", place_.position},
                          {"status", place_.status ? "on" : "off"},
                          {"insert", place_.insert},
                          {"netdev", place_.netdev},
                          {"queue", queue}})
    texts.push_back(std::move(text));
  return texts;
}

std::string Filter::info() const {
  std::string text = fmt::format("type={}", type());
  for (const auto& [name, value] : properties()) text += fmt::format(",{}={}", name, value);
  return text;
}

}  // namespace rhea::net
