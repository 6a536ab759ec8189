// SPDX-License-Identifier: MIT
// The raw format: the file's bytes are the disk's, or a window of them is.
#include <algorithm>

#include "block/node.h"
#include "block/probe.h"
#include "util/bits.h"

namespace rhea::block {

namespace {

constexpr u64 kSector = 512;

class RawNode final : public Node {
 public:
  RawNode(std::unique_ptr<Node> file, u64 offset, u64 size, bool window, bool guard_header)
      : file_(std::move(file)), offset_(offset), size_(size), window_(window), guard_header_(guard_header) {}

  u64 size() const override { return size_; }
  bool read_only() const override { return file_->read_only(); }
  Result<void> read(u64 offset, Segments segments) override { return file_->read(offset_ + offset, segments); }
  Result<void> write(u64 offset, Segments segments) override {
    if (guard_header_ && offset < kSector) RHEA_TRY(check_header(offset, segments));
    return file_->write(offset_ + offset, segments);
  }
  Result<void> write_zeroes(u64 offset, u64 size, bool unmap) override {
    return file_->write_zeroes(offset_ + offset, size, unmap);
  }
  Result<void> discard(u64 offset, u64 size) override { return file_->discard(offset_ + offset, size); }
  Result<void> flush() override { return file_->flush(); }

  Result<void> resize(u64 size, Preallocation preallocation) override {
    if (window_) return Error("Cannot resize a raw image that is a part of a file (offset= or size= was given)");
    if (preallocation == Preallocation::metadata)
      return Error("Unsupported preallocation mode 'metadata' for the format 'raw'");
    RHEA_TRY(file_->resize(size, preallocation));
    size_ = align_up(size, kSector);
    return {};
  }

  Result<Mapping> map(u64 offset, u64 size) override {
    Mapping mapping = RHEA_TRY(file_->map(offset_ + offset, size));
    mapping.offset = offset;
    return mapping;
  }

  void describe(ImageInfo& info) const override {
    file_->describe(info);
    info.format = "raw";
    info.virtual_size = size_;
  }

  Place locate_now(u64 offset, u64 size, bool write) override {
    if (write && guard_header_ && offset < kSector) return {};
    return file_->locate_now(offset_ + offset, size, write);
  }
  u64 pin() override { return file_->pin(); }
  void unpin(u64 ticket) override { file_->unpin(ticket); }
  Result<void> set_read_only(bool read_only) override { return file_->set_read_only(read_only); }
  std::string format_name() const override { return "raw"; }
  std::string filename() const override { return file_->filename(); }

 private:
  // The image was taken for raw by its content: a guest that writes another format's magic would have the next
  // start read a header of the guest's making, which can name any file of the host as its backing file.
  Result<void> check_header(u64 offset, Segments segments) {
    std::vector<u8> sector(kSector);
    const Segment all{sector.data(), sector.size()};
    RHEA_TRY(file_->read(offset_, {&all, 1}));
    std::vector<u8> data(total_size(segments));
    copy_from(segments, data.data());
    std::copy_n(data.begin(), std::min<u64>(data.size(), kSector - offset),
                sector.begin() + static_cast<std::ptrdiff_t>(offset));
    const std::string format = probe_format(sector, file_->filename());
    if (format == "raw") return {};
    return Error(
        "a write to the first sector would make the image look like one of format '{}'; say format=raw to allow it",
        format);
  }

  std::unique_ptr<Node> file_;
  u64 offset_;
  u64 size_;
  bool window_;
  bool guard_header_;
};

}  // namespace

Result<std::unique_ptr<Node>> open_raw_node(std::unique_ptr<Node> file, const ImageSpec& spec, bool guard_header) {
  const u64 length = file->size();
  if (spec.offset > length) {
    return Error("Offset ({}) cannot be greater than size of the containing file ({})", spec.offset, length);
  }
  if (spec.size > length - spec.offset) {
    return Error(
        "The sum of offset ({}) and size ({}) has to be smaller or equal to the actual size of the containing file "
        "({})",
        spec.offset, spec.size, length);
  }
  if (spec.size % kSector) return Error("Specified size is not multiple of {}", kSector);
  const u64 size = spec.size ? spec.size : align_up(length - spec.offset, kSector);
  return std::unique_ptr<Node>(
      std::make_unique<RawNode>(std::move(file), spec.offset, size, spec.offset || spec.size, guard_header));
}

}  // namespace rhea::block
