// SPDX-License-Identifier: MIT
// Keyboards and mice of a machine: the point through which every key and every movement reaches a device. Who has
// been activated last gets the events. All calls are under the machine loop's lock.
//
// In a recorded machine (set_recorder) what a person does is not done at once: it becomes bytes, which come back
// through deliver() between two instructions. How long keys are held is then a matter of the person's time, not the
// machine's.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::display {

// A row of keys.inc.
struct Key {
  std::string_view name;
  u16 event_code;  // Linux input event code
  u16 set1, set2;  // PS/2 scan codes; 0xe0.. has the prefix e0; 0: none
  u8 set3;
};
std::span<const Key> all_keys();
const Key* find_key(std::string_view name);
const Key* find_key_of_set1(u16 code);
// "ctrl-alt-f1", "ctrl-minus", "0x1c" (set 1). The error names the bad word.
Result<std::vector<const Key*>> parse_keys(std::string_view text);

class Keyboard {
 public:
  virtual ~Keyboard() = default;
  virtual std::string input_name() const = 0;
  virtual void key(const Key& key, bool down) = 0;
};

enum Button : u32 { kButtonLeft = 1, kButtonMiddle = 2, kButtonRight = 4, kButtonSide = 8, kButtonExtra = 16 };

class Pointer {
 public:
  virtual ~Pointer() = default;
  virtual std::string pointer_name() const = 0;
  virtual bool absolute() const = 0;
  // Right, down, and the wheel (positive: up). Absolute pointers ignore dx and dy.
  virtual void move(s32 dx, s32 dy, s32 wheel) = 0;
  // 0 to 32767 from the upper left corner; relative pointers ignore it.
  virtual void move_to(s32 x, s32 y) {}
  virtual void set_buttons(u32 buttons) = 0;
};

class Inputs {
 public:
  static constexpr s32 kPointerRange = 32767;

  // `clock` counts the time that keys are held.
  explicit Inputs(Clock& clock);

  // A device that is made comes behind those that are there; activate() puts it before them.
  void add(Keyboard& keyboard);
  void add(Pointer& pointer);
  void remove(Keyboard& keyboard);
  void remove(Pointer& pointer);
  void activate(Keyboard& keyboard);
  void activate(Pointer& pointer);
  void deactivate(Keyboard& keyboard);
  void deactivate(Pointer& pointer);

  void key(const Key& key, bool down);
  // Pressed one after the other, all held for `hold` ns, released in reverse. What is being typed is finished first.
  void type(std::vector<const Key*> keys, s64 hold);
  bool typing() const { return !typing_.empty(); }

  // The wheel goes to the pointer in use; dx and dy to the first that takes them.
  void move(s32 dx, s32 dy, s32 wheel);
  void move_to(s32 x, s32 y);
  void set_buttons(u32 buttons);
  // As they were set last.
  u32 buttons() const { return buttons_; }
  s32 x() const { return x_; }
  s32 y() const { return y_; }

  struct PointerRow {
    unsigned index;  // as `mouse_set` takes it
    std::string name;
    bool absolute, current;
  };
  // Pointers, the one in use first.
  std::vector<PointerRow> pointers() const;
  bool select(unsigned index);

  // Events go there from now on, instead of to the devices.
  void set_recorder(std::function<void(std::span<const u8>)> recorder) { recorder_ = std::move(recorder); }
  // One of those events. What is none is ignored.
  void deliver(std::span<const u8> event);

 private:
  enum class Act : u8 { key, move, move_to, buttons, select };
  // Whether it went to the recorder.
  bool record(Act act, std::initializer_list<s64> numbers);
  struct Chord {
    std::vector<const Key*> keys;
    s64 hold;
  };
  struct PointerEntry {
    Pointer* pointer;
    unsigned index;
  };
  void press_next();
  void release();
  void apply_key(const Key& key, bool down);
  void apply_move(s32 dx, s32 dy, s32 wheel);
  void apply_move_to(s32 x, s32 y);
  void apply_buttons(u32 buttons);
  void apply_select(unsigned index);

  Clock& clock_;
  std::vector<Keyboard*> keyboards_;
  std::vector<PointerEntry> pointers_;
  unsigned next_index_ = 0;
  u32 buttons_ = 0;
  s32 x_ = 0, y_ = 0;
  std::deque<Chord> typing_;  // the first is being held
  std::unique_ptr<Timer> timer_;
  std::function<void(std::span<const u8>)> recorder_;
};

}  // namespace rhea::display
