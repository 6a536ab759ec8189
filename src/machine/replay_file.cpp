// SPDX-License-Identifier: MIT
// The recording's file: magic, version, length and bytes of the machine's shape (state_format.h), then events, each
// {kind u8, source u32, count s64, time s64, fired u64, check u64, length u32, data, CRC-32 u32}. The last event is of
// kind `end`; a file without it was cut short (the recorder was killed), and is replayed as far as it goes.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "core/state_codec.h"
#include "machine/machine.h"
#include "machine/replay.h"
#include "machine/state_format.h"
#include "sys/file.h"
#include "util/bits.h"

namespace rhea::machine {

namespace {

constexpr u64 kMagic = 0x31594c5045524852;  // "RHREPLY1"
constexpr u32 kVersion = 1;
constexpr usize kEventHead = 1 + 4 + 8 + 8 + 8 + 8 + 4;
constexpr u32 kMaxData = u32{1} << 20;
constexpr u8 kLastKind = static_cast<u8>(Replay::Kind::balloon);

std::vector<u8> encode(const Replay::Event& event) {
  std::vector<u8> bytes(kEventHead);
  bytes[0] = static_cast<u8>(event.kind);
  store_le<u32>(&bytes[1], event.source);
  store_le<u64>(&bytes[5], static_cast<u64>(event.count));
  store_le<u64>(&bytes[13], static_cast<u64>(event.time));
  store_le<u64>(&bytes[21], event.fired);
  store_le<u64>(&bytes[29], event.check);
  store_le<u32>(&bytes[37], static_cast<u32>(event.data.size()));
  bytes.insert(bytes.end(), event.data.begin(), event.data.end());
  const u32 sum = static_cast<u32>(crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
  bytes.resize(bytes.size() + 4);
  store_le<u32>(bytes.data() + bytes.size() - 4, sum);
  return bytes;
}

// Returns how many bytes it takes; 0: there is no whole event.
usize decode(std::span<const u8> bytes, Replay::Event& event) {
  if (bytes.size() < kEventHead + 4) return 0;
  const u32 size = load_le<u32>(&bytes[37]);
  if (size > kMaxData || bytes.size() - kEventHead - 4 < size || bytes[0] > kLastKind) return 0;
  const usize whole = kEventHead + size;
  if (static_cast<u32>(crc32(0, bytes.data(), static_cast<uInt>(whole))) != load_le<u32>(&bytes[whole])) return 0;
  event.kind = static_cast<Replay::Kind>(bytes[0]);
  event.source = load_le<u32>(&bytes[1]);
  event.count = static_cast<s64>(load_le<u64>(&bytes[5]));
  event.time = static_cast<s64>(load_le<u64>(&bytes[13]));
  event.fired = load_le<u64>(&bytes[21]);
  event.check = load_le<u64>(&bytes[29]);
  event.data.assign(bytes.begin() + kEventHead, bytes.begin() + static_cast<std::ptrdiff_t>(whole));
  return whole + 4;
}

}  // namespace

Result<void> Replay::open(ReplayMode mode, const std::string& path) {
  mode_ = mode;
  path_ = path;
  if (mode == ReplayMode::replay) {
    Result<void> read = read_file(path);
    if (!read.ok()) return Error("rrfile '{}': {}", path, read.error().message());
    return {};
  }
  sys::Fd fd = RHEA_TRY(sys::open_output(path));
  file_ = std::make_unique<sys::Output>(std::move(fd));
  return {};
}

Result<void> Replay::read_file(const std::string& path) {
  const std::vector<u8> bytes = RHEA_TRY(sys::read_file(path));
  constexpr usize kHead = 8 + 4 + 4;
  if (bytes.size() < kHead || load_le<u64>(bytes.data()) != kMagic) return Error("it is no recording");
  if (load_le<u32>(&bytes[8]) != kVersion)
    return Error("its format is version {}, this Rhea reads {}", load_le<u32>(&bytes[8]), kVersion);
  const u32 shape = load_le<u32>(&bytes[12]);
  if (shape > bytes.size() - kHead) return Error("it ends in its head");
  file_shape_.assign(bytes.begin() + kHead, bytes.begin() + kHead + shape);
  s64 count = 0;
  for (usize at = kHead + shape; at < bytes.size();) {
    Event event;
    const usize size = decode(std::span(bytes).subspan(at), event);
    if (!size) break;
    if (event.count < count || event.time < 0) return Error("event {} is before the one before it", events_.size());
    count = event.count;
    events_.push_back(std::move(event));
    at += size;
  }
  if (events_.empty() || events_.back().kind != Kind::end) {
    machine_.log().write_text(
        fmt::format("replay: '{}' has no end: it is replayed as far as it goes, {} events", path, events_.size()));
  }
  return {};
}

Result<void> Replay::check_shape() {
  MachineShape here = MachineShape::of(machine_);
  if (mode_ == ReplayMode::record) {
    const std::vector<u8> shape = core::save_state(here);
    std::vector<u8> head(16);
    store_le<u64>(head.data(), kMagic);
    store_le<u32>(&head[8], kVersion);
    store_le<u32>(&head[12], static_cast<u32>(shape.size()));
    head.insert(head.end(), shape.begin(), shape.end());
    if (const int error = file_->write(head)) return Error("rrfile '{}': {}", path_, sys::errno_text(error));
    return {};
  }
  const core::StateTree tree = RHEA_TRY(core::StateTree::parse(file_shape_));
  MachineShape recorded;
  RHEA_TRY(core::load_state(recorded, tree));
  const std::string difference = recorded.difference(here);
  if (!difference.empty()) return Error("rrfile '{}': {}", path_, difference);
  return {};
}

Result<void> Replay::write_event(const Event& event) {
  if (!file_) return {};
  if (const int error = file_->write(encode(event))) return Error("{}", sys::errno_text(error));
  return {};
}

void Replay::close() {
  if (mode_ != ReplayMode::record || !file_) return;
  Event end{.kind = Kind::end};
  accel::Engine& engine = machine_.engine();
  end.count = engine.instructions();
  end.time = engine.virtual_clock().now();
  end.fired = engine.timers_fired();
  (void)write_event(end);
  file_.reset();
}

}  // namespace rhea::machine
