// SPDX-License-Identifier: MIT
// How it works: every function first refuses names that are the model's own (hidden) and changes of a read-only share,
// then does the thing on the host. In a mapped model what the guest makes is a plain file or folder of the host, modes
// 0600 and 0700, a link's target or nothing as its contents; owner, mode and device number go into a record beside it,
// and status() puts them over the host's.
#include "fsdev/share.h"

#include <cerrno>

#include "util/bits.h"
#include "util/text.h"

namespace rhea::fsdev {

namespace {

using sys::Fd;
using sys::TreeStat;

constexpr u32 kTypeMask = 0170000, kFolder = 0040000, kRegular = 0100000, kLink = 0120000, kModeMask = 07777;
constexpr u32 kWriteOnly = 01, kReadWrite = 02, kAccess = 03, kTruncate = 01000, kSync = 04010000;
constexpr std::string_view kPrefix = "user.virtfs.";
constexpr std::string_view kMetadata = ".virtfs_metadata", kRootMetadata = ".virtfs_metadata_root";
constexpr usize kMostMetadata = 4096;
constexpr u32 kHostFileMode = 0600, kHostFolderMode = 0700;

std::string folder_of(const std::string& path) {
  const usize slash = path.rfind('/');
  return slash == path.npos ? std::string() : path.substr(0, slash);
}
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string join_path(const std::string& folder, std::string_view name) {
  return folder.empty() ? std::string(name) : folder + "/" + std::string(name);
}

u64 device_number(u32 major, u32 minor) { return (minor & 0xff) | (major & 0xfff) << 8 | u64{minor & 0xfffff00} << 12; }

template <typename T>
void put_number(std::vector<u8>& to, T value) {
  to.resize(sizeof value);
  store_le(to.data(), value);
}

}  // namespace

Result<std::unique_ptr<Share>> Share::open(const Spec& spec) {
  auto tree = sys::Tree::open(spec.path);
  if (!tree.ok())
    return Error("cannot initialize fsdev '{}': failed to open '{}': {}", spec.id, spec.path, tree.error().message());
  return std::unique_ptr<Share>(new Share(spec, tree.take()));
}

bool Share::hidden(const std::string& path) const {
  if (spec_.model != SecurityModel::mapped_file) return false;
  for (const std::string& part : split(path, '/'))
    if (part == kMetadata || part == kRootMetadata) return true;
  return false;
}

bool Share::xattr_hidden(const std::string& name) const { return mapped() && name.starts_with(kPrefix); }

int Share::allow_change(const std::string& path) const {
  if (const int error = allow(path)) return error;
  return spec_.read_only ? EROFS : 0;
}

// --- what the mapped models keep ----------------------------------------------------------------------------------

std::string Share::metadata_path(const std::string& path) const {
  if (path.empty()) return std::string(kRootMetadata);
  return join_path(join_path(folder_of(path), kMetadata), name_of(path));
}

int Share::make_metadata_folder(const std::string& path) const {
  if (path.empty()) return 0;
  const int error = tree_->make_folder(join_path(folder_of(path), kMetadata), kHostFolderMode);
  return error == EEXIST ? 0 : error;
}

Share::Mapped Share::load(const std::string& path) const {
  Mapped mapped;
  if (spec_.model == SecurityModel::mapped_xattr) {
    std::vector<u8> value;
    const auto number = [&](const char* name, u32& to) {
      if (tree_->get_xattr(path, std::string(kPrefix) + name, value) == 0 && value.size() == 4)
        to = load_le<u32>(value.data());
    };
    number("uid", mapped.uid);
    number("gid", mapped.gid);
    number("mode", mapped.mode);
    if (tree_->get_xattr(path, std::string(kPrefix) + "rdev", value) == 0 && value.size() == 8)
      mapped.rdev = load_le<u64>(value.data());
    return mapped;
  }
  Fd fd;
  std::string text(kMostMetadata, '\0');
  if (tree_->open_file(metadata_path(path), 0, fd) != 0) return mapped;
  const s64 size = sys::Tree::read(fd.get(), 0, reinterpret_cast<u8*>(text.data()), text.size());
  text.resize(size < 0 ? 0 : static_cast<usize>(size));
  for (const std::string& line : split(text, '\n')) {
    const usize equals = line.find('=');
    if (equals == line.npos) continue;
    std::string digits(trim(line.substr(equals + 1)));
    const std::string key = line.substr(0, equals);
    u64 value = 0;
    bool good = !digits.empty();
    for (const char digit : digits) {  // decimal, whatever it begins with
      good = good && digit >= '0' && digit <= '9';
      value = value * 10 + static_cast<u64>(digit - '0');
    }
    if (!good) continue;
    if (key == "virtfs.uid") mapped.uid = static_cast<u32>(value);
    if (key == "virtfs.gid") mapped.gid = static_cast<u32>(value);
    if (key == "virtfs.mode") mapped.mode = static_cast<u32>(value);
    if (key == "virtfs.rdev") mapped.rdev = value;
  }
  return mapped;
}

int Share::store(const std::string& path, const Mapped& mapped) const {
  if (spec_.model == SecurityModel::mapped_xattr) {
    std::vector<u8> value;
    const auto number = [&](const char* name, auto what) {
      if (what == static_cast<decltype(what)>(~u64{0})) return 0;
      put_number(value, what);
      return tree_->set_xattr(path, std::string(kPrefix) + name, value, 0);
    };
    for (const int error : {number("uid", mapped.uid), number("gid", mapped.gid), number("mode", mapped.mode),
                            number("rdev", mapped.rdev)})
      if (error) return error;
    return 0;
  }
  Mapped all = load(path);
  if (mapped.uid != ~0u) all.uid = mapped.uid;
  if (mapped.gid != ~0u) all.gid = mapped.gid;
  if (mapped.mode != ~0u) all.mode = mapped.mode;
  if (mapped.rdev != ~u64{0}) all.rdev = mapped.rdev;
  std::string text;
  if (all.uid != ~0u) text += fmt::format("virtfs.uid={}\n", all.uid);
  if (all.gid != ~0u) text += fmt::format("virtfs.gid={}\n", all.gid);
  if (all.mode != ~0u) text += fmt::format("virtfs.mode={}\n", all.mode);
  if (all.rdev != ~u64{0}) text += fmt::format("virtfs.rdev={}\n", all.rdev);
  if (const int error = make_metadata_folder(path)) return error;
  Fd fd;
  const std::string file = metadata_path(path);
  int error = tree_->create_file(file, kWriteOnly, kHostFileMode, fd);
  if (error == EEXIST) error = tree_->open_file(file, kWriteOnly | kTruncate, fd);
  if (error) return error;
  const s64 written = sys::Tree::write(fd.get(), 0, reinterpret_cast<const u8*>(text.data()), text.size());
  return written < 0 ? static_cast<int>(-written) : written == static_cast<s64>(text.size()) ? 0 : ENOSPC;
}

void Share::apply(const std::string& path, TreeStat& status) const {
  if (!mapped()) return;
  const Mapped kept = load(path);
  if (kept.uid != ~0u) status.uid = kept.uid;
  if (kept.gid != ~0u) status.gid = kept.gid;
  if (kept.mode != ~0u) {
    // The host's folders stay folders, and nothing else becomes one, whatever the record says.
    const bool folder = (status.mode & kTypeMask) == kFolder, kept_folder = (kept.mode & kTypeMask) == kFolder;
    status.mode = folder == kept_folder ? kept.mode : (status.mode & kTypeMask) | (kept.mode & kModeMask);
  }
  if (kept.rdev != ~u64{0}) status.rdev = kept.rdev;
}

// After something was made: its mode and owner as the guest wants them. `mode` has the type in it.
int Share::finish(const std::string& path, u32 mode, Owner owner, u64 rdev) const {
  if (mapped()) return store(path, {owner.uid, owner.gid, mode, rdev});
  const int owned = owner.uid == ~0u && owner.gid == ~0u ? 0 : tree_->set_owner(path, owner.uid, owner.gid);
  if (owned && spec_.model == SecurityModel::passthrough) return owned;
  // The host's umask took bits away, and a change of owner the set-id bits.
  return (mode & kTypeMask) == kLink ? 0 : tree_->set_mode(path, mode);
}

// --- objects ------------------------------------------------------------------------------------------------------

int Share::status(const std::string& path, TreeStat& status) const {
  if (const int error = allow(path)) return error;
  if (const int error = tree_->status(path, status)) return error;
  apply(path, status);
  return 0;
}

int Share::status(int fd, const std::string& path, TreeStat& status) const {
  if (const int error = sys::Tree::status(fd, status)) return error;
  apply(path, status);
  return 0;
}

int Share::open_file(const std::string& path, u32 flags, Fd& fd) const {
  if (const int error = allow(path)) return error;
  if (spec_.read_only && ((flags & kAccess) != 0 || (flags & kTruncate))) return EROFS;
  return tree_->open_file(path, spec_.writeout ? flags | kSync : flags, fd);
}

int Share::create_file(const std::string& path, u32 flags, u32 mode, Owner owner, Fd& fd) const {
  if (const int error = allow_change(path)) return error;
  if (const int error =
          tree_->create_file(path, spec_.writeout ? flags | kSync : flags, mapped() ? kHostFileMode : mode, fd))
    return error;
  const int error = finish(path, kRegular | (mode & kModeMask), owner);
  if (error) (void)tree_->remove(path, false);
  return error;
}

int Share::make_folder(const std::string& path, u32 mode, Owner owner) const {
  if (const int error = allow_change(path)) return error;
  if (const int error = tree_->make_folder(path, mapped() ? kHostFolderMode : mode)) return error;
  const int error = finish(path, kFolder | (mode & kModeMask), owner);
  if (error) (void)tree_->remove(path, true);
  return error;
}

int Share::make_node(const std::string& path, u32 mode, u32 major, u32 minor, Owner owner) const {
  if (const int error = allow_change(path)) return error;
  if ((mode & kTypeMask) == kFolder || (mode & kTypeMask) == kLink) return EINVAL;
  if ((mode & kTypeMask) == 0) mode |= kRegular;
  Fd fd;
  const int made =
      mapped() ? tree_->create_file(path, kWriteOnly, kHostFileMode, fd) : tree_->make_node(path, mode, major, minor);
  if (made) return made;
  const int error = finish(path, mode, owner, device_number(major, minor));
  if (error) (void)tree_->remove(path, false);
  return error;
}

int Share::make_link(const std::string& path, const std::string& target, Owner owner) const {
  if (const int error = allow_change(path)) return error;
  if (!mapped()) {
    if (const int error = tree_->make_link(path, target)) return error;
  } else {
    Fd fd;
    if (const int error = tree_->create_file(path, kReadWrite, kHostFileMode, fd)) return error;
    const s64 written = sys::Tree::write(fd.get(), 0, reinterpret_cast<const u8*>(target.data()), target.size());
    if (written != static_cast<s64>(target.size())) {
      (void)tree_->remove(path, false);
      return written < 0 ? static_cast<int>(-written) : ENOSPC;
    }
  }
  const int error = finish(path, kLink | 0777, owner);
  if (error) (void)tree_->remove(path, false);
  return error;
}

int Share::read_link(const std::string& path, std::string& target) const {
  if (const int error = allow(path)) return error;
  if (!mapped()) return tree_->read_link(path, target);
  TreeStat object;
  if (const int error = status(path, object)) return error;
  if ((object.mode & kTypeMask) != kLink) return EINVAL;
  Fd fd;
  // A link that was on the host before is one there.
  if (tree_->open_file(path, 0, fd) != 0) return tree_->read_link(path, target);
  target.resize(4096);
  const s64 size = sys::Tree::read(fd.get(), 0, reinterpret_cast<u8*>(target.data()), target.size());
  if (size < 0) return static_cast<int>(-size);
  target.resize(static_cast<usize>(size));
  return 0;
}

int Share::hard_link(const std::string& from, const std::string& to) const {
  if (const int error = allow(from)) return error;
  if (const int error = allow_change(to)) return error;
  if (const int error = tree_->hard_link(from, to)) return error;
  if (spec_.model != SecurityModel::mapped_file) return 0;
  if (const int error = make_metadata_folder(to)) return error;
  const int error = tree_->hard_link(metadata_path(from), metadata_path(to));
  return error == ENOENT || error == EEXIST ? 0 : error;
}

int Share::rename(const std::string& from, const std::string& to) const {
  if (const int error = allow_change(from)) return error;
  if (const int error = allow_change(to)) return error;
  if (from.empty() || to.empty()) return EBUSY;
  if (spec_.model != SecurityModel::mapped_file) return tree_->rename(from, to);
  if (const int error = make_metadata_folder(to)) return error;
  if (const int error = tree_->rename(from, to)) return error;
  const int error = tree_->rename(metadata_path(from), metadata_path(to));
  if (error == ENOENT) (void)tree_->remove(metadata_path(to), false);
  return error == ENOENT ? 0 : error;
}

int Share::remove(const std::string& path, bool folder) const {
  if (const int error = allow_change(path)) return error;
  if (path.empty()) return EBUSY;
  if (spec_.model != SecurityModel::mapped_file) return tree_->remove(path, folder);
  // A folder that is empty but for the records of what was in it.
  if (folder) {
    Fd fd;
    std::vector<sys::TreeEntry> entries;
    if (const int error = tree_->open_file(path, 0, fd)) return error;
    if (const int error = list(fd.get(), entries)) return error;
    if (entries.size() > 2) return ENOTEMPTY;
    const std::string records = join_path(path, kMetadata);
    Fd old;
    if (tree_->open_file(records, 0, old) == 0) {
      entries.clear();
      (void)sys::Tree::list(old.get(), entries);
      for (const sys::TreeEntry& entry : entries)
        if (entry.name != "." && entry.name != "..") (void)tree_->remove(join_path(records, entry.name), false);
      (void)tree_->remove(records, true);
    }
  }
  if (const int error = tree_->remove(path, folder)) return error;
  (void)tree_->remove(metadata_path(path), false);
  return 0;
}

// --- attributes ---------------------------------------------------------------------------------------------------

int Share::set_mode(const std::string& path, u32 mode) const {
  if (const int error = allow_change(path)) return error;
  if (!mapped()) return tree_->set_mode(path, mode);
  TreeStat object;
  if (const int error = status(path, object)) return error;
  return store(path, {.mode = (object.mode & kTypeMask) | (mode & kModeMask)});
}

int Share::set_owner(const std::string& path, Owner owner) const {
  if (const int error = allow_change(path)) return error;
  if (mapped()) {
    TreeStat object;
    if (const int error = tree_->status(path, object)) return error;
    return store(path, {.uid = owner.uid, .gid = owner.gid});
  }
  const int error = tree_->set_owner(path, owner.uid, owner.gid);
  return error == EPERM && spec_.model == SecurityModel::none ? 0 : error;
}

int Share::set_times(const std::string& path, sys::Tree::TimeAction access, sys::TreeTime accessed,
                     sys::Tree::TimeAction modify, sys::TreeTime modified) const {
  if (const int error = allow_change(path)) return error;
  return tree_->set_times(path, access, accessed, modify, modified);
}

int Share::set_size(const std::string& path, u64 size) const {
  if (const int error = allow_change(path)) return error;
  return tree_->set_size(path, size);
}

int Share::get_xattr(const std::string& path, const std::string& name, std::vector<u8>& value) const {
  if (const int error = allow(path)) return error;
  return xattr_hidden(name) ? ENODATA : tree_->get_xattr(path, name, value);
}

int Share::set_xattr(const std::string& path, const std::string& name, const std::vector<u8>& value, u32 flags) const {
  if (const int error = allow_change(path)) return error;
  return xattr_hidden(name) ? EACCES : tree_->set_xattr(path, name, value, flags);
}

int Share::remove_xattr(const std::string& path, const std::string& name) const {
  if (const int error = allow_change(path)) return error;
  return xattr_hidden(name) ? EACCES : tree_->remove_xattr(path, name);
}

int Share::list_xattr(const std::string& path, std::vector<std::string>& names) const {
  if (const int error = allow(path)) return error;
  if (const int error = tree_->list_xattr(path, names)) return error;
  std::erase_if(names, [this](const std::string& name) { return xattr_hidden(name); });
  return 0;
}

int Share::list(int fd, std::vector<sys::TreeEntry>& entries) const {
  if (const int error = sys::Tree::list(fd, entries)) return error;
  std::erase_if(entries, [this](const sys::TreeEntry& entry) { return hidden(entry.name); });
  return 0;
}

}  // namespace rhea::fsdev
