// SPDX-License-Identifier: MIT
// A local file or block device, and its locks.
//
// The locks are QEMU's, so that the two keep off each other's images: a process that holds a permission has a
// shared lock on byte 100+p, one that denies it to others a shared lock on byte 200+p. Locks are taken first and
// conflicts looked for afterwards, so that of two processes that start together at least one sees the other.
#include <array>
#include <atomic>

#include "block/node.h"

namespace rhea::block {

namespace {

constexpr u64 kHeldBase = 100;
constexpr u64 kDeniedBase = 200;
struct Permission {
  unsigned bit;
  const char* name;
};
constexpr Permission kConsistentRead{0, "consistent read"};
constexpr Permission kWrite{1, "write"};
constexpr Permission kResize{3, "resize"};

class FileNode final : public Node {
 public:
  FileNode(std::unique_ptr<sys::DiskFile> file, std::string name, bool read_only, const ImageSpec& spec)
      : file_(std::move(file)), name_(std::move(name)), read_only_(read_only), unsafe_(spec.cache == CacheMode::unsafe),
        locked_(spec.locking != Locking::off && !spec.share),
        direct_(spec.cache == CacheMode::none || spec.cache == CacheMode::directsync) {}

  Result<void> lock() { return locked_ ? lock_file(*file_, !read_only_) : Result<void>(); }

  u64 size() const override { return file_->size(); }
  bool read_only() const override { return read_only_; }

  Result<void> read(u64 offset, Segments segments) override { return file_->read(offset, segments); }
  Result<void> write(u64 offset, Segments segments) override {
    if (read_only_) return Error("'{}' is open for reading only", name_);
    return file_->write(offset, segments);
  }

  Result<void> write_zeroes(u64 offset, u64 size, bool unmap) override {
    if (read_only_) return Error("'{}' is open for reading only", name_);
    const u64 length = file_->size();
    const u64 inside = offset < length ? std::min(size, length - offset) : 0;
    if (unmap && can_punch_) {
      if (!inside || file_->punch_hole(offset, inside)) return extend(offset + size);
      can_punch_ = false;
    }
    if (can_zero_) {
      if (file_->zero_range(offset, size)) return {};
      can_zero_ = false;
    }
    return write_zero_bytes(offset, size);
  }

  Result<void> discard(u64 offset, u64 size) override {
    if (read_only_) return Error("'{}' is open for reading only", name_);
    const u64 length = file_->size();
    if (offset < length && can_punch_ && !file_->punch_hole(offset, std::min(size, length - offset)))
      can_punch_ = false;
    return {};
  }

  Result<void> flush() override { return unsafe_ || read_only_ ? Result<void>() : file_->flush(); }

  Result<void> resize(u64 size, Preallocation preallocation) override {
    const u64 old = file_->size();
    if (file_->is_device()) {
      if (size <= old) return {};
      return Error("Cannot grow device files");
    }
    RHEA_TRY(file_->truncate(size));
    if (size <= old || preallocation == Preallocation::off) return {};
    auto filled =
        preallocation == Preallocation::full ? write_zero_bytes(old, size - old) : file_->allocate(old, size - old);
    if (!filled) (void)file_->truncate(old);
    return filled;
  }

  Result<Mapping> map(u64 offset, u64 size) override {
    const sys::DiskFile::Stretch stretch = file_->stretch(offset, size);
    return Mapping{.offset = offset,
                   .size = stretch.size,
                   .data = !stretch.hole,
                   .zero = stretch.hole,
                   .allocated = true,
                   .host_offset = offset,
                   .filename = name_};
  }

  void describe(ImageInfo& info) const override {
    info.filename = name_;
    info.file_length = file_->size();
    info.actual_size = file_->allocated_size();
    info.read_only = read_only_;
  }

  Place locate_now(u64 offset, u64 size, bool write) override {
    if (write && read_only_) return {};
    return {.kind = Place::Kind::file, .size = size, .file = file_.get(), .offset = offset};
  }

  Result<void> set_read_only(bool read_only) override {
    if (read_only == read_only_) return {};
    auto file = RHEA_TRY(sys::DiskFile::open(name_, {.write = !read_only, .direct = direct_}));
    // The old file's locks are this process's own: they would look like another's.
    auto old = std::move(file_);
    file_ = std::move(file);
    if (locked_) {
      unlock_file(*old);
      if (auto locked = lock_file(*file_, !read_only); !locked) {
        file_ = std::move(old);
        (void)lock_file(*file_, !read_only_);
        return locked;
      }
    }
    read_only_ = read_only;
    return {};
  }

  std::string format_name() const override { return "file"; }
  std::string filename() const override { return name_; }

 private:
  static void unlock_file(sys::DiskFile& file) {
    for (const Permission& permission : {kConsistentRead, kWrite, kResize}) {
      file.unlock(kHeldBase + permission.bit);
      file.unlock(kDeniedBase + permission.bit);
    }
  }

  Result<void> lock_file(sys::DiskFile& file, bool writes) {
    const auto conflict = [&](const char* words, const Permission& permission) {
      unlock_file(file);
      return Error("Failed to get {}\"{}\" lock", words, permission.name)
          .with_hint(fmt::format("Is another process using the image [{}]?", name_));
    };
    std::vector<Permission> held{kConsistentRead};
    if (writes) held.insert(held.end(), {kWrite, kResize});
    const std::array denied{kWrite, kResize};
    for (const Permission& permission : held) {
      if (!file.lock_shared(kHeldBase + permission.bit)) return conflict("", permission);
    }
    for (const Permission& permission : denied) {
      if (!file.lock_shared(kDeniedBase + permission.bit)) return conflict("shared ", permission);
    }
    for (const Permission& permission : held) {
      if (file.locked_by_other(kDeniedBase + permission.bit)) return conflict("", permission);
    }
    for (const Permission& permission : denied) {
      if (file.locked_by_other(kHeldBase + permission.bit)) return conflict("shared ", permission);
    }
    return {};
  }

  // The file is at least so long, the new part being zeros. (Not by truncate: another thread may be writing
  // beyond the old end.)
  Result<void> extend(u64 end) {
    if (file_->size() >= end) return {};
    u8 zero = 0;
    const Segment last{&zero, 1};
    return file_->write(end - 1, {&last, 1});
  }

  Result<void> write_zero_bytes(u64 offset, u64 size) {
    std::vector<u8> zeros(std::min<u64>(size, u64{1} << 20));
    while (size) {
      const Segment part{zeros.data(), std::min<u64>(size, zeros.size())};
      RHEA_TRY(file_->write(offset, {&part, 1}));
      offset += part.size;
      size -= part.size;
    }
    return {};
  }

  std::unique_ptr<sys::DiskFile> file_;
  std::string name_;
  bool read_only_;
  bool unsafe_;
  bool locked_;
  bool direct_;
  std::atomic<bool> can_punch_{true};
  std::atomic<bool> can_zero_{true};
};

}  // namespace

std::unique_ptr<Node> make_file_node(std::unique_ptr<sys::DiskFile> file, std::string name, bool read_only,
                                     const ImageSpec& spec) {
  return std::make_unique<FileNode>(std::move(file), std::move(name), read_only, spec);
}

Result<std::unique_ptr<Node>> open_file_node(const std::string& path, const ImageSpec& spec) {
  const bool direct = spec.cache == CacheMode::none || spec.cache == CacheMode::directsync;
  auto file = sys::DiskFile::open(path, {.write = !spec.read_only, .direct = direct});
  if (!file) return std::move(file.error()).in(fmt::format("Could not open '{}'", path));
  auto node = std::make_unique<FileNode>(file.take(), path, spec.read_only, spec);
  if (auto locked = node->lock(); !locked) return std::move(locked.error());
  return std::unique_ptr<Node>(std::move(node));
}

}  // namespace rhea::block
