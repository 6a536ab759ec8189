// SPDX-License-Identifier: MIT
// How it works: openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS finds an object (or the folder it lies in)
// from the root's descriptor; a kernel without it (before 5.6) has each component opened with O_NOFOLLOW. What has no
// ...at() form for a descriptor opened with O_PATH goes through /proc/self/fd, which leads to that very object.
#include "sys/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rhea::sys {

namespace {

constexpr u32 kKeptFlags = O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_DIRECTORY;
constexpr usize kMostXattr = 65536;  // XATTR_SIZE_MAX

int result(int status) { return status < 0 ? errno : 0; }

std::string proc_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

TreeStat convert(const struct stat& from) {
  TreeStat to;
  to.device = from.st_dev;
  to.inode = from.st_ino;
  to.links = from.st_nlink;
  to.rdev = from.st_rdev;
  to.size = static_cast<u64>(from.st_size);
  to.block_size = static_cast<u64>(from.st_blksize);
  to.blocks = static_cast<u64>(from.st_blocks);
  to.mode = from.st_mode;
  to.uid = from.st_uid;
  to.gid = from.st_gid;
  to.accessed = {from.st_atim.tv_sec, static_cast<u32>(from.st_atim.tv_nsec)};
  to.modified = {from.st_mtim.tv_sec, static_cast<u32>(from.st_mtim.tv_nsec)};
  to.changed = {from.st_ctim.tv_sec, static_cast<u32>(from.st_ctim.tv_nsec)};
  return to;
}

// One component after the other, none of them a link.
int walk_slowly(int root, const std::string& path, u64 flags, Fd& fd) {
  Fd at(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  usize start = 0;
  while (at) {
    const usize end = path.find('/', start);
    const std::string name = path.substr(start, end - start);
    if (name == "..") return EXDEV;
    const bool last = end == path.npos;
    Fd next(::openat(at.get(), name.c_str(),
                     static_cast<int>(last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return errno;
    if (last) {
      fd = std::move(next);
      return 0;
    }
    at = std::move(next);
    start = end + 1;
  }
  return errno;
}

}  // namespace

Result<std::unique_ptr<Tree>> Tree::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error("{}", errno_text());
  return std::unique_ptr<Tree>(new Tree(std::move(fd)));
}

int Tree::resolve(const std::string& path, u64 flags, Fd& fd) const {
  if (path.empty()) {
    fd = Fd(::openat(root_.get(), ".", static_cast<int>(flags) | O_CLOEXEC));
    return fd ? 0 : errno;
  }
  open_how how{};
  how.flags = flags | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long opened = ::syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof how);
  if (opened >= 0) {
    fd = Fd(static_cast<int>(opened));
    return 0;
  }
  if (errno == ENOSYS || errno == EPERM) return walk_slowly(root_.get(), path, flags, fd);
  return errno;
}

int Tree::parent(const std::string& path, Place& place) const {
  const usize slash = path.rfind('/');
  place.name = path.substr(slash == path.npos ? 0 : slash + 1);
  if (path.empty()) place.name = ".";
  if (place.name == "..") return EXDEV;
  return resolve(slash == path.npos ? std::string() : path.substr(0, slash), O_PATH | O_DIRECTORY, place.folder);
}

int Tree::status(const std::string& path, TreeStat& status) const {
  Fd fd;
  if (const int error = resolve(path, O_PATH, fd)) return error;
  return Tree::status(fd.get(), status);
}

int Tree::status(int fd, TreeStat& status) {
  struct stat host {};
  if (::fstat(fd, &host) < 0) return errno;
  status = convert(host);
  return 0;
}

int Tree::reopen(int path_fd, u32 flags, Fd& fd) const {
  struct stat host {};
  if (::fstat(path_fd, &host) < 0) return errno;
  if (S_ISLNK(host.st_mode)) return ELOOP;
  if (!S_ISREG(host.st_mode) && !S_ISDIR(host.st_mode)) return EINVAL;
  fd = Fd(::open(proc_path(path_fd).c_str(), static_cast<int>(flags & kKeptFlags) | O_CLOEXEC | O_NOCTTY));
  return fd ? 0 : errno;
}

int Tree::open_file(const std::string& path, u32 flags, Fd& fd) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  return reopen(object.get(), flags, fd);
}

int Tree::create_file(const std::string& path, u32 flags, u32 mode, Fd& fd) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  fd = Fd(::openat(
      place.folder.get(), place.name.c_str(),
      static_cast<int>(flags & kKeptFlags & ~u32{O_DIRECTORY}) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
      mode & 07777));
  return fd ? 0 : errno;
}

int Tree::make_folder(const std::string& path, u32 mode) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  return result(::mkdirat(place.folder.get(), place.name.c_str(), mode & 07777));
}

int Tree::make_node(const std::string& path, u32 mode, u32 major, u32 minor) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  return result(::mknodat(place.folder.get(), place.name.c_str(), mode, makedev(major, minor)));
}

int Tree::make_link(const std::string& path, const std::string& target) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  return result(::symlinkat(target.c_str(), place.folder.get(), place.name.c_str()));
}

int Tree::read_link(const std::string& path, std::string& target) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  char buffer[4096];
  const ssize_t size = ::readlinkat(place.folder.get(), place.name.c_str(), buffer, sizeof buffer);
  if (size < 0) return errno;
  target.assign(buffer, static_cast<usize>(size));
  return 0;
}

int Tree::hard_link(const std::string& from, const std::string& to) const {
  Place source, target;
  if (const int error = parent(from, source)) return error;
  if (const int error = parent(to, target)) return error;
  return result(::linkat(source.folder.get(), source.name.c_str(), target.folder.get(), target.name.c_str(), 0));
}

int Tree::rename(const std::string& from, const std::string& to) const {
  Place source, target;
  if (const int error = parent(from, source)) return error;
  if (const int error = parent(to, target)) return error;
  return result(::renameat(source.folder.get(), source.name.c_str(), target.folder.get(), target.name.c_str()));
}

int Tree::remove(const std::string& path, bool folder) const {
  if (path.empty()) return EBUSY;
  Place place;
  if (const int error = parent(path, place)) return error;
  return result(::unlinkat(place.folder.get(), place.name.c_str(), folder ? AT_REMOVEDIR : 0));
}

int Tree::set_mode(const std::string& path, u32 mode) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  struct stat host {};
  if (::fstat(object.get(), &host) < 0) return errno;
  if (S_ISLNK(host.st_mode)) return EOPNOTSUPP;
  return result(::chmod(proc_path(object.get()).c_str(), mode & 07777));
}

int Tree::set_owner(const std::string& path, u32 uid, u32 gid) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  return result(::fchownat(place.folder.get(), place.name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW));
}

int Tree::set_times(const std::string& path, TimeAction access, TreeTime accessed, TimeAction modify,
                    TreeTime modified) const {
  Place place;
  if (const int error = parent(path, place)) return error;
  const auto convert_time = [](TimeAction action, TreeTime time) {
    timespec to{};
    to.tv_sec = time.seconds;
    to.tv_nsec = action == TimeAction::keep  ? UTIME_OMIT
                 : action == TimeAction::now ? UTIME_NOW
                                             : static_cast<long>(time.nanoseconds);
    return to;
  };
  const timespec times[2] = {convert_time(access, accessed), convert_time(modify, modified)};
  return result(::utimensat(place.folder.get(), place.name.c_str(), times, AT_SYMLINK_NOFOLLOW));
}

int Tree::set_size(const std::string& path, u64 size) const {
  Fd fd;
  if (const int error = open_file(path, O_WRONLY, fd)) return error;
  return set_size(fd.get(), size);
}

int Tree::set_size(int fd, u64 size) {
  if (size > INT64_MAX) return EFBIG;
  return result(::ftruncate(fd, static_cast<off_t>(size)));
}

int Tree::get_xattr(const std::string& path, const std::string& name, std::vector<u8>& value) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  value.resize(kMostXattr);
  const ssize_t size = ::getxattr(proc_path(object.get()).c_str(), name.c_str(), value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<usize>(size));
  return size < 0 ? errno : 0;
}

int Tree::set_xattr(const std::string& path, const std::string& name, const std::vector<u8>& value, u32 flags) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  return result(
      ::setxattr(proc_path(object.get()).c_str(), name.c_str(), value.data(), value.size(), static_cast<int>(flags)));
}

int Tree::remove_xattr(const std::string& path, const std::string& name) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  return result(::removexattr(proc_path(object.get()).c_str(), name.c_str()));
}

int Tree::list_xattr(const std::string& path, std::vector<std::string>& names) const {
  Fd object;
  if (const int error = resolve(path, O_PATH, object)) return error;
  std::string all(kMostXattr, '\0');
  const ssize_t size = ::listxattr(proc_path(object.get()).c_str(), all.data(), all.size());
  if (size < 0) return errno;
  for (usize at = 0; at < static_cast<usize>(size); at += std::strlen(&all[at]) + 1) names.emplace_back(&all[at]);
  return 0;
}

int Tree::list(int fd, std::vector<TreeEntry>& entries) {
  Fd own(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) return errno;
  DIR* folder = ::fdopendir(own.get());
  if (!folder) return errno;
  own.release();
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) entries.push_back({entry->d_name, entry->d_ino, entry->d_type});
  const int error = errno;
  ::closedir(folder);
  return error;
}

s64 Tree::read(int fd, u64 offset, u8* to, usize size) {
  if (offset > INT64_MAX) return -EINVAL;
  ssize_t count;
  do count = ::pread(fd, to, size, static_cast<off_t>(offset));
  while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

s64 Tree::write(int fd, u64 offset, const u8* from, usize size) {
  if (offset > INT64_MAX) return -EFBIG;
  ssize_t count;
  do count = ::pwrite(fd, from, size, static_cast<off_t>(offset));
  while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

int Tree::sync(int fd, bool data_only) { return result(data_only ? ::fdatasync(fd) : ::fsync(fd)); }

int Tree::space(TreeSpace& space) const {
  struct statfs host {};
  Fd folder;
  if (const int error = resolve("", O_RDONLY | O_DIRECTORY, folder)) return error;
  if (::fstatfs(folder.get(), &host) < 0) return errno;
  space.type = static_cast<u64>(host.f_type);
  space.block_size = static_cast<u64>(host.f_bsize);
  space.blocks = host.f_blocks;
  space.free = host.f_bfree;
  space.available = host.f_bavail;
  space.files = host.f_files;
  space.files_free = host.f_ffree;
  space.id = static_cast<u32>(host.f_fsid.__val[0]) | static_cast<u64>(static_cast<u32>(host.f_fsid.__val[1])) << 32;
  space.name_length = static_cast<u64>(host.f_namelen);
  return 0;
}

}  // namespace rhea::sys
