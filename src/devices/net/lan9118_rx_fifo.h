// SPDX-License-Identifier: MIT
// The receive FIFOs of the LAN9118 (datasheet revision 1.5, section 3.13): frames with their check sequence, read
// as words with an offset in front and padding behind, and a status word for each.
//
// The frame whose data is being read lies with room before and behind it, so that any offset and end padding is
// served by reading words from memory.
#pragma once

#include <array>
#include <deque>
#include <span>
#include <vector>

#include "core/snapshot.h"
#include "util/bits.h"

namespace rhea::devices {

class Lan9118RxFifo {
 public:
  // Sizes in bytes.
  void set_size(usize data, usize status);
  void clear();
  void fields(Visitor& visitor);

  // Whether a frame (without its check sequence, 4 bytes) fits.
  bool fits(usize frame) const {
    return frames_.size() < kMaxFrames && data_used_ + align_up(frame + 4, 4) <= data_size_ &&
           (statuses_.size() + 1) * 4 <= status_size_;
  }
  // `status` without the length, which counts the check sequence.
  void push(std::span<const u8> frame, u32 status);
  void push(std::span<const u8> frame, u32 status, u32 check_sequence);

  // Begins to read the oldest frame's data, with `offset` bytes in front and the whole padded to `alignment`.
  // False when there is none.
  bool open(unsigned offset, unsigned alignment);
  // The next word of the open frame; after the last one it is gone, and frame_ended() is true.
  u32 read_word() {
    const u32 value = load_le<u32>(next_);
    next_ += 4;
    if (--words_left_ == 0) end_frame();
    return value;
  }
  bool is_open() const { return words_left_ != 0; }
  // Drops the oldest frame's data, or what is left of it.
  void skip_frame();

  bool has_status() const { return !statuses_.empty(); }
  u32 peek_status() const { return statuses_.empty() ? 0 : statuses_.front(); }
  u32 pop_status();
  usize status_count() const { return statuses_.size(); }
  usize data_used() const;  // bytes

 private:
  static constexpr usize kHeadRoom = 32;
  static constexpr usize kTailRoom = 64;
  static constexpr usize kArena = 64 * 1024;
  static constexpr usize kMaxFrames = 256;
  struct Slot {
    u32 begin;  // of the frame in the arena, behind its head room
    u32 size;   // with the check sequence
  };
  void end_frame();
  void restore(const std::vector<u8>& packed);
  std::vector<u8> pack() const;

  std::vector<u8> arena_ = std::vector<u8>(kArena);
  usize write_at_ = 0;
  std::deque<Slot> frames_;
  std::deque<u32> statuses_;
  usize data_used_ = 0;
  usize data_size_ = 0, status_size_ = 0;
  const u8* next_ = nullptr;
  u32 words_left_ = 0;
};

}  // namespace rhea::devices
