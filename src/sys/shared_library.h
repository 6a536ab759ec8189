// SPDX-License-Identifier: MIT
// A library that is loaded when it is wanted first. Some are large and seldom wanted (libcurl brings twenty-seven
// others along): linked with, they would cost each start of the program more than all the rest of it.
#pragma once

#include <string>

#include "util/result.h"

namespace rhea::sys {

// Stays loaded to the end of the process.
class SharedLibrary {
 public:
  // `name` as the dynamic linker knows it: "libcurl.so.4". The error is the linker's.
  static Result<SharedLibrary> load(const std::string& name);

  // Puts the function of that name into `function`. The error names it.
  template <typename F>
  Result<void> find(const char* name, F*& function) const {
    void* const address = RHEA_TRY(symbol(name));
    function = reinterpret_cast<F*>(address);
    return {};
  }

 private:
  SharedLibrary(std::string name, void* handle) : name_(std::move(name)), handle_(handle) {}
  Result<void*> symbol(const char* name) const;

  std::string name_;
  void* handle_;
};

}  // namespace rhea::sys
