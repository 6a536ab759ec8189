// SPDX-License-Identifier: MIT
// Guest code for Guest::translate: the block's page and, where a block may reach it, the next one. Both are looked up
// beforehand, so that reading takes no lock and enters no device. What was fetched once stays as it was: others may
// write to the page at any time, and what is remembered of a block has to be what it was made from.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "accel/virtual_cpu.h"

namespace rhea::accel {

class PageReader final : public ir::CodeReader {
 public:
  // False: the first instruction cannot be fetched; fault() says why.
  bool open(VirtualCpu& cpu, u64 pc, unsigned max_bytes) {
    pc_ = pc;
    second_.id = 0;
    for (Halves& page : read_) page.clear();
    if (!cpu.mmu().code_page(pc, first_, fault_)) return false;
    const u64 in_page = pc & (memory::kPageSize - 1);
    if (in_page + max_bytes > memory::kPageSize) {
      const u64 next = (pc - in_page + memory::kPageSize) & 0xffffffff;
      ir::Fault ignored;
      // A page that cannot be executed ends the block; if it is in the middle of the first instruction, the fault is
      // that of the second half.
      if (!cpu.mmu().code_page(next, second_, ignored)) {
        second_.id = 0;
        second_fault_ = ignored;
      }
    }
    return true;
  }

  bool fetch16(u64 address, u16& value) override {
    address &= 0xffffffff;
    const bool beyond = (address ^ pc_) >> memory::kPageBits;
    const CodePage& page = beyond ? second_ : first_;
    if (!page.id) {
      fault_ = second_fault_;
      return false;
    }
    used_second_ = used_second_ || beyond;
    const usize half = (address & (memory::kPageSize - 1)) / 2;
    u16& kept = text_[beyond][half];
    if (read_[beyond].add(half)) std::memcpy(&kept, page.host + half * 2, 2);
    value = kept;
    return true;
  }

  const CodePage& first() const { return first_; }
  const CodePage& second() const { return second_; }  // id 0: none
  bool used_second() const { return used_second_; }
  const ir::Fault& fault() const { return fault_; }

  // The word at an address of the first page, as far as it was fetched as it was then.
  u32 word(u64 address) const {
    const usize half = (address & (memory::kPageSize - 1)) / 2;
    u32 value = 0;
    for (usize i = 0; i < 2 && half + i < kHalves; i++) {
      u16 part;
      if (read_[0].has(half + i)) part = text_[0][half + i];
      else std::memcpy(&part, first_.host + (half + i) * 2, 2);
      value |= u32{part} << 16 * i;
    }
    return value;
  }

  // What was fetched, in runs: each(page, begin, code) with page 0 or 1 (the next one) and begin an offset in it.
  template <typename F>
  void for_each_run(F&& each) const {
    for (unsigned page = 0; page < 2; page++) {
      const u8* text = reinterpret_cast<const u8*>(text_[page].data());
      for (usize begin = read_[page].next(0, true); begin < kHalves;) {
        const usize end = read_[page].next(begin, false);
        each(page, begin * 2, std::span<const u8>(text + begin * 2, (end - begin) * 2));
        begin = read_[page].next(end, true);
      }
    }
  }
  // Whether these bytes are there.
  bool has(unsigned page, usize begin, std::span<const u8> code) const {
    const CodePage& at = page ? second_ : first_;
    return at.id && std::memcmp(at.host + begin, code.data(), code.size()) == 0;
  }

 private:
  static constexpr usize kHalves = memory::kPageSize / 2;

  // A set of halfwords of a page. Only the words between the first and the last one are looked at: a block reads few.
  class Halves {
   public:
    void clear() {
      for (usize at = first_; at < end_; at++) words_[at] = 0;
      first_ = kWords;
      end_ = 0;
    }
    bool has(usize half) const { return words_[half / 64] >> half % 64 & 1; }
    // Whether it is new.
    bool add(usize half) {
      if (has(half)) return false;
      const usize at = half / 64;
      first_ = std::min(first_, at);
      end_ = std::max(end_, at + 1);
      words_[at] |= u64{1} << half % 64;
      return true;
    }
    // The first one from `half` on that is in the set (or is not, at most the one behind the last); kHalves: none.
    usize next(usize half, bool in) const {
      for (usize at = std::max(half / 64, in ? first_ : 0); at < end_; at++) {
        u64 word = in ? words_[at] : ~words_[at];
        if (at == half / 64) word &= ~u64{0} << half % 64;
        if (word) return at * 64 + static_cast<usize>(std::countr_zero(word));
      }
      return in ? kHalves : end_ * 64;
    }

   private:
    static constexpr usize kWords = kHalves / 64;
    std::array<u64, kWords> words_ = {};
    usize first_ = kWords, end_ = 0;
  };

  std::array<Halves, 2> read_;
  std::array<std::array<u16, kHalves>, 2> text_;  // of these halfwords; the others are not set
  u64 pc_ = 0;
  CodePage first_, second_;
  ir::Fault fault_, second_fault_;
  bool used_second_ = false;
};

}  // namespace rhea::accel
