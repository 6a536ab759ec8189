// SPDX-License-Identifier: MIT
// A character device as the network uses it: filters send and take frames with their lengths (QEMU's format, see
// net/backends/frame_decoder.h), guestfwd a guest's connection. It belongs to another loop; what crosses is copied.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "net/frame.h"
#include "util/result.h"

namespace rhea::net {

class ByteLine {
 public:
  virtual ~ByteLine() = default;
  // On the network loop. What nobody takes is dropped beyond a bound.
  virtual void write(std::vector<u8> data) = 0;
  // Bytes that were written and are not with the device yet.
  virtual usize waiting() const { return 0; }
};

// Opens one by id. `on_data` is called on the network loop with what comes in; empty: nobody reads. Errors: "Chardev
// 'x' not found", it is in use.
using OpenLine = std::function<Result<std::unique_ptr<ByteLine>>(const std::string& chardev,
                                                                 std::function<void(std::span<const u8>)> on_data)>;

// The same for one that may have to be made first: "chardev:ID", or a short form as -serial takes it ("unix:/a/path"),
// which becomes device `id`.
using OpenDevice = std::function<Result<std::unique_ptr<ByteLine>>(const std::string& device, const std::string& id,
                                                                   std::function<void(std::span<const u8>)> on_data)>;

}  // namespace rhea::net
