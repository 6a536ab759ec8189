// SPDX-License-Identifier: MIT
// The contract between a guest architecture (guest/) and the engines (accel/): what a virtual CPU's state looks
// like, how its code becomes IR, how its addresses are translated, how its exceptions are taken.
#pragma once

#include <atomic>
#include <span>
#include <string>
#include <string_view>

#include "ir/ir.h"
#include "util/types.h"

namespace rhea::ir {

// Why a CPU should look up from generated code: bits of StateHeader::poll.
enum PollBit : u32 {
  kPollInterrupt = 1,  // an interrupt pin may be up: Guest::take_interrupt() decides
  kPollRequest = 2,    // the engine has work for this CPU: TLB maintenance, stop, icount budget
};

// The start of every guest's CPU state. Generated code addresses it and what follows by displacement.
struct StateHeader {
  std::atomic<u32> poll{0};  // PollBits
  u32 flags = 0;             // condition flags, image format (ir.h); only kImageMask bits count
  s32 budget = 0;            // icount: guest instructions left before leaving
  u32 exception = 0;         // set by a helper or a memory operation that faulted: leave, the state is set up
  u64 pc = 0;                // key of the next block, valid outside of generated code
  u64 mode = 0;
  u64 location = 0;                // location word of the instruction being executed, when a helper is called
  u64* read_table = nullptr;       // soft tables of the current address space and privilege (accel/soft_mmu.h)
  u64* user_read_table = nullptr;  // the same for unprivileged access (MemFlag::kUserAccess)
  u64 exec_table = 0;              // engine's own
  u32 mxcsr_ieee = 0x1f80;         // engine's own: host FP control by class, with the cumulative flags that
  u32 mxcsr_neon = 0x9fc0;         //   have not been moved to fp_flags yet
  u32 mxcsr_other = 0x1f80;
  u32 mxcsr_host = 0x1f80;
  u32 fp_flags = 0;                 // cumulative FP exceptions (fp.h: FpFlag)
  u32 saturated = 0;                // not zero: a vector operation saturated
  u64 exclusive_address = ~u64{0};  // exclusive monitor: guest-virtual address, or ~0
  u64 exclusive_value = 0;
  u32 exclusive_size = 0;
  u32 insns_left = 0;                // engine's own
  u32 unaligned = 0;                 // not zero: data accesses without kAligned need no alignment in normal memory
  void* engine = nullptr;            // engine's own: the virtual CPU that runs this state
  const void* jump_table = nullptr;  // engine's own: translations by pc, for indirect jumps
  // Engine's own, of accesses through a window: the one that faulted last on the host, how many mappings had been made
  // then and have been made by now, and one that has faulted too often for nothing.
  u32 fault_site = 0, fault_maps = 0, window_maps = 0, worn_site = 0;
  u32 ahead = 0;  // icount: instructions of the running block from the one at `location` on, when a helper
                  // or a slow path is called: `budget` counts them as done
};

enum class Access : u8 { read, write, execute };

// An address translation that succeeded: one page (of the tables' granule, 4 KiB, or less).
struct Mapping {
  u64 physical = 0;       // of the page that holds the address
  bool writable = false;  // at this privilege
  bool executable = false;
  bool global = false;  // valid in every address space
  bool device = false;  // device or strongly ordered memory: misaligned accesses fault
  bool secure = true;   // attribute of the accesses
  u8 size_bits = 12;    // log2 of what one translation entry maps (20: a section): maintenance of any address in it
                        // drops all of it
};

struct Fault {
  u64 address = 0;
  Access access = Access::read;
  bool external = false;  // nothing answered at the physical address
  bool alignment = false;
  u64 code = 0;  // guest's own: as its walker gave it
};

// A helper of the guest, called from IR. Arguments are zero-extended; the result is truncated to its type.
struct Helper {
  using Function = u64 (*)(void* state, u64 a, u64 b, u64 c);
  std::string_view name;
  Function function;
  u8 flags;
};
enum HelperFlag : u8 {
  kReadsState = 1,   // state slots are stored before the call
  kWritesState = 2,  // and reloaded after it
  kFaults = 4,       // may set StateHeader::exception: the block is left. Implies kReadsState; on an exception the
                     // helper has set the whole state itself. `location` is valid in it.
  kPure = 8,         // depends on its arguments alone
};

// State slots worth a host register, best first.
struct Pin {
  u32 offset;
  Type type;
  std::string_view name;
};

struct StateLayout {
  u32 size = 0;
  std::span<const Pin> pins;
};

// Reads guest code for the translator: 4 KiB pages at consecutive virtual addresses, translated for execution.
class CodeReader {
 public:
  virtual ~CodeReader() = default;
  // The aligned half-word at a virtual address. False: it cannot be fetched (the block ends before it; when it is
  // the first instruction the engine raises the fetch fault).
  virtual bool fetch16(u64 address, u16& value) = 0;
};

// Who is told by the guest of what concerns its engine. All are called on the CPU's own thread.
class EngineHooks {
 public:
  virtual ~EngineHooks() = default;
  // Translation tables changed: nothing / one space / one page of a space or of all may be cached any more.
  // `all_cpus`: broadcast (the inner-shareable operations); complete when the CPU has left the block that called
  // synchronize().
  virtual void flush_all(bool all_cpus) = 0;
  virtual void flush_space(u64 space, bool all_cpus) = 0;
  virtual void flush_page(u64 space, u64 address, bool all_spaces, bool all_cpus) = 0;
  virtual void synchronize() = 0;  // DSB; its block ends with an exit that polls
  // The current address space (an ASID or a table root), or what translation depends on, changed. `changed`: the
  // meaning of every cached mapping may have changed (MMU turned on or off, domains).
  virtual void space_changed(u64 space) = 0;
  virtual void privilege_changed(bool privileged) = 0;
  // Instruction cache maintenance: code at this range may have changed without a store that the engine saw.
  virtual void code_changed(u64 address, u64 size, bool all) = 0;
  // Stop running this CPU until an interrupt (WFI), or for an event or a while (WFE, YIELD).
  virtual void wait_for_interrupt() = 0;
  virtual void wait_for_event() = 0;
  virtual void send_event() = 0;
  // A physical access by the guest itself (its own table walks): RAM or device.
  virtual bool read_physical(u64 address, unsigned size, u64& value) = 0;
  // Guest-virtual access by a helper, as generated code would make it. False: a fault was raised (exception set).
  virtual bool read_memory(u64 address, unsigned size, u8 mem_flags, u64& value) = 0;
  virtual bool write_memory(u64 address, unsigned size, u8 mem_flags, u64 value) = 0;
  // The machine's virtual time in ns: what a guest's cycle counters count.
  virtual s64 virtual_time() const { return 0; }
  // A debugger: whether one is there (then flags are exact at each instruction), whether the instruction at an address
  // is to be stopped at, and, from the helper that stands before such an instruction, that it was reached: the CPU's
  // pc is there.
  virtual bool debugging() const { return false; }
  virtual bool has_breakpoint(u64 address) const { return false; }
  virtual void breakpoint_reached() {}
  // Cumulative FP flags: brings StateHeader::fp_flags up to date; and after a change of the FP control word.
  virtual void sync_fp_flags() = 0;
};

// A guest CPU.
class Guest {
 public:
  virtual ~Guest() = default;
  // What its translations depend on besides their code and key: the model's name.
  virtual std::string_view model_name() const { return {}; }
  virtual const StateLayout& layout() const = 0;
  virtual StateHeader& state() = 0;
  virtual std::span<const Helper> helpers() const = 0;
  virtual void set_engine(EngineHooks& hooks) = 0;

  virtual void reset() = 0;
  // One block of IR from key.pc on, at most max_insns instructions. It never spans more than two pages, and stops
  // at the end of the first one where possible.
  virtual void translate(const Key& key, CodeReader& code, unsigned max_insns, Block& block) = 0;
  // Puts pc, mode (and what else a location word says) of the instruction that was interrupted into the state.
  virtual void restore_location(u64 location) = 0;

  // Translates an address at the given privilege for the engine's tables. Debug: no side effects.
  virtual bool walk(u64 address, Access access, bool user, Mapping& mapping, Fault& fault) = 0;
  // Misaligned normal accesses are done (true) or fault (the guest's alignment check is on).
  virtual bool allows_unaligned() const = 0;
  virtual bool privileged() const = 0;
  // The current address space, as in EngineHooks: in the low half the space proper (an ASID, else a table root), in
  // the high half whatever else translation depends on that a guest changes often (ARM's domain register). Mappings
  // that are global are shared by all spaces with the same high half. Maintenance by space looks at the low half
  // alone. What changes translation otherwise (MMU on and off, table formats, remap registers) is flush_all.
  virtual u64 space() const = 0;
  // Takes the exception for a fault; the state is that of the faulting instruction (restore_location was called).
  virtual void raise_fault(const Fault& fault) = 0;
  // Looks at the interrupt pins; enters the exception and returns true if one is to be taken now.
  virtual bool take_interrupt() = 0;
  // Whether an interrupt pin is up, masked or not: what ends WFI.
  virtual bool has_wakeup() const = 0;
  // Pins, from any thread (the engine sets kPollInterrupt and kicks).
  virtual void set_pin(unsigned pin, bool level) = 0;
};

}  // namespace rhea::ir
