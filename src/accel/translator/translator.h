// SPDX-License-Identifier: MIT
// The translator: blocks of guest code become host code, which the CPUs run out of one shared cache.
//
// Generated code goes from block to block by itself (links, jump tables); run() comes in where it does not know how
// to go on. A jump table of each CPU maps (pc, mode) to code; its entries are valid while the execution table of the
// current space leads to the page that the code was made from, so changes of address space cost nothing. Links
// between pages check the same entry; links within a page need not.
//
// CPUs make blocks at the same time. The lock is held to find out that there is none, and to make a new one known; in
// between its pages are claimed, and lines of them that are written meanwhile are noted: what was made from them is
// made again. Hot paths are compiled by a thread, which has nothing of a CPU but what that gave it (region_queue.h).
//
// Code that is written (code_written) is dropped at once, from any thread: links to it are taken back, and jump
// table entries are made to leave. When the cache is full everything is dropped while all CPUs are outside; what is
// made for one more address of the same code has a ring of its own, whose oldest piece is dropped in the same way.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "accel/interpreter/interpreter.h"
#include "accel/translator/code_cache.h"
#include "accel/translator/code_copies.h"
#include "accel/translator/code_store.h"
#include "accel/translator/fault_sites.h"
#include "accel/translator/region_queue.h"
#include "accel/translator/regions.h"
#include "accel/virtual_cpu.h"
#include "host/x64/compiler.h"
#include "sys/fd.h"
#include "sys/memory_map.h"
#include "util/counter.h"

namespace rhea::accel {

class PageReader;

// Which 64-byte lines of a page have code, by the page's id. Read without the lock that making and clearing need.
class CodeLines {
 public:
  std::atomic<u64>& make(u32 page);
  std::atomic<u64>* find(u32 page) const;  // nullptr: none ever had
  void clear();

 private:
  static constexpr u32 kPagesPerPart = 1u << 12;
  static constexpr usize kParts = 1u << 12;  // 64 GiB of RAM
  std::array<std::atomic<std::atomic<u64>*>, kParts> parts_{};
  std::vector<std::unique_ptr<std::atomic<u64>[]>> owned_;
};

class Translator final : public BlockRunner {
 public:
  static Result<std::unique_ptr<Translator>> create(const RunnerContext& context);
  ~Translator() override {
    requests_.stop();
    store_.save();
  }

  void attach(VirtualCpu& cpu) override;
  Leave run(VirtualCpu& cpu) override;
  void code_written(memory::RamBlock& ram, u64 offset, u64 size) override;
  void forget_code(u64 begin, u64 end) override;
  void sync_fp_flags(VirtualCpu& cpu) override { x64::Compiler::sync_fp_flags(cpu.state()); }
  void end() override { requests_.stop(); }
  std::string statistics() const override;

 private:
  static constexpr u64 kNoMode = ~u64{0};
  // A page that a block is made from just now, by its id, and which lines of it were written meanwhile.
  struct Claim {
    std::atomic<u32> page{0};
    std::atomic<u64> written{0};
  };
  class PageClaim;
  struct Data final : RunnerData {
    // Throws std::bad_alloc.
    Data();
    // None leads anywhere. What is all zeros belongs to address 0, which the first one must not.
    void clear_jumps();
    // None leads to host code at [begin, end) any more.
    void forget_jumps(u64 begin, u64 end);
    sys::MemoryMap map;
    x64::JumpEntry* jumps = nullptr;
    HotPlaces hot;
    // What the CPU makes blocks with.
    unsigned lane = 0;
    ir::Block block;
    x64::CompiledBlock compiled;
    std::array<Claim, 2> claims;
    ir::Key postponed{.mode = kNoMode};  // where a region is to begin, icount
    bool looked_up = false;              // on the way that was followed, the poll word was not zero where it is read
    s64 next_region = 0;                 // when time for one is there again
    std::atomic<s64> owes{0};            // ns that the thread took for it since
    Counter left_link, left_dispatch, left_poll, left_exception, lookups;
  };
  static Data& data_of(const VirtualCpu& cpu) { return static_cast<Data&>(*cpu.runner_data); }
  // What has no room for a new block.
  enum class Full : u8 { nothing, everything, piece };
  explicit Translator(const RunnerContext& context)
      : options_(context.options), lone_cpu_(context.cpus == 1), log_(context.log), recorder_(context) {}

  void make_compiler(VirtualCpu& cpu);
  // The code at the CPU's pc and mode; `from`: the exit that led there, to be linked, or 0. nullptr: an exception was
  // entered, or the cache was emptied: look again.
  const void* find(VirtualCpu& cpu, Data& data, u32 from);
  u32 look_up(VirtualCpu& cpu, const CodePage& first);
  u32 translate(VirtualCpu& cpu, Full& full);
  enum class Retry : u8 { no, shorter, again };
  // How a block is made.
  struct Plan {
    unsigned max_insns = 0;
    bool locked = false;  // all the time
    bool windowed = false;
    bool debugging = false;
    u32 like = kNoBlock;  // has the same code elsewhere: this one goes to the ring, and is compared with it
    bool in_ring() const { return like != kNoBlock; }
  };
  u32 make(VirtualCpu& cpu, PageReader& reader, Plan plan, Full& full, Retry& retry);
  using Lock = std::unique_lock<std::mutex>;
  x64::Compiler::Outcome compile(VirtualCpu& cpu, PageReader& reader, const Plan& plan, Translation& made, Lock& lock);
  void log_ir(VirtualCpu& cpu, const ir::Block& block);
  static Translation extent_of(const ir::Block& block, const PageReader& reader);
  u32 publish(VirtualCpu& cpu, const PageReader& reader, const Plan& plan, const Translation& made);
  u32 revive(VirtualCpu& cpu, const PageReader& reader, u32 index);
  u32 copy(VirtualCpu& cpu, const PageReader& reader, u32 like);
  CodeOrigins::Found find_made(const ir::Key& key, const PageReader& reader, bool windowed);
  void compare(u32 like, u32 made, const x64::CompiledBlock& compiled);
  void note_faults(u32 index, const x64::CompiledBlock& compiled);
  // Whether guest code is kept with what was made from it, to find that again.
  bool remembers() const { return options_.copies || store_.active(); }
  void watch(VirtualCpu& cpu, const CodePage& page);
  bool goes_through_window(VirtualCpu& cpu, const ir::Key& key, const CodePage& page) const;
  void make_known(u32 index);
  void open_store(VirtualCpu& cpu);
  bool may_link(u32 exit_id, u32 target) const;
  void link_new(u32 index);
  void enter_jump(Data& data, u32 index);
  void replace_worn(VirtualCpu& cpu);
  void forget_jumps(const Translation& translation);
  bool is_claimed(u32 page) const;
  void note_written(u32 page, u64 lines);
  bool concerns_code(u32 page, u64 lines) const;
  bool rewrites(u32 page, u64 begin, u64 end);
  void block_dropped(u32 index);
  void empty(VirtualCpu& cpu);
  void drop_everything();
  void open_ring();
  void open_piece(u32 piece);
  void empty_piece(VirtualCpu& cpu);
  void drop_piece(u32 piece);
  void log_block(VirtualCpu& cpu, const ir::Block& block, const char* title, LogItem item);
  void unload_written(const x64::CompiledBlock& compiled);
  void note_perf(const char* kind, u64 pc, u32 entry, u32 bytes);

  void start_region_thread();
  bool is_hot(VirtualCpu& cpu, Data& data, s64 now) const;
  bool make_postponed_region(VirtualCpu& cpu, Data& data);
  void make_region(VirtualCpu& cpu, Data& data, s64 now);
  std::vector<ir::Key> follow(VirtualCpu& cpu, Data& data);
  RegionRequest* begin_region(VirtualCpu& cpu, Data& data, u32 page);
  bool fill_region(VirtualCpu& cpu, const std::vector<ir::Key>& path, RegionRequest& request);
  // A block of a path: the key of its page, and how many bytes of it are known to be its code.
  struct PathBlock {
    u32 page = 0, bytes = 0;
  };
  std::vector<PathBlock> await_path(VirtualCpu& cpu, const std::vector<ir::Key>& path, RegionRequest& request);
  bool read_part(VirtualCpu& cpu, const ir::Key& key, const PathBlock& block, PageReader& reader, ir::Block& part);
  usize join_path(VirtualCpu& cpu, std::span<const ir::Key> path, std::span<const PathBlock> blocks,
                  RegionRequest& request);
  void compile_region(RegionRequest& request, unsigned lane, x64::CompiledBlock& compiled);
  void publish_region(const RegionRequest& request, u32 first_exit, const x64::CompiledBlock& compiled);
  void log_region(const RegionRequest& request, const x64::CompiledBlock& compiled);
  void drop_doomed();

  const Options& options_;
  const bool lone_cpu_;
  Log& log_;
  Interpreter recorder_;  // runs hot paths once, to see where they go
  sys::Fd file_;
  sys::MemoryMap write_, run_;
  std::unique_ptr<x64::Compiler> compiler_;
  std::span<const ir::Helper> helpers_;
  FaultSites faults_;
  std::atomic<u64> epoch_{1};  // raised when everything is dropped
  std::atomic<bool> logging_{false};
  mutable std::mutex mutex_;  // all below
  CodeCache cache_;
  CodeOrigins origins_;
  CodeStore store_{cache_, origins_, mutex_};
  CodeCopies copies_{cache_, origins_};
  std::vector<std::vector<u32>> ring_faults_;  // fault sites of each piece of the ring
  Regions regions_;
  std::vector<VirtualCpu*> cpus_;
  std::vector<std::pair<memory::RamBlock*, u64>> code_pages_;  // where page flags are set
  CodeLines lines_;
  // Stores to pages with code, each behind the other: where they began and ended (a page's id, and the byte in it), and
  // whether one of them met a block.
  std::atomic<u64> written_from_{0}, written_to_{0};
  std::atomic<bool> written_code_{false};
  std::set<std::tuple<u64, u64, u32>> worn_;  // blocks (pc, mode, page) that do without windows from now on
  u64 written_ = 0;                           // bytes of host code made since the last unload_written()
  std::FILE* perf_map_ = nullptr;
  struct {
    u64 blocks = 0, guest_insns = 0, guest_bytes = 0, hot_bytes = 0, cold_bytes = 0, dropped = 0, emptied = 0,
        links = 0, windowed = 0, replaced = 0, copied = 0, compared = 0, different = 0, in_ring = 0, pieces = 0;
    u64 nanoseconds = 0;
    u64 paths = 0, regions = 0, region_blocks = 0, region_insns = 0, region_bytes = 0, regions_dropped = 0,
        region_nanoseconds = 0, thread_nanoseconds = 0, regions_refused = 0, regions_outdated = 0;
  } counts_;
  RegionQueue requests_;
};

}  // namespace rhea::accel
