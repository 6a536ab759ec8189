// SPDX-License-Identifier: MIT
#include "net/filters/mirror.h"

#include "net/segment.h"
#include "util/bits.h"

namespace rhea::net {

namespace {

void append(const Frame& frame, bool with_header, std::vector<u8>& to) {
  const usize header = with_header ? kVnetHeader : 0, size = frame.size();
  const usize at = to.size(), prefix = with_header ? 8 : 4;
  to.resize(at + prefix + header + size);
  store_be<u32>(&to[at], static_cast<u32>(header + size));
  if (with_header) {
    store_be<u32>(&to[at + 4], kVnetHeader);
    write_vnet_header(frame.offload, std::span<u8, kVnetHeader>(&to[at + 8], kVnetHeader));
  }
  if (size) frame.copy(0, &to[at + prefix + header], size);
}

// With its length. Where no offload header goes along, what it leaves undone is done.
std::vector<u8> encode(const Frame& frame, bool with_header) {
  std::vector<u8> bytes;
  if (with_header || (frame.offload.gso == Offload::none && !frame.offload.needs_checksum)) {
    append(frame, with_header, bytes);
  } else if (frame.offload.gso != Offload::none) {
    Segmenter segmenter;
    if (segmenter.begin(frame))
      while (const Frame* segment = segmenter.next()) append(*segment, false, bytes);
  } else {
    SummedFrame summed;
    if (summed.build(frame)) append(summed.frame(), false, bytes);
  }
  return bytes;
}

const char* on_off(bool on) { return on ? "on" : "off"; }

}  // namespace

Result<std::unique_ptr<Filter>> MirrorFilter::create(const Config& config, const OpenLine& open) {
  auto filter = std::make_unique<MirrorFilter>(config);
  filter->out_ = RHEA_TRY(open(config.outdev, {}));
  return std::unique_ptr<Filter>(std::move(filter));
}

void MirrorFilter::see(bool, const Frame& frame) { out_->write(encode(frame, config_.with_header)); }

Filter::Texts MirrorFilter::own_properties() const {
  return {{"outdev", config_.outdev}, {"vnet_hdr_support", on_off(config_.with_header)}};
}

RedirectorFilter::RedirectorFilter(Config config)
    : Filter(config.place), config_(std::move(config)), decoder_(config_.with_header) {}

Result<std::unique_ptr<Filter>> RedirectorFilter::create(const Config& config, const OpenLine& open) {
  auto filter = std::make_unique<RedirectorFilter>(config);
  RedirectorFilter* raw = filter.get();
  if (!config.outdev.empty()) filter->out_ = RHEA_TRY(open(config.outdev, {}));
  if (!config.indev.empty())
    filter->in_ = RHEA_TRY(open(config.indev, [raw](std::span<const u8> data) { raw->take(data); }));
  return std::unique_ptr<Filter>(std::move(filter));
}

Sent RedirectorFilter::pass(bool from_guest, const Frame& frame) {
  if (!out_ || !wants(from_guest)) return Filter::pass(from_guest, frame);
  out_->write(encode(frame, config_.with_header));
  return Sent::taken;
}

void RedirectorFilter::take(std::span<const u8> data) {
  while (!data.empty()) {
    const std::span<u8> room = decoder_.room();
    const usize part = std::min(room.size(), data.size());
    std::copy_n(data.begin(), part, room.begin());
    decoder_.filled(part);
    data = data.subspan(part);
    for (;;) {
      DecodedFrame decoded;
      const FrameDecoder::Step step = decoder_.next(decoded);
      if (step == FrameDecoder::Step::more) break;
      if (step == FrameDecoder::Step::broken) return decoder_.reset();  // no frames: what is here is thrown away
      if (decoded.bytes.size() < kEthernetHeader || !place().status) continue;
      const Piece piece{const_cast<u8*>(decoded.bytes.data()), decoded.bytes.size()};
      const Frame frame{{&piece, 1}, decoded.offload};
      if (place().queue != Queue::rx) inject(false, frame);
      if (place().queue != Queue::tx) inject(true, frame);
    }
  }
}

void RedirectorFilter::inject(bool from_guest, const Frame& frame) {
  auto& held = held_[from_guest];
  if (held.empty() && forward(from_guest, frame) != Sent::busy) return;
  if (held.size() < kMostHeld) held.push_back(OwnedFrame::copy(frame));
}

void RedirectorFilter::room_ahead(bool from_guest) {
  auto& held = held_[from_guest];
  while (!held.empty()) {
    const Piece piece{held.front().bytes.data(), held.front().bytes.size()};
    if (forward(from_guest, Frame{{&piece, 1}, held.front().offload}) == Sent::busy) return;
    held.pop_front();
  }
}

Filter::Texts RedirectorFilter::own_properties() const {
  return {{"indev", config_.indev}, {"outdev", config_.outdev}, {"vnet_hdr_support", on_off(config_.with_header)}};
}

}  // namespace rhea::net
