// SPDX-License-Identifier: MIT
// Reading a state stream. The order in which the pieces are applied: virtual time, memory (devices may read it when
// they are restored), devices from the last to the first (so that the interrupt controller, which comes first, has
// its lines as they were whatever the others do to them), CPUs.
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/state_codec.h"
#include "machine/state.h"
#include "machine/state_format.h"
#include "util/bits.h"

namespace rhea::machine {

namespace {

struct Clocks {
  accel::Engine& engine;
  void fields(Visitor& visitor) { engine.clock_fields(visitor); }
};

// A stream that has been read: everything but the memory.
struct Collected {
  std::vector<u8> clock;
  std::vector<std::optional<std::vector<u8>>> devices, cpus;
};

class Loader {
 public:
  Loader(Machine& machine, StateSource& source) : machine_(machine), source_(source), blocks_(ram_blocks(machine)) {}

  // Reads the stream to its end. `apply`: memory is written; else it is only checked.
  Result<void> pass(bool apply) {
    collected_ = {};
    collected_.devices.resize(machine_.devices().size());
    collected_.cpus.resize(machine_.engine().cpus());
    covered_.assign(blocks_.size(), 0);
    machine_seen_ = false;
    RHEA_TRY(read_head());
    for (u32 sections = 0;; sections++) {
      std::array<u8, 12> head;
      RHEA_TRY(source_.read(head));
      const u32 type = load_le<u32>(head.data()), size = load_le<u32>(head.data() + 4);
      if (size > kMaxSection) return Error("a section of {} bytes cannot be: the stream is damaged", size);
      RHEA_TRY(read_content(size));
      const u32 sum = static_cast<u32>(crc32(0, content_.data(), size));
      if (sum != load_le<u32>(head.data() + 8))
        return Error("section {} (of type {}) is damaged: its checksum is wrong", sections, type);
      if (static_cast<Section>(type) == Section::end) return finish(sections);
      RHEA_TRY(take(static_cast<Section>(type), apply));
    }
  }

  // Everything but memory.
  Result<void> check_fields() {
    return with_trees([&](auto& thing, const core::StateTree& tree) { return core::check_state(thing, tree); });
  }
  Result<void> apply_fields() {
    return with_trees([&](auto& thing, const core::StateTree& tree) { return core::load_state(thing, tree); });
  }

 private:
  Result<void> read_head() {
    std::array<u8, 12> head;
    RHEA_TRY(source_.read(head));
    if (load_le<u64>(head.data()) != kStateMagic) return Error("this is no machine state");
    const u32 version = load_le<u32>(head.data() + 8);
    if (version != kStateVersion) return Error("its format is version {}, this Rhea reads {}", version, kStateVersion);
    return {};
  }

  // In pieces: a length is believed only as far as bytes come.
  Result<void> read_content(u32 size) {
    constexpr usize kPiece = usize{1} << 20;
    content_.clear();
    while (content_.size() < size) {
      const usize from = content_.size();
      content_.resize(std::min<usize>(size, from + kPiece));
      RHEA_TRY(source_.read(std::span(content_).subspan(from)));
    }
    return {};
  }

  Result<void> take(Section type, bool apply) {
    if (type != Section::machine && type != Section::info && !machine_seen_)
      return Error("it does not say what machine it is of");
    switch (type) {
      case Section::info: return {};
      case Section::machine: return take_machine();
      case Section::clock: collected_.clock = content_; return {};
      case Section::ram: return take_ram(apply);
      case Section::device: return take_numbered(collected_.devices, "device");
      case Section::cpu: return take_numbered(collected_.cpus, "CPU");
      case Section::end: break;
    }
    return Error("a section is of unknown type {}", static_cast<u32>(type));
  }

  Result<void> take_machine() {
    const core::StateTree tree = RHEA_TRY(core::StateTree::parse(content_));
    MachineShape shape;
    RHEA_TRY(core::load_state(shape, tree));
    const std::string difference = shape.difference(MachineShape::of(machine_));
    if (!difference.empty()) return Error("{}", difference);
    machine_seen_ = true;
    return {};
  }

  Result<void> take_numbered(std::vector<std::optional<std::vector<u8>>>& list, std::string_view what) {
    if (content_.size() < 4) return Error("a {} section is cut short", what);
    const u32 number = load_le<u32>(content_.data());
    if (number >= list.size()) return Error("it has a {} {}, there are {}", what, number, list.size());
    if (list[number]) return Error("it has {} {} twice", what, number);
    list[number] = std::vector<u8>(content_.begin() + 4, content_.end());
    return {};
  }

  Result<void> take_ram(bool apply) {
    RamHead head;
    if (content_.size() < sizeof head) return Error("a ram section is cut short");
    std::memcpy(&head, content_.data(), sizeof head);
    if (head.block >= blocks_.size())
      return Error("it has a block of memory {}, there are {}", head.block, blocks_.size());
    memory::RamBlock& block = *blocks_[head.block];
    const bool zero = static_cast<PageKind>(head.kind) == PageKind::zero;
    const bool sound = head.offset == covered_[head.block] && head.bytes && head.bytes % memory::kPageSize == 0 &&
                       head.offset + head.bytes <= block.size() && (zero || head.bytes <= kRunBytes);
    if (!sound) return Error("pages at {:#x} of memory '{}' do not fit there", head.offset, block.name());
    covered_[head.block] += head.bytes;
    const std::span<const u8> data = std::span<const u8>(content_).subspan(sizeof head);
    u8* to = block.data() + head.offset;
    if (zero) {
      if (!data.empty())
        return Error("zeros at {:#x} of memory '{}' come with {} bytes", head.offset, block.name(), data.size());
      if (apply) clear(to, head.bytes);
      return {};
    }
    std::span<const u8> pages = data;
    if (static_cast<PageKind>(head.kind) == PageKind::deflated) {
      unpacked_.resize(head.bytes);
      uLongf size = head.bytes;
      if (uncompress(unpacked_.data(), &size, data.data(), data.size()) != Z_OK)
        return Error("pages at {:#x} of memory '{}' cannot be unpacked", head.offset, block.name());
      pages = {unpacked_.data(), size};
    } else if (static_cast<PageKind>(head.kind) != PageKind::raw) {
      return Error("pages at {:#x} of memory '{}' are packed in an unknown way ({})", head.offset, block.name(),
                   head.kind);
    }
    if (pages.size() != head.bytes)
      return Error("pages at {:#x} of memory '{}' have {} bytes instead of {}", head.offset, block.name(), pages.size(),
                   head.bytes);
    if (apply) std::memcpy(to, pages.data(), pages.size());
    return {};
  }

  // Pages that are zero already are not touched, so that they stay without memory of the host.
  static void clear(u8* to, u64 bytes) {
    for (u64 at = 0; at < bytes; at += memory::kPageSize) {
      u8* page = to + at;
      if (page[0] || std::memcmp(page, page + 1, memory::kPageSize - 1)) std::memset(page, 0, memory::kPageSize);
    }
  }

  Result<void> finish(u32 sections) {
    if (content_.size() != 4 || load_le<u32>(content_.data()) != sections) return Error("sections are missing");
    if (!machine_seen_) return Error("it does not say what machine it is of");
    for (usize i = 0; i < blocks_.size(); i++)
      if (covered_[i] != blocks_[i]->size())
        return Error("pages of memory '{}' are missing from {:#x} on", blocks_[i]->name(), covered_[i]);
    for (usize i = 0; i < collected_.devices.size(); i++)
      if (!collected_.devices[i]) return Error("device {} ({}) is missing", i, machine_.devices()[i]->type->name);
    for (usize i = 0; i < collected_.cpus.size(); i++)
      if (!collected_.cpus[i]) return Error("CPU {} is missing", i);
    return {};
  }

  template <typename Use>
  Result<void> with_trees(Use&& use) {
    const core::StateTree clock = RHEA_TRY(core::StateTree::parse(collected_.clock));
    Clocks clocks{machine_.engine()};
    Result<void> used = use(clocks, clock);
    if (!used.ok()) return std::move(used.error()).in("clock");
    for (usize i = collected_.devices.size(); i-- > 0;) {
      DeviceNode& node = *machine_.devices()[i];
      auto tree = core::StateTree::parse(*collected_.devices[i]);
      Result<void> fits = tree.ok() ? use(*node.device, *tree) : Result<void>(tree.error());
      if (!fits.ok()) return std::move(fits.error()).in(fmt::format("device {} ({})", i, node.type->name));
    }
    for (u32 i = 0; i < collected_.cpus.size(); i++) {
      auto tree = core::StateTree::parse(*collected_.cpus[i]);
      Result<void> fits;
      if (!tree.ok()) fits = tree.error();
      else machine_.engine().at_safe_point([&] { fits = use(machine_.engine().cpu(i), *tree); });
      if (!fits.ok()) return std::move(fits.error()).in(fmt::format("CPU {}", i));
    }
    return {};
  }

  Machine& machine_;
  StateSource& source_;
  std::vector<memory::RamBlock*> blocks_;
  std::vector<u64> covered_;  // bytes of each block that have come
  std::vector<u8> content_, unpacked_;
  Collected collected_;
  bool machine_seen_ = false;
};

}  // namespace

Result<void> MemorySource::read(std::span<u8> data) {
  if (data.size() > bytes_.size() - at_)
    return Error("it ends after {} bytes, in the middle of something", bytes_.size());
  std::memcpy(data.data(), bytes_.data() + at_, data.size());
  at_ += data.size();
  return {};
}

Result<StateInfo> read_state_info(StateSource& source) {
  constexpr u32 kMost = 4096;
  std::array<u8, 24> head;
  RHEA_TRY(source.read(head));
  const u32 size = load_le<u32>(head.data() + 16);
  if (load_le<u64>(head.data()) != kStateMagic || load_le<u32>(head.data() + 12) != static_cast<u32>(Section::info) ||
      size > kMost) {
    return Error("this is no machine state");
  }
  std::vector<u8> content(size);
  RHEA_TRY(source.read(content));
  const core::StateTree tree = RHEA_TRY(core::StateTree::parse(content));
  StateInfo info;
  RHEA_TRY(core::load_state(info, tree));
  return info;
}

Result<void> load_machine(Machine& machine, StateSource& source, const std::function<Result<void>()>& found_good) {
  std::lock_guard net_lock(machine.net_loop().lock());
  Loader loader(machine, source);
  if (source.rewind()) {
    RHEA_TRY(loader.pass(false));
    RHEA_TRY(loader.check_fields());
    source.rewind();
  }
  if (found_good) RHEA_TRY(found_good());
  RHEA_TRY(loader.pass(true));
  RHEA_TRY(loader.check_fields());
  machine.engine().memory_replaced();
  return loader.apply_fields();
}

}  // namespace rhea::machine
