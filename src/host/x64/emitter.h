// SPDX-License-Identifier: MIT
// How a block becomes code: one pass over its instructions, with registers assigned on the way.
//
// Registers. r15 points 128 bytes into the state, r14 to the soft tables; kPinRegs hold the pinned slots of the state
// all the time; kTemps and xmm0..xmm13 are for values of the block; rsp has a frame for spills (kFrame). Only pins
// outlive a block. With AVX-512, xmm16 on have copies of slots of doubles (FloatPins): a double that one
// block leaves and the next one takes does not go through memory. The slots are always written as well, so that code
// outside need not know, and whatever called C++ loads the copies again.
//
// Values. Each has a home from which it can be had again at no cost (a constant, a pin, a slot of the state that has
// not been written since, a spill slot) and perhaps a register. Reading a pin makes no code: the value is an alias
// of the pin's register until the pin is written (before_pin_write() saves who still needs the old one). A value
// that is only stored into a pin is computed there (Value::target). A value that lives across a label gets a home
// that holds on both ways when it is made.
//
// Flags. `host_flags_` says which of the guest's flags EFLAGS has, `stale_` which of them the image in the state does
// not have yet; clobber_flags() writes those that are still read by someone before EFLAGS are lost. Whoever emits
// an instruction that changes EFLAGS calls it first. What is live is known from a pass backwards.
//
// Slow paths are written behind the block's code, into the cold area, by functions queued in `cold_`; those of accesses
// through the window are data (window_path.h).
#pragma once

#include <array>
#include <deque>
#include <vector>

#include "host/x64/assembler.h"
#include "host/x64/compiler.h"
#include "host/x64/deferred.h"
#include "host/x64/window_path.h"
#include "ir/ir.h"

namespace rhea::x64 {

using ir::Inst;
using ir::kNoRef;
using ir::Op;
using ir::Ref;
using ir::Type;

constexpr u8 kNone = 0xff;
enum Gpr : u8 { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15 };
constexpr std::array<u8, 9> kPinRegs = {kRbx, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR12, kR13};
// rax last: LAHF needs it. An indirect jump makes the mode first, which goes to edx, and then pc, to ecx.
constexpr std::array<u8, 4> kTemps = {kRdx, kRcx, kR11, kRax};
constexpr unsigned kXmmTemps = 14;    // xmm0..xmm13 hold values
constexpr u8 kXmmA = 14, kXmmB = 15;  // scratch within one instruction
constexpr bool is_caller_saved(u8 reg) { return reg <= kRdx || (reg >= kRsi && reg <= kR11); }

constexpr u32 kEntryAlignment = 16,
              kColdAlignment = 16;  // of a block's two parts: its code is the same wherever it lies
constexpr s32 kStateBias = 128;
// The frame: arguments of out-of-line operations, what slow paths save, spills.
constexpr s32 kArgsOffset = 0;   // 4 values of 16 bytes
constexpr s32 kSaveOffset = 64;  // 4 registers, 16 vectors
constexpr s32 kSpillOffset = kSaveOffset + 32 + 16 * 16;
constexpr unsigned kSpillSlots = 192;                                          // of 16 bytes
constexpr s32 kFrame = kSpillOffset + 16 * static_cast<s32>(kSpillSlots) + 8;  // keeps calls aligned

// The first eight pinned vectors that lie one behind the other: 16 slots of doubles with copies in xmm16 on.
struct FloatPins {
  u32 offset = 0;
  u32 count = 0;
  FloatPins() = default;
  explicit FloatPins(const Settings& settings);
  bool touch(u32 at, u32 size) const { return at < offset + 8 * count && offset < at + size; }
  Xbyak::Xmm copy(u32 at) const { return Xbyak::Xmm(static_cast<int>(16 + (at - offset) / 8)); }
};

// Entry points of the shared code at the start of the buffer.
struct Stubs {
  u32 enter = 0;
  u32 leave_link = 0;            // eax = id
  u32 leave_poll = 0;            // eax = id
  u32 leave_dispatch = 0;        // ecx = pc, edx = mode
  u32 leave_poll_at = 0;         // ecx = pc, edx = mode
  u32 leave_budget = 0;          // ecx = pc, edx = mode
  u32 leave_dispatch_state = 0;  // pc and mode are in the state
  u32 leave_poll_state = 0;
  u32 leave_exception = 0;
  u32 probe = 0;     // ecx = pc, edx = mode: jumps there, or leaves with kDispatch
  u32 dispatch = 0;  // what dead blocks are replaced by: finds pc in ecx and mode in edx
  // Calls: arguments in rax, rcx, rdx, r11; result in rax (rdx). They keep pins, and no temps.
  u32 load = 0, load128 = 0, store = 0, store128 = 0, group_read = 0, group_write = 0, group_commit = 0;
  u32 load_exclusive = 0, store_exclusive = 0;
  u32 window_path = 0;  // a WindowPath is behind the call
  // By log2 of the bytes: the same as load and store, without a call where the address is merely misaligned.
  std::array<u32, 5> load_misaligned{}, store_misaligned{};
  u32 constants = 0;  // by Constant
  u32 estimates = 0;  // 256 words for reciprocals, 256 for their square roots: bits 22..15 of the result
  u32 eval = 0;       // rax = instruction; arguments in the frame
  std::vector<u32> helpers;
  u32 end = 0;
};

enum class Home : u8 { none, constant, pin, slot, spill, condition, carry };

struct Value {
  Home home = Home::none;
  u8 reg = kNone;            // a temp, an xmm register, or the target pin's register before it is stored there
  u8 target = kNone;         // index of the pin that it is computed into
  bool crosses = false;      // lives across a label
  bool overwritten = false;  // the slot it was read from is written while it lives
  bool folded = false;       // an address that the access which uses it makes by itself
  bool windowed = false;     // of a group: [value + Settings::window] is where its bytes are
  bool single = false;       // of a group: it is one access, made through the window
  bool fused = false;        // a SetFlags takes its flags right from the instruction that makes it
  u16 fused_at = 0;          // that one
  u16 last_use = 0;
  u16 uses = 0;
  Ref pair = kNoRef;  // of a StoreExclusive: the LoadExclusive that it belongs to
  u32 data = 0;       // pin index, state offset, spill slot, condition
};

// Constants of 16 bytes in the buffer, each repeated in all its lanes.
enum class Constant : u8 {
  sign32,
  sign64,
  abs32,
  abs64,
  least32,
  least64,
  two_to_32,
  two_to_32_wide,
  most_u32_wide,
  // For checks of flushed vectors: see emit_vector_float.cpp.
  least32_next,
  finite_range,
  finite_range_next,
  least_denormal_range,
  ones,
  low_bytes,
  high_bytes,
  one8,
  one16,
  exponent32,
  mantissa32,
  low_bytes_of_words,
  denormals64,
  kCount
};

// Classes of MXCSR contents (StateHeader::mxcsr_*).
enum class FpClass : u8 { ieee, neon, other };

class Emitter {
 public:
  Emitter(const Settings& settings, Assembler& assembler, const Stubs& stubs);

  enum class Outcome : u8 { done, full_hot, full_cold, too_complex };
  struct Request {
    u32 first_exit, second_page;
    bool windowed;
  };
  struct Room {
    u32 hot, hot_end, cold, cold_end;
  };
  Outcome run(const ir::Block& block, const Request& request, const Room& room, CompiledBlock& out);

 private:
  // ---- analysis.cpp ------------------------------------------------------------------------------------------
  void analyze();
  void list_kinds();
  void analyze_uses();
  void find_crossing();
  void analyze_flags();
  void find_targets();
  void fold_addresses();
  void find_single_groups();
  void find_exclusive_pairs();
  void find_fused_flags();
  void find_shift_flags();
  bool is_shifted_out(Ref carry, Ref shift) const;
  bool blocks_target(const Inst& inst, u8 pin, usize index, usize definition) const;

  // ---- registers.cpp -----------------------------------------------------------------------------------------
  Xbyak::Reg32 r32(u8 reg) const { return Xbyak::Reg32(reg); }
  Xbyak::Reg64 r64(u8 reg) const { return Xbyak::Reg64(reg); }
  Xbyak::Reg8 r8(u8 reg) const { return Xbyak::Reg8(reg, reg >= 4 && reg < 8); }
  Xbyak::Reg16 r16(u8 reg) const { return Xbyak::Reg16(reg); }
  // The register at the width of a type.
  Xbyak::Reg32e rt(u8 reg, Type type) const {
    return type == Type::I64 ? Xbyak::Reg32e(reg, 64) : Xbyak::Reg32e(reg, 32);
  }
  Xbyak::Xmm xmm(u8 reg) const { return Xbyak::Xmm(reg); }
  static Mem state(u32 offset) { return {.base = kR15, .displacement = static_cast<s32>(offset) - kStateBias}; }
  static Mem byte_state(u32 offset) { return state(offset).of(8); }
  static Mem dword_state(u32 offset) { return state(offset).of(32); }
  static Mem qword_state(u32 offset) { return state(offset).of(64); }
  static Mem xword_state(u32 offset) { return state(offset).of(128); }
  static Mem spill_at(u32 slot) { return {.base = kRsp, .displacement = kSpillOffset + 16 * static_cast<s32>(slot)}; }

  const Inst& inst(Ref ref) const { return block_->insts[ref]; }
  Type type_of(Ref ref) const { return ir::result_type(inst(ref)); }
  bool is_vector(Ref ref) const { return in_xmm(type_of(ref)); }
  static bool in_xmm(Type type) { return type >= Type::F32; }
  bool is_constant(Ref ref) const { return values_[ref].home == Home::constant; }
  u64 constant(Ref ref) const { return inst(ref).imm; }
  // A constant that fits a sign-extended 32-bit immediate at its type.
  bool is_imm32(Ref ref) const;
  s32 imm32(Ref ref) const { return static_cast<s32>(constant(ref)); }
  bool dies(Ref ref) const { return values_[ref].last_use <= index_; }
  // The register that a value is in now, a pin's register included, or kNone.
  u8 where(Ref ref) const;

  u8 take();          // a free temp, locked until the end of the instruction
  void take(u8 reg);  // this one
  u8 take_xmm();
  u8 use(Ref ref);               // the value in a register, not to be changed
  void use_in(Ref ref, u8 reg);  // a copy of it in a register that was taken
  // Calls with the value as a source operand: a register, or memory where it is in none.
  template <typename F>
  void with_operand(Ref ref, F&& f) {
    const Value& value = values_[ref];
    const bool wide = type_of(ref) == Type::I64;
    if (where(ref) == kNone && value.home == Home::slot) {
      f(state(value.data).of(wide ? 64 : 32));
    } else if (where(ref) == kNone && value.home == Home::spill) {
      f(spill_at(value.data).of(wide ? 64 : 32));
    } else {
      f(rt(use(ref), type_of(ref)));
    }
  }
  u8 define(Ref ref);                                        // where the result goes
  u8 define_apart(Ref ref, std::initializer_list<u8> from);  // and it is none of these registers
  u8 define_from(Ref ref, Ref from);                         // the same, with a copy of an operand in it
  u8 define_in(Ref ref, u8 reg);                             // the result is in a temp that was taken
  // In the pin that it is computed into; where there is none, in a temp that was taken.
  u8 define_at(Ref ref, u8 reg) { return values_[ref].target != kNone ? define(ref) : define_in(ref, reg); }
  void no_target(Ref ref) { values_[ref].target = kNone; }
  void lock(u8 reg) { locked_ |= 1u << reg; }
  void lock_xmm(u8 reg) { locked_xmm_ |= 1u << reg; }
  void load_constant(u8 reg, u64 value, Type type);
  void move(u8 to, u8 from, Type type);
  void move_xmm(u8 to, u8 from);
  // ecx, edx (say) = two values, whichever way round they are now.
  void evict(u8 reg);
  void evict_xmm(u8 reg);
  void evict_all();  // before a call
  void spill(Ref ref);
  void give_home(Ref ref);  // for a value that crosses a label
  void release(Ref ref);
  void end_instruction(const Inst& inst);
  void before_pin_write(u8 pin, Ref except);
  void before_slot_write(u32 offset, u32 size);
  void load_pins(u32 offset, u32 size);
  void store_pins(u32 offset, u32 size);
  int pin_at(u32 offset) const;  // index of the pin at exactly this offset, or -1
  bool touches_pins(u32 offset, u32 size) const;
  u32 live_temps() const;  // masks of registers whose values are needed after this instruction
  u32 live_xmms() const;
  u32 allocate_spill();

  // ---- emit_*.cpp ----------------------------------------------------------------------------------------------
  void emit(const Inst& inst);
  bool emit_state(const Inst& inst);
  bool emit_integer(const Inst& inst);
  bool emit_flags(const Inst& inst);
  bool emit_memory(const Inst& inst);
  bool emit_control(const Inst& inst);
  bool emit_float(const Inst& inst);
  bool emit_vector(const Inst& inst);
  bool emit_parallel(const Inst& inst);
  void parallel_sum(const Inst& inst, bool saturates);
  void parallel_ge(const Inst& inst);
  void select_bytes(const Inst& inst);
  void emit_eval(const Inst& inst);
  void write_instruction(const ir::Inst& inst);

  void get_state(const Inst& inst);
  void set_state(const Inst& inst);
  void store_value(u32 offset, Type type, Ref ref);
  void load_value(u8 reg, u32 offset, Type type);
  void update_float_pins(u32 offset, Type type, Ref ref);

  void binary(const Inst& inst, Alu op, bool commutative);
  void add(const Inst& inst);
  void subtract(const Inst& inst);
  void with_carry(const Inst& inst);
  void compare_only(const Inst& inst);
  void multiply(const Inst& inst);
  void multiply_high(const Inst& inst);
  void divide(const Inst& inst);
  void shift(const Inst& inst);
  void shift_constant(const Inst& inst, unsigned count);
  void and_not(const Inst& inst);
  void unary(const Inst& inst);
  void count_zeros(const Inst& inst);
  void reverse_bits(const Inst& inst);
  void extend(const Inst& inst);
  void select(const Inst& inst);
  void compare(const Inst& inst);
  void saturate(const Inst& inst);
  Cc emit_compare(const Inst& inst);
  static bool is_compare(Op op) { return op >= Op::CmpEq && op <= Op::CmpLeS; }

  // Flags.
  enum class Producer : u8 { none, add, sub, logic };
  bool flags_busy() const { return keep_eflags_ || (stale_ & (live_before_[index_] | lazy_flags())); }
  u8 lazy_flags() const;         // those that conditions not yet evaluated will read
  void save_flags(u8 needed);    // into the image, if one of these is not there yet
  void save_exactly(u8 needed);  // without what conditions will read
  void clobber_flags();
  void complement_carry();
  void write_image(u8 mask, u8 live);
  void forget_host_flags() {
    host_flags_ = 0;
    stale_ = 0;
    flags_of_ = kNoRef;
  }
  void made_flags(Ref of, Producer producer) {
    flags_of_ = of;
    flags_producer_ = producer;
  }
  void set_flags(const Inst& inst);
  void set_constant_flags(const Inst& inst);
  u8 live_after() const { return live_before_[index_ + 1u]; }
  void set_carry(const Inst& inst);
  void set_image(const Inst& inst);
  void materialize_conditions();  // those that outlive this instruction
  void materialize(Ref ref);
  void carry_to_host(Ref ref, bool inverted);
  // Emits what is needed so that the returned condition code holds iff `cond` does. May take rax: call it before
  // other registers are taken; what follows must keep EFLAGS.
  Cc test_condition(ir::Cond cond);
  static Cc host_condition(ir::Cond cond, bool inverted_carry);

  // Memory.
  struct Access {
    u8 address = kNone;  // register with the address
    u8 entry = kNone;    // register with the table's entry
    u32 descriptor = 0;
    Label* cold = nullptr;
  };
  Access begin_access(Ref address, unsigned bytes, u8 flags, bool write);
  Label& new_cold_label();
  struct Saved {
    u32 gprs = 0;
    u32 xmms = 0;
    FpClass fp = FpClass::ieee;
    u8 fp_mode = 0;
    u64 location = 0;
    u32 ahead = 0;
  };
  struct WindowAccess {
    u8 address = kNone;  // register, kNone: constant
    u32 displacement = 0;
  };
  // One that was emitted, and the slow path that it will have.
  struct WindowSite {
    u32 at = 0, back = 0;  // the instruction, and what is behind it
    WindowPath path;
    u32 constant = 0;        // WindowPath::kConstant
    Label* entry = nullptr;  // where it is taken without a fault, too
  };
  bool through_window(const Inst& inst) const {
    return windowed_ && !(inst.aux & (ir::kAligned | ir::kUserAccess | ir::kBigEndian));
  }
  // LDM and the like look at the alignment of their words themselves.
  bool through_window_as_group(const Inst& inst) const {
    return windowed_ && !(inst.aux & (ir::kUserAccess | ir::kBigEndian));
  }
  WindowAccess begin_window(const Inst& inst);
  Mem in_window(const WindowAccess& access) const;
  WindowSite& window_site(const WindowAccess& access, u32 bytes, u8 how);
  void window_data(WindowSite& site, u8 from, u32 value, bool wide);
  bool write_window_paths(u32 end);
  void window_load(const Inst& inst);
  void window_store(const Inst& inst);
  void window_load_vector(const Inst& inst);
  void window_store_vector(const Inst& inst);
  void load(const Inst& inst);
  void store(const Inst& inst);
  void load_vector(const Inst& inst);
  void store_vector(const Inst& inst);
  void group(const Inst& inst);
  void group_commit(const Inst& inst);
  void check_aligned(const Inst& inst);
  void pointer_load(const Inst& inst);
  void pointer_store(const Inst& inst);
  void windowed_pointer_store(const Inst& inst);
  void check_single_group(const Inst& inst);
  void single_access(const Inst& inst);
  s32 group_bias(Ref group) const { return values_[group].windowed ? static_cast<s32>(settings_.window) : 0; }
  void exclusive(const Inst& inst);
  void load_exclusive(const Inst& inst);
  void arm_exclusive(u8 loaded, unsigned bytes);
  void store_exclusive(const Inst& inst);
  void check_armed(u8 address, unsigned bytes, Label& cold);
  u8 exchange(const Inst& inst, const Mem& where, u8 value);
  void window_load_exclusive(const Inst& inst);
  void window_store_exclusive(const Inst& inst);
  void load_from(u8 to, const Mem& where, unsigned bits, bool is_signed, Type type);
  void store_to(const Mem& where, unsigned bits, u8 from, u32 value);
  void load_xmm(u8 to, const Mem& where, unsigned bits);
  void store_xmm(const Mem& where, u8 from, unsigned bits);
  void take_loaded(u8 to, unsigned bits, bool is_signed, Type type);
  void take_loaded_xmm(u8 to, unsigned bits);
  void slow_arguments(u8 address, u8 data);
  void slow_immediate(u32 value, Type type);
  void slow_xmm(u8 from, unsigned bits);
  Saved saved() const { return {live_temps(), live_xmms(), fp_class_, fp_other_mode_, location_, ahead_}; }
  void save(const Saved& saved);
  void restore(const Saved& saved);
  void save_temps(const Saved& saved);
  void restore_temps(const Saved& saved);
  u32 slow_access(unsigned bytes, u8 flags, bool write) const;  // the stub for what the inline lookup leaves
  void set_location(u64 location, u32 ahead);

  // Floating point.
  bool avx() const { return settings_.features & kAvx; }
  Xbyak::Address literal(Constant constant) {
    return a_.xword[a_.rip_to(stubs_.constants + 16 * static_cast<u32>(constant))];
  }
  void repair(const Inst& inst, Label& cold, u8 to);
  void scalar(Op op, bool wide, u8 to, u8 a, u8 b);
  void compare_with_least(u8 reg, bool wide);
  void jump_if_nan_or_least(u8 reg, bool wide, Label& cold);
  void jump_if_denormal_scalar(u8 reg, bool wide, Label& cold);
  void jump_if_flushed(u8 reg, bool wide, Label& cold);
  void float_sign(const Inst& inst);
  void float_arithmetic(const Inst& inst, FpClass fp);
  void float_compare(const Inst& inst, FpClass fp);
  void float_from_integer(const Inst& inst, FpClass fp);
  void float_to_integer(const Inst& inst, FpClass fp);
  void float_convert(const Inst& inst, FpClass fp);

  // Vectors.
  void load_vector_constant(u8 to, u64 low, u64 high);
  bool vector_select(const Inst& inst);
  bool vector_moves(const Inst& inst);
  bool vector_logic(const Inst& inst);
  bool vector_arithmetic(const Inst& inst);
  bool vector_compare(const Inst& inst);
  bool vector_shift(const Inst& inst);
  bool vector_saturating(const Inst& inst);
  bool vector_widths(const Inst& inst);
  bool vector_permute(const Inst& inst);
  bool vector_float(const Inst& inst);
  bool vector_halving(const Inst& inst);
  void halving_by_average(const Inst& inst, u8 to, u8 a, u8 b);
  void halving_words(const Inst& inst, u8 to, u8 a, u8 b);
  bool vector_pairs(const Inst& inst);
  bool vector_counts(const Inst& inst);
  void nibbles(u8 low, u8 high, u8 from);
  void leading_zeros(unsigned lane, u8 to, u8 from);
  bool vector_polynomial(const Inst& inst);
  bool vector_table(const Inst& inst);
  void table_of_constants(u8 to, u8 low, u8 high, unsigned size, u64 indices);
  struct VariableShift {
    bool wide = false;    // lanes of 64 bits
    unsigned narrow = 0;  // a smaller lane lies in the top of one of 32 bits, above this many
    u8 from = kNone, count = kNone, work = kNone, right = kNone, spread = kNone;
  };
  bool vector_shift_variable(const Inst& inst);
  void shift_part(Op op, const VariableShift& s, u8 to);
  void shift_right_signed(const VariableShift& s, u8 d, u8 x, u8 count);
  void note_saturation(u8 where);
  void lane_signs(unsigned lane, u8 to, u8 from);
  void saturating_sum(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_wide_sum(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_shift(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_sign(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_product(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_long_product(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_narrow(const Inst& inst, u8 to, u8 a, u8 b);
  void saturating_narrow_wide(const Inst& inst, u8 to, u8 a, u8 b);
  void duplicate(u8 to, u8 from, unsigned lane_bits, unsigned lane);
  void vector_extreme(const Inst& inst, Op op, u8 to, u8 a, u8 b);
  void rotate_lanes(const Inst& inst);
  void shift_lanes(unsigned lane, u8 to, u8 from, unsigned count, bool right, bool is_signed);
  void vector_shift_bytes(u8 to, u8 from, unsigned count, bool is_signed, bool rounds);
  void vector_transpose(const Inst& inst, u8 to, u8 a, u8 b);
  void jump_if_denormal(u8 a, u8 b, u8 c, u8 free, Label& cold);
  void jump_if_outside(const Inst& inst, u8 from, bool with_sign, u32 low, u32 range, Label& cold);
  void vector_float_op(Op op, u8 to, u8 a, u8 b, u8 c);
  void pair_operands(const Inst& inst, u8& a, u8& b);
  void vector_float_arithmetic(const Inst& inst);
  void vector_float_compare(const Inst& inst);
  void vector_float_extreme(const Inst& inst);
  void vector_float_from_integer(const Inst& inst);
  void vector_float_to_integer(const Inst& inst);
  void vector_float_step(const Inst& inst);
  void look_up_estimates(bool root, u8 d);
  bool vector_float_estimate(const Inst& inst);
  bool vector_integer_estimate(const Inst& inst);

  // Calls and control.
  void call_helper(const Inst& inst);
  void direct_exit(const ir::ExitInfo& exit, u16 number);
  void exit_if(const Inst& inst);
  void exit_if_value(const Inst& inst);
  void exit_if_other(const Inst& inst);
  void exit_if_stopped(const Inst& inst);
  void exit_on(Cc cc, const ir::ExitInfo& exit, u16 number);
  Cc test_value(Ref ref, u8 live);
  void branch(const Inst& inst);
  void bind_label(u32 number);
  void indirect_exit(const Inst& inst);
  void prologue(u32 second_page);
  void jump_to_label(Cc cc, u32 number);
  void set_fp_class(FpClass fp, u8 mode = 0);
  void write_fp_class(FpClass from, FpClass to, u8 mode);

  const Settings& settings_;
  Assembler& a_;
  const Stubs& stubs_;
  const ir::Block* block_ = nullptr;
  CompiledBlock* out_ = nullptr;
  u32 first_exit_ = 0;
  bool windowed_ = false;
  bool failed_ = false;

  std::vector<Value> values_;
  std::vector<u8> live_before_;  // FlagBits, for each instruction
  std::vector<u8> label_live_;
  // Instructions of a kind, for the analysis: SetState of 32 bits, accesses that are no group's.
  std::vector<Ref> set_flags_, set_states_, accesses_, groups_, labels_at_;
  bool has_exclusives_ = false;
  std::array<Ref, 16> owner_{};
  std::array<Ref, 16> owner_xmm_{};
  u32 locked_ = 0, locked_xmm_ = 0;
  std::array<u64, (kSpillSlots + 63) / 64> spills_{};
  std::vector<Ref> aliases_;  // values whose home is a pin or a slot, or lazy conditions
  std::vector<u32> pin_offsets_;
  u32 pin_low_ = 0, pin_high_ = 0;
  FloatPins float_pins_;

  Ref index_ = 0;
  u64 location_ = 0;
  u32 ahead_ = 0;  // ir::insns_from the last Loc
  u8 host_flags_ = 0, stale_ = 0;
  bool carry_inverted_ = false;
  Ref flags_of_ = kNoRef;  // EFLAGS are those of this value's computation
  Producer flags_producer_ = Producer::none;
  bool keep_eflags_ = false;  // until the end of the instruction
  unsigned lazy_count_ = 0;   // conditions not evaluated yet
  FpClass fp_class_ = FpClass::ieee;
  u8 fp_other_mode_ = 0;
  std::vector<Label> labels_;
  std::deque<Label> cold_labels_;
  DeferredCalls cold_;
  std::vector<WindowSite> window_sites_;
};

}  // namespace rhea::x64
