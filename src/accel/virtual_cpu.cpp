// SPDX-License-Identifier: MIT
// A virtual CPU's ways between its places, its sleep, and the maintenance that CPUs ask of each other.
//
// Each of them is a store followed by a look at what the other side stores (sequentially consistent): a CPU stores
// its place and then looks for stops and queued maintenance; who stops or queues stores that and then looks at the
// place. So one of them sees the other. Sleep is the same with `asleep_` and the pins.
#include "accel/virtual_cpu.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "accel/debugger.h"
#include "accel/interpreter/interpreter.h"
#include "accel/run_control.h"
#include "sys/poller.h"
#include "sys/thread.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {
constexpr usize kMaxQueuedFlushes = 64;  // from here on one of everything takes their place
constexpr std::chrono::milliseconds kShortestEventWait{1};
constexpr std::chrono::milliseconds kLongestEventWait{32};
constexpr s64 kShortestPoll = 20'000, kLongestPoll = 200'000;  // ns
constexpr unsigned kLooks = 32;                                // between two looks at the clock

SoftMmu::Windows windows_of(const Options& options) {
  if (!options.windows || options.engine != "tcg") return SoftMmu::Windows::off;
  return options.eager_windows ? SoftMmu::Windows::eager : SoftMmu::Windows::earned;
}
}  // namespace

VirtualCpu::VirtualCpu(unsigned index, std::unique_ptr<GuestCpu> guest_cpu, memory::AddressSpace& memory,
                       RunControl& control, BlockRunner& runner, Debugger& debugger, const Options& options, Log& log)
    : index_(index), guest_cpu_(std::move(guest_cpu)), guest_(guest_cpu_->guest()), state_(guest_.state()),
      memory_(memory), control_(control), runner_(runner), debugger_(debugger), options_(options), log_(log),
      mmu_(guest_, memory, *this, log, index, options.tables, windows_of(options)) {
  state_.engine = this;
  guest_.set_engine(*this);
  mmu_.set_tracker(&runner);
  mmu_.set_debugger(&debugger);
  control.add(*this, mmu_);
  runner.attach(*this);
  debugger.add(*this);
}

VirtualCpu::~VirtualCpu() = default;

std::span<SoftMmu* const> VirtualCpu::all_mmus() const { return control_.mmus(); }

// ---- where it is ---------------------------------------------------------------------------------------------------
bool VirtualCpu::enter() {
  // Here and not within the block: a stop that comes meanwhile finds the whole state between two instructions.
  if (std::exchange(synchronizes_, false)) control_.wait_for_flushes(*this);
  for (;;) {
    place_.store(static_cast<u8>(Place::running), std::memory_order_seq_cst);
    if (control_.ending()) return leave(), false;
    if (!control_.must_wait(true)) break;
    leave();
    control_.wait_until_free(true);
  }
  if (flush_pending()) take_flushes();
  return true;
}

void VirtualCpu::leave(Place place) {
  place_.store(static_cast<u8>(place), std::memory_order_seq_cst);
  if (control_.has_waiters()) control_.notify();
}

void VirtualCpu::begin_blocking() { leave(Place::blocked); }

// Behind an access it runs already, and goes on to its next poll.
void VirtualCpu::end_blocking() {
  while (place() != Place::running) {
    place_.store(static_cast<u8>(Place::running), std::memory_order_seq_cst);
    if (!control_.must_wait(false)) break;
    leave(Place::blocked);
    control_.wait_until_free(false);
  }
  if (flush_pending()) take_flushes();
}

memory::AccessGate::Answer VirtualCpu::ask() {
  if (place() != Place::running) place_.store(static_cast<u8>(Place::running), std::memory_order_seq_cst);
  if (control_.must_wait(false)) {
    leave(Place::blocked);
    return Answer::wait;
  }
  return std::exchange(abandons_, false) ? Answer::abandon : Answer::go;
}

void VirtualCpu::wait() { control_.wait_until_free(false); }

void VirtualCpu::run_exclusive(const std::function<void()>& work) {
  leave();
  control_.exclusive(*this, work);
  while (!enter() && !control_.ending()) {}
}

Leave VirtualCpu::run_blocks(bool look) {
  if (!look) return runner_.run(*this);
  state_.poll.exchange(0, std::memory_order_seq_cst);
  // Who asked for a stop before that has had his poll bit cleared.
  if (control_.must_wait(true) || control_.ending()) return Leave::poll;
  if (flush_pending()) take_flushes();
  guest_.take_interrupt();
  return runner_.run(*this);
}

bool VirtualCpu::step(Interpreter& stepper, bool mask_interrupts, bool pass) {
  state_.poll.exchange(0, std::memory_order_seq_cst);
  if (control_.must_wait(true) || control_.ending()) return false;
  if (flush_pending()) take_flushes();
  wake_up();  // an instruction behind WFI may always be reached
  if (!mask_interrupts) guest_.take_interrupt();
  passing_ = pass;
  stepper.run_once(*this, 1);
  passing_ = false;
  if (mask_interrupts) state_.poll.fetch_or(ir::kPollInterrupt, std::memory_order_relaxed);
  wake_up();
  return true;
}

bool VirtualCpu::step_exactly(Interpreter& stepper, unsigned most, bool pass) {
  passing_ = pass;
  const bool look = stepper.run_once(*this, most);
  passing_ = false;
  return look && state_.poll.load(std::memory_order_relaxed);
}

void VirtualCpu::kick(u32 poll_bits) {
  state_.poll.fetch_or(poll_bits, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst)) {
    std::lock_guard lock(sleep_mutex_);
    sleep_condition_.notify_all();
  }
  control_.notify_work();
}

void VirtualCpu::set_irq(unsigned input, bool level) {
  guest_.set_pin(input, level);
  if (level) kick(ir::kPollInterrupt);
}

// ---- sleep ---------------------------------------------------------------------------------------------------------
bool VirtualCpu::has_work() const {
  if (sleep_ == Sleep::no || guest_.has_wakeup()) return true;
  return sleep_ == Sleep::event && event_.load(std::memory_order_seq_cst);
}

void VirtualCpu::wake_up() {
  if (sleep_ == Sleep::event) event_.store(false, std::memory_order_seq_cst);
  sleep_ = Sleep::no;
}

// A thread that sleeps is woken late: on a busy or virtual host it takes longer than the answer to a packet. So a CPU
// whose sleeps are short looks for a while first, and one whose sleeps are long (an idle guest) does not.
template <typename Ready>
bool VirtualCpu::poll_while_halted(const Ready& ready) {
  if (halt_poll_ == 0) return false;
  const s64 end = sys::monotonic_now() + halt_poll_;
  do {
    for (unsigned i = 0; i < kLooks; i++) {
      if (ready()) return true;
      sys::relax();
    }
  } while (sys::monotonic_now() < end);
  return false;
}

void VirtualCpu::adapt_polling(s64 slept) {
  // With a CPU of the host for each of the guest's and one more: else it would take somebody's time.
  static const usize host_cpus = std::thread::hardware_concurrency();
  if (slept > kLongestPoll || !options_.halt_poll || control_.cpus().size() >= host_cpus) halt_poll_ = 0;
  else halt_poll_ = std::clamp(2 * (halt_poll_ + slept), kShortestPoll, kLongestPoll);
}

void VirtualCpu::sleep() {
  auto ready = [&] {
    return has_work() || control_.ending() || (debugger_.attached() && debugger_.action(index_) == CpuAction::step);
  };
  if (sleep_ == Sleep::interrupt && poll_while_halted(ready)) return wake_up();
  asleep_.store(true, std::memory_order_seq_cst);
  {
    std::unique_lock lock(sleep_mutex_);
    if (sleep_ == Sleep::interrupt) {
      const s64 began = sys::monotonic_now();
      sleep_condition_.wait(lock, ready);
      adapt_polling(sys::monotonic_now() - began);
      event_wait_ = kShortestEventWait.count();
    } else if (!ready()) {
      // An event may also be the end of another CPU's exclusive access, which nobody announces: look again after a
      // while, which grows as long as nothing happens.
      const bool woken = sleep_condition_.wait_for(lock, std::chrono::milliseconds(event_wait_), ready);
      event_wait_ = woken ? kShortestEventWait.count() : std::min<s64>(event_wait_ * 2, kLongestEventWait.count());
    }
  }
  asleep_.store(false, std::memory_order_seq_cst);
  wake_up();
}

void VirtualCpu::wait_for_interrupt() {
  if (guest_.has_wakeup()) return;
  sleep_ = Sleep::interrupt;
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed);
}

void VirtualCpu::wait_for_event() {
  if (event_.exchange(false, std::memory_order_seq_cst) || guest_.has_wakeup()) return;
  sleep_ = Sleep::event;
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed);
}

void VirtualCpu::send_event() {
  for (VirtualCpu* cpu : control_.cpus()) {
    cpu->event_.store(true, std::memory_order_seq_cst);
    if (cpu->asleep_.load(std::memory_order_seq_cst)) {
      std::lock_guard lock(cpu->sleep_mutex_);
      cpu->sleep_condition_.notify_all();
    }
  }
}

void VirtualCpu::reset() {
  // One that is in the middle of an access (it waits for the lock that our caller holds) leaves its block when that is
  // done, as after a fault: what it holds of the old state must not be written over the new one.
  const bool inside = place() == Place::blocked;
  guest_.reset();
  {
    std::lock_guard lock(sleep_mutex_);  // it may be asleep right now: nothing else would wake it
    sleep_ = Sleep::no;
    event_.store(false);
    sleep_condition_.notify_all();
  }
  {
    std::lock_guard lock(flush_mutex_);
    flushes_.clear();
    flush_pending_.store(false);
  }
  flushes_others_ = false;
  state_.poll.store(0);
  state_.exception = inside ? 1 : 0;
  abandons_ = inside;
  state_.exclusive_address = ~u64{0};
  instructions.store(0);
  mmu_.flush_all();
  if (log_.on(LogItem::cpu_reset))
    log_.write_text(fmt::format("CPU Reset (CPU {})\n{}", index_, guest_cpu_->registers_text()));
}

// ---- maintenance ---------------------------------------------------------------------------------------------------
void VirtualCpu::apply(const Flush& flush) {
  switch (flush.kind) {
    case Flush::Kind::all: mmu_.flush_all(); break;
    case Flush::Kind::space: mmu_.flush_space(flush.space); break;
    case Flush::Kind::page: mmu_.flush_page(flush.space, flush.address, flush.all_spaces); break;
  }
}

void VirtualCpu::broadcast(const Flush& flush, bool all_cpus) {
  apply(flush);
  if (!all_cpus) return;
  for (VirtualCpu* cpu : control_.cpus()) {
    if (cpu == this) continue;
    cpu->queue(flush);
    flushes_others_ = true;
  }
}

void VirtualCpu::queue(const Flush& flush) {
  {
    std::lock_guard lock(flush_mutex_);
    if (flushes_.size() >= kMaxQueuedFlushes) flushes_.assign(1, Flush{});
    else flushes_.push_back(flush);
    flush_pending_.store(true, std::memory_order_seq_cst);
  }
  // One that sleeps does it when it wakes up for another reason.
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_seq_cst);
}

void VirtualCpu::queue_flush_all() { queue({}); }

void VirtualCpu::take_flushes() {
  std::vector<Flush> flushes;
  {
    std::lock_guard lock(flush_mutex_);
    flushes.swap(flushes_);
  }
  for (const Flush& flush : flushes) apply(flush);
  mmu_.finish_windows();
  {
    std::lock_guard lock(flush_mutex_);
    flush_pending_.store(!flushes_.empty(), std::memory_order_seq_cst);
  }
  if (control_.has_waiters()) control_.notify();
}

void VirtualCpu::flush_all(bool all_cpus) { broadcast({.kind = Flush::Kind::all}, all_cpus); }
void VirtualCpu::flush_space(u64 space, bool all_cpus) {
  broadcast({.kind = Flush::Kind::space, .space = space}, all_cpus);
}
void VirtualCpu::flush_page(u64 space, u64 address, bool all_spaces, bool all_cpus) {
  broadcast({.kind = Flush::Kind::page, .all_spaces = all_spaces, .space = space, .address = address}, all_cpus);
}

void VirtualCpu::synchronize() {
  mmu_.finish_windows();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!flushes_others_) return;
  flushes_others_ = false;
  if (control_.single_thread) return;  // the others are not running: they do it when they do
  synchronizes_ = true;
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed);
}

void VirtualCpu::space_changed(u64) { mmu_.update_space(); }
void VirtualCpu::privilege_changed(bool) { mmu_.update_space_tables(); }

// Pages with code are watched, so a store has been announced already. What is left is another CPU's store that was
// on its way while the page became one with code: by address that is cheap to take care of.
void VirtualCpu::code_changed(u64 address, u64 size, bool all) {
  if (all || control_.cpus().size() < 2) return;
  ir::Mapping mapping;
  ir::Fault ignored;
  if (!guest_.walk(address, ir::Access::read, false, mapping, ignored)) return;
  const u64 in_page = address & (memory::kPageSize - 1);
  const u64 physical = align_down(mapping.physical, memory::kPageSize) | in_page;
  const memory::Range* range = memory_.find(physical);
  if (!range || !range->ram) return;
  const u64 offset = range->ram_offset + (physical - range->base);
  if (!(range->ram->page_flags(offset).load() & memory::kPageHasCode)) return;
  runner_.code_written(*range->ram, offset, std::min(std::max<u64>(size, 1), memory::kPageSize - in_page));
}

// ---- debugger ------------------------------------------------------------------------------------------------------
bool VirtualCpu::debugging() const { return debugger_.attached(); }
bool VirtualCpu::has_breakpoint(u64 address) const { return !passing_ && debugger_.has_breakpoint(address); }

void VirtualCpu::breakpoint_reached() {
  debugger_.hit({.why = DebugStop::Why::breakpoint, .cpu = index_, .address = state_.pc});
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed);
  debug_exit_ = true;
}

bool VirtualCpu::watch_reached(u64 address, u64 size, bool write) {
  Watchpoint found;
  if (passing_ || !debugger_.watched(address, size, write, found)) return false;
  debugger_.hit({.why = DebugStop::Why::watchpoint,
                 .cpu = index_,
                 .address = std::max(address, found.address),
                 .watch = found.kind});
  state_.poll.fetch_or(ir::kPollRequest, std::memory_order_relaxed);
  debug_exit_ = true;
  return true;
}

void VirtualCpu::exec_mappings_dropped() { runner_.exec_mappings_dropped(*this); }
void VirtualCpu::sync_fp_flags() { runner_.sync_fp_flags(*this); }

// ---- the guest's own accesses --------------------------------------------------------------------------------------
bool VirtualCpu::read_physical(u64 address, unsigned size, u64& value) {
  const memory::Range* range = memory_.find(address);
  if (range && range->ram && range->end() - address >= size) {
    value = 0;
    std::memcpy(&value, range->host(address), size);
    return true;
  }
  if (!range) return false;
  memory::Attributes attributes;
  attributes.cpu = static_cast<u16>(index_);
  begin_blocking();
  const memory::ReadResult result = memory_.read(address, size, attributes);
  end_blocking();
  value = result.value;
  return result.ok;
}

bool VirtualCpu::read_memory(u64 address, unsigned size, u8 mem_flags, u64& value) {
  ir::Value loaded;
  if (!mmu_.load(address, size, mem_flags, loaded)) return false;
  value = mem_flags & ir::kSigned && size < 8 ? static_cast<u64>(sign_extend(loaded.lo, size * 8)) : loaded.lo;
  return true;
}

bool VirtualCpu::write_memory(u64 address, unsigned size, u8 mem_flags, u64 value) {
  return mmu_.store(address, size, mem_flags, {value});
}

// ---- as others see it ----------------------------------------------------------------------------------------------
// Blocked
// within an instruction: its own address, not that of the block.
u64 VirtualCpu::pc() const {
  if (place() == Place::blocked) guest_.restore_location(state_.location);
  return state_.pc;
}

std::string VirtualCpu::registers_text() const {
  pc();
  return guest_cpu_->registers_text();
}

bool VirtualCpu::register_value(std::string_view name, u64& value) const {
  pc();
  return guest_cpu_->register_value(name, value);
}

bool VirtualCpu::read_register(unsigned number, std::vector<u8>& bytes) const {
  pc();
  return guest_cpu_->read_register(number, bytes);
}

// One that is in the middle of an access does the instruction at its (perhaps new) pc from the start.
bool VirtualCpu::write_register(unsigned number, std::span<const u8> bytes) {
  pc();
  if (!guest_cpu_->write_register(number, bytes)) return false;
  if (place() == Place::blocked) state_.exception = abandons_ = true;
  return true;
}

bool VirtualCpu::read_virtual(u64 address, std::span<u8> data) const {
  return const_cast<SoftMmu&>(mmu_).debug_access(address, data.data(), data.size(), false);
}

bool VirtualCpu::physical_address(u64 address, u64& physical) const {
  return const_cast<SoftMmu&>(mmu_).debug_translate(address, physical);
}

bool VirtualCpu::write_virtual(u64 address, std::span<const u8> data) {
  return mmu_.debug_access(address, const_cast<u8*>(data.data()), data.size(), true);
}

Cpu::Disassembly VirtualCpu::disassemble(u64 address, std::span<const u8> bytes) const {
  return guest_cpu_->disassemble(address, bytes);
}

void VirtualCpu::fields(Visitor& visitor) {
  if (!visitor.restoring()) pc();
  visitor.begin("cpu", 1);
  guest_cpu_->fields(visitor);
  u8 sleeping = static_cast<u8>(sleep_.load());
  visitor.field("sleep", sleeping);
  sleep_ = static_cast<Sleep>(std::min<u8>(sleeping, 2));
  u8 event = event_.load();
  visitor.field("event", event);
  event_.store(event & 1);
  u64 retired = instructions.load();
  visitor.field("instructions", retired);
  instructions.store(retired);
  visitor.end();
  if (!visitor.restoring()) return;
  mmu_.flush_all();
  // One in the middle of an access leaves its block when that is done, as after a fault.
  abandons_ = place() == Place::blocked;
  state_.exception = abandons_ ? 1 : 0;
  state_.poll.fetch_or(ir::kPollInterrupt | ir::kPollRequest);
}

// ---- logs ----------------------------------------------------------------------------------------------------------
void VirtualCpu::write_block_log() {
  if (log_.on(LogItem::exec))
    log_.write_text(fmt::format("Trace {}: {:#010x} [{:08x}]", index_, state_.pc, state_.mode));
  if (log_.on(LogItem::cpu)) log_.write_text(guest_cpu_->registers_text());
}

std::string VirtualCpu::disassemble_block(const ir::Block& block) {
  std::vector<u8> code(block.guest_bytes);
  std::string text = "----------------\nIN:\n";
  if (!read_virtual(block.key.pc, code)) return text + fmt::format("{:#010x}:  (not readable)\n", block.key.pc);
  for (usize at = 0; at < code.size();) {
    const Disassembly one = guest_cpu_->disassemble(block.key.pc + at, std::span(code).subspan(at));
    const usize length =
        one.length ? std::min<usize>(one.length, code.size() - at) : std::min<usize>(2, code.size() - at);
    std::string raw;
    for (usize i = length; i-- > 0;) raw += fmt::format("{:02x}", code[at + i]);
    text += fmt::format("{:#010x}:  {:<8}  {}\n", block.key.pc + at, raw, one.length ? one.text : "(unknown)");
    at += length;
  }
  return text;
}

}  // namespace rhea::accel
