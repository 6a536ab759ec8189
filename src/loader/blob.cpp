// SPDX-License-Identifier: MIT
#include "loader/blob.h"

#include <algorithm>

namespace rhea::loader {

void BlobList::add_bytes(std::string name, u64 address, std::vector<u8> bytes) {
  Blob blob;
  blob.name = std::move(name);
  blob.address = address;
  blob.size = bytes.size();
  blob.bytes = std::move(bytes);
  blobs_.push_back(std::move(blob));
}

void BlobList::add_file(std::string name, u64 address, std::shared_ptr<sys::InputFile> file, u64 offset, u64 file_size,
                        u64 size) {
  Blob blob;
  blob.name = std::move(name);
  blob.address = address;
  blob.size = size;
  blob.file = std::move(file);
  blob.file_offset = offset;
  blob.file_size = file_size;
  blobs_.push_back(std::move(blob));
}

namespace {

bool in_ram(const memory::AddressSpace& memory, u64 address, u64 size) {
  while (size) {
    const memory::Range* range = memory.find(address);
    if (!range || !range->ram) return false;
    const u64 step = std::min(size, range->end() - address);
    address += step;
    size -= step;
  }
  return true;
}

}  // namespace

Result<void> BlobList::check(const memory::AddressSpace& memory) const {
  for (const Blob& blob : blobs_) {
    if (blob.end() < blob.address || !in_ram(memory, blob.address, blob.size))
      return Error("{} ({} bytes at 0x{:x}) does not fit into RAM", blob.name, blob.size, blob.address);
    for (const Blob& other : blobs_) {
      if (&other == &blob) break;
      if (blob.address < other.end() && other.address < blob.end())
        return Error("{} (0x{:x}-0x{:x}) and {} (0x{:x}-0x{:x}) overlap: give the machine more RAM (-m)", other.name,
                     other.address, other.end() - 1, blob.name, blob.address, blob.end() - 1);
    }
  }
  return {};
}

Result<void> BlobList::load(memory::AddressSpace& memory) const {
  const std::vector<u8> zeros(memory::kPageSize);
  for (const Blob& blob : blobs_) {
    u64 done = 0;
    const u64 from_source = blob.file ? blob.file_size : blob.bytes.size();
    if (!blob.file) memory.write_bytes(blob.address, blob.bytes);
    while (blob.file && done < from_source) {
      std::span<u8> target = memory.map(blob.address + done, from_source - done, true);
      if (target.empty()) return Error("{}: no RAM at 0x{:x}", blob.name, blob.address + done);
      RHEA_TRY(blob.file->read_at(blob.file_offset + done, target));
      memory.wrote(target, blob.address + done);
      done += target.size();
    }
    for (done = from_source; done < blob.size; done += zeros.size())
      memory.write_bytes(blob.address + done, std::span(zeros).first(std::min<u64>(zeros.size(), blob.size - done)));
  }
  return {};
}

}  // namespace rhea::loader
