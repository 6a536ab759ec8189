// SPDX-License-Identifier: MIT
#include "display/input.h"

#include <algorithm>
#include <array>

#include "util/bits.h"
#include "util/text.h"

namespace rhea::display {

namespace {

constexpr Key kKeys[] = {
#define KEY(name, event, set1, set2, set3) {#name, event, set1, set2, set3},
#include "display/keys.inc"
#undef KEY
};
constexpr usize kMostKeys = 16;  // of one chord

template <typename List, typename Match>
void bring_forward(List& list, Match&& match) {
  const auto at = std::find_if(list.begin(), list.end(), match);
  if (at != list.end()) std::rotate(list.begin(), at, at + 1);
}
template <typename List, typename Match>
void put_back(List& list, Match&& match) {
  const auto at = std::find_if(list.begin(), list.end(), match);
  if (at != list.end()) std::rotate(at, at + 1, list.end());
}

}  // namespace

std::span<const Key> all_keys() { return kKeys; }

const Key* find_key(std::string_view name) {
  for (const Key& key : kKeys)
    if (key.name == name) return &key;
  return nullptr;
}

const Key* find_key_of_set1(u16 code) {
  if (!code) return nullptr;
  for (const Key& key : kKeys)
    if (key.set1 == code) return &key;
  return nullptr;
}

Result<std::vector<const Key*>> parse_keys(std::string_view text) {
  std::vector<const Key*> keys;
  for (const std::string& word : split(text, '-')) {
    const Key* key = word == "<" ? find_key("less") : find_key(word);
    if (!key && word.starts_with("0x")) {
      u64 code = parse_number(word).value_or(0);
      if (code > 0x80 && code < 0x100) code = 0xe000 | (code & 0x7f);  // as keyboards of PCs number the grey keys
      key = code <= 0xffff ? find_key_of_set1(static_cast<u16>(code)) : nullptr;
    }
    if (!key) {
      std::vector<std::string> names;
      for (const Key& row : kKeys) names.emplace_back(row.name);
      return Error("invalid parameter: {}{}", word, did_you_mean(word, names));
    }
    if (keys.size() == kMostKeys) return Error("too many keys: {} are held at once, at most", kMostKeys);
    keys.push_back(key);
  }
  return keys;
}

Inputs::Inputs(Clock& clock)
    : clock_(clock), timer_(clock.timer([this] {
        release();
        press_next();
      })) {}

void Inputs::add(Keyboard& keyboard) { keyboards_.push_back(&keyboard); }
void Inputs::add(Pointer& pointer) { pointers_.push_back({&pointer, next_index_++}); }
void Inputs::remove(Keyboard& keyboard) { std::erase(keyboards_, &keyboard); }
void Inputs::remove(Pointer& pointer) {
  std::erase_if(pointers_, [&](const PointerEntry& entry) { return entry.pointer == &pointer; });
}
void Inputs::activate(Keyboard& keyboard) {
  bring_forward(keyboards_, [&](Keyboard* other) { return other == &keyboard; });
}
void Inputs::activate(Pointer& pointer) {
  bring_forward(pointers_, [&](const PointerEntry& entry) { return entry.pointer == &pointer; });
}
void Inputs::deactivate(Keyboard& keyboard) {
  put_back(keyboards_, [&](Keyboard* other) { return other == &keyboard; });
}
void Inputs::deactivate(Pointer& pointer) {
  put_back(pointers_, [&](const PointerEntry& entry) { return entry.pointer == &pointer; });
}

// --- what is done to the devices, or recorded

bool Inputs::record(Act act, std::initializer_list<s64> numbers) {
  if (!recorder_) return false;
  std::vector<u8> bytes = {static_cast<u8>(act)};
  for (const s64 number : numbers) {
    bytes.resize(bytes.size() + sizeof number);
    store_le<u64>(bytes.data() + bytes.size() - sizeof number, static_cast<u64>(number));
  }
  recorder_(bytes);
  return true;
}

void Inputs::deliver(std::span<const u8> event) {
  if (event.empty()) return;
  std::array<s64, 3> numbers{};
  for (usize i = 0; i < numbers.size() && 9 + i * 8 <= event.size(); ++i)
    numbers[i] = static_cast<s64>(load_le<u64>(&event[1 + i * 8]));
  const auto small = [&](usize i) { return static_cast<s32>(numbers[i]); };
  switch (static_cast<Act>(event[0])) {
    case Act::key:
      if (static_cast<u64>(numbers[0]) < std::size(kKeys)) apply_key(kKeys[numbers[0]], numbers[1]);
      break;
    case Act::move: apply_move(small(0), small(1), small(2)); break;
    case Act::move_to: apply_move_to(small(0), small(1)); break;
    case Act::buttons: apply_buttons(static_cast<u32>(numbers[0])); break;
    case Act::select: apply_select(static_cast<unsigned>(numbers[0])); break;
  }
}

void Inputs::key(const Key& key, bool down) {
  if (!record(Act::key, {&key - kKeys, down})) apply_key(key, down);
}

void Inputs::apply_key(const Key& key, bool down) {
  if (!keyboards_.empty()) keyboards_.front()->key(key, down);
}

void Inputs::type(std::vector<const Key*> keys, s64 hold) {
  constexpr usize kMostChords = 1024;
  if (keys.empty() || typing_.size() >= kMostChords) return;
  typing_.push_back({std::move(keys), hold});
  if (typing_.size() == 1) press_next();
}

void Inputs::press_next() {
  if (typing_.empty()) return;
  for (const Key* next : typing_.front().keys) key(*next, true);
  timer_->arm(clock_.now() + typing_.front().hold);
}

void Inputs::release() {
  if (typing_.empty()) return;
  const Chord chord = std::move(typing_.front());
  typing_.pop_front();
  for (auto at = chord.keys.rbegin(); at != chord.keys.rend(); ++at) key(**at, false);
}

void Inputs::move(s32 dx, s32 dy, s32 wheel) {
  if (!record(Act::move, {dx, dy, wheel})) apply_move(dx, dy, wheel);
}

void Inputs::apply_move(s32 dx, s32 dy, s32 wheel) {
  if (pointers_.empty()) return;
  const auto relative = std::find_if(pointers_.begin(), pointers_.end(),
                                     [](const PointerEntry& entry) { return !entry.pointer->absolute(); });
  if (relative == pointers_.begin()) {
    relative->pointer->move(dx, dy, wheel);
    return;
  }
  if (relative != pointers_.end() && (dx || dy)) relative->pointer->move(dx, dy, 0);
  if (wheel) pointers_.front().pointer->move(0, 0, wheel);
}

void Inputs::move_to(s32 x, s32 y) {
  x_ = std::clamp(x, 0, kPointerRange);
  y_ = std::clamp(y, 0, kPointerRange);
  if (!record(Act::move_to, {x_, y_})) apply_move_to(x_, y_);
}

void Inputs::apply_move_to(s32 x, s32 y) {
  for (const PointerEntry& entry : pointers_) {
    if (!entry.pointer->absolute()) continue;
    entry.pointer->move_to(std::clamp(x, 0, kPointerRange), std::clamp(y, 0, kPointerRange));
    return;
  }
}

void Inputs::set_buttons(u32 buttons) {
  buttons_ = buttons;
  if (!record(Act::buttons, {buttons})) apply_buttons(buttons);
}

void Inputs::apply_buttons(u32 buttons) {
  if (!pointers_.empty()) pointers_.front().pointer->set_buttons(buttons);
}

std::vector<Inputs::PointerRow> Inputs::pointers() const {
  std::vector<PointerRow> rows;
  for (const PointerEntry& entry : pointers_)
    rows.push_back({entry.index, entry.pointer->pointer_name(), entry.pointer->absolute(), rows.empty()});
  return rows;
}

bool Inputs::select(unsigned index) {
  if (std::none_of(pointers_.begin(), pointers_.end(), [&](const PointerEntry& entry) { return entry.index == index; }))
    return false;
  if (!record(Act::select, {index})) apply_select(index);
  return true;
}

void Inputs::apply_select(unsigned index) {
  const auto entry =
      std::find_if(pointers_.begin(), pointers_.end(), [&](const PointerEntry& each) { return each.index == index; });
  if (entry != pointers_.end()) activate(*entry->pointer);
}

}  // namespace rhea::display
