// SPDX-License-Identifier: MIT
// A disk image: an open file or URL with its format and its chain of backing images.
//
// Two ways to use one:
//  - Devices use start(): it ends at once when the data was at hand, else later by a callback of the event loop
//    that attach() named. Every call of this kind is made under that loop's lock.
//  - Tools use the blocking calls, from any thread.
// A result or callback that says "flush ok" means: what ended before the flush began survives a kill -9 of this
// process, and with the cache modes other than `unsafe` a loss of power.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/request.h"
#include "core/event_loop.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::block {

class Node;
class ThrottleGroup;

// The cache= modes: {flush each write, around the page cache, flushes are ignored}.
enum class CacheMode : u8 { writeback, none, writethrough, directsync, unsafe };
enum class AioMode : u8 { threads, io_uring, native };
enum class DiscardMode : u8 { ignore, unmap };
enum class DetectZeroes : u8 { off, on, unmap };
enum class Locking : u8 { automatic, on, off };
enum class Preallocation : u8 { off, metadata, falloc, full };

// Words of options. Errors: what was given and which words there are.
Result<CacheMode> parse_cache_mode(const std::string& word);
Result<AioMode> parse_aio_mode(const std::string& word);
Result<DiscardMode> parse_discard_mode(const std::string& word);
Result<DetectZeroes> parse_detect_zeroes(const std::string& word);
Result<Preallocation> parse_preallocation(const std::string& word);
const char* cache_mode_name(CacheMode mode);

// The formats that are read and written, and those that are told by their first bytes and refused.
bool is_known_format(const std::string& name);  // raw, qcow2
std::vector<std::string> known_formats();

// "null-co://": a disk of nothing, for measuring and for tests.
struct NullDisk {
  std::string driver = "null-co";  // or "null-aio": only the name differs
  u64 size = u64{1} << 30;         // bytes
  s64 latency = 0;                 // ns that each request takes
  bool zeroes = false;             // what is read is zeros, not whatever is in the memory
};

struct ImageSpec {
  // A path, "file:PATH", an http://, https://, ftp://, ftps:// URL, or "null-co://".
  std::string filename;
  std::optional<NullDisk> null_disk;  // what null-co:// is like
  std::string format;                 // empty: by its content
  bool read_only = false;
  bool snapshot = false;  // writes go to a temporary overlay that is forgotten at the end
  CacheMode cache = CacheMode::writeback;
  std::optional<CacheMode> backing_cache;  // of the backing images; nothing: the same
  AioMode aio = AioMode::threads;
  DiscardMode discard = DiscardMode::ignore;
  DetectZeroes detect_zeroes = DetectZeroes::off;
  Locking locking = Locking::automatic;
  bool share = false;        // as a tool's -U: take no lock and mind nobody's
  bool with_backing = true;  // false: as if there were no backing file
  u64 offset = 0, size = 0;  // raw only: the part of the file that is the disk; size 0: the rest
  std::string backing_file;  // not empty: instead of the one that the image names
  std::string backing_format;
  std::string load_snapshot;   // qcow2, read-only: the disk as this snapshot has it
  bool repair_on_open = true;  // false, for checking tools: as it is, damaged or not
  // Limits of whoever uses the image as a drive's medium (block/drive.h): the filter node `throttle`.
  std::shared_ptr<ThrottleGroup> throttle;
};

struct Snapshot {
  std::string id;  // a number in decimal; empty on creation: the next free one
  std::string name;
  u64 vm_state_size = 0;  // bytes
  u32 date_seconds = 0;   // since 1970
  u32 date_nanoseconds = 0;
  u64 vm_clock_nanoseconds = 0;
  u64 icount = ~u64{0};  // instructions; ~0: not counted
  u64 disk_size = 0;     // bytes
};

// What `info block` and rhea-img info show.
struct ImageInfo {
  std::string filename;  // as it was given
  std::string format;    // "raw", "qcow2"
  u64 virtual_size = 0;  // bytes of the disk
  u64 actual_size = 0;   // bytes on the host's disk
  u64 file_length = 0;   // bytes of the file
  u32 cluster_size = 0;  // bytes; 0: the format has none
  bool read_only = false;
  bool dirty = false;  // refcounts are rebuilt at the next open
  bool corrupt = false;
  std::string backing_filename;  // as the image names it; empty: none
  std::string full_backing_filename;
  std::string backing_format;
  // of qcow2
  std::string compat;  // "0.10", "1.1"
  std::string compression_type;
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  unsigned refcount_bits = 0;
};

// What a stretch of the disk is made of ("block status").
struct Mapping {
  u64 offset = 0;          // of the disk
  u64 size = 0;            // bytes
  bool data = false;       // bytes are stored for it
  bool zero = false;       // it reads as zeros
  bool allocated = false;  // this layer or one below has it
  bool compressed = false;
  unsigned depth = 0;              // layers below the top one
  std::optional<u64> host_offset;  // where in `filename`, when the bytes are there as they are
  std::string filename;
};

class Image {
 public:
  Image(std::unique_ptr<Node> top, const ImageSpec& spec);
  // Ends what is in flight, writes metadata back, closes.
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  u64 size() const;  // bytes
  bool read_only() const;
  ImageInfo info() const;
  const ImageSpec& spec() const { return spec_; }
  // Lines that the user should see, made on opening ("WARNING: Image format was not specified ...").
  const std::vector<std::string>& warnings() const { return warnings_; }
  void add_warning(std::string text) { warnings_.push_back(std::move(text)); }
  // For tools that need the format's own node.
  Node& node() { return *top_; }
  // Gives the layers away, with nothing in flight; all that is left to do with the image is to destroy it.
  std::unique_ptr<Node> release();

  // --- Asynchronous, under the loop's lock ---------------------------------------------------------------------
  void attach(EventLoop& loop);  // before the first start()
  // Ends now (the result), or later (nothing): then request.done is called by the loop, under its lock.
  // done is not called when the result is returned.
  std::optional<IoResult> start(Request request);
  // Waits until nothing is in flight; the callbacks run within this call.
  void drain();
  unsigned in_flight() const;
  // Every request ends within its start(): for deterministic runs.
  void set_synchronous(bool on) { synchronous_ = on; }

  // --- Blocking, any thread ------------------------------------------------------------------------------------
  Result<void> read(u64 offset, std::span<u8> data);
  Result<void> write(u64 offset, std::span<const u8> data);
  Result<void> write_zeroes(u64 offset, u64 size, bool unmap);
  Result<void> discard(u64 offset, u64 size);
  Result<void> flush();
  Result<Mapping> map(u64 offset, u64 size);
  // Carries out a request here and now, as start() would.
  IoResult perform(const Request& request);

  // --- With nothing in flight (drain() first) ------------------------------------------------------------------
  // Shrinking loses what is beyond the new end. Errors: a format or file that cannot.
  Result<void> resize(u64 size, Preallocation preallocation = Preallocation::off);
  // Writes all that the top layer (or the topmost `layers`) has into the image below and, unless told not to, empties
  // the top layer.
  struct Commit {
    bool empty = true;
    unsigned layers = 1;  // emptied is only the top one
    // How far it is, in bytes of the disk; and before a piece is written, its bytes.
    std::function<void(u64 offset)> progress;
    std::function<void(u64 bytes)> pace;
  };
  Result<void> commit(const Commit& commit);
  Result<void> commit() { return commit(Commit{}); }

  // Internal snapshots; errors say so where the format has none.
  bool can_snapshot() const;
  Result<std::vector<Snapshot>> snapshots();
  Result<Snapshot> create_snapshot(Snapshot snapshot);
  Result<void> apply_snapshot(const std::string& id_or_name);
  Result<void> delete_snapshot(const std::string& id_or_name);
  // The machine's state, kept beside the disk: written before create_snapshot (whose vm_state_size says how much
  // of it there is), read after apply_snapshot. `position` is in bytes from its start.
  Result<void> write_vm_state(u64 position, std::span<const u8> data);
  Result<void> read_vm_state(u64 position, std::span<u8> data);

 private:
  class Async;
  friend class Async;
  IoResult check(const Request& request) const;
  IoResult carry_out(const Request& request);
  Result<void> copy_down(Node& below, const Commit& commit);

  std::unique_ptr<Node> top_;
  ImageSpec spec_;
  std::vector<std::string> warnings_;
  bool synchronous_ = false;
  std::unique_ptr<Async> async_;
};

// Opens what the spec says, with its backing chain. Errors begin with "Could not open 'x': " or are those of the
// format ("Image is not in qcow2 format", "Unknown driver 'foo'", `Failed to get "write" lock` with a hint).
Result<std::unique_ptr<Image>> open_image(const ImageSpec& spec);

}  // namespace rhea::block
