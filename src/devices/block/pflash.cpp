// SPDX-License-Identifier: MIT
// A bank of NOR flash as the Versatile Express has two of (DUI 0447J section 2.5.2): two 16-bit CFI chips side by
// side on a bus of 32 bits, 64 MiB in blocks of 256 KiB.
//
// The cells are memory of the machine, which CPUs read and execute directly as long as both chips read their arrays;
// any other time, and for writes, they come here. With a drive the memory is filled from its image, and what is
// programmed or erased goes to it at once: the chips are ready when it is there. Without one the bank reads as zero
// until it is written, and forgets.
#include <algorithm>
#include <array>
#include <vector>

#include "block/drive.h"
#include "devices/block/cfi_chip.h"
#include "devices/device_type.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

constexpr u64 kSize = u64{4} * CfiChip::kWords;
constexpr u64 kSector = 512;
constexpr usize kMostRanges = 64;

struct Config {};

class Pflash : public SysbusDevice, public memory::MmioHandler, public block::DriveClient {
 public:
  Pflash(const DeviceContext& context, memory::RamBlock& cells, std::unique_ptr<memory::RamBlock> own)
      : name_(context.id), memory_(context.memory), loop_(context.loop), log_(context.log), drive_(context.drive),
        own_cells_(std::move(own)), cells_(cells), chips_{CfiChip(context.id + ".low", wiring(0), context.log),
                                                          CfiChip(context.id + ".high", wiring(1), context.log)},
        self_(std::make_shared<Pflash*>(this)) {
    windows_[0].rom = &cells_;
    windows_[0].direct = &direct_;
  }
  ~Pflash() override {
    *self_ = nullptr;
    if (attached_) drive_->detach();
  }

  Result<void> connect() {
    if (!drive_) return {};
    if (!drive_->has_medium())
      return Error("drive '{}' has no image: flash needs one of {} bytes", drive_->id(), kSize);
    if (drive_->size() != kSize)
      return Error("device requires {} bytes, block backend provides {} bytes", kSize, drive_->size())
          .with_hint(fmt::format("A flash image of this board has 64 MiB: 'rhea-img resize -f raw {} 64M' makes it so.",
                                 drive_->image()->info().filename));
    RHEA_TRY(fill());
    RHEA_TRY(drive_->attach(this, "/machine/unattached/" + name_, false));
    attached_ = true;
    buffers_ = drive_->image()->info().format != "raw";
    for (CfiChip& chip : chips_) chip.set_writable(!drive_->read_only());
    return {};
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override {
    for (CfiChip& chip : chips_) chip.reset();
    follow_mode();
  }
  void fields(Visitor& visitor) override {
    for (CfiChip& chip : chips_) chip.fields(visitor);
    if (!visitor.restoring()) return;
    follow_mode();
    // The cells are restored with the machine's memory; the image follows them when that is done.
    if (attached_ && !drive_->read_only())
      loop_.post([self = self_] {
        if (*self) (*self)->changed(0, kSize);
      });
  }

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (attributes.debug) return {load(offset, size)};
    const auto word = [this](u32 at) { return chips_[0].read(at / 4) | u32{chips_[1].read(at / 4)} << 16; };
    return read_words(offset, size, word);
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    // The query is answered to whole words: U-Boot asks by half words first, and would take the bank for one of half
    // its width and size.
    if (size < 4 && (value & 0xff) == CfiChip::kQueryCommand && chips_[offset / 2 % 2].expects_command()) return true;
    write_words(offset, value, size, [this](u32 at, u32 word, u32 mask) {
      for (unsigned lane = 0; lane < 2; ++lane) {
        const u16 chosen = static_cast<u16>(mask >> 16 * lane);
        // A byte that is not written is seen as erased: it changes nothing.
        if (chosen) chips_[lane].write(at / 4, static_cast<u16>(word >> 16 * lane | static_cast<u16>(~chosen)));
      }
    });
    follow_mode();
    return true;
  }

 private:
  struct Range {
    u64 begin, end;
  };

  CfiChip::Wiring wiring(unsigned lane) {
    const auto cell = [this, lane](u32 word) { return cells_.data() + u64{word} * 4 + lane * 2; };
    return {[cell](u32 word) { return load_le<u16>(cell(word)); },
            [cell](u32 word, u16 value) { store_le(cell(word), value); },
            [this](u32 word, u32 words) { changed(u64{word} * 4, u64{words} * 4); }};
  }

  u64 load(u64 offset, unsigned size) const {
    u64 value = 0;
    std::memcpy(&value, cells_.data() + offset % kSize, std::min<u64>(size, kSize - offset % kSize));
    return value;
  }

  // What is zero in the image is zero in fresh memory.
  Result<void> fill() {
    block::Image& image = *drive_->image();
    for (u64 at = 0; at < kSize;) {
      const block::Mapping mapping = RHEA_TRY(image.map(at, kSize - at));
      const u64 size = std::clamp<u64>(mapping.size, kSector, kSize - at);
      if (!mapping.zero) RHEA_TRY(image.read(at, {cells_.data() + at, size}));
      at += size;
    }
    return {};
  }

  void follow_mode() {
    const bool direct = chips_[0].reads_array() && chips_[1].reads_array();
    const bool before = direct_.exchange(direct, std::memory_order_acq_rel);
    if (before && !direct) memory_.reads_changed();
  }

  void changed(u64 offset, u64 size) {
    memory_.wrote(cells_, offset, size);
    if (!attached_ || drive_->read_only()) return;
    add({align_down(offset, kSector), align_up(offset + size, kSector)});
    store_next();
  }

  // Ranges that the image does not have yet. Touching ones become one; too many become their hull.
  void add(Range range) {
    for (Range& old : waiting_) {
      if (range.begin > old.end || old.begin > range.end) continue;
      old = {std::min(old.begin, range.begin), std::max(old.end, range.end)};
      return;
    }
    if (waiting_.size() >= kMostRanges) {
      for (const Range& old : waiting_) range = {std::min(old.begin, range.begin), std::max(old.end, range.end)};
      waiting_.clear();
    }
    waiting_.push_back(range);
  }

  void store_next() {
    while (!storing_ && !waiting_.empty()) {
      const Range range = waiting_.front();
      waiting_.erase(waiting_.begin());
      storing_ = true;
      // The image takes a copy: the guest may program on.
      auto data = std::make_shared<std::vector<u8>>(cells_.data() + range.begin, cells_.data() + range.end);
      block::Request request{.op = block::Op::write, .offset = range.begin, .size = data->size()};
      request.segments.push_back({data->data(), data->size()});
      request.done = [self = self_, data](const block::IoResult& result) {
        if (!*self) return;
        (*self)->stored(result);
        (*self)->store_next();
      };
      if (const auto result = drive_->start(std::move(request))) stored(*result);
    }
    const bool busy = storing_ || !waiting_.empty() || flushing_;
    for (CfiChip& chip : chips_) chip.set_busy(busy);
  }

  void stored(const block::IoResult& result) {
    storing_ = false;
    if (!result.ok()) fail(result);
    else if (waiting_.empty() && buffers_) flush();
  }

  // An image with metadata may hold it back until it is told.
  void flush() {
    flushing_ = true;
    block::Request request{.op = block::Op::flush};
    request.done = [self = self_](const block::IoResult& result) {
      if (!*self) return;
      (*self)->flushed(result);
      (*self)->store_next();
    };
    if (const auto result = drive_->start(std::move(request))) flushed(*result);
  }
  void flushed(const block::IoResult& result) {
    flushing_ = false;
    if (!result.ok()) fail(result);
  }
  void fail(const block::IoResult& result) {
    log_.write_text(fmt::format("{}: the image did not take what was programmed: {}", name_, result.message));
    for (CfiChip& chip : chips_) chip.fail();
  }

  std::string name_;
  memory::AddressSpace& memory_;
  EventLoop& loop_;
  Log& log_;
  block::Drive* drive_;
  bool attached_ = false;
  std::unique_ptr<memory::RamBlock> own_cells_;
  memory::RamBlock& cells_;
  std::array<CfiChip, 2> chips_;
  std::atomic<bool> direct_{true};
  std::vector<Range> waiting_;
  bool storing_ = false, flushing_ = false;
  bool buffers_ = false;
  std::shared_ptr<Pflash*> self_;
  std::array<MmioWindow, 1> windows_{{{"pflash", kSize, this, false, nullptr, nullptr}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void*) {
  std::unique_ptr<memory::RamBlock> own;
  if (!context.ram) own = RHEA_TRY(memory::RamBlock::create(context.id, kSize));
  memory::RamBlock& cells = context.ram ? *context.ram : *own;
  if (cells.size() != kSize) return Error("{}: a bank has {} bytes, not {}", context.id, kSize, cells.size());
  auto device = std::make_unique<Pflash>(context, cells, std::move(own));
  RHEA_TRY(device->connect());
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace

extern const DeviceType cfi_pflash01;
const DeviceType cfi_pflash01 = {
    .name = "cfi.pflash01",
    .category = Category::misc,
    .summary = "NOR flash with Intel's command set: two 16-bit chips on a 32-bit bus, 64 MiB",
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
