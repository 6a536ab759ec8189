// SPDX-License-Identifier: MIT
// A disk of nothing (null-co, null-aio): writes go nowhere. What is read is whatever the memory held, or zeros when
// those are asked for.
#include <algorithm>
#include <chrono>
#include <thread>

#include "block/node.h"
#include "util/bits.h"

namespace rhea::block {

namespace {

class NullNode final : public Node {
 public:
  NullNode(const NullDisk& disk, bool read_only) : disk_(disk), read_only_(read_only) {}

  u64 size() const override { return disk_.size; }
  bool read_only() const override { return read_only_; }
  Result<void> read(u64, Segments segments) override {
    wait();
    if (disk_.zeroes) fill_zero(segments);
    return {};
  }
  Result<void> write(u64, Segments) override { return nowhere(); }
  Result<void> write_zeroes(u64, u64, bool) override { return nowhere(); }
  Result<void> discard(u64, u64) override { return nowhere(); }
  Result<void> flush() override { return nowhere(); }
  Result<void> resize(u64, Preallocation) override { return Error("a disk of nothing keeps its size"); }
  Result<Mapping> map(u64 offset, u64 size) override {
    return Mapping{.offset = offset,
                   .size = std::min(size, disk_.size - std::min(offset, disk_.size)),
                   .data = !disk_.zeroes,
                   .zero = disk_.zeroes,
                   .allocated = true,
                   .host_offset = offset,
                   .filename = filename()};
  }
  void describe(ImageInfo& info) const override {
    info.filename = filename();
    info.format = format_name();
    info.virtual_size = info.file_length = disk_.size;
    info.read_only = read_only_;
  }
  Result<void> set_read_only(bool read_only) override {
    read_only_ = read_only;
    return {};
  }
  // Zeros are at hand, unless they are to take their time.
  Place locate_now(u64 offset, u64 size, bool write) override {
    if (write || !disk_.zeroes || disk_.latency) return {};
    return {.kind = Place::Kind::zeros, .size = size};
  }
  std::string format_name() const override { return disk_.driver; }
  std::string filename() const override { return disk_.driver + "://"; }

 private:
  void wait() const {
    if (disk_.latency) std::this_thread::sleep_for(std::chrono::nanoseconds(disk_.latency));
  }
  Result<void> nowhere() const {
    wait();
    return {};
  }
  NullDisk disk_;
  bool read_only_;
};

}  // namespace

std::unique_ptr<Node> make_null_node(const NullDisk& disk, bool read_only) {
  NullDisk whole = disk;
  whole.size = align_up(whole.size, u64{512});
  return std::make_unique<NullNode>(whole, read_only);
}

}  // namespace rhea::block
