// SPDX-License-Identifier: MIT
// How it works: movements add up until a packet fits into the queue; so a slow guest loses resolution in time and no
// distance. With Microsoft's knock (sample rates 200, 100, 80) it becomes a mouse with a wheel, with 200, 200, 80 one
// with a wheel and five buttons.
#include <algorithm>
#include <cstdlib>

#include "devices/input/ps2.h"

namespace rhea::devices {

namespace {

enum Command : u8 {
  kScaling1 = 0xe6,
  kScaling2 = 0xe7,
  kResolution = 0xe8,
  kStatus = 0xe9,
  kStream = 0xea,
  kReadData = 0xeb,
  kResetWrap = 0xec,
  kWrap = 0xee,
  kRemote = 0xf0,
  kReadId = 0xf2,
  kSampleRate = 0xf3,
  kEnable = 0xf4,
  kDisable = 0xf5,
  kDefault = 0xf6,
  kResendLast = 0xfe,
  kReset = 0xff
};
constexpr s32 kMostDistance = 255, kMostWheel = 7;
constexpr s32 kMostPending = 1 << 20;

// Scaling 2:1 of small distances (section "Mouse data report").
s32 scale(s32 distance) {
  static constexpr s32 kSmall[] = {0, 1, 1, 3, 6, 9};
  const s32 size = std::abs(distance);
  const s32 scaled = size < 6 ? kSmall[size] : 2 * size;
  return distance < 0 ? -scaled : scaled;
}

}  // namespace

Ps2Mouse::Ps2Mouse(std::function<void()> changed) : Ps2Device(std::move(changed)) {}

void Ps2Mouse::set_defaults() {
  rate_ = 100;
  resolution_ = 2;
  scaling_ = remote_ = reporting_ = wrap_ = false;
  dx_ = dy_ = wheel_ = 0;
  command_ = 0;
  rates_before_ = {};
}

void Ps2Mouse::reset() {
  set_defaults();
  id_ = 0;
  buttons_ = buttons_sent_ = 0;
  clear_queues();
}

void Ps2Mouse::fields(Visitor& visitor) {
  visitor.field("command", command_);
  visitor.field("id", id_);
  visitor.field("rate", rate_);
  visitor.field("resolution", resolution_);
  visitor.field("rates_before", rates_before_);
  visitor.field("reporting", reporting_);
  visitor.field("remote", remote_);
  visitor.field("wrap", wrap_);
  visitor.field("scaling", scaling_);
  visitor.field("dx", dx_);
  visitor.field("dy", dy_);
  visitor.field("wheel", wheel_);
  visitor.field("buttons", buttons_);
  visitor.field("buttons_sent", buttons_sent_);
  if (visitor.restoring())
    for (s32* distance : {&dx_, &dy_, &wheel_}) *distance = std::clamp(*distance, -kMostPending, kMostPending);
  Ps2Device::fields(visitor);
}

void Ps2Mouse::move(s32 dx, s32 dy, s32 wheel) {
  const auto add = [](s32& to, s64 distance) {
    to = static_cast<s32>(std::clamp<s64>(to + distance, -kMostPending, kMostPending));
  };
  add(dx_, dx);
  add(dy_, -s64{dy});  // up is positive on the wire
  add(wheel_, -s64{wheel});
  report();
}

void Ps2Mouse::set_buttons(u32 buttons) {
  buttons_ = buttons & 0x1f;
  report();
}

std::vector<u8> Ps2Mouse::packet() {
  const auto take = [](s32& from, s32 most) {
    const s32 part = std::clamp(from, -most, most);
    from -= part;
    return part;
  };
  s32 x = take(dx_, kMostDistance), y = take(dy_, kMostDistance);
  if (scaling_ && !remote_) {
    x = std::clamp(scale(x), -kMostDistance, kMostDistance);
    y = std::clamp(scale(y), -kMostDistance, kMostDistance);
  }
  buttons_sent_ = buttons_;
  const u32 ordered = (buttons_ & display::kButtonLeft) | (buttons_ & display::kButtonRight ? 2u : 0u) |
                      (buttons_ & display::kButtonMiddle ? 4u : 0u);
  std::vector<u8> bytes = {static_cast<u8>(8 | ordered | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)), static_cast<u8>(x),
                           static_cast<u8>(y)};
  if (id_ == 3) bytes.push_back(static_cast<u8>(take(wheel_, 127)));
  if (id_ == 4) bytes.push_back(static_cast<u8>((take(wheel_, kMostWheel) & 15) | (buttons_ & 0x18) << 1));
  if (id_ == 0) wheel_ = 0;
  return bytes;
}

void Ps2Mouse::report() {
  if (!reporting_ || remote_ || wrap_) return;
  const usize size = id_ ? 4 : 3;
  while ((dx_ || dy_ || (id_ && wheel_) || buttons_ != buttons_sent_) && queue_.size() + size <= kQueueSize)
    queue(packet());
}

void Ps2Mouse::write(u8 byte) {
  if (command_) {
    take_argument(byte);
    return;
  }
  if (wrap_ && byte != kReset && byte != kResetWrap) {
    answer({byte});
    return;
  }
  switch (byte) {
    case kScaling1:
    case kScaling2:
      scaling_ = byte == kScaling2;
      answer({kAck});
      break;
    case kResolution:
    case kSampleRate:
      command_ = byte;
      answer({kAck});
      break;
    case kStatus: {
      const u32 pressed = (buttons_ & 1 ? 4u : 0u) | (buttons_ & 4 ? 1u : 0u) | (buttons_ & 2);
      answer({kAck, static_cast<u8>((remote_ ? 0x40 : 0) | (reporting_ ? 0x20 : 0) | (scaling_ ? 0x10 : 0) | pressed),
              resolution_, rate_});
      break;
    }
    case kStream:
    case kRemote:
    case kWrap:
    case kResetWrap:
      if (byte == kStream || byte == kRemote) remote_ = byte == kRemote;
      else wrap_ = byte == kWrap;
      answer({kAck});
      break;
    case kReadData: {
      answer({kAck});
      queue_.clear();
      queue(packet());
      break;
    }
    case kReadId: answer({kAck, id_}); break;
    case kEnable:
      reporting_ = true;
      answer({kAck});
      report();
      break;
    case kDisable:
      reporting_ = false;
      queue_.clear();
      answer({kAck});
      break;
    case kDefault:
      set_defaults();
      queue_.clear();
      answer({kAck});
      break;
    case kResendLast: resend(); break;
    case kReset:
      reset();
      answer({kAck, kSelfTestOk, id_});
      break;
    default: answer({kResend}); break;
  }
}

void Ps2Mouse::take_argument(u8 byte) {
  if (command_ == kResolution) resolution_ = byte & 3;
  else note_rate(byte);
  command_ = 0;
  answer({kAck});
}

void Ps2Mouse::note_rate(u8 rate) {
  rate_ = rate;
  if (rates_before_[0] == 200 && rate == 80) {
    if (rates_before_[1] == 100) id_ = 3;
    if (rates_before_[1] == 200) id_ = 4;
  }
  rates_before_ = {rates_before_[1], rate};
}

}  // namespace rhea::devices
