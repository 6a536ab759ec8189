// SPDX-License-Identifier: MIT
// A guest-physical address space: RAM, ROM and device regions, looked up by address.
//
// The map is changed in transactions (mostly: built once) and read from any thread without a lock: readers see
// one immutable flat view. An access is {address, data, size, attributes} -> ok or decode error.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "memory/ram.h"
#include "util/log.h"
#include "util/recursive_lock.h"
#include "util/types.h"

namespace rhea::memory {

// A CPU at a device's door. Asked under the region's lock, right before the device is: so a CPU that was told to stop
// while it waited for the lock stops before the access and not in the middle of it.
class AccessGate {
 public:
  enum class Answer : u8 {
    go,
    wait,     // not now: the lock is given up, wait() is called, and it is asked again
    abandon,  // the access is not to be made any more
  };
  virtual ~AccessGate() = default;
  // The lock is not free: from here to ask() the CPU counts as stopped.
  virtual void about_to_wait() = 0;
  virtual Answer ask() = 0;
  virtual void wait() = 0;
};

// Who accesses, and how. Devices with banked registers (GIC, private timers) look at `cpu`.
struct Attributes {
  bool secure = true;
  bool privileged = true;
  bool debug = false;  // from the monitor or a debugger: no side effects
  u16 cpu = 0;
  AccessGate* gate = nullptr;
};

struct ReadResult {
  u64 value = 0;
  bool ok = true;
};

// A device's registers. `offset` is from the region's base; `size` is 1, 2, 4 or 8; access is little endian.
// Called under the region's lock (see AddressSpace::add_device).
class MmioHandler {
 public:
  virtual ~MmioHandler() = default;
  virtual ReadResult read(u64 offset, unsigned size, const Attributes& attributes) = 0;
  virtual bool write(u64 offset, u64 value, unsigned size, const Attributes& attributes) = 0;  // false: decode error
};

// One range of the flat view. Either RAM (`ram` set), a device (`device` set), or both: memory that is read
// directly while `direct` is true, and a device that takes all writes, and the reads otherwise (flash).
struct Range {
  u64 base = 0;
  u64 size = 0;
  std::string name;
  RamBlock* ram = nullptr;
  u64 ram_offset = 0;
  bool read_only = false;  // ROM: writes are dropped
  MmioHandler* device = nullptr;
  u64 device_offset = 0;  // of `base` in the device's window (not 0 where another range cut it)
  const std::atomic<bool>* direct = nullptr;
  RecursiveLock* lock = nullptr;  // taken around the device's handlers; nullptr: it has its own

  u64 end() const { return base + size; }
  // Whether a read, or a write, finds plain memory.
  bool reads_ram() const { return ram && (!direct || direct->load(std::memory_order_acquire)); }
  bool writes_ram() const { return ram && !device; }
  u8* host(u64 address) const { return ram->data() + ram_offset + (address - base); }
};

// One access of 1, 2, 4 or 8 bytes to a range's device, within the range and where it is not plain memory, as
// AddressSpace::read and write make it: under its lock, and when the gate lets it.
ReadResult read_device(const Range& range, u64 address, unsigned size, const Attributes& attributes);
bool write_device(const Range& range, u64 address, u64 value, unsigned size, const Attributes& attributes);

// Told of what concerns caches of the space: TLBs, translated code.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void layout_changed() {}
  // A range's `direct` went to false: reads of its memory must ask again.
  virtual void reads_changed() {}
  // RAM was written by other than a CPU's own store, and [offset, offset+size) of it has code.
  virtual void code_written(RamBlock& ram, u64 offset, u64 size) {}
};

class AddressSpace {
 public:
  explicit AddressSpace(std::string name, Log& log);
  ~AddressSpace();

  // Building. Between begin() and commit() the old view stays; ranges added later lie above earlier ones where
  // they overlap.
  void begin();
  // What was there is gone: for a space whose RAM is exchanged. Nobody may be using it then.
  void clear();
  void add_ram(u64 base, RamBlock& ram, u64 offset, u64 size, bool read_only, std::string name);
  void add_device(u64 base, u64 size, MmioHandler& device, RecursiveLock* lock, std::string name);
  // See Range. `direct` outlives the space's use.
  void add_rom_device(u64 base, RamBlock& ram, u64 size, MmioHandler& device, RecursiveLock* lock,
                      const std::atomic<bool>& direct, std::string name);
  void commit();
  void add_listener(Listener& listener);
  void remove_listener(Listener& listener);

  // The range at an address, or nullptr. Valid until the next commit of another layout.
  const Range* find(u64 address) const;
  std::vector<Range> ranges() const;
  const std::string& name() const { return name_; }

  // One access of 1, 2, 4 or 8 bytes, as a CPU makes it. Nothing there, or a part not there: not ok.
  ReadResult read(u64 address, unsigned size, const Attributes& attributes);
  bool write(u64 address, u64 value, unsigned size, const Attributes& attributes);

  // DMA and loading: any length; RAM is copied, devices are accessed by words. False where nothing answers (the
  // rest is done all the same: reads give zeros). A write announces itself to the listeners where code is.
  bool read_bytes(u64 address, std::span<u8> data);
  bool write_bytes(u64 address, std::span<const u8> data);

  // Direct access to RAM for DMA: the longest run from `address` that lies in one RAM block, at most `size`;
  // empty where there is no RAM. After writing, call wrote() with what was written.
  std::span<u8> map(u64 address, u64 size, bool for_write);
  void wrote(std::span<const u8> mapped, u64 address);
  // The same for a device that writes its own memory; and after it has made a range's `direct` false.
  void wrote(RamBlock& ram, u64 offset, u64 size);
  void reads_changed();

 private:
  struct View;
  const Range* find_in(const View& view, u64 address) const;

  std::string name_;
  Log& log_;
  std::mutex mutex_;
  std::vector<Range> building_;
  std::atomic<const View*> view_;
  std::vector<std::unique_ptr<const View>> views_;  // old views stay: readers hold no reference
  std::vector<Listener*> listeners_;
};

}  // namespace rhea::memory
