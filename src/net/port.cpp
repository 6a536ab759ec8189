// SPDX-License-Identifier: MIT
#include "net/port.h"

#include "net/segment.h"

namespace rhea::net {

namespace {

bool takes_gso(const Caps& caps, u8 gso) {
  switch (gso) {
    case Offload::tcp4: return caps.tso4;
    case Offload::tcp6: return caps.tso6;
    case Offload::udp_l4: return caps.uso;
    default: return false;
  }
}

// Busy only when nothing was taken: a segment in the middle that is refused is lost, as on a wire.
Sent send_segments(Port& peer, const Frame& frame) {
  Segmenter segmenter;
  if (!segmenter.begin(frame)) return Sent::dropped;
  Sent result = Sent::dropped;
  bool first = true;
  while (const Frame* segment = segmenter.next()) {
    const Sent sent = peer.send(*segment);
    if (first && sent == Sent::busy) return Sent::busy;
    if (sent == Sent::taken) result = Sent::taken;
    first = false;
  }
  return result;
}

Sent send_fitted(Port& peer, const Frame& frame) {
  const Caps caps = peer.caps();
  if (frame.offload.gso != Offload::none) {
    return takes_gso(caps, frame.offload.gso) ? peer.send(frame) : send_segments(peer, frame);
  }
  if (frame.size() > caps.max_frame) return Sent::dropped;
  if (frame.offload.needs_checksum && !caps.checksum) {
    SummedFrame summed;
    return summed.build(frame) ? peer.send(summed.frame()) : Sent::dropped;
  }
  return peer.send(frame);
}

}  // namespace

Sent send_to_peer(Port& from, const Frame& frame) {
  Port* peer = from.peer();
  const Sent sent = peer ? send_fitted(*peer, frame) : Sent::dropped;
  if (sent == Sent::taken) {
    ++from.counters_.frames_out;
    from.counters_.bytes_out += frame.size();
  } else if (sent == Sent::dropped) {
    ++from.counters_.dropped;
  }
  return sent;
}

}  // namespace rhea::net
