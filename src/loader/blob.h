// SPDX-License-Identifier: MIT
// Pieces of files and of made-up data that belong at fixed guest-physical addresses, put there at start and
// again at each reset. A piece of a file is read from the open file each time: no copy is kept.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory/address_space.h"
#include "sys/file.h"
#include "util/result.h"

namespace rhea::loader {

struct Blob {
  std::string name;
  u64 address = 0;
  u64 size = 0;                          // in the guest; zeros follow what the source gives
  std::shared_ptr<sys::InputFile> file;  // either a slice of a file ...
  u64 file_offset = 0;
  u64 file_size = 0;
  std::vector<u8> bytes;  // ... or these bytes

  u64 end() const { return address + size; }
};

class BlobList {
 public:
  void add_bytes(std::string name, u64 address, std::vector<u8> bytes);
  void add_file(std::string name, u64 address, std::shared_ptr<sys::InputFile> file, u64 offset, u64 file_size,
                u64 size);
  // The first pair of blobs that overlap, or a blob that does not lie in RAM, as an error.
  Result<void> check(const memory::AddressSpace& memory) const;
  Result<void> load(memory::AddressSpace& memory) const;
  const std::vector<Blob>& blobs() const { return blobs_; }

 private:
  std::vector<Blob> blobs_;
};

}  // namespace rhea::loader
