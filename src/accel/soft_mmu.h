// SPDX-License-Identifier: MIT
// Guest-virtual memory of one virtual CPU: flat tables that generated code reads, and the slow path behind them.
//
// Tables. A set is one piece of address space (TableSet::base is what StateHeader::read_table and user_read_table
// hold) with three tables, indexed by the page number of a 32-bit guest address:
//   base + 0            u64 read[2^20]    host address of the page minus its guest address, or 0
//   base + kWriteTable  u64 write[2^20]   the same for stores
//   base + kExecTable   u32 exec[2^20]    id of the page of RAM that is executed there (page_id), or 0
// so that an access is: entry = table[address >> 12]; 0: slow path; else host = entry + address (address
// zero-extended). An entry says that the whole page is plain RAM and that the access is allowed; a misaligned
// access may use it when it stays within the page (device memory is never entered). Accesses with kAligned that are
// misaligned must take the slow path, and all that are misaligned while Guest::allows_unaligned() is false.
//
// The execution table makes lookups by virtual address exact without flushing: a translation found by (pc, mode)
// may be entered when exec[pc >> 12] is the id of the page it was made from (and the same for a second page).
//
// Sets. Unprivileged accesses have a set for each address space (Guest::space(), the whole word), the least
// recently used is reused. Privileged accesses have a set for each regime (the high half of the word): global
// mappings stay when the address space (the low half) changes, the others are listed and dropped then. What is
// not filled yet points to one empty set that is never written.
//
// Devices never get an entry; what an access to one of their pages translates to is kept beside the tables
// (DevicePage), so that a FIFO that is filled word by word costs no walk for each.
//
// Memory of a set is reserved, not committed; a chunk (4 KiB of table, 512 pages = 2 MiB of guest addresses) that
// was touched is marked, so that emptying a set costs what was used of it.
//
// Windows. Behind a set's tables 4 GiB of host addresses are reserved (kWindow), one for each guest address of the set.
// In a set that is run in a lot the window is opened: every page that has an entry is mapped there too, writable when
// it has one in the write table, so that an access is one host instruction without any lookup. What is not there faults
// on the host, and the instruction goes on in its slow path. Windows never have what the tables have not, so an access
// may always use the tables instead. Host mappings are dear (some microseconds each): a window is opened only for a set
// that earned it, and closed again when its mappings change too often (soft_windows.cpp). Code of an open window has
// ids of its own in the execution table (kWindowedCode), and so its own translations.
//
// Stores to code. Each write entry is recorded under its page of RAM, so that page_becomes_code() drops exactly the
// entries there are, in the sets of all CPUs. A record may be stale; the entry is dropped only if it still leads to the
// page.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "accel/code_tracker.h"
#include "ir/eval.h"
#include "ir/guest.h"
#include "memory/address_space.h"
#include "sys/memory_map.h"
#include "util/counter.h"
#include "util/log.h"
#include "util/zeroed_array.h"

namespace rhea::accel {

constexpr u64 kTableEntries = u64{1} << 20;
constexpr u64 kWriteTable = kTableEntries * 8;  // displacement in bytes from the read table
constexpr u64 kExecTable = kTableEntries * 16;  // of the execution table
constexpr u64 kTableSetBytes = kTableEntries * 20;
// Of the window. Around it nothing is mapped, so that an address and a displacement of less than that may be added.
constexpr u64 kWindow = u64{32} << 20;
constexpr u64 kWindowBytes = u64{1} << 32;
constexpr u64 kWindowGuard = u64{1} << 20;
constexpr u32 kWindowedCode = 1u << 30;  // in an id of the execution table

// Dense number of a page of RAM, never 0.
inline u32 page_id(const memory::RamBlock& ram, u64 offset) {
  return ram.first_page_index + static_cast<u32>(offset >> memory::kPageBits) + 1;
}

// A page that code is fetched from.
struct CodePage {
  u32 id = 0;
  u32 key = 0;  // as the execution table has it: the id, and whether its set's window is open
  memory::RamBlock* ram = nullptr;
  u64 offset = 0;    // of the page in the RAM block
  u64 physical = 0;  // of the page
  const u8* host = nullptr;
};

class Debugger;

// What the MMU needs of the CPU around it.
class MmuOwner {
 public:
  virtual ~MmuOwner() = default;
  // What accesses to devices have to pass.
  virtual memory::AccessGate* gate() { return nullptr; }
  // Virtual CPUs in all.
  virtual usize cpu_count() const { return 1; }
  // Behind an access to a device, which may have been waited for.
  virtual void device_accessed() = 0;
  virtual void exec_mappings_dropped() = 0;
  // An access to a page with watchpoints (SoftMmu::set_debugger). True: it meets one, and the CPU is to stop before it.
  virtual bool watch_reached(u64 address, u64 size, bool write) { return false; }
};

class SoftMmu {
 public:
  // `use_tables` false: every access takes the slow path (Options::tables).
  // Whether windows are opened: not at all, where look_around() finds it worth while, or at its first look.
  enum class Windows : u8 { off, earned, eager };
  SoftMmu(ir::Guest& guest, memory::AddressSpace& memory, MmuOwner& owner, Log& log, unsigned cpu, bool use_tables,
          Windows windows = Windows::off);
  ~SoftMmu();
  SoftMmu(const SoftMmu&) = delete;
  SoftMmu& operator=(const SoftMmu&) = delete;
  void set_tracker(CodeTracker* tracker) { tracker_ = tracker; }
  void set_debugger(const Debugger* debugger) { debugger_ = debugger; }

  // ---- accesses, by the interpreter and by slow paths of generated code ---------------------------------------
  // False: the guest's exception was entered (the state is set, StateHeader::exception is 1): leave the block.
  // Before calling, the whole guest state must be in its slots and StateHeader::location must be that of the
  // instruction. `size` in bytes: 1, 2, 4, 8, 16; flags: ir::MemFlag. Loads are zero-extended (kSigned is the
  // caller's); with kBigEndian each access is one big-endian number of `size` bytes (16: two of 8).
  bool load(u64 address, unsigned size, u8 flags, ir::Value& value);
  bool store(u64 address, unsigned size, u8 flags, ir::Value value);
  // GroupRead, GroupWrite: a host pointer to the bytes in memory order (PtrLoad and PtrStore with kBigEndian exchange
  // them), or 0 after a fault. kAligned: the address must be a multiple of 4.
  u64 group_read(u64 address, unsigned bytes, u8 flags);
  u64 group_write(u64 address, unsigned bytes, u8 flags);
  void group_commit(u64 pointer);
  bool load_exclusive(u64 address, unsigned size, u8 flags, u64& value);
  bool store_exclusive(u64 address, unsigned size, u8 flags, u64 value, u32& failed);

  // ---- execution ------------------------------------------------------------------------------------------------
  // The page that an address is executed from, in the current space and privilege. False: `fault` says why.
  bool code_page(u64 address, CodePage& page, ir::Fault& fault);
  // Enters the guest's exception for a failed fetch; state.pc and mode are those of the instruction.
  void raise_fetch_fault(const ir::Fault& fault);
  // Marks a page as having code: from now on stores to it are announced. All CPUs' MMUs are in `mmus`.
  static void page_becomes_code(memory::RamBlock& ram, u64 offset, std::span<SoftMmu* const> mmus);

  // ---- maintenance, on the CPU's thread or while it is stopped ----------------------------------------------------
  void flush_all();
  void flush_space(u64 space);
  void flush_page(u64 space, u64 address, bool all_spaces);
  // The space (or the privilege alone) may have changed: sets the tables in the state header.
  void update_space();
  void update_space_tables();

  // What was dropped by maintenance leaves the windows. Before the guest may take it as done.
  void finish_windows();
  // Opens and closes windows by what was run since the last call. The engine calls it now and then, between blocks, on
  // the CPU's thread; `now` in ns.
  void look_around(s64 now);
  bool eager() const { return windows_ == Windows::eager; }

  // Debugger's accesses: no faults, no side effects, no devices.
  bool debug_access(u64 address, void* data, u64 size, bool write);
  bool debug_translate(u64 address, u64& physical);

  struct Statistics {
    Counter fills, slow_loads, slow_stores, device_accesses, code_stores, flushes, page_flushes;
    Counter windows_opened, windows_closed, window_maps, window_unmaps;
  };
  const Statistics& statistics() const { return statistics_; }  // from any thread

 private:
  struct TableSet;
  // Where an access goes: a page of RAM, or a device.
  struct Target {
    u64 physical = 0;  // of the address itself
    const memory::Range* range = nullptr;
    u8* host = nullptr;  // of the address itself, when it is RAM
    memory::Attributes attributes;
    ir::Mapping mapping;
  };
  // A translation to a page of a device, of the last ones.
  struct DevicePage {
    u64 key = ~u64{0};   // guest page number, access and privilege
    u64 space = 0;       // Guest::space(), as far as space_mask says
    u64 space_mask = 0;  // a global mapping of privileged code holds for all address spaces of its regime
    Target target;       // of the page's first byte, which may lie before the range
    u64 physical(u64 address) const { return target.physical | (address & (memory::kPageSize - 1)); }
    // By the translation entry; a power of two.
    u64 mapped_bytes() const { return u64{1} << std::max<unsigned>(target.mapping.size_bits, memory::kPageBits); }
    bool holds(u64 at, unsigned size) const {  // physical address
      return at - target.range->base < target.range->size && target.range->end() - at >= size;
    }
  };
  struct Leaving {
    TableSet* set;
    u32 page;
  };
  struct WriteRecord {
    u32 next;
    u32 page;  // guest page number
    u32 set;
  };
  struct Ram {
    memory::RamBlock* block;
    u64 base;    // guest-physical address of range_offset
    u64 offset;  // of the range in the block
    u64 size;
  };
  // A GroupWrite that goes through the bounce buffer.
  struct Group {
    u64 address = 0;
    unsigned bytes = 0;
    std::array<Target, 2> parts;
  };

  TableSet* find_set(bool user, u64 key);
  TableSet* make_set(bool user, u64 key);
  TableSet* set_for(bool user);
  TableSet* current_set(bool user) const { return user ? user_set_ : privileged_set_; }
  void clear_set(TableSet& set);
  void clear_page(TableSet& set, u64 page);
  void clear_address(TableSet& set, u64 address);
  void drop_local_entries(TableSet& set);
  void learn_ram();
  sys::MemoryMap map_set() const;

  // ---- soft_windows.cpp; those that take a Window with the lock held ----
  void open_window(TableSet& set);
  bool make_room(const TableSet& wanted);
  void lose_window(TableSet& set, s64 heat);
  void close_window(TableSet& set);
  void map_range(TableSet& set, u64 begin, u64 end);
  void map_page(TableSet& set, u64 page, memory::RamBlock& ram, u64 offset, bool writable);
  void unmap(TableSet& set, u64 page, usize count);
  void forbid_writes(TableSet& set, u64 page);
  memory::RamBlock* ram_at(const u8* host, u64& offset);
  void count_change(TableSet& set);
  bool window_has(const TableSet& set, u64 page, ir::Access access);
  void forget_code(TableSet& set);
  bool place(TableSet& set, u64 page, usize count, memory::RamBlock& ram, u64 offset, bool writable);
  void enter_around(u64 address, bool user);
  void judge_window(TableSet& set, s64 elapsed);
  static s64 price_of(usize changes);  // in heat
  void ask_for_look();

  bool translate(u64 address, ir::Access access, bool user, Target& target);
  DevicePage& device_slot(u64 address);
  const DevicePage* find_device(u64 address, unsigned size, ir::Access access, bool user);
  const DevicePage* plain_device(u64 address, unsigned size, ir::Access access, u8 flags);
  void keep_device(const Target& target, u64 address, ir::Access access, bool user);
  memory::ReadResult read_device(const Target& target, u64 physical, unsigned size);
  bool write_device(const Target& target, u64 physical, unsigned size, u64 value);
  void drop_device_pages(u64 address);
  void drop_device_pages();
  bool translate_range(u64 address, unsigned bytes, ir::Access access, u8 flags, std::array<Target, 2>& parts);
  void enter(const Target& target, u64 address, ir::Access access, bool user);
  void enter_write(TableSet& set, u64 page, u64 entry, memory::RamBlock& ram, u64 offset);
  void drop_write_entries(u32 id, const u8* host_page);
  bool fault(const ir::Fault& fault);
  bool external(u64 address, ir::Access access);
  bool stops_at(u64 address, u64 size, bool write);
  bool misaligned(u64 address, unsigned size, u8 flags) const;
  bool read_part(const Target& target, u64 address, unsigned size, u64& value);
  bool write_part(const Target& target, u64 address, unsigned size, u64 value);
  bool read_bytes(const std::array<Target, 2>& parts, u64 address, unsigned bytes, u8* data);
  bool put_part(const Target& target, unsigned size, u64 value);
  bool write_bytes(const std::array<Target, 2>& parts, u64 address, unsigned bytes, const u8* data, bool may_fault);
  void announce(const Target& target, unsigned size);
  bool is_user(u8 flags) const { return (flags & ir::kUserAccess) || !privileged_; }

  ir::Guest& guest_;
  ir::StateHeader& state_;
  memory::AddressSpace& memory_;
  MmuOwner& owner_;
  Log& log_;
  CodeTracker* tracker_ = nullptr;
  const Debugger* debugger_ = nullptr;
  const u16 cpu_;
  const bool use_tables_;
  const Windows windows_;
  std::vector<Leaving> leaving_;         // dropped, and still mapped in a window
  bool entering_around_ = false;         // entries are made now and mapped together afterwards
  s64 looked_at_ = 0;                    // when look_around() was called last
  std::atomic<usize> window_pieces_{0};  // of all windows, and how many there may be
  usize window_budget_ = 0;
  sys::MemoryMap empty_;
  std::vector<std::unique_ptr<TableSet>> sets_;
  TableSet* user_set_ = nullptr;  // of the current space, or nullptr: nothing entered yet
  TableSet* privileged_set_ = nullptr;
  u64 space_ = 0;                  // as update_space() found it
  bool privileged_ = true;         // as update_space_tables() found it
  u64 clock_ = 0;                  // of the sets' last use
  std::mutex mutex_;               // write entries and their records
  ZeroedArray<u32> record_heads_;  // by page_id
  std::vector<WriteRecord> records_;
  u32 free_record_ = 0;
  std::vector<Ram> ram_;
  std::array<DevicePage, 16> device_pages_{};
  u64 devices_begin_ = ~u64{0}, devices_end_ = 0;  // guest addresses that the mappings of these cover
  Group group_;
  alignas(16) std::array<u8, ir::kMaxGroup> read_bounce_{};
  alignas(16) std::array<u8, ir::kMaxGroup> write_bounce_{};
  Statistics statistics_;
};

// For generated code; `state` is the CPU's. On a fault StateHeader::exception is 1 and the result means nothing.
// `descriptor`: bytes | flags << 8.
constexpr u64 access_descriptor(unsigned bytes, u8 flags) { return bytes | u64{flags} << 8; }
extern "C" {
u64 rhea_soft_load(ir::StateHeader* state, u64 address, u64 descriptor);  // zero-extended
ir::Value rhea_soft_load128(ir::StateHeader* state, u64 address, u64 descriptor);
void rhea_soft_store(ir::StateHeader* state, u64 address, u64 descriptor, u64 value);
void rhea_soft_store128(ir::StateHeader* state, u64 address, u64 descriptor, u64 low, u64 high);
u64 rhea_group_read(ir::StateHeader* state, u64 address, u64 descriptor);
u64 rhea_group_write(ir::StateHeader* state, u64 address, u64 descriptor);
void rhea_group_commit(ir::StateHeader* state, u64 pointer);
u64 rhea_load_exclusive(ir::StateHeader* state, u64 address, u64 descriptor);
u64 rhea_store_exclusive(ir::StateHeader* state, u64 address, u64 descriptor, u64 value);  // 0: stored
}

}  // namespace rhea::accel
