// SPDX-License-Identifier: MIT
// The data lines of the card: what its commands send and receive, and the requests to the image behind them.
//
// Sending, the window holds what was fetched and `at_` what has gone out. Receiving, it grows until it is full, the
// last block of the transfer is there, or the host has nothing more to give; then it is written, and the card is
// busy. A transfer is wound up when its last block (or CMD12) has come and the image has ended what it was asked.
#include <algorithm>

#include "devices/sd/sd_card.h"
#include "util/bits.h"

namespace rhea::devices::sd {
namespace {

constexpr usize kWindow = 64 * 1024;

// CMD42 (section 4.3.7.1).
enum LockFlag : u8 { kSetPassword = 1, kClearPassword = 2, kLock = 4, kForceErase = 8 };
constexpr usize kMostPassword = 16;

// Extension registers (section 5.7): general information, and the performance enhancement function.
constexpr unsigned kGeneral = 0, kPerformance = 2;
constexpr usize kCacheSupport = 4, kCacheEnable = 260, kCacheFlush = 261;

}  // namespace

// --- requests to the image ----------------------------------------------------------------------------------------

void SdCard::begin(block::Request request) {
  in_flight_ = true;
  fetching_ = request.op == block::Op::read;
  const u64 generation = ++generation_;
  const block::Op op = request.op;
  request.done = [self = self_, window = window_, generation, op](const block::IoResult& result) {
    SdCard* card = *self;
    if (!card || card->generation_ != generation) return;
    card->ended(op, result);
    if (card->wiring_.changed) card->wiring_.changed();
  };
  if (const auto now = drive_->start(std::move(request))) ended(op, *now);
}

void SdCard::ended(block::Op op, const block::IoResult& result) {
  in_flight_ = fetching_ = false;
  if (!result.ok()) log_.write(LogItem::guest_errors, "{}: {}", name_, result.message);
  if (op == block::Op::read) {
    if (result.ok()) return;
    status_ |= kCardEccFailed;
    silent_ = true;
    return;
  }
  if (!result.ok()) status_ |= result.code == block::IoCode::read_only ? kWriteProtectViolation : kGeneralError;
  if (op == block::Op::flush) unsafe_ = false;
  else unsafe_ = buffers_;
  if (state_ != State::receiving || (incoming_ == Incoming::blocks && blocks_left_ == 0)) wind_up();
}

// The card has all and the image has ended: a flush where the host cannot ask for one, then ready again.
void SdCard::wind_up() {
  if (in_flight_) return;
  if (unsafe_ && !cache_on_ && inserted()) {
    block::Request flush{.op = block::Op::flush};
    if (state_ == State::receiving) state_ = State::programming;
    begin(std::move(flush));
    return;
  }
  incoming_ = Incoming::nothing;
  window_ = std::make_shared<std::vector<u8>>();
  at_ = 0;
  if (state_ == State::receiving || state_ == State::programming) state_ = State::transfer;
  else if (state_ == State::disconnect) state_ = State::standby;
}

// What the host has not taken or given is forgotten; what the image was asked goes on without us.
void SdCard::abort_data() {
  ++generation_;
  in_flight_ = fetching_ = silent_ = false;
  window_ = std::make_shared<std::vector<u8>>();
  at_ = 0;
  blocks_left_ = 0;
  incoming_ = Incoming::nothing;
}

// --- sending ------------------------------------------------------------------------------------------------------

void SdCard::send_bytes(std::span<const u8> bytes) {
  abort_data();
  window_->assign(bytes.begin(), bytes.end());
  state_ = State::sending;
}

bool SdCard::start_reading(u32 argument, u64 blocks) {
  const u64 address = address_of(argument);
  if (address >= capacity_) {
    status_ |= kOutOfRange;
    return true;
  }
  if (!high_capacity_ && address % kBlock + block_length_ > kBlock) {
    status_ |= kAddressError;
    return true;
  }
  abort_data();
  position_ = address;
  blocks_left_ = blocks;
  state_ = State::sending;
  return true;
}

bool SdCard::read_single(u32 argument) { return start_reading(argument, 1); }

bool SdCard::read_multiple(u32 argument) {
  const u64 blocks = block_count_ ? block_count_ : kOpenEnded;
  block_count_ = 0;
  return start_reading(argument, blocks);
}

// Fills the empty window with whole blocks, `wanted` bytes if there is room for them.
void SdCard::fetch(usize wanted) {
  const u64 size = unit();
  const u64 most = std::min({u64{kWindow} / size, blocks_left_, (capacity_ - position_) / size});
  if (most == 0) {
    status_ |= kOutOfRange;
    silent_ = true;
    return;
  }
  const u64 blocks = std::clamp<u64>((wanted + size - 1) / size, 1, most);
  window_ = std::make_shared<std::vector<u8>>(blocks * size);
  at_ = 0;
  blocks_left_ -= blocks;
  block::Request request{.op = block::Op::read, .offset = position_, .size = window_->size()};
  request.segments.push_back({window_->data(), window_->size()});
  position_ += window_->size();
  begin(std::move(request));
}

usize SdCard::read(std::span<u8> to, usize ahead) {
  usize done = 0;
  while (state_ == State::sending && !silent_ && !in_flight_) {
    const usize part = std::min(to.size() - done, window_->size() - at_);
    std::copy_n(window_->begin() + static_cast<std::ptrdiff_t>(at_), part,
                to.begin() + static_cast<std::ptrdiff_t>(done));
    at_ += part;
    done += part;
    if (at_ == window_->size() && blocks_left_ == 0) {
      abort_data();
      state_ = State::transfer;
    }
    if (done == to.size()) break;
    if (state_ == State::sending && at_ == window_->size()) fetch(to.size() - done + ahead);
  }
  return done;
}

bool SdCard::stop(u32) {
  if (state_ == State::sending) {
    abort_data();
    state_ = State::transfer;
    return true;
  }
  state_ = State::programming;
  blocks_left_ = 0;
  if (!in_flight_) {
    store();
    if (!in_flight_) wind_up();
  }
  return true;
}

// --- receiving ----------------------------------------------------------------------------------------------------

bool SdCard::write_forbidden() const { return drive_->read_only() || (csd_writable_ & 0x30); }

bool SdCard::start_writing(u32 argument, u64 blocks) {
  const u64 address = address_of(argument);
  if (address >= capacity_) status_ |= kOutOfRange;
  else if (!high_capacity_ && block_length_ != kBlock) status_ |= kBlockLengthError;
  else if (address % kBlock) status_ |= kAddressError;
  else if (write_forbidden()) status_ |= kWriteProtectViolation;
  else {
    abort_data();
    position_ = address;
    blocks_left_ = blocks;
    written_blocks_ = 0;
    incoming_ = Incoming::blocks;
    state_ = State::receiving;
  }
  return true;
}

bool SdCard::write_single(u32 argument) { return start_writing(argument, 1); }

bool SdCard::write_multiple(u32 argument) {
  const u64 blocks = block_count_ ? block_count_ : kOpenEnded;
  block_count_ = 0;
  return start_writing(argument, blocks);
}

usize SdCard::write(std::span<const u8> from, usize ahead) {
  if (state_ != State::receiving) return 0;
  return incoming_ == Incoming::blocks ? collect_blocks(from, ahead) : collect(from);
}

// One block of known size that is no data of the medium; `blocks_left_` counts its bytes.
usize SdCard::collect(std::span<const u8> from) {
  const usize part = std::min<u64>(from.size(), blocks_left_);
  window_->insert(window_->end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(part));
  blocks_left_ -= part;
  if (blocks_left_ == 0 && part) received();
  return part;
}

usize SdCard::collect_blocks(std::span<const u8> from, usize ahead) {
  usize done = 0;
  while (state_ == State::receiving && !in_flight_ && blocks_left_ && done < from.size()) {
    const usize limit = std::min<u64>(kWindow, blocks_left_ * kBlock);
    const usize part = std::min(from.size() - done, limit - std::min(limit, window_->size()));
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(done);
    window_->insert(window_->end(), first, first + static_cast<std::ptrdiff_t>(part));
    done += part;
    const bool last = done == from.size() && ahead == 0;
    if (window_->size() >= limit || last) store();
  }
  return done;
}

// Writes the whole blocks of the window; what is left of one stays.
void SdCard::store() {
  const usize whole = window_->size() / kBlock * kBlock;
  if (whole == 0) return;
  auto rest = std::make_shared<std::vector<u8>>(window_->begin() + static_cast<std::ptrdiff_t>(whole), window_->end());
  blocks_left_ -= std::min<u64>(blocks_left_, whole / kBlock);
  const u64 fits = std::min<u64>(whole, capacity_ - position_);
  if (fits < whole) status_ |= kOutOfRange;
  written_blocks_ += static_cast<u32>(fits / kBlock);
  if (fits) {
    block::Request request{.op = block::Op::write, .offset = position_, .size = fits};
    request.segments.push_back({window_->data(), fits});
    position_ += fits;
    begin(std::move(request));
  }
  window_ = rest;
  if (!in_flight_ && state_ == State::receiving && blocks_left_ == 0) wind_up();
}

void SdCard::receive_bytes(Incoming what, usize size) {
  abort_data();
  incoming_ = what;
  blocks_left_ = size;
  state_ = State::receiving;
}

bool SdCard::program_csd(u32) {
  receive_bytes(Incoming::csd, 16);
  return true;
}

bool SdCard::lock_unlock(u32) {
  receive_bytes(Incoming::lock, high_capacity_ ? kBlock : block_length_);
  return true;
}

bool SdCard::write_extension(u32 argument) {
  extension_argument_ = argument;
  receive_bytes(Incoming::extension, kBlock);
  return true;
}

// CMD56: a block that is the manufacturer's business; here a place to put one.
bool SdCard::general_command(u32 argument) {
  if (argument & 1) send_bytes(vendor_);
  else receive_bytes(Incoming::vendor, kBlock);
  return true;
}

void SdCard::received() {
  const auto window = std::exchange(window_, std::make_shared<std::vector<u8>>());
  const Incoming what = std::exchange(incoming_, Incoming::nothing);
  state_ = State::programming;
  switch (what) {
    case Incoming::csd: received_csd(*window); break;
    case Incoming::lock: received_lock(*window); break;
    case Incoming::extension: received_extension(*window); break;
    case Incoming::vendor:
      std::copy_n(window->begin(), std::min<usize>(window->size(), kBlock), vendor_.begin());
      break;
    default: break;
  }
  if (!in_flight_) wind_up();
}

// CMD27: only bits 14 to 10 can be changed, and of these the copy and the permanent protection bit set once.
void SdCard::received_csd(std::span<const u8> data) {
  const Register128 now = csd();
  const u8 wanted = data.size() == 16 ? data[14] : 0;
  const bool same = data.size() == 16 && std::equal(data.begin(), data.begin() + 14, now.begin());
  if (!same || (wanted & 0x83) || (csd_writable_ & 0x60 & ~wanted)) status_ |= kCsdOverwrite;
  else csd_writable_ = wanted;
}

void SdCard::received_lock(std::span<const u8> data) {
  const u8 flags = data.empty() ? 0 : data[0];
  if (flags & kForceErase) {
    if (flags != kForceErase || !locked_ || write_forbidden()) {
      status_ |= kLockUnlockFailed;
      return;
    }
    password_.clear();
    locked_ = false;
    begin({.op = block::Op::write_zeroes, .offset = 0, .size = capacity_, .unmap = true});
    return;
  }
  const usize length = data.size() > 1 ? data[1] : 0;
  if (2 + length > data.size()) status_ |= kLockUnlockFailed;
  else change_password(data.subspan(2, length), flags);
}

void SdCard::change_password(std::span<const u8> given, u8 flags) {
  const auto begins_with_password = [&] {
    return given.size() >= password_.size() && std::equal(password_.begin(), password_.end(), given.begin());
  };
  const bool exact = begins_with_password() && given.size() == password_.size() && !password_.empty();
  const usize fresh = given.size() - std::min(given.size(), password_.size());
  if (flags & kSetPassword) {
    if (!begins_with_password() || fresh == 0 || fresh > kMostPassword || (flags & kClearPassword)) {
      status_ |= kLockUnlockFailed;
      return;
    }
    password_.assign(given.end() - static_cast<std::ptrdiff_t>(fresh), given.end());
    if (flags & kLock) locked_ = true;
  } else if (!exact || ((flags & kLock) && locked_)) {
    status_ |= kLockUnlockFailed;
  } else if (flags & kClearPassword) {
    password_.clear();
    locked_ = false;
  } else {
    locked_ = flags & kLock;
  }
}

// --- erasing ------------------------------------------------------------------------------------------------------

bool SdCard::erase_first(u32 argument) {
  erase_first_ = address_of(argument) / kBlock * kBlock;
  erase_first_set_ = erase_first_ < capacity_;
  if (!erase_first_set_) status_ |= kOutOfRange;
  return true;
}

bool SdCard::erase_last(u32 argument) {
  if (!erase_first_set_) {
    status_ |= kEraseSequenceError;
    return true;
  }
  erase_last_ = address_of(argument) / kBlock * kBlock;
  erase_last_set_ = erase_last_ < capacity_;
  if (!erase_last_set_) status_ |= kOutOfRange;
  return true;
}

// CMD38: argument 0 erases (zeros are read then), 1 discards.
bool SdCard::erase(u32 argument) {
  const bool set = erase_first_set_ && erase_last_set_;
  erase_first_set_ = erase_last_set_ = false;
  if (!set) status_ |= kEraseSequenceError;
  else if (erase_last_ < erase_first_) status_ |= kEraseParameter;
  else if (write_forbidden()) status_ |= kWriteProtectViolation;
  else {
    abort_data();
    state_ = State::programming;
    block::Request request{.op = argument == 1 ? block::Op::discard : block::Op::write_zeroes,
                           .offset = erase_first_,
                           .size = erase_last_ - erase_first_ + kBlock};
    request.unmap = true;
    begin(std::move(request));
    if (!in_flight_ && state_ == State::programming) wind_up();
  }
  return true;
}

// --- extension registers ------------------------------------------------------------------------------------------

std::array<u8, kBlock> SdCard::extension_page(unsigned function, unsigned page) const {
  std::array<u8, kBlock> bytes{};
  if (page != 0) return bytes;
  if (function == kGeneral) {
    store_le<u16>(&bytes[2], 64);  // length
    bytes[4] = 1;                  // one extension
    u8* extension = &bytes[16];
    store_le<u16>(extension, 2);  // standard function: performance enhancement
    extension[42] = 1;            // one set of registers
    store_le<u32>(extension + 44, u32{kPerformance} << 18);
  } else if (function == kPerformance) {
    bytes[0] = 1;
    bytes[kCacheSupport] = 1;
    bytes[kCacheEnable] = cache_on_;
  }
  return bytes;
}

bool SdCard::read_extension(u32 argument) {
  if (bit(argument, 31)) return false;  // no I/O functions
  const auto page = extension_page(bits(argument, 27, 4), bits(argument, 18, 8));
  const usize offset = bits(argument, 9, 9), length = std::min<usize>(bits(argument, 0, 9) + 1, kBlock - offset);
  std::array<u8, kBlock> bytes{};
  std::copy_n(page.begin() + static_cast<std::ptrdiff_t>(offset), length, bytes.begin());
  send_bytes(bytes);
  return true;
}

void SdCard::received_extension(std::span<const u8> data) {
  const u32 argument = extension_argument_;
  const unsigned function = bits(argument, 27, 4), page = bits(argument, 18, 8);
  if (function != kPerformance || page != 0) {
    status_ |= kOutOfRange;
    return;
  }
  const bool masked = bit(argument, 26);
  const usize offset = bits(argument, 9, 9), length = masked ? 1 : bits(argument, 0, 9) + 1;
  const auto written = [&](usize at) -> std::optional<u8> {
    if (at < offset || at >= offset + length || at - offset >= data.size()) return std::nullopt;
    return masked ? static_cast<u8>(data[at - offset] & argument) : data[at - offset];
  };
  const bool was_on = cache_on_;
  if (const auto enable = written(kCacheEnable)) cache_on_ = *enable & 1;
  const auto flush = written(kCacheFlush);
  if ((flush && (*flush & 1)) || (was_on && !cache_on_)) begin({.op = block::Op::flush});
}

}  // namespace rhea::devices::sd
