// SPDX-License-Identifier: MIT
#include "devices/net/lan9118_rx_fifo.h"

#include <algorithm>
#include <cstring>

#include "devices/net/ethernet_crc.h"

namespace rhea::devices {

void Lan9118RxFifo::set_size(usize data, usize status) {
  data_size_ = data;
  status_size_ = status;
}

void Lan9118RxFifo::clear() {
  frames_.clear();
  statuses_.clear();
  data_used_ = 0;
  write_at_ = 0;
  words_left_ = 0;
  next_ = nullptr;
}

void Lan9118RxFifo::push(std::span<const u8> frame, u32 status) { push(frame, status, frame_check_sequence(frame)); }

void Lan9118RxFifo::push(std::span<const u8> frame, u32 status, u32 check_sequence) {
  const usize size = frame.size() + 4;
  const usize whole = kHeadRoom + align_up(size, 4) + kTailRoom;
  // The arena is several times the FIFO: what is overwritten was read long ago.
  if (write_at_ + whole > kArena) write_at_ = 0;
  u8* at = arena_.data() + write_at_;
  std::memset(at, 0, kHeadRoom);
  at += kHeadRoom;
  std::memcpy(at, frame.data(), frame.size());
  store_le<u32>(at + frame.size(), check_sequence);
  std::memset(at + size, 0, whole - kHeadRoom - size);
  frames_.push_back({static_cast<u32>(write_at_ + kHeadRoom), static_cast<u32>(size)});
  statuses_.push_back(status | static_cast<u32>(size) << 16);
  data_used_ += align_up(size, 4);
  write_at_ += align_up(whole, 4);
}

bool Lan9118RxFifo::open(unsigned offset, unsigned alignment) {
  if (words_left_) return true;
  if (frames_.empty()) return false;
  const Slot& slot = frames_.front();
  next_ = arena_.data() + slot.begin - offset;
  words_left_ = static_cast<u32>(align_up(slot.size + offset, alignment) / 4);
  return true;
}

void Lan9118RxFifo::end_frame() {
  data_used_ -= align_up(frames_.front().size, 4);
  frames_.pop_front();
  words_left_ = 0;
}

void Lan9118RxFifo::skip_frame() {
  if (!frames_.empty()) end_frame();
}

u32 Lan9118RxFifo::pop_status() {
  if (statuses_.empty()) return 0;
  const u32 status = statuses_.front();
  statuses_.pop_front();
  return status;
}

usize Lan9118RxFifo::data_used() const {
  if (!words_left_) return data_used_;
  const Slot& slot = frames_.front();
  const usize read = static_cast<usize>(std::max<std::ptrdiff_t>(next_ - (arena_.data() + slot.begin), 0));
  return data_used_ - std::min<usize>(read & ~usize{3}, align_up(slot.size, 4));
}

// Saved as: words left and bytes before `next_`; then each frame as its size and bytes; then the statuses.
std::vector<u8> Lan9118RxFifo::pack() const {
  std::vector<u8> packed;
  const auto word = [&](u32 value) {
    const usize at = packed.size();
    packed.resize(at + 4);
    store_le(packed.data() + at, value);
  };
  word(words_left_);
  word(words_left_ ? static_cast<u32>(next_ - (arena_.data() + frames_.front().begin - kHeadRoom)) : 0);
  word(static_cast<u32>(frames_.size()));
  for (const Slot& slot : frames_) {
    word(slot.size);
    packed.insert(packed.end(), arena_.begin() + slot.begin, arena_.begin() + slot.begin + slot.size);
  }
  for (u32 status : statuses_) word(status);
  return packed;
}

void Lan9118RxFifo::restore(const std::vector<u8>& packed) {
  usize at = 0;
  const auto word = [&]() -> u32 {
    if (packed.size() - at < 4) return 0;
    at += 4;
    return load_le<u32>(packed.data() + at - 4);
  };
  clear();
  const u32 words_left = word(), progress = word();
  for (u32 count = std::min<u32>(word(), kMaxFrames); count; --count) {
    const u32 size = word();
    if (size < 4 || size > packed.size() - at || size > 2048) break;
    push({packed.data() + at, size - 4}, 0, load_le<u32>(packed.data() + at + size - 4));
    at += size;
  }
  statuses_.clear();
  while (packed.size() - at >= 4 && statuses_.size() < kMaxFrames) statuses_.push_back(word());
  if (words_left && !frames_.empty()) {
    const Slot& slot = frames_.front();
    const usize limit = kHeadRoom + align_up(slot.size, 4) + kTailRoom;
    if (progress + u64{words_left} * 4 <= limit) {
      next_ = arena_.data() + slot.begin - kHeadRoom + progress;
      words_left_ = words_left;
    }
  }
}

void Lan9118RxFifo::fields(Visitor& visitor) {
  std::vector<u8> packed;
  if (!visitor.restoring()) packed = pack();
  visitor.bytes("rx_fifo", packed, kArena);
  if (visitor.restoring()) restore(packed);
}

}  // namespace rhea::devices
