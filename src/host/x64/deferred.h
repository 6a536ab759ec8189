// SPDX-License-Identifier: MIT
// Functions that are called later, one after the other, kept without an allocation for each.
#pragma once

#include <cstring>
#include <new>
#include <type_traits>
#include <vector>

#include "util/types.h"

namespace rhea::x64 {

class DeferredCalls {
 public:
  template <typename F>
  void push(const F& function) {
    static_assert(std::is_trivially_copyable_v<F> && std::is_trivially_destructible_v<F>);
    const usize at = bytes_.size();
    bytes_.resize(at + sizeof(Call) + sizeof(F));
    const Call call = {[](const u8* bytes) {
                         alignas(F) u8 aligned[sizeof(F)];
                         std::memcpy(aligned, bytes, sizeof(F));
                         (*std::launder(reinterpret_cast<const F*>(aligned)))();
                       },
                       sizeof(F)};
    std::memcpy(bytes_.data() + at, &call, sizeof(call));
    std::memcpy(bytes_.data() + at + sizeof(call), &function, sizeof(F));
  }
  void clear() { bytes_.clear(); }
  // Calls all, as long as `goes_on` holds before each, those too that are pushed meanwhile. Whether it always did.
  template <typename F>
  bool run(F&& goes_on) {
    for (usize at = 0; at < bytes_.size();) {
      if (!goes_on()) return false;
      Call call;
      std::memcpy(&call, bytes_.data() + at, sizeof(call));
      call.run(bytes_.data() + at + sizeof(call));
      at += sizeof(call) + call.size;
    }
    return true;
  }

 private:
  struct Call {
    void (*run)(const u8* bytes);
    usize size;
  };
  std::vector<u8> bytes_;
};

}  // namespace rhea::x64
