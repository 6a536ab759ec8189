// SPDX-License-Identifier: MIT
// Scattered I/O goes to preadv and pwritev in lists of at most IOV_MAX pieces. With O_DIRECT what is not aligned
// goes through the page cache: the kernel keeps the two in step, page by page, while several write at once.
#include "sys/disk_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "util/bits.h"

namespace rhea::sys {

namespace {

static_assert(sizeof(DiskPiece) == sizeof(iovec));

// A cursor over a list of pieces that hands out iovecs for what is left.
class Cursor {
 public:
  explicit Cursor(DiskPieces pieces) : pieces_(pieces) {}
  std::span<const iovec> rest() {
    list_.clear();
    for (usize i = index_; i < pieces_.size() && list_.size() < IOV_MAX; ++i) {
      const usize skip = i == index_ ? inside_ : 0;
      if (pieces_[i].size > skip) list_.push_back({static_cast<u8*>(pieces_[i].data) + skip, pieces_[i].size - skip});
    }
    return list_;
  }
  void advance(usize count) {
    while (count && index_ < pieces_.size()) {
      const usize part = std::min(count, pieces_[index_].size - inside_);
      count -= part;
      inside_ += part;
      if (inside_ < pieces_[index_].size) return;
      ++index_;
      inside_ = 0;
    }
  }

 private:
  DiskPieces pieces_;
  std::vector<iovec> list_;
  usize index_ = 0;
  usize inside_ = 0;
};

u64 total(DiskPieces pieces) {
  u64 sum = 0;
  for (const DiskPiece& piece : pieces) sum += piece.size;
  return sum;
}

Result<void> read_all(int fd, u64 offset, DiskPieces pieces) {
  Cursor cursor(pieces);
  for (u64 left = total(pieces); left;) {
    const auto list = cursor.rest();
    const ssize_t count = ::preadv(fd, list.data(), static_cast<int>(list.size()), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}", errno_text());
    if (count == 0) {  // beyond the end
      while (left) {
        for (const iovec& piece : cursor.rest()) {
          std::memset(piece.iov_base, 0, piece.iov_len);
          cursor.advance(piece.iov_len);
          left -= piece.iov_len;
          break;
        }
      }
      break;
    }
    cursor.advance(static_cast<usize>(count));
    offset += static_cast<u64>(count);
    left -= static_cast<u64>(count);
  }
  return {};
}

Result<void> write_all(int fd, u64 offset, DiskPieces pieces) {
  Cursor cursor(pieces);
  for (u64 left = total(pieces); left;) {
    const auto list = cursor.rest();
    const ssize_t count = ::pwritev(fd, list.data(), static_cast<int>(list.size()), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}", errno_text());
    if (count == 0) return Error("{}", errno_text(ENOSPC));
    cursor.advance(static_cast<usize>(count));
    offset += static_cast<u64>(count);
    left -= static_cast<u64>(count);
  }
  return {};
}

// A page at least: what goes through the page cache and what goes around it must not share one, or a page that is
// written back would undo the other's write.
u32 direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx status {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) &&
      status.stx_dio_offset_align) {
    return std::max({status.stx_dio_offset_align, status.stx_dio_mem_align, u32{4096}});
  }
#endif
  return 4096;
}

struct flock byte_lock(short type, u64 byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

}  // namespace

bool is_no_space(const Error& error) {
  const auto ends_with = [&](const std::string& text) { return error.message().ends_with(text); };
  return ends_with(errno_text(ENOSPC)) || ends_with(errno_text(EDQUOT));
}

Result<std::unique_ptr<DiskFile>> DiskFile::adopt(Fd fd, bool direct) {
  auto file = std::make_unique<DiskFile>();
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error("{}", errno_text());
  if (S_ISDIR(status.st_mode)) return Error("Is a directory");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return Error("it is neither a regular file nor a block device");
  }
  file->device_ = S_ISBLK(status.st_mode);
  file->direct_ = direct;
  if (direct) file->alignment_ = direct_alignment(fd.get());
  file->fd_ = std::move(fd);
  return file;
}

Result<std::unique_ptr<DiskFile>> DiskFile::open(const std::string& path, const DiskFileOptions& options) {
  // O_NONBLOCK: a named pipe is to be refused, not waited for.
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (options.write ? O_RDWR : O_RDONLY);
  if (options.create) flags |= O_CREAT | (options.exclusive ? O_EXCL : 0);
  if (options.direct) flags |= O_DIRECT;
  Fd fd(::open(path.c_str(), flags, 0644));
  if (!fd && options.direct && errno == EINVAL) return Error("the file system does not support O_DIRECT");
  if (!fd) return Error("{}", errno_text());
  auto file = RHEA_TRY(adopt(std::move(fd), options.direct));
  if (options.direct) {
    file->buffered_ = Fd(::open(path.c_str(), flags & ~(O_DIRECT | O_CREAT | O_EXCL)));
    if (!file->buffered_) return Error("{}", errno_text());
  }
  return file;
}

Result<std::unique_ptr<DiskFile>> DiskFile::open_temporary(const std::string& folder) {
  const char* environment = std::getenv("TMPDIR");
  std::string where = !folder.empty() ? folder : environment && *environment ? environment : "/var/tmp";
  Fd fd(::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) {
    std::string name = where + "/rhea.XXXXXX";
    fd = Fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd) return Error("Could not create a temporary file in '{}': {}", where, errno_text());
    ::unlink(name.c_str());
  }
  return adopt(std::move(fd), false);
}

u64 DiskFile::size() const {
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  return end < 0 ? 0 : static_cast<u64>(end);
}

u64 DiskFile::allocated_size() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return 0;
  return device_ ? 0 : static_cast<u64>(status.st_blocks) * 512;
}

bool DiskFile::aligned(u64 offset, DiskPieces pieces) const {
  u64 all = offset;
  for (const DiskPiece& piece : pieces) all |= reinterpret_cast<uintptr_t>(piece.data) | piece.size;
  return (all & (alignment_ - 1)) == 0;
}

Result<void> DiskFile::read(u64 offset, DiskPieces pieces) const {
  const bool around = direct_ && aligned(offset, pieces);
  return read_all(around || !direct_ ? fd_.get() : buffered_.get(), offset, pieces);
}

Result<void> DiskFile::write(u64 offset, DiskPieces pieces) {
  const bool around = direct_ && aligned(offset, pieces);
  return write_all(around || !direct_ ? fd_.get() : buffered_.get(), offset, pieces);
}

bool DiskFile::read_cached(u64 offset, DiskPieces pieces) const {
  if (direct_ || pieces.size() > IOV_MAX) return false;
  const ssize_t count = ::preadv2(fd_.get(), reinterpret_cast<const iovec*>(pieces.data()),
                                  static_cast<int>(pieces.size()), static_cast<off_t>(offset), RWF_NOWAIT);
  return count >= 0 && static_cast<u64>(count) == total(pieces);
}

Result<void> DiskFile::flush() {
  while (::fdatasync(fd_.get()) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == EROFS) return {};  // nothing there that could be flushed
    return Error("{}", errno_text());
  }
  return {};
}

Result<void> DiskFile::truncate(u64 size) {
  if (device_) return Error("{}", errno_text(EINVAL));
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return Error("{}", errno_text());
  return {};
}

bool DiskFile::punch_hole(u64 offset, u64 size) {
  return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(size)) == 0;
}

bool DiskFile::zero_range(u64 offset, u64 size) {
  return ::fallocate(fd_.get(), FALLOC_FL_ZERO_RANGE | (device_ ? FALLOC_FL_KEEP_SIZE : 0), static_cast<off_t>(offset),
                     static_cast<off_t>(size)) == 0;
}

Result<void> DiskFile::allocate(u64 offset, u64 size) {
  if (!size) return {};
  const int error = ::posix_fallocate(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(size));
  if (error) return Error("{}", errno_text(error));
  return {};
}

DiskFile::Stretch DiskFile::stretch(u64 offset, u64 limit) const {
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return {.hole = true, .size = limit};  // a hole to the end, or beyond it
  if (data < 0) return {.hole = false, .size = limit};
  if (static_cast<u64>(data) > offset)
    return {.hole = true, .size = std::min<u64>(limit, static_cast<u64>(data) - offset)};
  const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_HOLE);
  if (hole <= data) return {.hole = false, .size = limit};
  return {.hole = false, .size = std::min<u64>(limit, static_cast<u64>(hole) - offset)};
}

bool DiskFile::lock_shared(u64 byte) {
  struct flock lock = byte_lock(F_RDLCK, byte);
  // A file system without locks is as one where nobody holds any.
  return ::fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

void DiskFile::unlock(u64 byte) {
  struct flock lock = byte_lock(F_UNLCK, byte);
  ::fcntl(fd_.get(), F_OFD_SETLK, &lock);
}

bool DiskFile::locked_by_other(u64 byte) const {
  struct flock lock = byte_lock(F_WRLCK, byte);
  return ::fcntl(fd_.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool same_file(const std::string& a, const std::string& b) {
  struct stat first {
  }, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

std::string absolute_path(const std::string& path) {
  if (path.starts_with("/")) return path;
  char here[PATH_MAX];
  return ::getcwd(here, sizeof(here)) ? std::string(here) + "/" + path : path;
}

}  // namespace rhea::sys
