// SPDX-License-Identifier: MIT
// A file in memory, for tests: it notes what was written between which flushes, so that a test can see what a
// process that was killed, or a machine that lost power, would have left behind.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "block/node.h"

namespace rhea::block::testing {

struct Storage {
  static constexpr u64 kPage = 4096;
  std::map<u64, std::vector<u8>> pages;
  u64 size = 0;
  usize limit = SIZE_MAX;  // pages; then the disk is full

  struct Event {
    enum class Kind : u8 { write, flush, truncate } kind;
    u64 offset = 0;
    std::vector<u8> data;
  };
  bool logging = false;
  std::vector<Event> log;

  void read(u64 offset, u8* to, u64 count) const {
    while (count) {
      const u64 inside = offset % kPage, part = std::min(count, kPage - inside);
      const auto page = pages.find(offset / kPage);
      if (page == pages.end() || offset >= size) std::memset(to, 0, part);
      else std::memcpy(to, page->second.data() + inside, part);
      if (offset < size && offset + part > size) std::memset(to + (size - offset), 0, offset + part - size);
      to += part;
      offset += part;
      count -= part;
    }
  }
  bool write(u64 offset, const u8* from, u64 count) {
    size = std::max(size, offset + count);
    while (count) {
      const u64 inside = offset % kPage, part = std::min(count, kPage - inside);
      auto& page = pages[offset / kPage];
      if (page.empty()) {
        if (pages.size() > limit) {
          pages.erase(offset / kPage);
          return false;
        }
        page.resize(kPage);
      }
      std::memcpy(page.data() + inside, from, part);
      from += part;
      offset += part;
      count -= part;
    }
    return true;
  }
  void truncate(u64 to) {
    size = to;
    pages.erase(pages.upper_bound(to / kPage), pages.end());
    if (const auto page = pages.find(to / kPage); page != pages.end())
      std::fill(page->second.begin() + static_cast<std::ptrdiff_t>(to % kPage), page->second.end(), u8{0});
  }
  void apply(const Event& event) {
    if (event.kind == Event::Kind::write) write(event.offset, event.data.data(), event.data.size());
    if (event.kind == Event::Kind::truncate) truncate(event.offset);
  }
};

class MemoryNode final : public Node {
 public:
  static constexpr u64 kMaxSize = u64{1} << 31;  // as file systems have a largest file
  explicit MemoryNode(std::shared_ptr<Storage> storage, bool read_only = false)
      : storage_(std::move(storage)), read_only_(read_only) {}

  u64 size() const override { return storage_->size; }
  bool read_only() const override { return read_only_; }
  Result<void> read(u64 offset, Segments segments) override {
    std::lock_guard lock(mutex_);
    for (const Segment& segment : segments) {
      storage_->read(offset, static_cast<u8*>(segment.data), segment.size);
      offset += segment.size;
    }
    return {};
  }
  Result<void> write(u64 offset, Segments segments) override {
    std::lock_guard lock(mutex_);
    std::vector<u8> data(total_size(segments));
    copy_from(segments, data.data());
    return put(offset, std::move(data));
  }
  Result<void> write_zeroes(u64 offset, u64 size, bool) override {
    std::lock_guard lock(mutex_);
    if (size > (u64{64} << 20)) return Error("No space left on device");
    return put(offset, std::vector<u8>(size));
  }
  Result<void> discard(u64, u64) override { return {}; }
  Result<void> flush() override {
    std::lock_guard lock(mutex_);
    if (storage_->logging) storage_->log.push_back({Storage::Event::Kind::flush});
    return {};
  }
  Result<void> resize(u64 size, Preallocation) override {
    std::lock_guard lock(mutex_);
    if (storage_->logging) storage_->log.push_back({Storage::Event::Kind::truncate, size});
    storage_->truncate(size);
    return {};
  }
  Result<Mapping> map(u64 offset, u64 size) override {
    return Mapping{.offset = offset, .size = size, .data = true, .allocated = true};
  }
  void describe(ImageInfo& info) const override { info.filename = "memory"; }
  std::string format_name() const override { return "memory"; }
  std::string filename() const override { return "memory"; }
  Result<void> set_read_only(bool read_only) override {
    read_only_ = read_only;
    return {};
  }

 private:
  Result<void> put(u64 offset, std::vector<u8> data) {
    if (read_only_) return Error("read-only");
    if (offset + data.size() > kMaxSize) return Error("File too large");
    if (!storage_->write(offset, data.data(), data.size())) return Error("No space left on device");
    if (storage_->logging) storage_->log.push_back({Storage::Event::Kind::write, offset, std::move(data)});
    return {};
  }

  std::shared_ptr<Storage> storage_;
  bool read_only_;
  std::mutex mutex_;
};

}  // namespace rhea::block::testing
