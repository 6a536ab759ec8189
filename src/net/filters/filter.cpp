// SPDX-License-Identifier: MIT
#include "net/filters/filter.h"

namespace rhea::net {

// What is sent to one side leaves by the other.
class Filter::Side final : public Port {
 public:
  Side(Filter& filter, const std::string& name, bool faces_guest)
      : Port(name), filter_(filter), faces_guest_(faces_guest) {}

  Side& other() const { return faces_guest_ ? *filter_.backend_side_ : *filter_.guest_side_; }
  Port* beyond() const { return other().peer(); }

  Caps caps() const override { return beyond() ? beyond()->caps() : Caps{}; }
  Sent send(const Frame& frame) override {
    if (!beyond()) return Sent::dropped;
    const Sent sent = beyond()->send(frame);
    if (sent == Sent::taken) seen(frame);
    return sent;
  }
  bool can_reserve() const override { return beyond() && beyond()->can_reserve(); }
  bool reserve(usize bytes, Reservation& reservation) override {
    return beyond() && beyond()->reserve(bytes, reservation);
  }
  void commit(Reservation& reservation, usize used, const Offload& offload) override {
    if (!beyond()) return;
    // Recorded first: the buffers belong to the guest afterwards.
    std::array<Piece, kMaxSegments> pieces;
    usize count = 0;
    for (const Piece& piece : reservation.pieces) {
      if (used == 0 || count == pieces.size()) break;
      pieces[count] = {piece.data, std::min(piece.size, used)};
      used -= pieces[count++].size;
    }
    const Frame frame{std::span(pieces.data(), count), offload};
    const usize size = frame.size();
    seen(frame);
    beyond()->commit(reservation, size, offload);
  }
  void abort(Reservation& reservation) override {
    if (beyond()) beyond()->abort(reservation);
  }
  void on_room() override {
    if (beyond()) beyond()->on_room();
  }
  void on_link(bool up) override {
    if (beyond()) beyond()->on_link(up);
  }
  std::string type() const override { return beyond() ? beyond()->type() : "filter"; }
  std::string info() const override { return beyond() ? beyond()->info() : std::string(); }

 private:
  void seen(const Frame& frame) {
    ++counters_.frames_in;
    counters_.bytes_in += frame.size();
    filter_.see(faces_guest_, frame);
  }
  Filter& filter_;
  bool faces_guest_;
};

Filter::Filter(const std::string& id)
    : guest_side_(std::make_unique<Side>(*this, id, true)), backend_side_(std::make_unique<Side>(*this, id, false)) {}

Filter::~Filter() { remove(); }

Port& Filter::guest_side() { return *guest_side_; }

void Filter::insert(Port& backend, bool tail) {
  Port* near = &backend;
  if (tail) {
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
  if (near && far) Port::connect(*near, *far);
}

Port* Filter::skip(Port* port) {
  while (const auto* side = dynamic_cast<Side*>(port)) port = side->beyond();
  return port;
}

}  // namespace rhea::net
