// SPDX-License-Identifier: MIT
// The code buffer and the code that all blocks share: entry, exits, calls.
#include "host/x64/compiler.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "host/x64/emitter.h"
#include "ir/eval.h"
#include "ir/fp.h"

namespace rhea::x64 {

using ir::StateHeader;

namespace {

constexpr u32 kSticky = 0x3f;                                          // the cumulative flags of MXCSR
constexpr u32 kLeastPlot = u32{16} << 10, kMostPlot = u32{256} << 10;  // bytes

ir::Value evaluate(const Inst* inst, const ir::Value* args, StateHeader* state) {
  ir::EvalContext context;
  context.flags = state->flags;
  const ir::Value result = ir::eval_function(inst->op)(*inst, args, context);
  state->fp_flags |= context.fp_flags;
  state->saturated |= context.saturated;
  return result;
}

u32 flags_of_mxcsr(u32 mxcsr) {
  // IE DE ZE OE UE PE -> invalid, (denormal: not ARM's), zero, overflow, underflow, inexact.
  return (mxcsr & 1) * ir::kFpInvalid | (mxcsr >> 2 & 1) * ir::kFpDivideByZero | (mxcsr >> 3 & 1) * ir::kFpOverflow |
         (mxcsr >> 4 & 1) * ir::kFpUnderflow | (mxcsr >> 5 & 1) * ir::kFpInexact;
}

// One write for who runs the code: the field is not aligned, but lies within eight bytes (Assembler::align_patch). C++
// has no atomic of that kind; what the host's MOV does is a release, too.
void store_patch(u8* at, u32 value) {
  using Field = u32 __attribute__((aligned(1), may_alias));
  asm volatile("movl %1, %0" : "=m"(*reinterpret_cast<Field*>(at)) : "r"(value) : "memory");
}

}  // namespace

class Compiler::Impl {
 public:
  Impl(const Settings& settings, u8* write, const u8* run, usize size)
      : settings_(settings), run_(run), size_(size), assembler_(write, size) {
    if (!settings_.tables) settings_.ibtc = false;
    make_stubs();
    set_aside(0);
    add_lane();
  }

  void add_lane() { lanes_.push_back(std::make_unique<Lane>(*this)); }

  void set_aside(usize bytes) {
    end_ = static_cast<u32>(size_ - bytes);
    cold_start_ = static_cast<u32>(align_down(end_ / 2, 4096));
    reset();
  }

  void reset() {
    main_ = {stubs_.end, cold_start_, cold_start_, end_};
    piece_ = {};
    for (const auto& lane : lanes_) lane->room = {};
    hot_bytes_ = cold_bytes_ = 0;
  }

  // A thread's own way to compile.
  struct Lane {
    explicit Lane(Impl& impl)
        : assembler(impl.assembler_.buffer(), impl.size_), emitter(impl.settings_, assembler, impl.stubs_) {}
    Assembler assembler;
    Emitter emitter;
    Emitter::Room room{};  // what is left of its last plots
  };
  bool take_plot(u32& at, u32& end, u32& next, u32 limit, u32 bytes);
  bool take_hot_plot(Lane& lane, u32 times) {
    return take_plot(lane.room.hot, lane.room.hot_end, main_.hot, main_.hot_end, plot() * times);
  }
  bool take_cold_plot(Lane& lane, u32 times) {
    return take_plot(lane.room.cold, lane.room.cold_end, main_.cold, main_.cold_end, plot() * times);
  }
  u32 plot() const { return std::clamp(static_cast<u32>(size_ >> 10), kLeastPlot, kMostPlot); }
  void count(usize hot_bytes, usize cold_bytes) {
    hot_bytes_.fetch_add(hot_bytes, std::memory_order_relaxed);
    cold_bytes_.fetch_add(cold_bytes, std::memory_order_relaxed);
  }

  Xbyak::RegExp state(u32 offset) { return assembler_.r15 + (static_cast<s32>(offset) - kStateBias); }
  void pins(bool load, bool caller_saved_only);
  void load_float_pins();
  void make_stubs();
  void make_constants();
  void make_leave();
  void make_probe();
  u32 function(const void* address);
  u32 make_call(const void* address, bool whole_state, bool writes, bool faults, bool memory);
  u32 make_eval();
  void make_window_path();
  u32 make_misaligned(unsigned bytes, bool write, u32 slow);

  Settings settings_;
  const u8* run_;
  usize size_;
  Assembler assembler_;
  Stubs stubs_;
  u32 literals_ = 0;
  u32 cold_start_ = 0, end_ = 0;  // of what is not set aside
  std::mutex plots_;              // main_ while others compile
  Emitter::Room main_{}, piece_{};
  std::atomic<usize> hot_bytes_{0}, cold_bytes_{0};  // of blocks, pieces left out
  std::vector<std::unique_ptr<Lane>> lanes_;
};

// More room, in one piece with what is left where nobody else took what is behind it.
bool Compiler::Impl::take_plot(u32& at, u32& end, u32& next, u32 limit, u32 bytes) {
  std::lock_guard lock(plots_);
  bytes = std::min(bytes, limit - next);
  const bool goes_on = end == next;
  if (bytes < kLeastPlot / 2) return false;
  if (!goes_on) at = next;
  next += bytes;
  end = next;
  return true;
}

void Compiler::Impl::pins(bool load, bool caller_saved_only) {
  Assembler& a = assembler_;
  unsigned index = 0;
  if (!settings_.pin) return;
  for (const ir::Pin& pin : settings_.layout.pins) {
    if (pin.type != Type::I32 || index == kPinRegs.size()) continue;
    const u8 reg = kPinRegs[index++];
    if (caller_saved_only && !is_caller_saved(reg)) continue;
    if (load) a.mov(Xbyak::Reg32(reg), a.dword[state(pin.offset)]);
    else a.mov(a.dword[state(pin.offset)], Xbyak::Reg32(reg));
  }
}

void Compiler::Impl::load_float_pins() {
  const FloatPins floats(settings_);
  for (u32 at = floats.offset; at < floats.offset + 8 * floats.count; at += 8) {
    assembler_.vmovq(floats.copy(at), assembler_.qword[state(at)]);
  }
}

// A literal with a function's address: called through memory, since rel32 may not reach it from where code runs.
u32 Compiler::Impl::function(const void* address) {
  store_raw<u64>(assembler_.buffer() + literals_, reinterpret_cast<u64>(address));
  literals_ += 8;
  return literals_ - 8;
}

u32 Compiler::Impl::make_call(const void* address, bool whole_state, bool writes, bool faults, bool memory) {
  Assembler& a = assembler_;
  const u32 literal = function(address);
  a.align(16);
  const u32 at = a.position();
  pins(false, !whole_state);
  a.sub(a.rsp, 8);
  a.stmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_ieee))]);
  a.lea(a.rdi, a.ptr[a.r15 - kStateBias]);
  a.mov(a.rsi, a.rax);
  a.xchg(a.rcx, a.rdx);
  if (memory) a.mov(a.r8, a.r11);
  a.call(a.qword[a.rip_to(literal)]);
  a.ldmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_ieee))]);
  a.add(a.rsp, 8);
  if (faults) {
    a.cmp(a.dword[state(offsetof(StateHeader, exception))], 0);
    const u32 fine = a.short_jump(Cc::e);
    a.add(a.rsp, 8);
    a.jump(stubs_.leave_exception);
    a.bind_short(fine);
  }
  load_float_pins();
  if (writes || memory) a.mov(a.r14, a.qword[state(offsetof(StateHeader, read_table))]);
  pins(true, !writes);
  a.ret();
  return at;
}

// A misaligned access within a page that the tables know: all that x86-64 does by itself. Else on to `slow`.
u32 Compiler::Impl::make_misaligned(unsigned bytes, bool write, u32 slow) {
  Assembler& a = assembler_;
  a.align(16);
  const u32 at = a.position();
  a.cmp(a.dword[state(offsetof(StateHeader, unaligned))], 0);
  a.jump(Cc::e, slow);
  a.push(a.rbx);
  a.mov(a.ebx, a.eax);
  a.and_(a.ebx, 0xfff);
  a.cmp(a.ebx, 4096 - bytes);
  const u32 crosses = a.short_jump(Cc::a);
  a.mov(a.ebx, a.eax);
  a.shr(a.ebx, 12);
  a.mov(a.rbx, a.qword[a.r14 + a.rbx * 8 + (write ? static_cast<s32>(settings_.write_table) : 0)]);
  a.test(a.rbx, a.rbx);
  const u32 unknown = a.short_jump(Cc::e);
  const Xbyak::RegExp where = a.rbx + a.rax;
  switch (bytes) {
    case 2: write ? a.mov(a.word[where], a.dx) : a.movzx(a.eax, a.word[where]); break;
    case 4: write ? a.mov(a.dword[where], a.edx) : a.mov(a.eax, a.dword[where]); break;
    case 16: write ? a.mov(a.qword[where + 8], a.r11) : a.mov(a.rdx, a.qword[where + 8]); [[fallthrough]];
    default: write ? a.mov(a.qword[where], a.rdx) : a.mov(a.rax, a.qword[where]); break;
  }
  a.pop(a.rbx);
  a.ret();
  a.bind_short(crosses);
  a.bind_short(unknown);
  a.pop(a.rbx);
  a.jump(slow);
  return at;
}

u32 Compiler::Impl::make_eval() {
  Assembler& a = assembler_;
  const u32 literal = function(reinterpret_cast<const void*>(&evaluate));
  a.align(16);
  const u32 at = a.position();
  pins(false, true);
  a.mov(a.rdi, a.rax);
  a.lea(a.rsi, a.ptr[a.rsp + (8 + kArgsOffset)]);
  a.lea(a.rdx, a.ptr[a.r15 - kStateBias]);
  a.sub(a.rsp, 8);
  a.call(a.qword[a.rip_to(literal)]);
  a.add(a.rsp, 8);
  load_float_pins();
  pins(true, true);
  a.ret();
  return at;
}

void Compiler::Impl::make_window_path() {
  Assembler& a = assembler_;
  const u32 literal = function(reinterpret_cast<const void*>(&follow_window_path));
  const u32 runtime = function(&settings_.runtime);
  constexpr s32 kFrameBytes = offsetof(WindowFrame, rflags);
  const auto each = [](auto&& with) {
    for (u8 reg = 0; reg < 16; reg++) {
      if (reg != kRsp) with(Xbyak::Reg64(reg), 8 * s32{reg});
    }
  };
  const auto each_xmm = [](auto&& with) {
    for (u8 reg = 0; reg < kXmmTemps; reg++)
      with(Xbyak::Xmm(reg), static_cast<s32>(offsetof(WindowFrame, xmms)) + 16 * reg);
  };
  a.align(16);
  stubs_.window_path = a.position();
  a.pushfq();
  a.lea(a.rsp, a.ptr[a.rsp - kFrameBytes]);
  each([&](const Xbyak::Reg64& reg, s32 at) { a.mov(a.qword[a.rsp + at], reg); });
  each_xmm([&](const Xbyak::Xmm& reg, s32 at) { a.movaps(a.xword[a.rsp + at], reg); });
  pins(false, false);
  a.stmxcsr(a.dword[a.rsp + offsetof(WindowFrame, mxcsr)]);
  a.lea(a.rdi, a.ptr[a.r15 - kStateBias]);
  a.mov(a.rsi, a.rsp);
  a.mov(a.rdx, a.qword[a.rip_to(runtime)]);
  a.call(a.qword[a.rip_to(literal)]);
  a.ldmxcsr(a.dword[a.rsp + offsetof(WindowFrame, mxcsr)]);
  a.cmp(a.dword[state(offsetof(StateHeader, exception))], 0);
  const u32 fine = a.short_jump(Cc::e);
  a.add(a.rsp, sizeof(WindowFrame));
  a.jump(stubs_.leave_exception);
  a.bind_short(fine);
  load_float_pins();
  each_xmm([&](const Xbyak::Xmm& reg, s32 at) { a.movaps(reg, a.xword[a.rsp + at]); });
  each([&](const Xbyak::Reg64& reg, s32 at) { a.mov(reg, a.qword[a.rsp + at]); });
  a.mov(a.r14, a.qword[state(offsetof(StateHeader, read_table))]);  // of another address space, perhaps
  a.lea(a.rsp, a.ptr[a.rsp + kFrameBytes]);
  a.popfq();
  a.ret();
}

void Compiler::Impl::make_leave() {
  Assembler& a = assembler_;
  const auto pc = [&] { return a.qword[state(offsetof(StateHeader, pc))]; };
  const auto mode = [&] { return a.qword[state(offsetof(StateHeader, mode))]; };
  a.align(16);
  stubs_.leave_exception = a.position();
  a.mov(a.rax, Left::kException);
  const u32 saved_jump = a.short_jump();

  stubs_.leave_link = a.position();
  pins(false, false);
  a.bind_short(saved_jump);
  a.stmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_ieee))]);
  a.ldmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_host))]);
  a.add(a.rsp, kFrame);
  for (const u8 reg : {kR15, kR14, kR13, kR12, kRbp, kRbx}) a.pop(Xbyak::Reg64(reg));
  a.ret();

  const auto leave_with = [&](u64 reason, bool store) {
    const u32 at = a.position();
    if (store) {
      a.mov(pc(), a.rcx);
      a.mov(mode(), a.rdx);
    }
    if (reason) a.mov(a.rax, reason);
    else a.xor_(a.eax, a.eax);
    a.jump(stubs_.leave_link);
    return at;
  };
  stubs_.leave_dispatch = leave_with(Left::kDispatch, true);
  stubs_.leave_poll_at = leave_with(Left::kPoll, true);
  stubs_.leave_budget = leave_with(Left::kBudget, true);
  stubs_.leave_dispatch_state = leave_with(Left::kDispatch, false);
  stubs_.leave_poll_state = leave_with(Left::kPoll, false);
  stubs_.dispatch = stubs_.leave_dispatch;

  stubs_.leave_poll = a.position();
  a.bts(a.rax, 32);
  a.jump(stubs_.leave_link);
}

void Compiler::Impl::make_probe() {
  Assembler& a = assembler_;
  a.align(16);
  stubs_.probe = a.position();
  static_assert(sizeof(JumpEntry) == 32);
  a.mov(a.eax, a.ecx);  // jump_index
  a.shr(a.eax, 12);
  a.xor_(a.eax, a.ecx);
  a.shl(a.eax, 3);
  a.and_(a.eax, (kJumpEntries - 1) << 5);
  a.add(a.rax, a.qword[state(offsetof(StateHeader, jump_table))]);
  a.cmp(a.dword[a.rax + offsetof(JumpEntry, pc)], a.ecx);
  a.jump(Cc::ne, stubs_.leave_dispatch);
  a.cmp(a.dword[a.rax + offsetof(JumpEntry, mode)], a.edx);
  a.jump(Cc::ne, stubs_.leave_dispatch);
  a.mov(a.r11d, a.ecx);
  a.shr(a.r11d, 12);
  a.mov(a.r11d, a.dword[a.r14 + a.r11 * 4 + settings_.exec_table]);
  a.cmp(a.dword[a.rax + offsetof(JumpEntry, page)], a.r11d);
  a.jump(Cc::ne, stubs_.leave_dispatch);
  a.jmp(a.qword[a.rax + offsetof(JumpEntry, code)]);
}

void Compiler::Impl::make_constants() {
  assembler_.align(16);
  stubs_.constants = assembler_.position();
  constexpr u64 kValues[] = {
      0x8000000080000000, 0x8000000000000000, 0x7fffffff7fffffff, 0x7fffffffffffffff,  // sign, abs
      0x0080000000800000, 0x0010000000000000,                                          // the least normal numbers
      0x4f8000004f800000, 0x41f0000000000000, 0x41efffffffe00000,                      // 2^32, 2^32, 2^32 - 1
      0x0080000100800001, 0x7effffff7effffff, 0x7f0000007f000000, 0x007ffffe007ffffe, 0xffffffffffffffff,
      0x00ff00ff00ff00ff, 0xff00ff00ff00ff00, 0x0101010101010101, 0x0001000100010001, 0x7f8000007f800000,
      0x007fffff007fffff, 0x000000ff000000ff, 0x001fffffffffffff,
  };
  static_assert(std::size(kValues) == static_cast<usize>(Constant::kCount));
  for (const u64 value : kValues) {
    assembler_.dq(value);
    assembler_.dq(value);
  }
  stubs_.estimates = assembler_.position();
  for (u32 i = 0; i < 256; i++) assembler_.dd((ir::unsigned_recip_estimate(0x80000000 | i << 23) & 0x7f800000) >> 8);
  for (u32 i = 0; i < 256; i++) {
    const u32 operand = i < 128 ? 0x40000000 | i << 23 : 0x80000000 | (i - 128) << 24;
    assembler_.dd((ir::unsigned_rsqrt_estimate(operand) & 0x7f800000) >> 8);
  }
}

void Compiler::Impl::make_stubs() {
  Assembler& a = assembler_;
  const Runtime& runtime = settings_.runtime;
  // Literals first: twelve and the helpers.
  a.set_position(static_cast<u32>(align_up(8 * (16 + settings_.helpers.size()), 16)));
  make_constants();
  make_leave();
  make_probe();
  a.align(16);
  stubs_.enter = a.position();
  for (const u8 reg : {kRbx, kRbp, kR12, kR13, kR14, kR15}) a.push(Xbyak::Reg64(reg));
  a.sub(a.rsp, kFrame);
  a.lea(a.r15, a.ptr[a.rdi + kStateBias]);
  a.mov(a.rax, a.rsi);
  a.stmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_host))]);
  a.ldmxcsr(a.dword[state(offsetof(StateHeader, mxcsr_ieee))]);
  a.mov(a.r14, a.qword[state(offsetof(StateHeader, read_table))]);
  pins(true, false);
  load_float_pins();
  a.jmp(a.rax);

  const auto memory = [&](auto* function) {
    return make_call(reinterpret_cast<const void*>(function), true, false, true, true);
  };
  stubs_.load = memory(runtime.load);
  stubs_.load128 = memory(runtime.load128);
  stubs_.store = memory(runtime.store);
  stubs_.store128 = memory(runtime.store128);
  stubs_.group_read = memory(runtime.group_read);
  stubs_.group_write = memory(runtime.group_write);
  stubs_.group_commit = memory(runtime.group_commit);
  stubs_.load_exclusive = memory(runtime.load_exclusive);
  stubs_.store_exclusive = memory(runtime.store_exclusive);
  make_window_path();
  for (unsigned log = 0; log < 5; log++) {
    const unsigned bytes = 1u << log;
    const u32 load = bytes == 16 ? stubs_.load128 : stubs_.load, store = bytes == 16 ? stubs_.store128 : stubs_.store;
    stubs_.load_misaligned[log] = bytes == 1 ? load : make_misaligned(bytes, false, load);
    stubs_.store_misaligned[log] = bytes == 1 ? store : make_misaligned(bytes, true, store);
  }
  stubs_.eval = make_eval();
  for (const ir::Helper& helper : settings_.helpers) {
    const bool whole = helper.flags & (ir::kReadsState | ir::kWritesState | ir::kFaults);
    stubs_.helpers.push_back(make_call(reinterpret_cast<const void*>(helper.function), whole,
                                       helper.flags & ir::kWritesState, helper.flags & ir::kFaults, false));
  }
  stubs_.end = a.position();
}

Compiler::Compiler(const Settings& settings, u8* write, const u8* run, usize size)
    : impl_(std::make_unique<Impl>(settings, write, run, size)) {}
Compiler::~Compiler() = default;

Compiler::Outcome Compiler::compile(const ir::Block& block, const Request& request, CompiledBlock& out) {
  Impl& impl = *impl_;
  Impl::Lane& lane = *impl.lanes_[request.lane];
  Emitter::Room& room = request.in_piece ? impl.piece_ : lane.room;
  for (u32 times = 1;; times *= 2) {
    switch (lane.emitter.run(block, {request.first_exit, request.second_page, request.windowed}, room, out)) {
      case Emitter::Outcome::too_complex: return Outcome::too_complex;
      case Emitter::Outcome::full_hot:
        if (request.in_piece || !impl.take_hot_plot(lane, times)) return Outcome::full;
        break;
      case Emitter::Outcome::full_cold:
        if (request.in_piece || !impl.take_cold_plot(lane, times)) return Outcome::full;
        break;
      case Emitter::Outcome::done:
        room.hot = out.entry + out.hot_bytes;
        room.cold = out.cold_entry + out.cold_bytes;
        if (!request.in_piece) impl.count(out.hot_bytes, out.cold_bytes);
        return Outcome::done;
    }
  }
}

u32 Compiler::exit_sites(const ir::Block& block) {
  return static_cast<u32>(std::count_if(block.insts.begin(), block.insts.end(), [](const Inst& inst) {
    return inst.op == ir::Op::Exit || inst.op == ir::Op::ExitIf || inst.op == ir::Op::ExitIfZero ||
           inst.op == ir::Op::ExitIfNonZero;
  }));
}

unsigned Compiler::add_lane() {
  impl_->add_lane();
  return static_cast<unsigned>(impl_->lanes_.size()) - 1;
}

bool Compiler::place_in_piece(CompiledBlock& out) {
  Emitter::Room& room = impl_->piece_;
  const usize entry = align_up(room.hot, kEntryAlignment), cold_entry = align_up(room.cold, kColdAlignment);
  if (entry + out.hot_bytes > room.hot_end || cold_entry + out.cold_bytes > room.cold_end) return false;
  out.entry = static_cast<u32>(entry);
  out.cold_entry = static_cast<u32>(cold_entry);
  room.hot = out.entry + out.hot_bytes;
  room.cold = out.cold_entry + out.cold_bytes;
  return true;
}

u32 Compiler::set_aside(usize bytes) {
  impl_->set_aside(bytes);
  return impl_->end_;
}

void Compiler::open_piece(u32 begin, u32 bytes) {
  const u32 cold = begin + static_cast<u32>(align_down(bytes / 2, 4096));
  impl_->piece_ = {begin, cold, cold, begin + bytes};
}

void Compiler::reset() { impl_->reset(); }

bool Compiler::reserve(usize hot_bytes, usize cold_bytes) {
  Emitter::Room& room = impl_->main_;
  if (hot_bytes > room.hot_end - room.hot || cold_bytes > room.cold_end - room.cold) return false;
  room.hot += static_cast<u32>(hot_bytes);
  room.cold += static_cast<u32>(cold_bytes);
  impl_->count(hot_bytes, cold_bytes);
  return true;
}

u32 Compiler::hot_begin() const { return impl_->stubs_.end; }
u32 Compiler::cold_begin() const { return impl_->cold_start_; }
std::span<u8> Compiler::code(u32 offset, usize bytes) { return {impl_->assembler_.buffer() + offset, bytes}; }

std::span<const u8> Compiler::text(u32 offset, usize bytes) const { return {impl_->run_ + offset, bytes}; }

std::string Compiler::fingerprint() const {
  const Settings& s = impl_->settings_;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", s.features, s.write_table, s.exec_table, s.pin,
                     s.lazy_flags, s.inline_fp, s.tables, s.window, s.ibtc, s.icount, s.lone, s.helpers.size(),
                     s.layout.size, impl_->stubs_.end, impl_->end_);
}

void Compiler::set_second_page(u32 second_check, u32 id) {
  if (second_check) store_patch(impl_->assembler_.buffer() + second_check, id);
}

u64 Compiler::enter(StateHeader& state, const void* code) const {
  using Enter = u64 (*)(StateHeader*, const void*);
  return reinterpret_cast<Enter>(reinterpret_cast<u64>(address(impl_->stubs_.enter)))(&state, code);
}

const void* Compiler::address(u32 offset) const { return impl_->run_ + offset; }
const void* Compiler::dispatch_code() const { return address(impl_->stubs_.dispatch); }

void Compiler::link(const ExitSite& site, u32 target, u32 page) {
  u8* code = impl_->assembler_.buffer();
  store_patch(code + site.jump, target - (site.jump + 4));
  if (site.same_page) return;
  if (impl_->settings_.ibtc) store_patch(code + site.stub_jump, impl_->stubs_.probe - (site.stub_jump + 4));
  store_patch(code + site.compare, page);
}

void Compiler::unlink(const ExitSite& site) {
  u8* code = impl_->assembler_.buffer();
  if (!site.same_page) {
    store_patch(code + site.compare, kNoPage);
    store_patch(code + site.stub_jump, impl_->stubs_.leave_link - (site.stub_jump + 4));
  }
  store_patch(code + site.jump, site.stub - (site.jump + 4));
}

usize Compiler::hot_used() const { return impl_->stubs_.end + impl_->hot_bytes_.load(std::memory_order_relaxed); }
usize Compiler::cold_used() const { return impl_->cold_bytes_.load(std::memory_order_relaxed); }
usize Compiler::capacity() const { return impl_->end_; }

StateHeader* Compiler::state_of(const u64* registers) {
  return reinterpret_cast<StateHeader*>(registers[kR15] - kStateBias);
}

void Compiler::sync_fp_flags(StateHeader& state) {
  const u32 raised = (state.mxcsr_ieee | state.mxcsr_neon | state.mxcsr_other) & kSticky;
  if (!raised) return;
  state.fp_flags |= flags_of_mxcsr(raised);
  for (u32* image : {&state.mxcsr_ieee, &state.mxcsr_neon, &state.mxcsr_other}) *image &= ~kSticky;
}

std::string Compiler::disassemble(const CompiledBlock& block) const {
  std::string text;
  const u8* code = impl_->assembler_.buffer();
  const auto calls_window_path = [&](u32 end) {
    return end + load_raw<u32>(code + end - 4) == impl_->stubs_.window_path;
  };
  const auto part = [&](u32 start, u32 size) {
    for (u32 at = start; at < start + size;) {
      ZydisDisassembledInstruction instruction;
      const u64 address = reinterpret_cast<u64>(impl_->run_) + at;
      if (ZYAN_FAILED(
              ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, address, code + at, start + size - at, &instruction))) {
        text += fmt::format("0x{:x}:  .byte 0x{:02x}\n", address, code[at]);
        at++;
        continue;
      }
      text += fmt::format("0x{:x}:  {}\n", address, instruction.text);
      at += instruction.info.length;
      if (instruction.info.mnemonic == ZYDIS_MNEMONIC_CALL && calls_window_path(at)) {
        const u32 bytes = window_path_bytes(code + at);
        text += fmt::format("0x{:x}:  .byte", address + instruction.info.length);
        for (u32 i = 0; i < bytes; i++) text += fmt::format(" {:02x}", code[at + i]);
        text += "\n";
        at += bytes;
      }
    }
  };
  part(block.entry, block.hot_bytes);
  text += "  -- slow paths\n";
  part(block.cold_entry, block.cold_bytes);
  return text;
}

}  // namespace rhea::x64
