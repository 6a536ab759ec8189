// SPDX-License-Identifier: MIT
// The transmit FIFOs of the LAN9118 (datasheet revision 1.5, section 3.12): words written become command pairs and
// buffers, buffers become frames; a frame whose last buffer is in waits until the MAC takes it, and leaves a
// status word.
#pragma once

#include <array>
#include <deque>
#include <span>
#include <vector>

#include "core/snapshot.h"
#include "util/bits.h"

namespace rhea::devices {

class Lan9118TxFifo {
 public:
  struct Frame {
    u32 command_b = 0;
    std::vector<u8> data;
    u32 fifo_bytes = 0;  // what it takes of the FIFO
    u16 tag() const { return static_cast<u16>(command_b >> 16); }
    bool crc_disabled() const { return command_b & 1u << 13; }
    bool padding_disabled() const { return command_b & 1u << 12; }
  };
  // What a written word brought about.
  struct Event {
    bool frame_complete = false;
    bool interrupt_on_completion = false;  // a buffer with that bit is in
    bool error = false;                    // commands that contradict each other, or too much data
    bool overrun = false;                  // no room: the word is lost
  };

  static constexpr usize kMaxStatuses = 128;  // 512 bytes

  void set_size(usize data) { data_size_ = data; }
  void clear_data();
  void clear_status() { statuses_.clear(); }
  void fields(Visitor& visitor);

  Event write(u32 word) {
    if (words_left_ > 1) {  // the way most words go
      raw_[raw_count_++] = word;
      --words_left_;
      return {};
    }
    return write_slow(word);
  }

  bool has_frame() const { return !frames_.empty(); }
  const Frame& front() const { return frames_.front(); }
  void pop_frame();

  bool status_full() const { return statuses_.size() >= kMaxStatuses; }
  void push_status(u32 status) { statuses_.push_back(status); }
  u32 pop_status();
  u32 peek_status() const { return statuses_.empty() ? 0 : statuses_.front(); }
  usize status_count() const { return statuses_.size(); }
  usize data_free() const {
    const usize used = data_used_ + raw_count_ * 4;
    return used < data_size_ ? data_size_ - used : 0;
  }

 private:
  enum class State : u8 { command_a, command_b, data };
  static constexpr usize kMaxBufferWords = (31 + 2047 + 31) / 4 + 1;
  static constexpr usize kMaxFrame = 2048;
  static constexpr usize kCommandBytes = 8;

  Event write_slow(u32 word);
  void begin_buffer(Event& event);
  void end_buffer(Event& event);

  State state_ = State::command_a;
  u32 command_a_ = 0, command_b_ = 0;
  std::array<u32, kMaxBufferWords> raw_{};  // of the buffer that is being written
  u32 raw_count_ = 0;
  u32 words_left_ = 0;
  Frame assembly_;                      // of the frame whose buffers are coming in
  std::vector<std::vector<u8>> spare_;  // memory of frames that are gone
  std::deque<Frame> frames_;
  std::deque<u32> statuses_;
  usize data_used_ = 0;
  usize data_size_ = 0;
};

}  // namespace rhea::devices
