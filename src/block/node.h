// SPDX-License-Identifier: MIT
// One layer of an image: a file, or a format over a file. The calls block and may come from several threads.
//
// The one call that never waits is locate_now(): it says where bytes are, when that is known without reading, so
// that an event loop can move them without a thread. What it gave stays where it is until release() of the ticket
// that came with it: a format does not use the room again before.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/image.h"
#include "block/request.h"

namespace rhea::block {

struct Place {
  enum class Kind : u8 {
    unknown,  // ask a blocking call
    file,     // `size` bytes at `offset` of `file`
    zeros,    // `size` bytes that read as zeros
  };
  Kind kind = Kind::unknown;
  u64 size = 0;
  sys::DiskFile* file = nullptr;
  u64 offset = 0;
};

struct CheckResult {
  u64 corruptions = 0, leaks = 0, check_errors = 0;
  u64 corruptions_fixed = 0, leaks_fixed = 0;
  u64 total_clusters = 0, allocated_clusters = 0, fragmented_clusters = 0, compressed_clusters = 0;
  u64 image_end_offset = 0;
  std::vector<std::string> messages;
};
enum class Repair : u8 { none, leaks, all };

class Node {
 public:
  virtual ~Node() = default;

  virtual u64 size() const = 0;
  virtual bool read_only() const = 0;
  virtual Result<void> read(u64 offset, Segments segments) = 0;
  virtual Result<void> write(u64 offset, Segments segments) = 0;
  virtual Result<void> write_zeroes(u64 offset, u64 size, bool unmap) = 0;
  virtual Result<void> discard(u64 offset, u64 size) = 0;
  virtual Result<void> flush() = 0;
  virtual Result<void> resize(u64 size, Preallocation preallocation) = 0;
  virtual Result<Mapping> map(u64 offset, u64 size) = 0;
  virtual void describe(ImageInfo& info) const = 0;

  // Never waits. `write`: the bytes may be overwritten in place.
  virtual Place locate_now(u64 offset, u64 size, bool write) { return {}; }
  // Room that is in use by what locate_now gave: between pin() and unpin(ticket) none of it is given to others.
  virtual u64 pin() { return 0; }
  virtual void unpin(u64 ticket) {}

  // The layer below that shows through, or nullptr.
  virtual Node* backing() { return nullptr; }
  // Changes it, with nothing in flight. What the header says of it is change_backing()'s.
  virtual std::unique_ptr<Node> take_backing() { return nullptr; }
  virtual void put_backing(std::unique_ptr<Node> backing, std::string full_name) {}
  // Makes what shows through from below this layer's own, clusters that it does not have yet. `zeros`: it shows as
  // zeros, and shall, whatever comes below.
  virtual Result<void> pull(u64 offset, u64 size, bool zeros) {
    return Error("the format '{}' has no backing images", format_name());
  }
  virtual Result<void> set_read_only(bool read_only) {
    return Error("this image cannot change between read-only and writable");
  }
  // Empties the layer, so that the backing image shows through everywhere.
  virtual Result<void> make_empty() { return Error("the format '{}' has no backing images", format_name()); }
  virtual Result<void> change_backing(const std::string& file, const std::string& format) {
    return Error("the format '{}' has no backing images", format_name());
  }
  virtual Result<void> write_compressed(u64 offset, Segments segments) {
    return Error("Compression not supported for this file format");
  }
  virtual Result<CheckResult> check(Repair repair) { return Error("This image format does not support checks"); }

  // Internal snapshots: see Image.
  virtual bool can_snapshot() const { return false; }
  virtual Result<std::vector<Snapshot>> snapshots() { return std::vector<Snapshot>(); }
  virtual Result<Snapshot> create_snapshot(Snapshot) { return no_snapshots(); }
  virtual Result<void> apply_snapshot(const std::string&) { return no_snapshots(); }
  virtual Result<void> delete_snapshot(const std::string&) { return no_snapshots(); }
  virtual Result<void> write_vm_state(u64, std::span<const u8>) { return no_snapshots(); }
  virtual Result<void> read_vm_state(u64, std::span<u8>) { return no_snapshots(); }

  virtual std::string format_name() const = 0;
  virtual std::string filename() const = 0;

 protected:
  Error no_snapshots() const { return Error("the format '{}' has no internal snapshots", format_name()); }
};

// --- Nodes -----------------------------------------------------------------------------------------------------

// A local file or block device.
Result<std::unique_ptr<Node>> open_file_node(const std::string& path, const ImageSpec& spec);
std::unique_ptr<Node> make_file_node(std::unique_ptr<sys::DiskFile> file, std::string name, bool read_only,
                                     const ImageSpec& spec);
// A disk of nothing.
std::unique_ptr<Node> make_null_node(const NullDisk& disk, bool read_only);
// The content as it is. `guard_header`: writes that would make it look like another format are refused.
Result<std::unique_ptr<Node>> open_raw_node(std::unique_ptr<Node> file, const ImageSpec& spec, bool guard_header);

}  // namespace rhea::block
