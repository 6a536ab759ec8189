// SPDX-License-Identifier: MIT
// An image's format by its first bytes.
#pragma once

#include <span>
#include <string>

#include "util/types.h"

namespace rhea::block {

constexpr usize kProbeSize = 2048;  // bytes from the image's start that tell all formats apart

// "qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", "luks", "parallels", "bochs", "cloop", "dmg", or "raw"
// when it is none of them. The name's extension counts only for formats without a magic number of their own.
std::string probe_format(std::span<const u8> start, const std::string& filename);

}  // namespace rhea::block
