// SPDX-License-Identifier: MIT
#include "block/image.h"

#include <algorithm>
#include <cstring>

#include "block/async.h"
#include "block/node.h"
#include "util/text.h"

namespace rhea::block {

namespace {

template <typename Mode>
struct Word {
  const char* word;
  Mode mode;
};

template <typename Mode, usize N>
Result<Mode> parse_word(const Word<Mode> (&table)[N], const std::string& word, const char* what) {
  std::vector<std::string> words;
  for (const auto& row : table) {
    if (word == row.word) return row.mode;
    words.push_back(row.word);
  }
  return Error("invalid {} '{}'{}: there are {}", what, word, did_you_mean(word, words), join(words, ", "));
}

constexpr Word<CacheMode> kCacheModes[] = {{"writeback", CacheMode::writeback},
                                           {"none", CacheMode::none},
                                           {"off", CacheMode::none},
                                           {"writethrough", CacheMode::writethrough},
                                           {"directsync", CacheMode::directsync},
                                           {"unsafe", CacheMode::unsafe}};
constexpr Word<AioMode> kAioModes[] = {
    {"threads", AioMode::threads}, {"io_uring", AioMode::io_uring}, {"native", AioMode::native}};
constexpr Word<DiscardMode> kDiscardModes[] = {{"ignore", DiscardMode::ignore},
                                               {"off", DiscardMode::ignore},
                                               {"unmap", DiscardMode::unmap},
                                               {"on", DiscardMode::unmap}};
constexpr Word<DetectZeroes> kDetectModes[] = {
    {"off", DetectZeroes::off}, {"on", DetectZeroes::on}, {"unmap", DetectZeroes::unmap}};
constexpr Word<Preallocation> kPreallocations[] = {{"off", Preallocation::off},
                                                   {"metadata", Preallocation::metadata},
                                                   {"falloc", Preallocation::falloc},
                                                   {"full", Preallocation::full}};

bool all_zero(Segments segments) {
  for (const Segment& segment : segments) {
    const auto* bytes = static_cast<const u8*>(segment.data);
    if (segment.size && (bytes[0] || std::memcmp(bytes, bytes + 1, segment.size - 1) != 0)) return false;
  }
  return true;
}

}  // namespace

Result<CacheMode> parse_cache_mode(const std::string& word) { return parse_word(kCacheModes, word, "cache option"); }
Result<AioMode> parse_aio_mode(const std::string& word) { return parse_word(kAioModes, word, "aio option"); }
Result<DiscardMode> parse_discard_mode(const std::string& word) {
  return parse_word(kDiscardModes, word, "discard option");
}
Result<DetectZeroes> parse_detect_zeroes(const std::string& word) {
  return parse_word(kDetectModes, word, "detect-zeroes option");
}
Result<Preallocation> parse_preallocation(const std::string& word) {
  return parse_word(kPreallocations, word, "preallocation mode");
}
const char* cache_mode_name(CacheMode mode) {
  for (const auto& row : kCacheModes) {
    if (row.mode == mode) return row.word;
  }
  return "";
}

Image::Image(std::unique_ptr<Node> top, const ImageSpec& spec) : top_(std::move(top)), spec_(spec) {}

Image::~Image() {
  async_.reset();
  if (top_ && !read_only()) (void)top_->flush();
}

std::unique_ptr<Node> Image::release() {
  async_.reset();
  return std::move(top_);
}

u64 Image::size() const { return top_->size(); }
bool Image::read_only() const { return top_->read_only(); }

ImageInfo Image::info() const {
  ImageInfo info;
  top_->describe(info);
  return info;
}

void Image::attach(EventLoop& loop) {
  if (!async_) async_ = std::make_unique<Async>(*this, loop);
}

// What is wrong with the request itself.
IoResult Image::check(const Request& request) const {
  if (request.op == Op::flush) return {};
  if (request.op != Op::read && read_only()) return {IoCode::read_only, "the image is read-only"};
  if (request.offset > size() || request.size > size() - request.offset) {
    return {IoCode::out_of_range, fmt::format("bytes {} to {} are beyond the disk's {}", request.offset,
                                              request.offset + request.size, size())};
  }
  if ((request.op == Op::read || request.op == Op::write) && total_size(request.segments) != request.size) {
    return {IoCode::failed, "the request's memory is not of the request's size"};
  }
  return {};
}

std::optional<IoResult> Image::start(Request request) {
  if (IoResult wrong = check(request); !wrong.ok()) return wrong;
  if (request.op != Op::flush && !request.size) return IoResult{};
  if (request.op == Op::discard && spec_.discard == DiscardMode::ignore) return IoResult{};
  if (request.op == Op::flush && read_only()) return IoResult{};
  if (synchronous_ || !async_) return carry_out(request);
  return async_->start(std::move(request));
}

IoResult Image::perform(const Request& request) {
  if (IoResult wrong = check(request); !wrong.ok()) return wrong;
  return carry_out(request);
}

// Any thread; blocks.
IoResult Image::carry_out(const Request& request) {
  const bool flushed = request.fua || spec_.cache == CacheMode::writethrough || spec_.cache == CacheMode::directsync;
  Result<void> result;
  switch (request.op) {
    case Op::read: return IoResult::from(top_->read(request.offset, request.segments));
    case Op::flush: return IoResult::from(top_->flush());
    case Op::write:
      if (spec_.detect_zeroes != DetectZeroes::off && all_zero(request.segments)) {
        const bool unmap = spec_.detect_zeroes == DetectZeroes::unmap && spec_.discard == DiscardMode::unmap;
        result = top_->write_zeroes(request.offset, request.size, unmap);
      } else {
        result = top_->write(request.offset, request.segments);
      }
      break;
    case Op::write_zeroes:
      result = top_->write_zeroes(request.offset, request.size, request.unmap && spec_.discard == DiscardMode::unmap);
      break;
    case Op::discard:
      if (spec_.discard == DiscardMode::unmap) result = top_->discard(request.offset, request.size);
      break;
  }
  if (result.ok() && flushed) result = top_->flush();
  return IoResult::from(result);
}

void Image::drain() {
  if (async_) async_->drain();
}

unsigned Image::in_flight() const { return async_ ? async_->in_flight() : 0; }

namespace {

Result<void> as_result(const IoResult& result) {
  if (result.ok()) return {};
  return Error::from_text(result.message);
}

}  // namespace

Result<void> Image::read(u64 offset, std::span<u8> data) {
  return as_result(
      perform({.op = Op::read, .offset = offset, .size = data.size(), .segments = {{data.data(), data.size()}}}));
}
Result<void> Image::write(u64 offset, std::span<const u8> data) {
  return as_result(perform({.op = Op::write,
                            .offset = offset,
                            .size = data.size(),
                            .segments = {{const_cast<u8*>(data.data()), data.size()}}}));
}
Result<void> Image::write_zeroes(u64 offset, u64 size, bool unmap) {
  return as_result(perform({.op = Op::write_zeroes, .offset = offset, .size = size, .unmap = unmap}));
}
Result<void> Image::discard(u64 offset, u64 size) {
  return as_result(perform({.op = Op::discard, .offset = offset, .size = size}));
}
Result<void> Image::flush() { return top_->flush(); }
Result<Mapping> Image::map(u64 offset, u64 size) { return top_->map(offset, size); }

Result<void> Image::resize(u64 size, Preallocation preallocation) {
  if (read_only()) return Error("the image is read-only");
  return top_->resize(size, preallocation);
}

Result<void> Image::commit(const Commit& commit) {
  Node* below = top_.get();
  for (unsigned i = 0; i < std::max(1u, commit.layers) && below; ++i) below = below->backing();
  if (!below) return Error("Image does not have a backing file");
  const bool was_read_only = below->read_only();
  if (was_read_only) RHEA_TRY(below->set_read_only(false));
  auto committed = copy_down(*below, commit);
  if (committed.ok() && commit.empty) committed = top_->make_empty();
  if (was_read_only) {
    auto closed = below->set_read_only(true);
    if (committed.ok() && !closed.ok()) return closed;
  }
  return committed;
}

Result<void> Image::copy_down(Node& below, const Commit& commit) {
  if (below.size() < top_->size()) RHEA_TRY(below.resize(top_->size(), Preallocation::off));
  std::vector<u8> buffer(u64{1} << 20);
  for (u64 offset = 0; offset < top_->size();) {
    const Mapping mapping = RHEA_TRY(top_->map(offset, top_->size() - offset));
    u64 size = mapping.size;
    if (mapping.depth < commit.layers && mapping.allocated) {
      size = std::min<u64>(size, buffer.size());
      const Segment part{buffer.data(), size};
      if (mapping.zero) {
        RHEA_TRY(below.write_zeroes(offset, size, true));
      } else {
        RHEA_TRY(top_->read(offset, {&part, 1}));
        if (commit.pace) commit.pace(size);
        RHEA_TRY(below.write(offset, {&part, 1}));
      }
    }
    offset += size;
    if (commit.progress) commit.progress(offset);
  }
  return below.flush();
}

bool Image::can_snapshot() const { return top_->can_snapshot() && !read_only(); }
Result<std::vector<Snapshot>> Image::snapshots() { return top_->snapshots(); }
Result<Snapshot> Image::create_snapshot(Snapshot snapshot) { return top_->create_snapshot(std::move(snapshot)); }
Result<void> Image::apply_snapshot(const std::string& id_or_name) { return top_->apply_snapshot(id_or_name); }
Result<void> Image::delete_snapshot(const std::string& id_or_name) { return top_->delete_snapshot(id_or_name); }
Result<void> Image::write_vm_state(u64 position, std::span<const u8> data) {
  return top_->write_vm_state(position, data);
}
Result<void> Image::read_vm_state(u64 position, std::span<u8> data) { return top_->read_vm_state(position, data); }

}  // namespace rhea::block
