// SPDX-License-Identifier: MIT
// A large array that is touched here and there: what nobody wrote yet is zeros that take neither time nor memory.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "util/types.h"

namespace rhea {

// `T` is a value whose bytes are all zero when it is new (a number, an atomic number).
template <typename T>
class ZeroedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit ZeroedArray(usize size = 0) { reset(size); }

  // As new, of that size. Throws std::bad_alloc.
  void reset(usize size) {
    items_.reset();
    size_ = 0;
    if (!size) return;
    items_.reset(static_cast<T*>(std::calloc(size, sizeof(T))));
    if (!items_) throw std::bad_alloc();
    size_ = size;
  }
  // Makes it longer; what is there stays. Throws std::bad_alloc.
  void grow(usize size) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (size <= size_) return;
    ZeroedArray longer(size);
    for (usize i = 0; i < size_; ++i)
      if (items_.get()[i] != T{}) longer[i] = items_.get()[i];
    std::swap(items_, longer.items_);
    size_ = size;
  }

  usize size() const { return size_; }
  T& operator[](usize index) { return items_.get()[index]; }
  const T& operator[](usize index) const { return items_.get()[index]; }

 private:
  struct Free {
    void operator()(T* items) const { std::free(items); }
  };
  std::unique_ptr<T, Free> items_;
  usize size_ = 0;
};

}  // namespace rhea
