// SPDX-License-Identifier: MIT
// {fmt}, compiled in: Debian has it as a shared library alone, which would bring the shared C++ library along at every
// start of the emulator. Its headers leave these to whoever provides it.
#include <fmt/format-inl.h>

template fmt::detail::thousands_sep_result<char> fmt::detail::thousands_sep_impl<char>(locale_ref);
template fmt::detail::thousands_sep_result<wchar_t> fmt::detail::thousands_sep_impl<wchar_t>(locale_ref);
template char fmt::detail::decimal_point_impl<char>(locale_ref);
template wchar_t fmt::detail::decimal_point_impl<wchar_t>(locale_ref);
template fmt::detail::dragonbox::decimal_fp<float> fmt::detail::dragonbox::to_decimal<float>(float) noexcept;
template fmt::detail::dragonbox::decimal_fp<double> fmt::detail::dragonbox::to_decimal<double>(double) noexcept;
