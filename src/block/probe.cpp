// SPDX-License-Identifier: MIT
#include "block/probe.h"

#include <cstring>
#include <string_view>

#include "util/bits.h"

namespace rhea::block {

namespace {

struct Magic {
  const char* format;
  usize offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

// Each from the format's own specification.
constexpr Magic kMagics[] = {
    {"qed", 0, "QED\0"sv},
    {"vmdk", 0, "KDMV"sv},
    {"vmdk", 0, "COWD"sv},
    {"vmdk", 0, "# Disk DescriptorFile"sv},
    {"vdi", 64, "\x7f\x10\xda\xbe"sv},
    {"vhdx", 0, "vhdxfile"sv},
    {"vpc", 0, "conectix"sv},
    {"luks", 0, "LUKS\xba\xbe"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
    {"bochs", 0, "Bochs Virtual HD Image"sv},
    {"cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv},
};

bool ends_with(const std::string& name, std::string_view extension) { return name.ends_with(extension); }

}  // namespace

std::string probe_format(std::span<const u8> start, const std::string& filename) {
  if (start.size() >= 8 && std::memcmp(start.data(), "QFI\xfb", 4) == 0) {
    const u32 version = load_be<u32>(start.data() + 4);
    return version == 1 ? "qcow" : "qcow2";  // a version that is unknown is qcow2's to refuse, never raw
  }
  for (const Magic& magic : kMagics) {
    if (start.size() >= magic.offset + magic.bytes.size() &&
        std::memcmp(start.data() + magic.offset, magic.bytes.data(), magic.bytes.size()) == 0) {
      return magic.format;
    }
  }
  if (ends_with(filename, ".dmg")) return "dmg";  // its magic is at the end
  return "raw";
}

}  // namespace rhea::block
