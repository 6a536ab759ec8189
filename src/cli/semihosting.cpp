// SPDX-License-Identifier: MIT
// Each call has a number and a parameter, mostly the address of a block of words. Lengths are the guest's:
// what is moved at once is bounded, and a call that asks for more is served in steps. The console is a
// character device or the process's own streams; a read that finds no input makes the CPU call again, so that
// it can be stopped meanwhile.
#include "cli/semihosting.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>

#include <fmt/format.h>

#include "sys/stream.h"
#include "util/bits.h"

namespace rhea::cli {

namespace {

enum Operation : u32 {
  kOpen = 0x01,
  kClose = 0x02,
  kWriteC = 0x03,
  kWrite0 = 0x04,
  kWrite = 0x05,
  kRead = 0x06,
  kReadC = 0x07,
  kIsError = 0x08,
  kIsTty = 0x09,
  kSeek = 0x0a,
  kFlen = 0x0c,
  kTmpnam = 0x0d,
  kRemove = 0x0e,
  kRename = 0x0f,
  kClock = 0x10,
  kTime = 0x11,
  kSystem = 0x12,
  kErrno = 0x13,
  kGetCmdline = 0x15,
  kHeapInfo = 0x16,
  kExit = 0x18,
  kSyncCache = 0x19,
  kExitExtended = 0x20,
  kElapsed = 0x30,
  kTickFreq = 0x31,
};
constexpr u32 kMinusOne = ~u32{0};
constexpr u32 kApplicationExit = 0x20026;  // ADP_Stopped_ApplicationExit
constexpr u32 kFirstHandle = 1;            // 0 is no handle
constexpr usize kMostHandles = 256;
constexpr usize kMostText = 4096;                    // of a name
constexpr u32 kMostStep = 1u << 20;                  // bytes moved at once
constexpr u32 kMostSteps = 16;                       // of one call, which then says how much is left
constexpr u8 kFeatures[] = {'S', 'H', 'F', 'B', 3};  // SYS_EXIT_EXTENDED; :tt by mode is stdout or stderr
constexpr const char* kModes[] = {"r", "rb", "r+", "r+b", "w", "wb", "w+", "w+b", "a", "ab", "a+", "a+b"};

}  // namespace

// Pipes and devices would keep the CPU waiting.
static bool may_open(const std::string& name) {
  std::error_code error;
  const auto kind = std::filesystem::status(name, error).type();
  return kind == std::filesystem::file_type::regular || kind == std::filesystem::file_type::not_found ||
         name == "/dev/null";
}

// The words that a parameter points to.
class HostSemihosting::Block {
 public:
  Block(u32 address, SemihostingMemory& memory) : address_(address), memory_(memory) {}
  u32 word(unsigned index) {
    u8 bytes[4] = {};
    good_ &= memory_.read(address_ + 4 * index, bytes);
    return load_le<u32>(bytes);
  }
  // A text, by the words that have its address and its length.
  std::string name_at(unsigned address_index, unsigned size_index) {
    const u32 address = word(address_index), size = word(size_index);
    if (!good_ || size > kMostText) {
      good_ = false;
      return {};
    }
    std::vector<u8> bytes(size);
    good_ &= memory_.read(address, bytes);
    return std::string(bytes.begin(), std::find(bytes.begin(), bytes.end(), 0));
  }
  bool put(unsigned index, u32 value) {
    u8 bytes[4];
    store_le<u32>(bytes, value);
    return memory_.write(address_ + 4 * index, bytes);
  }
  bool good() const { return good_; }

 private:
  u32 address_;
  SemihostingMemory& memory_;
  bool good_ = true;
};

HostSemihosting::HostSemihosting(Setup setup) : setup_(std::move(setup)), started_(setup_.loop.real_clock().now()) {
  if (setup_.console) setup_.console->set_frontend(this);
}

HostSemihosting::~HostSemihosting() {
  if (setup_.console) setup_.console->set_frontend(nullptr);
  for (const auto& [number, handle] : handles_)
    if (handle.file) std::fclose(handle.file);
}

usize HostSemihosting::can_receive() {
  constexpr usize kMostInput = 4096;
  std::lock_guard lock(mutex_);
  return kMostInput - std::min(kMostInput, input_.size());
}

void HostSemihosting::receive(std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  input_.insert(input_.end(), data.begin(), data.end());
}

Semihosting::Answer HostSemihosting::fail(int error) {
  errno_ = error;
  return {kMinusOne};
}

HostSemihosting::Handle* HostSemihosting::find(u32 handle) {
  const auto found = handles_.find(handle);
  return found == handles_.end() ? nullptr : &found->second;
}

void HostSemihosting::print(std::span<const u8> data, bool error) {
  if (setup_.console) {
    setup_.loop.post(
        [console = setup_.console, copy = std::vector<u8>(data.begin(), data.end())] { console->write(copy); });
    return;
  }
  std::FILE* stream = error ? stderr : stdout;
  std::fwrite(data.data(), 1, data.size(), stream);
  std::fflush(stream);
}

usize HostSemihosting::take_input(std::span<u8> to) {
  if (!setup_.console) {
    const sys::ReadSome got = sys::read_now(0, to);
    return got.outcome == sys::ReadOutcome::data ? got.count : 0;
  }
  const usize count = std::min(to.size(), input_.size());
  std::copy_n(input_.begin(), count, to.begin());
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
  if (count) setup_.loop.post([console = setup_.console] { console->accept_input(); });
  return count;
}

Semihosting::Answer HostSemihosting::call(u32 operation, u32 parameter, SemihostingMemory& memory) {
  std::lock_guard lock(mutex_);
  Block block(parameter, memory);
  switch (operation) {
    case kOpen: return open(block);
    case kClose: return close(block.word(0));
    case kWriteC: {
      u8 byte = 0;
      if (memory.read(parameter, {&byte, 1})) print({&byte, 1}, true);
      return {};
    }
    case kWrite0: {
      std::vector<u8> text;
      for (u8 byte;
           text.size() < kMostStep && memory.read(parameter + static_cast<u32>(text.size()), {&byte, 1}) && byte;)
        text.push_back(byte);
      print(text, true);
      return {};
    }
    case kWrite: return write(block, memory);
    case kRead: return read(block, memory);
    case kReadC: return read_character();
    case kIsError: return {static_cast<s32>(block.word(0)) < 0 ? 1u : 0u};
    case kIsTty: {
      const Handle* handle = find(block.word(0));
      if (!handle) return fail(EBADF);
      return {handle->kind >= Kind::console_in ? 1u : 0u};
    }
    case kSeek: return seek(block.word(0), block.word(1));
    case kFlen: return length(block.word(0));
    case kTmpnam: return temporary_name(block, memory);
    case kRemove: return remove(block);
    case kRename: return rename(block);
    case kClock: return {static_cast<u32>((setup_.loop.real_clock().now() - started_) / (kSecond / 100))};
    case kTime: return {static_cast<u32>(std::time(nullptr))};
    case kErrno: return {static_cast<u32>(errno_)};
    case kGetCmdline: return command_line(block, memory);
    case kHeapInfo: return heap_info(block, memory);
    case kExit: setup_.exit(parameter == kApplicationExit ? 0 : 1); return {.again = true};  // nothing comes behind it
    case kExitExtended: {
      const u32 reason = block.word(0), status = block.word(1);
      if (!block.good()) return fail(EFAULT);
      setup_.exit(reason == kApplicationExit ? static_cast<int>(status & 255) : 1);
      return {.again = true};
    }
    case kSyncCache: return {};
    case kElapsed: return elapsed(parameter, memory);
    case kTickFreq: return {static_cast<u32>(kSecond)};
    case kSystem:  // no commands on the host
    default: return fail(ENOSYS);
  }
}

Semihosting::Answer HostSemihosting::open(Block& block) {
  const u32 mode = block.word(1);
  const std::string name = block.name_at(0, 2);
  if (!block.good() || mode >= std::size(kModes)) return fail(EINVAL);
  if (handles_.size() >= kMostHandles) return fail(EMFILE);
  Handle handle;
  if (name == ":tt") {
    handle.kind = mode < 4 ? Kind::console_in : mode < 8 ? Kind::console_out : Kind::console_error;
  } else if (name == ":semihosting-features") {
    if (mode > 1) return fail(EACCES);
    handle.kind = Kind::features;
  } else {
    if (!may_open(name)) return fail(EACCES);
    handle.file = std::fopen(name.c_str(), kModes[mode]);
    if (!handle.file) return fail(errno);
  }
  u32 number = kFirstHandle;
  while (handles_.contains(number)) ++number;
  handles_.emplace(number, handle);
  return {number};
}

Semihosting::Answer HostSemihosting::close(u32 handle) {
  Handle* found = find(handle);
  if (!found) return fail(EBADF);
  const bool good = !found->file || std::fclose(found->file) == 0;
  handles_.erase(handle);
  return good ? Answer{} : fail(errno);
}

// Returns how many bytes were not written.
Semihosting::Answer HostSemihosting::write(Block& block, SemihostingMemory& memory) {
  Handle* handle = find(block.word(0));
  u32 address = block.word(1), left = block.word(2);
  if (!handle || !block.good()) return fail(EBADF);
  std::vector<u8> bytes;
  for (u32 step = 0; left && step < kMostSteps; ++step) {
    bytes.resize(std::min(left, kMostStep));
    if (!memory.read(address, bytes)) break;
    usize count = bytes.size();
    if (handle->kind == Kind::console_out || handle->kind == Kind::console_error) {
      print(bytes, handle->kind == Kind::console_error);
    } else if (handle->file) {
      std::fseek(handle->file, 0, SEEK_CUR);  // between reading and writing
      count = std::fwrite(bytes.data(), 1, bytes.size(), handle->file);
      std::fflush(handle->file);
    } else {
      count = 0;
    }
    if (count < bytes.size()) errno_ = errno ? errno : EBADF;
    left -= static_cast<u32>(count);
    address += static_cast<u32>(count);
    if (count < bytes.size()) break;
  }
  return {left};
}

// Returns how many bytes were not read.
Semihosting::Answer HostSemihosting::read(Block& block, SemihostingMemory& memory) {
  Handle* handle = find(block.word(0));
  const u32 address = block.word(1), wanted = block.word(2);
  if (!handle || !block.good()) return fail(EBADF);
  std::vector<u8> bytes(std::min(wanted, kMostStep));
  usize count = 0;
  switch (handle->kind) {
    case Kind::console_in:
      count = take_input(bytes);
      if (count == 0 && wanted) return {.again = true};
      break;
    case Kind::features:
      count = std::min(bytes.size(), std::size(kFeatures) - handle->position);
      std::copy_n(kFeatures + handle->position, count, bytes.begin());
      handle->position += count;
      break;
    case Kind::file:
      std::fseek(handle->file, 0, SEEK_CUR);
      count = std::fread(bytes.data(), 1, bytes.size(), handle->file);
      break;
    default: return fail(EBADF);
  }
  if (!memory.write(address, std::span(bytes).first(count))) return fail(EFAULT);
  return {wanted - static_cast<u32>(count)};
}

Semihosting::Answer HostSemihosting::read_character() {
  u8 byte = 0;
  if (take_input({&byte, 1}) == 0) return {.again = true};
  return {byte};
}

Semihosting::Answer HostSemihosting::seek(u32 number, u32 position) {
  Handle* handle = find(number);
  if (!handle) return fail(EBADF);
  if (handle->kind == Kind::features) {
    if (position > std::size(kFeatures)) return fail(EINVAL);
    handle->position = position;
    return {};
  }
  if (!handle->file || std::fseek(handle->file, static_cast<long>(position), SEEK_SET) != 0)
    return fail(handle->file ? errno : ESPIPE);
  return {};
}

Semihosting::Answer HostSemihosting::length(u32 number) {
  Handle* handle = find(number);
  if (!handle) return fail(EBADF);
  if (handle->kind == Kind::features) return {static_cast<u32>(std::size(kFeatures))};
  if (!handle->file) return {};
  const long here = std::ftell(handle->file);
  if (here < 0 || std::fseek(handle->file, 0, SEEK_END) != 0) return fail(errno);
  const long size = std::ftell(handle->file);
  std::fseek(handle->file, here, SEEK_SET);
  return size < 0 || size > INT32_MAX ? fail(EOVERFLOW) : Answer{static_cast<u32>(size)};
}

Semihosting::Answer HostSemihosting::temporary_name(Block& block, SemihostingMemory& memory) {
  const u32 address = block.word(0), id = block.word(1), size = block.word(2);
  if (!block.good() || id > 255) return fail(EINVAL);
  const std::string name = fmt::format("/tmp/rhea-semihosting-{:x}{:02x}", static_cast<u64>(started_), id);
  if (size <= name.size()) return fail(EINVAL);
  return memory.write(address, {reinterpret_cast<const u8*>(name.c_str()), name.size() + 1}) ? Answer{} : fail(EFAULT);
}

Semihosting::Answer HostSemihosting::remove(Block& block) {
  const std::string name = block.name_at(0, 1);
  if (!block.good()) return fail(EFAULT);
  return std::remove(name.c_str()) == 0 ? Answer{} : fail(errno);
}

Semihosting::Answer HostSemihosting::rename(Block& block) {
  const std::string from = block.name_at(0, 1), to = block.name_at(2, 3);
  if (!block.good()) return fail(EFAULT);
  return std::rename(from.c_str(), to.c_str()) == 0 ? Answer{} : fail(errno);
}

Semihosting::Answer HostSemihosting::command_line(Block& block, SemihostingMemory& memory) {
  const u32 address = block.word(0), size = block.word(1);
  const std::string& text = setup_.command_line;
  if (!block.good() || size <= text.size()) return fail(E2BIG);
  if (!memory.write(address, {reinterpret_cast<const u8*>(text.c_str()), text.size() + 1})) return fail(EFAULT);
  return block.put(1, static_cast<u32>(text.size())) ? Answer{} : fail(EFAULT);
}

// Four words: heap base and limit, stack base and limit. The upper half of RAM is free of what is loaded.
Semihosting::Answer HostSemihosting::heap_info(Block& block, SemihostingMemory& memory) {
  const u32 address = block.word(0);
  const u32 middle = setup_.ram_base + (setup_.ram_end - setup_.ram_base) / 2;
  const u32 words[] = {middle, setup_.ram_end, setup_.ram_end, 0};
  u8 bytes[16];
  for (usize i = 0; i < 4; ++i) store_le<u32>(bytes + 4 * i, words[i]);
  return block.good() && memory.write(address, bytes) ? Answer{} : fail(EFAULT);
}

Semihosting::Answer HostSemihosting::elapsed(u32 parameter, SemihostingMemory& memory) {
  u8 bytes[8];
  store_le<u64>(bytes, static_cast<u64>(setup_.loop.real_clock().now() - started_));
  return memory.write(parameter, bytes) ? Answer{} : fail(EFAULT);
}

}  // namespace rhea::cli
