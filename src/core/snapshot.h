// SPDX-License-Identifier: MIT
// The one list of a device's plain state. A device names each field once in `fields(Visitor&)`; saving,
// restoring, the reset check and the monitor's dump are visitors.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "util/types.h"

namespace rhea {

class Visitor {
 public:
  virtual ~Visitor() = default;

  // Leaves. A restoring visitor writes through the references and keeps the old value where the stream has no
  // such field (it is optional: a newer field has the default that reset gave it).
  virtual void number(std::string_view name, u64& value, unsigned bytes) = 0;
  virtual void bytes(std::string_view name, std::vector<u8>& value, usize limit) = 0;
  virtual void raw(std::string_view name, void* data, usize size) = 0;
  // Groups: a device, or a part of one. `version` is raised when the meaning of a field changes; a restoring
  // visitor returns the stream's version (a saving one returns `version`).
  virtual unsigned begin(std::string_view name, unsigned version) = 0;
  virtual void end() = 0;
  virtual bool restoring() const = 0;

  template <typename T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void field(std::string_view name, T& value) {
    u64 number_value = static_cast<u64>(value);
    number(name, number_value, sizeof(T));
    value = static_cast<T>(number_value);
  }
  template <typename T, usize N>
  void field(std::string_view name, std::array<T, N>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    raw(name, values.data(), sizeof(T) * N);
  }
};

}  // namespace rhea
