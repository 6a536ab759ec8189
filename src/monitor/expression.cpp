// SPDX-License-Identifier: MIT
#include "monitor/expression.h"

#include <cctype>

namespace rhea::monitor {

namespace {

class Parser {
 public:
  Parser(std::string_view& text, const RegisterLookup& lookup) : text_(text), lookup_(lookup) {}

  Result<u64> sum() {
    u64 value = RHEA_TRY(logic());
    while (next() == '+' || next() == '-') {
      const char sign = take();
      const u64 other = RHEA_TRY(logic());
      value = sign == '+' ? value + other : value - other;
    }
    return value;
  }

 private:
  Result<u64> logic() {
    u64 value = RHEA_TRY(product());
    while (next() == '&' || next() == '|' || next() == '^') {
      const char sign = take();
      const u64 other = RHEA_TRY(product());
      value = sign == '&' ? value & other : sign == '|' ? value | other : value ^ other;
    }
    return value;
  }

  Result<u64> product() {
    u64 value = RHEA_TRY(unary());
    while (next() == '*' || next() == '/' || next() == '%') {
      const char sign = take();
      const u64 other = RHEA_TRY(unary());
      if (sign != '*' && other == 0) return Error("division by zero");
      value = sign == '*' ? value * other : sign == '/' ? value / other : value % other;
    }
    return value;
  }

  Result<u64> unary() {
    constexpr int kDeepest = 64;
    if (++depth_ > kDeepest) return Error("expression is nested too deeply");
    Result<u64> value = unary_inner();
    --depth_;
    return value;
  }

  Result<u64> unary_inner() {
    switch (next()) {
      case '+': take(); return unary();
      case '-': take(); return u64{0} - RHEA_TRY(unary());
      case '~': take(); return ~RHEA_TRY(unary());
      case '(': {
        take();
        const u64 value = RHEA_TRY(sum());
        if (next() != ')') return Error("')' expected");
        take();
        return value;
      }
      case '\'': return character();
      case '$': return reg();
      case '\0': return Error("unexpected end of expression");
      default: return number();
    }
  }

  Result<u64> character() {
    if (text_.size() < 3 || text_[2] != '\'') return Error("missing terminating \"'\" character");
    const u64 value = static_cast<u8>(text_[1]);
    text_.remove_prefix(3);
    skip();
    return value;
  }

  Result<u64> reg() {
    usize end = 1;
    while (end < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[end])) || text_[end] == '_' || text_[end] == '.'))
      ++end;
    const std::string_view name = text_.substr(1, end - 1);
    const auto value = lookup_(name);
    if (!value) return Error("unknown register");
    text_.remove_prefix(end);
    skip();
    return *value;
  }

  Result<u64> number() {
    const auto digit_of = [](char c) {
      if (c >= '0' && c <= '9') return c - '0';
      if (std::isxdigit(static_cast<unsigned char>(c))) return (c | 0x20) - 'a' + 10;
      return 99;
    };
    int base = 10;
    usize at = 0;
    if (text_.size() > 2 && text_[0] == '0' && (text_[1] | 0x20) == 'x' && digit_of(text_[2]) < 16) {
      base = 16;
      at = 2;
    } else if (text_[0] == '0') {
      base = 8;
    }
    const usize first = at;
    u64 value = 0;
    for (; at < text_.size() && digit_of(text_[at]) < base; ++at)
      if (__builtin_mul_overflow(value, static_cast<u64>(base), &value) ||
          __builtin_add_overflow(value, static_cast<u64>(digit_of(text_[at])), &value))
        return Error("number too large");
    if (at == first) return Error("invalid char '{}' in expression", text_[0]);
    text_.remove_prefix(at);
    skip();
    return value;
  }

  char next() const { return text_.empty() ? '\0' : text_[0]; }
  char take() {
    const char c = text_[0];
    text_.remove_prefix(1);
    skip();
    return c;
  }
  void skip() {
    while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_[0]))) text_.remove_prefix(1);
  }

  std::string_view& text_;
  const RegisterLookup& lookup_;
  int depth_ = 0;
};

}  // namespace

Result<u64> take_expression(std::string_view& text, const RegisterLookup& lookup) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text[0]))) text.remove_prefix(1);
  return Parser(text, lookup).sum();
}

}  // namespace rhea::monitor
