// SPDX-License-Identifier: MIT
#include "host/x64/window_path.h"

#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "host/x64/emitter.h"
#include "ir/eval.h"
#include "util/bits.h"

namespace rhea::x64 {

using ir::StateHeader;

namespace {

u32& mxcsr_of(StateHeader& state, FpClass fp) {
  switch (fp) {
    case FpClass::neon: return state.mxcsr_neon;
    case FpClass::other: return state.mxcsr_other;
    default: return state.mxcsr_ieee;
  }
}

// The guest's flags that only EFLAGS had. Their low byte is what LAHF takes.
void write_flags(StateHeader& state, u64 rflags, u8 flags) {
  constexpr u64 kCarry = 1, kOverflow = 1u << 11;
  const u32 mask = ir::image_mask(flags & ir::kFlagNZCV);
  if (flags & WindowPath::kCarryInverted) rflags ^= kCarry;
  const u32 image = static_cast<u32>(rflags & 0xff) << 8 | (rflags & kOverflow ? 1 : 0);
  state.flags = (state.flags & ir::kImageMask & ~mask) | (image & mask);
}

u64 extended(u64 value, unsigned bits, const WindowPath& path) {
  if (path.access & ir::kSigned) value = static_cast<u64>(sign_extend(value, bits));
  return path.how & WindowPath::kWide ? value : static_cast<u32>(value);
}

void load(StateHeader* state, WindowFrame& frame, const WindowPath& path, u64 address, const Runtime& runtime) {
  const unsigned bytes = 1u << (path.how & WindowPath::kLog);
  const u64 descriptor = bytes | u64{path.access} << 8;
  ir::Value loaded = {};
  if (path.flags & WindowPath::kExclusive) loaded.lo = runtime.load_exclusive(state, address, descriptor);
  else if (bytes == 16) loaded = runtime.load128(state, address, descriptor);
  else loaded.lo = runtime.load(state, address, descriptor);
  if (state->exception) return;
  if (!(path.how & WindowPath::kVector)) {
    frame.gprs[path.data] = extended(loaded.lo, 8 * bytes, path);
    return;
  }
  frame.xmms[path.data][0] = bytes == 4 ? static_cast<u32>(loaded.lo) : loaded.lo;
  frame.xmms[path.data][1] = bytes == 16 ? loaded.hi : 0;
}

void store(StateHeader* state, WindowFrame& frame, const WindowPath& path, u64 address, const Runtime& runtime) {
  const unsigned bytes = 1u << (path.how & WindowPath::kLog);
  const u64 descriptor = bytes | u64{path.access} << 8;
  if (path.how & WindowPath::kVector) {
    const u64* data = frame.xmms[path.data];
    if (bytes == 16) runtime.store128(state, address, descriptor, data[0], data[1]);
    else runtime.store(state, address, descriptor, bytes == 4 ? static_cast<u32>(data[0]) : data[0]);
    return;
  }
  u64 value = frame.gprs[path.data & 15];
  if (path.how & WindowPath::kConstant) {
    const u32 constant = load_raw<u32>(frame.path + sizeof(path));
    value = path.how & WindowPath::kWide ? static_cast<u64>(sign_extend(constant, 32)) : constant;
  }
  if (path.flags & WindowPath::kExclusive) {
    const u64 failed = runtime.store_exclusive(state, address, descriptor, value);
    if (!state->exception) frame.gprs[path.result] = failed;
  } else {
    runtime.store(state, address, descriptor, value);
  }
}

}  // namespace

u32 window_path_bytes(const u8* code) {
  WindowPath path;
  std::memcpy(&path, code, sizeof(path));
  return sizeof(path) + (path.how & WindowPath::kConstant ? 4 : 0);
}

void follow_window_path(StateHeader* state, WindowFrame* frame, const Runtime* runtime) {
  WindowPath path;
  std::memcpy(&path, frame->path, sizeof(path));
  if (path.flags & ir::kFlagNZCV) write_flags(*state, frame->rflags, path.flags);
  state->location = path.location_low | u64{path.location_high} << 32;
  state->ahead = path.ahead;
  u32& mxcsr = mxcsr_of(*state, static_cast<FpClass>(path.flags >> WindowPath::kClassShift & 3));
  mxcsr = frame->mxcsr;
  _mm_setcsr(state->mxcsr_ieee);
  u64 address = path.displacement;
  if (path.address != kNone) address += frame->gprs[path.address];
  if (path.how & WindowPath::kPointer) address -= frame->gprs[kR14];
  address = static_cast<u32>(address);
  if (path.how & WindowPath::kStore) store(state, *frame, path, address, *runtime);
  else load(state, *frame, path, address, *runtime);
  frame->mxcsr = state->exception ? state->mxcsr_ieee : mxcsr;
  frame->path += std::ptrdiff_t{offsetof(WindowPath, back) + sizeof(path.back)} + path.back;
}

}  // namespace rhea::x64
