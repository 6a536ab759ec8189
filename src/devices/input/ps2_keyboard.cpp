// SPDX-License-Identifier: MIT
// How it works: display::Inputs gives keys; they become bytes of the scan code set that the guest chose, or are lost
// while scanning is off. A key that is held repeats by itself (typematic). Commands are answered at once.
#include <algorithm>
#include <array>

#include "devices/input/ps2.h"

namespace rhea::devices {

namespace {

enum Command : u8 {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScanSet = 0xf0,
  kReadId = 0xf2,
  kTypematicRate = 0xf3,
  kEnable = 0xf4,
  kDefaultDisable = 0xf5,
  kDefault = 0xf6,
  kAllTypematic = 0xf7,
  kAllMakeBreak = 0xf8,
  kAllMake = 0xf9,
  kAllTypematicMakeBreak = 0xfa,
  kKeyTypematic = 0xfb,
  kKeyMakeBreak = 0xfc,
  kKeyMake = 0xfd,
  kResendLast = 0xfe,
  kReset = 0xff
};
constexpr u8 kDefaultRate = 0x2b;  // 500 ms, 10.9 characters a second

void put_set1(std::vector<u8>& bytes, u16 code, bool down) {
  if (code > 0xff) bytes.push_back(static_cast<u8>(code >> 8));
  bytes.push_back(static_cast<u8>((code & 0x7f) | (down ? 0 : 0x80)));
}
void put_set2(std::vector<u8>& bytes, u16 code, bool down) {
  if (code > 0xff) bytes.push_back(static_cast<u8>(code >> 8));
  if (!down) bytes.push_back(0xf0);
  bytes.push_back(static_cast<u8>(code));
}

}  // namespace

// --- common -------------------------------------------------------------------------------------------------------

u8 Ps2Device::read() {
  std::deque<u8>& from = answers_.empty() ? queue_ : answers_;
  if (from.empty()) return last_;
  last_ = from.front();
  from.pop_front();
  on_room();
  changed_();
  return last_;
}

void Ps2Device::answer(std::initializer_list<u8> bytes) {
  if (answers_.size() + bytes.size() > kQueueSize) answers_.clear();  // a host that never reads
  answers_.insert(answers_.end(), bytes);
  changed_();
}

bool Ps2Device::queue(std::span<const u8> bytes) {
  if (queue_.size() + bytes.size() > kQueueSize) return false;
  queue_.insert(queue_.end(), bytes.begin(), bytes.end());
  changed_();
  return true;
}

void Ps2Device::clear_queues() {
  answers_.clear();
  queue_.clear();
  changed_();
}

void Ps2Device::fields(Visitor& visitor) {
  for (auto [name, list] : {std::pair{"answers", &answers_}, std::pair{"queue", &queue_}}) {
    std::vector<u8> bytes(list->begin(), list->end());
    visitor.bytes(name, bytes, kQueueSize);
    bytes.resize(std::min(bytes.size(), kQueueSize));
    list->assign(bytes.begin(), bytes.end());
  }
  visitor.field("last", last_);
  if (visitor.restoring()) changed_();
}

// --- keyboard -----------------------------------------------------------------------------------------------------

Ps2Keyboard::Ps2Keyboard(Clock& clock, std::function<void()> changed)
    : Ps2Device(std::move(changed)), clock_(clock), repeat_timer_(clock.timer([this] { repeat(); })) {
  set_defaults();
}

void Ps2Keyboard::set_defaults() {
  rate_ = kDefaultRate;
  scan_set_ = 2;
  set3_modes_.fill(kAll);
  repeating_ = nullptr;
  repeat_timer_->cancel();
  command_ = 0;
}

void Ps2Keyboard::reset() {
  set_defaults();
  leds_ = 0;
  enabled_ = true;
  alt_down_ = false;
  clear_queues();
}

void Ps2Keyboard::fields(Visitor& visitor) {
  Ps2Device::fields(visitor);
  visitor.field("command", command_);
  visitor.field("leds", leds_);
  visitor.field("rate", rate_);
  visitor.field("scan_set", scan_set_);
  visitor.field("enabled", enabled_);
  visitor.field("alt_down", alt_down_);
  visitor.field("set3_modes", set3_modes_);
  if (!visitor.restoring()) return;
  scan_set_ = std::clamp<u8>(scan_set_, 1, 3);
  repeating_ = nullptr;  // who held a key while the machine was saved holds it no more
  repeat_timer_->cancel();
}

void Ps2Keyboard::write(u8 byte) {
  if (command_ && byte < kSetLeds) {
    take_argument(byte);
    return;
  }
  command_ = 0;
  switch (byte) {
    case kSetLeds:
    case kScanSet:
    case kTypematicRate:
    case kKeyTypematic:
    case kKeyMakeBreak:
    case kKeyMake:
      command_ = byte;
      answer({kAck});
      break;
    case kEcho: answer({kEcho}); break;
    case kReadId: answer({kAck, 0xab, 0x83}); break;
    case kEnable:
      enabled_ = true;
      queue_.clear();
      answer({kAck});
      break;
    case kDefaultDisable:
    case kDefault:
      set_defaults();
      enabled_ = byte == kDefault;
      queue_.clear();
      answer({kAck});
      break;
    case kAllTypematic:
    case kAllMakeBreak:
    case kAllMake:
    case kAllTypematicMakeBreak: {
      constexpr std::array<u8, 4> kModes = {kTypematic, kMakeBreak, kMakeOnly, kAll};
      set3_modes_.fill(kModes[byte - kAllTypematic]);
      answer({kAck});
      break;
    }
    case kResendLast: resend(); break;
    case kReset:
      reset();
      answer({kAck, kSelfTestOk});
      break;
    default: answer({kResend}); break;
  }
}

void Ps2Keyboard::take_argument(u8 byte) {
  const u8 command = command_;
  command_ = 0;
  switch (command) {
    case kSetLeds: leds_ = byte & 7; break;
    case kTypematicRate: rate_ = byte & 0x7f; break;
    case kScanSet:
      if (byte == 0) {
        answer({kAck, scan_set_});
        return;
      }
      if (byte > 3) {
        answer({kResend});
        return;
      }
      scan_set_ = byte;
      queue_.clear();
      break;
    default:  // a list of keys, until the next command
      set3_modes_[byte] = command == kKeyTypematic ? kTypematic : command == kKeyMakeBreak ? kMakeBreak : kMakeOnly;
      command_ = command;
      break;
  }
  answer({kAck});
}

// Keys with sequences of their own: print (or sysrq, with Alt) and pause.
std::vector<u8> Ps2Keyboard::special_codes(const display::Key& key, bool down) const {
  if (key.name == "pause") {
    if (!down) return {};
    if (scan_set_ == 1) return {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
    return {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
  }
  std::vector<u8> bytes;
  if (alt_down_) {
    if (scan_set_ == 1) put_set1(bytes, 0x54, down);
    else put_set2(bytes, 0x84, down);
    return bytes;
  }
  if (scan_set_ == 1) return down ? std::vector<u8>{0xe0, 0x2a, 0xe0, 0x37} : std::vector<u8>{0xe0, 0xb7, 0xe0, 0xaa};
  return down ? std::vector<u8>{0xe0, 0x12, 0xe0, 0x7c} : std::vector<u8>{0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12};
}

std::vector<u8> Ps2Keyboard::codes(const display::Key& key, bool down) const {
  std::vector<u8> bytes;
  if (scan_set_ == 3) {
    if (!key.set3) return bytes;
    const u8 mode = set3_modes_[key.set3];
    if (!down && (mode == kMakeOnly || mode == kTypematic)) return bytes;
    put_set2(bytes, key.set3, down);
    return bytes;
  }
  if (key.name == "pause" || key.name == "print") return special_codes(key, down);
  if (scan_set_ == 1 && key.set1) put_set1(bytes, key.set1, down);
  if (scan_set_ == 2 && key.set2) put_set2(bytes, key.set2, down);
  return bytes;
}

void Ps2Keyboard::send(const display::Key& key, bool down) {
  const std::vector<u8> bytes = codes(key, down);
  if (queue(bytes) || queue_.size() >= kQueueSize) return;
  const u8 overrun = scan_set_ == 1 ? 0xff : 0x00;
  if (queue_.back() != overrun) queue({&overrun, 1});
}

void Ps2Keyboard::key(const display::Key& key, bool down) {
  if (key.name == "alt" || key.name == "alt_r") alt_down_ = down;
  if (!enabled_) return;
  send(key, down);
  const bool repeats =
      key.name != "pause" && (scan_set_ != 3 || set3_modes_[key.set3] == kTypematic || set3_modes_[key.set3] == kAll);
  if (down && repeats) {
    repeating_ = &key;
    repeat_timer_->arm(clock_.now() + repeat_delay());
  } else if (down || repeating_ == &key) {
    repeating_ = nullptr;
    repeat_timer_->cancel();
  }
}

void Ps2Keyboard::repeat() {
  if (!repeating_ || !enabled_) return;
  if (queue_.empty()) send(*repeating_, true);  // a host that does not read gets no heap of repeats
  repeat_timer_->arm(clock_.now() + repeat_period());
}

// The typematic byte: bits 5 and 6 delay, 0 to 4 the period (8 + A) * 2^B * 4.17 ms.
s64 Ps2Keyboard::repeat_delay() const { return ((rate_ >> 5 & 3) + 1) * 250 * kMillisecond; }
s64 Ps2Keyboard::repeat_period() const { return s64{8 + (rate_ & 7)} * (1 << (rate_ >> 3 & 3)) * 4'170'000; }

}  // namespace rhea::devices
