// SPDX-License-Identifier: MIT
// Errors are values. A function that can fail returns Result<T>; only cli/ decides to exit.
//
//   Result<Image> open_image(path) {
//     File file = RHEA_TRY(File::open(path));      // returns the error to our caller
//     if (file.size() < 4) return Error("{}: {} bytes are no image, which has at least 4", path, file.size());
//     ...
//   }
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace rhea {

// What went wrong: what was given, where, and what would work. `hint` is a line of its own below the message.
class Error {
 public:
  template <typename... Args>
  explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : message_(fmt::format(format, std::forward<Args>(args)...)) {}
  static Error from_text(std::string message) { return Error("{}", std::move(message)); }

  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  Error&& with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }
  // Puts "prefix: " before the message, as a caller that knows more of the place does.
  Error&& in(const std::string& prefix) && {
    message_ = prefix + ": " + message_;
    return std::move(*this);
  }

 private:
  std::string message_;
  std::string hint_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() { return std::get<0>(content_); }
  const T& value() const { return std::get<0>(content_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() { return std::get<1>(content_); }
  const Error& error() const { return std::get<1>(content_); }
  T take() { return std::move(std::get<0>(content_)); }

 private:
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  Error& error() { return *error_; }
  const Error& error() const { return *error_; }
  void take() {}

 private:
  std::optional<Error> error_;
};

// The value of a Result, or a return with its error.
#define RHEA_TRY(expression)                                      \
  ({                                                              \
    auto rhea_result = (expression);                              \
    if (!rhea_result.ok()) return std::move(rhea_result.error()); \
    rhea_result.take();                                           \
  })

}  // namespace rhea
