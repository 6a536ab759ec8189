// SPDX-License-Identifier: MIT
#include "sys/shared_library.h"

#include <dlfcn.h>

namespace rhea::sys {

Result<SharedLibrary> SharedLibrary::load(const std::string& name) {
  void* const handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle) return Error("{}", ::dlerror());
  return SharedLibrary(name, handle);
}

Result<void*> SharedLibrary::symbol(const char* name) const {
  void* const address = ::dlsym(handle_, name);
  if (!address) return Error("{} has no function {}", name_, name);
  return address;
}

}  // namespace rhea::sys
