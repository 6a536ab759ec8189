// SPDX-License-Identifier: MIT
// What a file given with -kernel is, and where its pieces go: ELF, U-Boot's uImage, ARM Linux's zImage (with or
// without a device tree appended), or raw code.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loader/blob.h"
#include "sys/file.h"
#include "util/result.h"

namespace rhea::loader {

enum class KernelKind : u8 { elf, uimage, zimage, raw };

struct Kernel {
  KernelKind kind = KernelKind::raw;
  bool linux_boot = false;         // is started as Linux: registers, ATAGs or a device tree
  bool takes_device_tree = false;  // a Linux that knows device trees
  u64 entry = 0;
  u64 end = 0;                   // first free address behind it
  std::vector<u8> appended_dtb;  // device tree found behind a zImage
  std::vector<std::string> warnings;
};

// Reads the headers and adds the pieces to `blobs`. `ram_base` is where raw and zImage kernels go relative to
// (base + 0x10000). Errors say what the file is instead, when it is something known that is no ARM kernel.
Result<Kernel> load_kernel(const std::string& path, u64 ram_base, BlobList& blobs);

}  // namespace rhea::loader
