// SPDX-License-Identifier: MIT
// Compiles blocks of IR to x86-64 code. It knows the IR and the state's layout, and nothing of any guest.
//
// The code lies in one buffer that is mapped twice (written at `write`, run at `run`): what runs often grows from the
// start, slow paths and exit stubs from the middle on. A part at the end may be set aside, and blocks be made in pieces
// of it. Several threads may compile at a time, each in a lane of its own, which takes plots of the buffer; the blocks
// of a lane lie one behind the other. A block is entered with the pinned slots of the state in their
// registers, and left the same way, so that blocks jump to each other; enter() loads them and what comes back
// from it has stored them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "host/x64/features.h"
#include "ir/eval.h"
#include "ir/guest.h"
#include "ir/ir.h"
#include "util/types.h"

namespace rhea::x64 {

// What generated code calls, C ABI. `descriptor`: bytes of the access | MemFlag bits << 8. After a fault
// StateHeader::exception is 1.
struct Runtime {
  u64 (*load)(ir::StateHeader* state, u64 address, u64 descriptor);
  ir::Value (*load128)(ir::StateHeader* state, u64 address, u64 descriptor);
  void (*store)(ir::StateHeader* state, u64 address, u64 descriptor, u64 value);
  void (*store128)(ir::StateHeader* state, u64 address, u64 descriptor, u64 low, u64 high);
  u64 (*group_read)(ir::StateHeader* state, u64 address, u64 descriptor);
  u64 (*group_write)(ir::StateHeader* state, u64 address, u64 descriptor);
  void (*group_commit)(ir::StateHeader* state, u64 pointer);
  u64 (*load_exclusive)(ir::StateHeader* state, u64 address, u64 descriptor);
  u64 (*store_exclusive)(ir::StateHeader* state, u64 address, u64 descriptor, u64 value);
};

struct Settings {
  ir::StateLayout layout;
  std::span<const ir::Helper> helpers;
  Runtime runtime;
  u32 features = 0;
  u32 write_table = 0;  // displacement in bytes from the read table to the write table (u64 entries)
  u32 exec_table = 0;   // and to the execution table (u32 entries)
  bool pin = true;
  bool lazy_flags = true;
  bool inline_fp = true;
  bool tables = true;
  u32 window = 0;  // displacement from the read table to the host addresses that guest addresses are mapped at
  bool ibtc = true;
  bool icount = false;
  bool lone = false;  // nobody else exchanges in the guest's memory: one CPU, which no LOCK need wait for
};

// The probe table of indirect jumps, one for each CPU (StateHeader::jump_table points to it). Entry of a pc:
// jump_index(pc).
struct JumpEntry {
  u32 pc = 0;
  u32 mode = ~0u;
  u32 page = 0;         // entry of the execution table that it is valid with
  u32 second_page = 0;  // of code that reaches into another page, which it checks itself
  const void* code = nullptr;
  u64 reserved = 0;
};
static_assert(sizeof(JumpEntry) == 32);
constexpr u32 kJumpEntries = 1u << 14;
// Instructions are mostly words; functions of different pages that share low address bits get different entries.
constexpr u32 jump_index(u64 pc) { return static_cast<u32>((pc >> 12 ^ pc) >> 2 & (kJumpEntries - 1)); }

// Where a block leaves to a known key. Positions are offsets in the buffer.
struct ExitSite {
  u16 exit = 0;           // index into Block::exits
  bool same_page = true;  // jumps without looking at the execution table
  u32 jump = 0;           // rel32 field of the jump to the target
  u32 compare = 0;        // imm32 field of the comparison with the page's id (not same_page)
  u32 stub = 0;           // what `jump` reaches while not linked
  u32 stub_jump = 0;      // rel32 field of the stub's jump (not same_page)
};

// An access through a window, which goes on at `slow` where it faults on the host. Offsets in the buffer.
struct FaultSite {
  u32 at = 0, slow = 0;
};

struct CompiledBlock {
  u32 entry = 0;
  u32 hot_bytes = 0;
  u32 cold_entry = 0;
  u32 cold_bytes = 0;
  std::vector<ExitSite> sites;  // ids are first_exit + index
  std::vector<FaultSite> faults;
  u32 second_check = 0;  // imm32 field of the entry's comparison with the second page's id, 0: there is none
};

// What enter() came back with.
struct Left {
  static constexpr u64 kDispatch = 0;           // pc and mode are in the state
  static constexpr u64 kPoll = u64{1} << 32;    // the poll word is not zero; with an exit's id, or at pc and mode in
                                                // the state (id 0)
  static constexpr u64 kBudget = u64{2} << 32;  // icount: nothing left, at the entry of a block; pc, mode in the state
  static constexpr u64 kException = u64{3} << 32;  // StateHeader::exception is set
};

class Compiler {
 public:
  // `write` and `run` are two mappings of the same `size` bytes (at least 4 MiB, at most 1 GiB).
  Compiler(const Settings& settings, u8* write, const u8* run, usize size);
  ~Compiler();

  enum class Outcome : u8 {
    done,
    full,         // there is no room; nothing was changed
    too_complex,  // too many values at a time: try with fewer guest instructions
  };
  struct Request {
    u32 first_exit = 1;     // id of the first exit site, not 0
    u32 second_page = 0;    // id of the page behind the first one when the block's code reaches into it
    bool windowed = false;  // plain accesses go through the window, and look at no alignment
    bool in_piece = false;  // in the open piece: not while another thread does anything with it
    unsigned lane = 0;      // not while another thread uses it
  };
  Outcome compile(const ir::Block& block, const Request& request, CompiledBlock& out);
  // How many exit sites a block will have.
  static u32 exit_sites(const ir::Block& block);
  // One more lane; there is number 0. While nobody compiles.
  unsigned add_lane();
  // Room in the open piece for a block whose hot_bytes and cold_bytes are there: its entry and cold_entry, as compile()
  // would have them. False: there is none.
  bool place_in_piece(CompiledBlock& out);
  // Keeps the last bytes of the buffer, from the returned offset on, for pieces: `bytes` is a multiple of the page
  // size, and at most half of the buffer. Before any block is made.
  u32 set_aside(usize bytes);
  // The piece of what was set aside that blocks are made in. It is empty from now on.
  void open_piece(u32 begin, u32 bytes);
  // Forgets all blocks, while nobody compiles. No piece is open.
  void reset();
  // Where blocks may lie, for code that was made by another compiler of the same fingerprint() and lies there as it lay
  // in its buffer: it has to be unlinked. From now on blocks are made behind it. Before any was; false: there is no
  // room.
  bool reserve(usize hot_bytes, usize cold_bytes);
  u32 hot_begin() const;
  u32 cold_begin() const;
  std::span<u8> code(u32 offset, usize bytes);
  // The same to be read: what runs is in memory already.
  std::span<const u8> text(u32 offset, usize bytes) const;
  // What the code depends on besides the program itself: settings, the host's features, the buffer's division.
  std::string fingerprint() const;
  // Another id for the second page of a block that is not running.
  void set_second_page(u32 second_check, u32 id);
  // What a comparison holds that no page's id equals.
  static constexpr u32 kNoPage = 0x7fffffff;

  // Runs from `code` (an address in the run mapping) until something leaves.
  u64 enter(ir::StateHeader& state, const void* code) const;
  const void* address(u32 offset) const;
  // Makes an exit go to a block: `page` is the id of the target's page. And back to where it leaves. Both while code
  // runs.
  void link(const ExitSite& site, u32 target, u32 page);
  void unlink(const ExitSite& site);
  // What a dead block's jump entries point to: it leaves with kDispatch.
  const void* dispatch_code() const;

  // Of what is not set aside, from any thread.
  usize hot_used() const;
  usize cold_used() const;
  usize capacity() const;
  // The state of the CPU whose generated code has these registers (by their x86-64 numbers).
  static ir::StateHeader* state_of(const u64* registers);
  // Moves the cumulative FP flags from the host's images to StateHeader::fp_flags.
  static void sync_fp_flags(ir::StateHeader& state);
  // The code of a block as text, one line an instruction.
  std::string disassemble(const CompiledBlock& block) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rhea::x64
