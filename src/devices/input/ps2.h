// SPDX-License-Identifier: MIT
// PS/2 keyboard and mouse (IBM Personal System/2 Hardware Interface Technical Reference, keyboards and mouse), without
// the controller they hang on. Bytes wait in a queue until the controller takes them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/snapshot.h"
#include "display/input.h"

namespace rhea::devices {

// What keyboard and mouse have in common: answers go before what was queued of keys or movements.
class Ps2Device {
 public:
  static constexpr usize kQueueSize = 16;

  // `changed`: has_data() may have changed.
  explicit Ps2Device(std::function<void()> changed) : changed_(std::move(changed)) {}
  virtual ~Ps2Device() = default;

  // A byte from the host: a command or its argument.
  virtual void write(u8 byte) = 0;
  virtual void reset() = 0;
  virtual void fields(Visitor& visitor);
  bool has_data() const { return !answers_.empty() || !queue_.empty(); }
  // The next byte; without one, the last again.
  u8 read();

 protected:
  static constexpr u8 kAck = 0xfa, kResend = 0xfe, kSelfTestOk = 0xaa;
  void answer(std::initializer_list<u8> bytes);
  // False, and nothing is queued, when they do not all fit.
  bool queue(std::span<const u8> bytes);
  void clear_queues();
  void resend() { answer({last_}); }
  virtual void on_room() {}

  std::deque<u8> answers_, queue_;

 private:
  std::function<void()> changed_;
  u8 last_ = 0;
};

class Ps2Keyboard final : public Ps2Device, public display::Keyboard {
 public:
  Ps2Keyboard(Clock& clock, std::function<void()> changed);

  std::string input_name() const override { return "QEMU PS/2 Keyboard"; }
  void key(const display::Key& key, bool down) override;
  void write(u8 byte) override;
  void reset() override;
  void fields(Visitor& visitor) override;
  u8 leds() const { return leds_; }

 private:
  enum KeyMode : u8 { kMakeOnly, kMakeBreak, kTypematic, kAll };  // of keys in set 3: what they send
  void set_defaults();
  void take_argument(u8 byte);
  std::vector<u8> codes(const display::Key& key, bool down) const;
  std::vector<u8> special_codes(const display::Key& key, bool down) const;
  void send(const display::Key& key, bool down);
  void repeat();
  s64 repeat_delay() const;
  s64 repeat_period() const;

  Clock& clock_;
  std::unique_ptr<Timer> repeat_timer_;
  const display::Key* repeating_ = nullptr;
  u8 command_ = 0;  // waits for its argument
  u8 leds_ = 0, rate_ = 0x2b, scan_set_ = 2;
  bool enabled_ = true;
  bool alt_down_ = false;
  std::array<u8, 256> set3_modes_{};
};

class Ps2Mouse final : public Ps2Device, public display::Pointer {
 public:
  explicit Ps2Mouse(std::function<void()> changed);

  std::string pointer_name() const override { return "QEMU PS/2 Mouse"; }
  bool absolute() const override { return false; }
  void move(s32 dx, s32 dy, s32 wheel) override;
  void set_buttons(u32 buttons) override;
  void write(u8 byte) override;
  void reset() override;
  void fields(Visitor& visitor) override;

 private:
  void set_defaults();
  void take_argument(u8 byte);
  void note_rate(u8 rate);
  std::vector<u8> packet();
  void report();
  void on_room() override { report(); }

  u8 command_ = 0;
  u8 id_ = 0;  // 0: three buttons; 3: with wheel; 4: with wheel and five buttons
  u8 rate_ = 100, resolution_ = 2;
  std::array<u8, 2> rates_before_{};  // the knock that changes the id
  bool reporting_ = false, remote_ = false, wrap_ = false, scaling_ = false;
  s32 dx_ = 0, dy_ = 0, wheel_ = 0;
  u32 buttons_ = 0, buttons_sent_ = 0;
};

}  // namespace rhea::devices
