// SPDX-License-Identifier: MIT
// Frames of an interface of the host (packet(7)), beside its own network code: what a small server on a bridge needs.
#pragma once

#include <span>
#include <string>

#include "sys/fd.h"
#include "sys/stream.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

// Frames with their Ethernet header that come in, for whomever they are; what this host itself sends is not among them.
// Errors: it takes root.
Result<Fd> open_interface(const std::string& name);
// Never wait. A frame that the interface cannot take now is lost.
ReadSome read_interface(int fd, std::span<u8> into);
bool write_interface(int fd, std::span<const u8> frame);

}  // namespace rhea::sys
