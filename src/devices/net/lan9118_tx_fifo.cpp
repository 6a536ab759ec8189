// SPDX-License-Identifier: MIT
#include "devices/net/lan9118_tx_fifo.h"

#include <algorithm>

namespace rhea::devices {
namespace {

// TX command A (section 3.12.2.1).
constexpr u32 kInterruptOnCompletion = 1u << 31;
constexpr u32 kFirstSegment = 1u << 13;
constexpr u32 kLastSegment = 1u << 12;
constexpr u32 buffer_size(u32 command_a) { return command_a & 0x7ff; }
constexpr u32 start_offset(u32 command_a) { return command_a >> 16 & 0x1f; }
constexpr u32 end_alignment(u32 command_a) {
  switch (command_a >> 24 & 3) {
    case 1: return 16;
    case 2: return 32;
    default: return 4;
  }
}
constexpr u32 packet_length(u32 command_b) { return command_b & 0x7ff; }

}  // namespace

void Lan9118TxFifo::clear_data() {
  state_ = State::command_a;
  raw_count_ = words_left_ = 0;
  assembly_ = {};
  frames_.clear();
  data_used_ = 0;
}

Lan9118TxFifo::Event Lan9118TxFifo::write_slow(u32 word) {
  Event event;
  switch (state_) {
    case State::command_a:
      command_a_ = word;
      state_ = State::command_b;
      break;
    case State::command_b:
      command_b_ = word;
      begin_buffer(event);
      break;
    case State::data:
      raw_[raw_count_++] = word;
      words_left_ = 0;
      end_buffer(event);
      break;
  }
  return event;
}

void Lan9118TxFifo::begin_buffer(Event& event) {
  if (command_a_ & kFirstSegment) {
    if (!assembly_.data.empty() || assembly_.fifo_bytes) event.error = true;  // the last one had no end
    data_used_ -= std::min<usize>(assembly_.fifo_bytes, data_used_);
    assembly_.data.clear();
    assembly_.fifo_bytes = 0;
    assembly_.command_b = command_b_;
  } else if ((assembly_.command_b ^ command_b_) & 0xffff07ff) {
    event.error = true;  // tag and length must be the same in all buffers of a packet
  }
  const u32 bytes = start_offset(command_a_) + buffer_size(command_a_);
  words_left_ = static_cast<u32>(align_up(bytes, end_alignment(command_a_)) / 4);
  raw_count_ = 0;
  assembly_.fifo_bytes += kCommandBytes;
  data_used_ += kCommandBytes;
  if (data_used_ + words_left_ * 4 > data_size_) event.overrun = true;
  state_ = State::data;
  if (words_left_ == 0) end_buffer(event);
}

void Lan9118TxFifo::end_buffer(Event& event) {
  const u8* from = reinterpret_cast<const u8*>(raw_.data()) + start_offset(command_a_);
  const usize size = buffer_size(command_a_);
  state_ = State::command_a;
  if (data_used_ + raw_count_ * 4 > data_size_) {
    // No room: the buffer is lost, and the packet with it.
    event.overrun = event.error = true;
    raw_count_ = 0;
    data_used_ -= std::min<usize>(assembly_.fifo_bytes, data_used_);
    assembly_.data.clear();
    assembly_.fifo_bytes = 0;
    return;
  }
  if (assembly_.data.size() + size > kMaxFrame) event.error = true;
  else assembly_.data.insert(assembly_.data.end(), from, from + size);
  assembly_.fifo_bytes += raw_count_ * 4;
  data_used_ += raw_count_ * 4;
  raw_count_ = 0;
  event.interrupt_on_completion = command_a_ & kInterruptOnCompletion;
  if (!(command_a_ & kLastSegment)) return;
  if (assembly_.data.size() != packet_length(assembly_.command_b)) event.error = true;
  event.frame_complete = true;
  frames_.push_back(std::move(assembly_));
  assembly_ = {};
  if (!spare_.empty()) {
    assembly_.data = std::move(spare_.back());
    spare_.pop_back();
  }
}

void Lan9118TxFifo::pop_frame() {
  Frame& frame = frames_.front();
  data_used_ -= std::min<usize>(frame.fifo_bytes, data_used_);
  if (spare_.size() < 8) {
    frame.data.clear();
    spare_.push_back(std::move(frame.data));
  }
  frames_.pop_front();
}

u32 Lan9118TxFifo::pop_status() {
  if (statuses_.empty()) return 0;
  const u32 status = statuses_.front();
  statuses_.pop_front();
  return status;
}

void Lan9118TxFifo::fields(Visitor& visitor) {
  visitor.begin("tx_fifo", 1);
  visitor.field("state", state_);
  visitor.field("command_a", command_a_);
  visitor.field("command_b", command_b_);
  visitor.field("raw", raw_);
  visitor.field("raw_count", raw_count_);
  visitor.field("words_left", words_left_);
  visitor.field("assembly_command", assembly_.command_b);
  visitor.field("assembly_fifo_bytes", assembly_.fifo_bytes);
  visitor.bytes("assembly", assembly_.data, kMaxFrame);
  // Frames that wait: each as command B, FIFO bytes, size, data; then the statuses.
  std::vector<u8> packed;
  const auto put = [&](u32 value) {
    packed.resize(packed.size() + 4);
    store_le(packed.data() + packed.size() - 4, value);
  };
  if (!visitor.restoring()) {
    put(static_cast<u32>(frames_.size()));
    for (const Frame& frame : frames_) {
      put(frame.command_b);
      put(frame.fifo_bytes);
      put(static_cast<u32>(frame.data.size()));
      packed.insert(packed.end(), frame.data.begin(), frame.data.end());
    }
    for (u32 status : statuses_) put(status);
  }
  visitor.bytes("waiting", packed, 64 * 1024);
  visitor.end();
  if (!visitor.restoring()) return;
  usize at = 0;
  const auto get = [&]() -> u32 {
    if (packed.size() - at < 4) return 0;
    at += 4;
    return load_le<u32>(packed.data() + at - 4);
  };
  state_ = state_ > State::data ? State::command_a : state_;
  raw_count_ = std::min<u32>(raw_count_, kMaxBufferWords);
  words_left_ = state_ == State::data ? std::min<u32>(words_left_, kMaxBufferWords - raw_count_) : 0;
  if (state_ == State::data && words_left_ == 0) state_ = State::command_a;
  frames_.clear();
  statuses_.clear();
  data_used_ = assembly_.fifo_bytes;
  for (u32 count = std::min<u32>(get(), 1024); count; --count) {
    Frame frame;
    frame.command_b = get();
    frame.fifo_bytes = get();
    const u32 size = get();
    if (size > packed.size() - at || size > kMaxFrame) break;
    frame.data.assign(packed.begin() + static_cast<std::ptrdiff_t>(at),
                      packed.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    data_used_ += frame.fifo_bytes;
    frames_.push_back(std::move(frame));
  }
  while (packed.size() - at >= 4 && statuses_.size() < kMaxStatuses) statuses_.push_back(get());
}

}  // namespace rhea::devices
