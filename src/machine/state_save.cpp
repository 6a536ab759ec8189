// SPDX-License-Identifier: MIT
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "core/state_codec.h"
#include "machine/state.h"
#include "machine/state_format.h"
#include "util/bits.h"

namespace rhea::machine {

namespace {

constexpr u32 kMostDevices = 4096;

void text_field(Visitor& visitor, std::string_view name, std::string& text) {
  std::vector<u8> bytes(text.begin(), text.end());
  visitor.bytes(name, bytes, 4096);
  text.assign(bytes.begin(), bytes.end());
}

bool is_zero(const u8* page, usize size) { return page[0] == 0 && std::memcmp(page, page + 1, size - 1) == 0; }

// Sections with their checksums, counted.
class Writer {
 public:
  Writer(StateSink& sink, StateProgress& progress) : sink_(sink), progress_(progress) {}

  Result<void> begin() {
    std::array<u8, 12> head;
    store_le<u64>(head.data(), kStateMagic);
    store_le<u32>(head.data() + 8, kStateVersion);
    return put(head);
  }
  Result<void> section(Section type, std::span<const u8> first, std::span<const u8> rest = {}) {
    const usize size = first.size() + rest.size();
    if (size > kMaxSection) return Error("a device has {} bytes of state: at most {} can be kept", size, kMaxSection);
    uLong sum = crc32(0, first.data(), static_cast<uInt>(first.size()));
    if (!rest.empty()) sum = crc32(sum, rest.data(), static_cast<uInt>(rest.size()));
    std::array<u8, 12> head;
    store_le<u32>(head.data(), static_cast<u32>(type));
    store_le<u32>(head.data() + 4, static_cast<u32>(size));
    store_le<u32>(head.data() + 8, static_cast<u32>(sum));
    RHEA_TRY(put(head));
    RHEA_TRY(put(first));
    if (!rest.empty()) RHEA_TRY(put(rest));
    sections_++;
    return {};
  }
  Result<void> numbered(Section type, u32 number, std::span<const u8> content) {
    std::array<u8, 4> head;
    store_le<u32>(head.data(), number);
    return section(type, head, content);
  }
  Result<void> end() {
    std::array<u8, 4> count;
    store_le<u32>(count.data(), sections_);
    return section(Section::end, count);
  }

 private:
  Result<void> put(std::span<const u8> data) {
    progress_.bytes += data.size();
    return sink_.write(data);
  }
  StateSink& sink_;
  StateProgress& progress_;
  u32 sections_ = 0;
};

class RamWriter {
 public:
  RamWriter(Writer& writer, const SaveOptions& options, StateProgress& progress)
      : writer_(writer), options_(options), progress_(progress) {}

  // Runs of pages that are all zero or all not.
  Result<void> write(u32 number, const memory::RamBlock& block) {
    for (u64 at = 0; at < block.size();) {
      const bool zero = is_zero(block.data() + at, memory::kPageSize);
      u64 end = at + memory::kPageSize;
      const u64 limit = zero ? block.size() : std::min<u64>(block.size(), at + kRunBytes);
      while (end < limit && end - at < kMostZeros && is_zero(block.data() + end, memory::kPageSize) == zero)
        end += memory::kPageSize;
      RHEA_TRY(run(number, block, at, static_cast<u32>(end - at), zero));
      progress_.ram_done += end - at;
      (zero ? progress_.zero_pages : progress_.normal_pages) += (end - at) >> memory::kPageBits;
      at = end;
      if (options_.progress && !options_.progress(progress_)) return Error("cancelled");
    }
    return {};
  }

 private:
  static constexpr u64 kMostZeros = u64{1} << 30;

  Result<void> run(u32 number, const memory::RamBlock& block, u64 offset, u32 bytes, bool zero) {
    std::span<const u8> content;
    PageKind kind = PageKind::zero;
    if (!zero) {
      kind = PageKind::raw;
      content = {block.data() + offset, bytes};
      if (options_.compress) {
        packed_.resize(compressBound(bytes));
        uLongf size = packed_.size();
        if (compress2(packed_.data(), &size, content.data(), bytes, Z_BEST_SPEED) == Z_OK && size < bytes) {
          kind = PageKind::deflated;
          content = {packed_.data(), size};
        }
      }
    }
    const RamHead head{number, static_cast<u32>(kind), offset, bytes, 0};
    return writer_.section(Section::ram, {reinterpret_cast<const u8*>(&head), sizeof head}, content);
  }

  Writer& writer_;
  const SaveOptions& options_;
  StateProgress& progress_;
  std::vector<u8> packed_;
};

}  // namespace

std::vector<memory::RamBlock*> ram_blocks(Machine& machine) {
  std::vector<memory::RamBlock*> blocks;
  for (const memory::Range& range : machine.memory().ranges())
    if (range.ram && std::find(blocks.begin(), blocks.end(), range.ram) == blocks.end()) blocks.push_back(range.ram);
  return blocks;
}

void MachineShape::fields(Visitor& visitor) {
  text_field(visitor, "board", board);
  text_field(visitor, "cpu", cpu);
  visitor.field("cpus", cpus);
  visitor.field("counted", counted);
  visitor.field("shift", shift);
  u32 count = static_cast<u32>(ram.size());
  visitor.field("ram_blocks", count);
  ram.resize(std::min(count, kMostDevices));
  for (auto& [name, size] : ram) {
    text_field(visitor, "ram_name", name);
    visitor.field("ram_size", size);
  }
  count = static_cast<u32>(devices.size());
  visitor.field("devices", count);
  devices.resize(std::min(count, kMostDevices));
  for (std::string& type : devices) text_field(visitor, "device", type);
}

MachineShape MachineShape::of(Machine& machine) {
  const MachineConfig& config = machine.config();
  MachineShape shape;
  shape.board = config.board->name;
  shape.cpu = config.cpu.empty() ? std::string(config.board->default_cpu) : config.cpu;
  shape.cpus = machine.engine().cpus();
  shape.counted = config.accel.icount;
  shape.shift = config.accel.icount ? config.accel.icount_shift : 0;
  for (const memory::RamBlock* block : ram_blocks(machine)) shape.ram.emplace_back(block->name(), block->size());
  for (const auto& node : machine.devices()) shape.devices.emplace_back(node->type->name);
  return shape;
}

std::string MachineShape::difference(const MachineShape& here) const {
  if (board != here.board) return fmt::format("it is of machine '{}', this is '{}'", board, here.board);
  if (cpu != here.cpu) return fmt::format("its CPU is '{}', this machine's is '{}'", cpu, here.cpu);
  if (cpus != here.cpus) return fmt::format("it has {} CPUs, this machine has {}", cpus, here.cpus);
  if (counted != here.counted || shift != here.shift) {
    return counted ? fmt::format("it was made with -icount shift={}{}", shift,
                                 here.counted ? fmt::format(", this machine has {}", here.shift) : "")
                   : "it was made without -icount";
  }
  for (usize i = 0; i < std::max(ram.size(), here.ram.size()); i++) {
    if (i >= ram.size() || i >= here.ram.size())
      return fmt::format("it has {} blocks of memory, this machine has {}", ram.size(), here.ram.size());
    if (ram[i].first != here.ram[i].first)
      return fmt::format("it has memory '{}' where this machine has '{}'", ram[i].first, here.ram[i].first);
    if (ram[i].second != here.ram[i].second) {
      return fmt::format("its memory '{}' has {} KiB, this machine's has {} (-m)", ram[i].first, ram[i].second >> 10,
                         here.ram[i].second >> 10);
    }
  }
  for (usize i = 0; i < std::max(devices.size(), here.devices.size()); i++) {
    const std::string theirs = i < devices.size() ? devices[i] : "nothing",
                      ours = i < here.devices.size() ? here.devices[i] : "nothing";
    if (theirs != ours)
      return fmt::format(
          "its device {} is {}, here it is {}: both sides need the same -device, -nic and -drive options", i, theirs,
          ours);
  }
  return {};
}

void StateInfo::fields(Visitor& visitor) {
  visitor.field("date", date);
  visitor.field("clock", clock);
  visitor.field("icount", icount);
}

StateInfo state_info(Machine& machine) {
  accel::Engine& engine = machine.engine();
  return {
      .date = machine.wall_time() / kSecond, .clock = engine.virtual_clock().now(), .icount = engine.instructions()};
}

SavedParts save_parts(Machine& machine) {
  std::lock_guard net_lock(machine.net_loop().lock());
  SavedParts parts;
  accel::Engine& engine = machine.engine();
  StateInfo info = state_info(machine);
  parts.info = core::save_state(info);
  MachineShape shape = MachineShape::of(machine);
  parts.shape = core::save_state(shape);
  struct Clocks {
    accel::Engine& engine;
    void fields(Visitor& visitor) { engine.clock_fields(visitor); }
  } clocks{engine};
  parts.clock = core::save_state(clocks);
  engine.at_safe_point([&] {
    for (const auto& node : machine.devices()) parts.devices.push_back(core::save_state(*node->device));
    for (unsigned i = 0; i < engine.cpus(); i++) parts.cpus.push_back(core::save_state(engine.cpu(i)));
  });
  parts.ram = ram_blocks(machine);
  return parts;
}

Result<StateProgress> write_state(const SavedParts& parts, StateSink& sink, const SaveOptions& options) {
  StateProgress progress;
  Writer writer(sink, progress);
  for (const memory::RamBlock* block : parts.ram) progress.ram_total += block->size();
  RHEA_TRY(writer.begin());
  RHEA_TRY(writer.section(Section::info, parts.info));
  RHEA_TRY(writer.section(Section::machine, parts.shape));
  RHEA_TRY(writer.section(Section::clock, parts.clock));
  RamWriter ram(writer, options, progress);
  for (usize i = 0; i < parts.ram.size(); i++) RHEA_TRY(ram.write(static_cast<u32>(i), *parts.ram[i]));
  for (usize i = 0; i < parts.devices.size(); i++)
    RHEA_TRY(writer.numbered(Section::device, static_cast<u32>(i), parts.devices[i]));
  for (usize i = 0; i < parts.cpus.size(); i++)
    RHEA_TRY(writer.numbered(Section::cpu, static_cast<u32>(i), parts.cpus[i]));
  RHEA_TRY(writer.end());
  return progress;
}

}  // namespace rhea::machine
