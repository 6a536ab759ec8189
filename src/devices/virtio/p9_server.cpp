// SPDX-License-Identifier: MIT
// How it works: a fid is a path below the share's root, opened or not. Names come one by one and are joined to a fid's
// path; ".." stops at the root; the share resolves every path anew, without following links, so that no name leads out.
// A rename rewrites the paths of the fids below it. Opened fids have a descriptor, which outlives the file's name.
// Numbers, sizes and fids are the guest's: all are checked here, and an answer is never larger than was agreed.
#include "devices/virtio/p9_server.h"

#include <algorithm>
#include <cerrno>

namespace rhea::devices::p9 {

namespace {

using sys::TreeStat;

constexpr usize kHeader = 7;     // size, type, tag
constexpr usize kIoHeader = 24;  // of Twrite, the largest around data
constexpr u8 kRlerror = 7;
constexpr u32 kLeastMessage = 4096;
constexpr usize kMostNames = 16;  // of a walk
constexpr usize kMostNameSize = 255;
constexpr u64 kMostXattr = 65536;
constexpr u32 kTypeMask = 0170000, kFolder = 0040000, kLink = 0120000;
constexpr u32 kRemoveFolder = 0x200;  // AT_REMOVEDIR
constexpr u32 kAccess = 03, kExclusiveFlags = 0300;
constexpr std::string_view kVersion = "9P2000.L";

enum Valid : u32 {  // of Tsetattr
  kMode = 1,
  kUid = 2,
  kGid = 4,
  kSize = 8,
  kAtime = 0x10,
  kMtime = 0x20,
  kCtime = 0x40,
  kAtimeSet = 0x80,
  kMtimeSet = 0x100
};

u8 qid_type(u32 mode) { return (mode & kTypeMask) == kFolder ? 0x80 : (mode & kTypeMask) == kLink ? 0x02 : 0; }

std::vector<u8> seal(u8 type, u16 tag, const std::vector<u8>& body) {
  Writer out;
  out.number(static_cast<u32>(kHeader + body.size()));
  out.number(type);
  out.number(tag);
  out.bytes().insert(out.bytes().end(), body.begin(), body.end());
  return std::move(out.bytes());
}

}  // namespace

std::span<const Server::Row> Server::rows() {
  // clang-format off
  static constexpr Row table[] = {
      {8, "Tstatfs", &Server::statfs},         {12, "Tlopen", &Server::lopen},       {14, "Tlcreate", &Server::lcreate},
      {16, "Tsymlink", &Server::symlink},      {18, "Tmknod", &Server::mknod},       {20, "Trename", &Server::rename},
      {22, "Treadlink", &Server::readlink},    {24, "Tgetattr", &Server::getattr},   {26, "Tsetattr", &Server::setattr},
      {30, "Txattrwalk", &Server::xattrwalk},  {32, "Txattrcreate", &Server::xattrcreate},
      {40, "Treaddir", &Server::readdir},      {50, "Tfsync", &Server::fsync},       {52, "Tlock", &Server::lock},
      {54, "Tgetlock", &Server::getlock},      {70, "Tlink", &Server::link},         {72, "Tmkdir", &Server::mkdir},
      {74, "Trenameat", &Server::renameat},    {76, "Tunlinkat", &Server::unlinkat}, {100, "Tversion", &Server::version},
      {102, "Tauth", &Server::auth},           {104, "Tattach", &Server::attach},    {108, "Tflush", &Server::flush},
      {110, "Twalk", &Server::walk},           {116, "Tread", &Server::read},        {118, "Twrite", &Server::write},
      {120, "Tclunk", &Server::clunk},         {122, "Tremove", &Server::remove},
  };
  // clang-format on
  return table;
}

std::vector<u8> Server::handle(std::span<const u8> message) {
  Reader in(message);
  const u32 size = in.u32_();
  const u8 type = in.u8_();
  const u16 tag = in.u16_();
  if (!in.ok() || size < kHeader || size > message.size() || size > kMostMessage) {
    log_.guest_error("9p: a message of {} bytes that says it has {}", message.size(), size);
    return {};
  }
  Reader body(message.subspan(kHeader, size - kHeader));
  Writer out;
  int error = EOPNOTSUPP;
  for (const Row& row : rows()) {
    if (row.type != type) continue;
    error = (this->*row.handler)(body, out);
    if (!body.ok()) error = EINVAL;
    log_.write(LogItem::trace, "9p: {} tag {}: {}", row.name, tag, error);
    break;
  }
  if (!error) return seal(static_cast<u8>(type + 1), tag, out.bytes());
  Writer failed;
  failed.number(static_cast<u32>(error));
  return seal(kRlerror, tag, failed.bytes());
}

// --- fids ---------------------------------------------------------------------------------------------------------

void Server::reset() {
  fids_.clear();
  message_size_ = 8192;
}

// Folders are listed again where reading goes on; files are opened again by their path.
void Server::fields(Visitor& visitor) {
  visitor.field("message_size", message_size_);
  u32 count = static_cast<u32>(fids_.size());
  visitor.field("fids", count);
  std::vector<std::pair<u32, Fid*>> saved;
  for (auto& [number, fid] : fids_) saved.emplace_back(number, &fid);
  std::sort(saved.begin(), saved.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::unordered_map<u32, Fid> restored;
  for (u32 i = 0; i < count && i < kMostFids; ++i) {
    Fid fresh;
    Fid& fid = visitor.restoring() ? fresh : *saved[i].second;
    u32 number = visitor.restoring() ? 0 : saved[i].first;
    visitor.begin(fmt::format("fid{}", i), 1);
    visitor.field("number", number);
    std::vector<u8> path(fid.path.begin(), fid.path.end()), xattr(fid.xattr.begin(), fid.xattr.end());
    visitor.bytes("path", path, 65536);
    visitor.field("kind", fid.kind);
    visitor.field("uid", fid.uid);
    visitor.field("flags", fid.flags);
    visitor.bytes("xattr", xattr, kMostNameSize);
    visitor.bytes("value", fid.value, kMostXattr);
    visitor.field("value_size", fid.value_size);
    visitor.field("xattr_flags", fid.xattr_flags);
    visitor.end();
    if (!visitor.restoring()) continue;
    fid.path.assign(path.begin(), path.end());
    fid.xattr.assign(xattr.begin(), xattr.end());
    fid.kind = std::min(fid.kind, Kind::xattr_write);
    if (fid.kind == Kind::file || fid.kind == Kind::folder) {
      if (share_.open_file(fid.path, fid.flags & ~u32{01000}, fid.fd) != 0) fid.kind = Kind::path;
      else if (fid.kind == Kind::folder) (void)share_.list(fid.fd.get(), fid.entries);
    }
    restored.emplace(number, std::move(fid));
  }
  if (visitor.restoring()) fids_ = std::move(restored);
}

Server::Fid* Server::find(u32 number) {
  const auto found = fids_.find(number);
  return found == fids_.end() ? nullptr : &found->second;
}

int Server::add(u32 number, Fid fid) {
  if (number == ~0u || fids_.contains(number)) return EINVAL;
  if (fids_.size() >= kMostFids) return ENFILE;
  fids_.emplace(number, std::move(fid));
  return 0;
}

// A clunked attribute that was being written is set now.
int Server::release(Fid& fid) {
  if (fid.kind != Kind::xattr_write) return 0;
  if (fid.value_size == 0) return share_.remove_xattr(fid.path, fid.xattr);
  if (fid.value.size() != fid.value_size) return EINVAL;
  return share_.set_xattr(fid.path, fid.xattr, fid.value, fid.xattr_flags);
}

// A name in a folder. ".." of the root is the root.
int Server::child(const Fid& folder, const std::string& name, std::string& path) const {
  if (name.empty() || name.size() > kMostNameSize) return name.empty() ? ENOENT : ENAMETOOLONG;
  if (name.find('/') != name.npos || name.find('\0') != name.npos) return EINVAL;
  if (name == ".") return path = folder.path, 0;
  if (name == "..") {
    const usize slash = folder.path.rfind('/');
    path = slash == folder.path.npos ? std::string() : folder.path.substr(0, slash);
    return 0;
  }
  path = folder.path.empty() ? name : folder.path + "/" + name;
  return 0;
}

int Server::status(const Fid& fid, TreeStat& status) {
  return fid.fd ? share_.status(fid.fd.get(), fid.path, status) : share_.status(fid.path, status);
}

// Inodes are unique within a file system only: the share's own keep theirs, others get a number above them.
u64 Server::qid_path(u64 device, u64 inode) {
  const auto known = devices_.emplace(device, devices_.size()).first;
  return inode ^ known->second << 48;
}

void Server::put_qid(Writer& out, const TreeStat& status) {
  out.number(qid_type(status.mode));
  out.number(static_cast<u32>(status.modified.seconds ^ status.size << 8));
  out.number(qid_path(status.device, status.inode));
}

int Server::put_qid(Writer& out, const std::string& path) {
  TreeStat object;
  if (const int error = share_.status(path, object)) return error;
  put_qid(out, object);
  return 0;
}

void Server::moved(const std::string& from, const std::string& to) {
  for (auto& [number, fid] : fids_) {
    if (fid.path == from) fid.path = to;
    else if (fid.path.size() > from.size() && fid.path.starts_with(from) && fid.path[from.size()] == '/')
      fid.path = to + fid.path.substr(from.size());
  }
}

// --- session ------------------------------------------------------------------------------------------------------

int Server::version(Reader& in, Writer& out) {
  const u32 size = in.u32_();
  const std::string name = in.text();
  if (!in.ok()) return EINVAL;
  fids_.clear();
  const bool known = name.starts_with(kVersion);
  if (known && size < kLeastMessage) return EMSGSIZE;
  message_size_ = std::clamp(size, kLeastMessage, kMostMessage);
  out.number(message_size_);
  out.text(known ? kVersion : "unknown");
  return 0;
}

int Server::auth(Reader&, Writer&) { return EOPNOTSUPP; }  // as the protocol says "no authentication needed"

int Server::attach(Reader& in, Writer& out) {
  const u32 number = in.u32_();
  in.u32_();  // authentication fid
  in.text();  // user name
  in.text();  // name of the tree: there is one
  const u32 uid = in.u32_();
  if (!in.ok()) return EINVAL;
  if (const int error = put_qid(out, "")) return error;
  return add(number, Fid{.path = {}, .uid = uid});
}

// Every message is answered before the next is looked at: there is never one to flush.
int Server::flush(Reader&, Writer&) { return 0; }

int Server::walk(Reader& in, Writer& out) {
  const u32 number = in.u32_(), new_number = in.u32_();
  const u16 count = in.u16_();
  Fid* fid = find(number);
  if (!in.ok() || count > kMostNames) return EINVAL;
  if (!fid) return EBADF;
  if (fid->kind != Kind::path) return EINVAL;
  Fid at{.path = fid->path, .uid = fid->uid};
  Writer qids;
  u16 walked = 0;
  for (; walked < count; ++walked) {
    const std::string name = in.text();
    std::string next;
    int error = in.ok() ? child(at, name, next) : EINVAL;
    if (!error) error = put_qid(qids, next);
    if (error && walked == 0) return error;
    if (error) break;
    at.path = next;
  }
  out.number(walked);
  out.bytes().insert(out.bytes().end(), qids.bytes().begin(), qids.bytes().end());
  if (walked < count) return 0;  // part of the way: the new fid is not made
  if (number == new_number) return fid->path = at.path, 0;
  return add(new_number, std::move(at));
}

int Server::clunk(Reader& in, Writer&) {
  const u32 number = in.u32_();
  Fid* fid = find(number);
  if (!fid) return EBADF;
  const int error = release(*fid);
  fids_.erase(number);
  return error;
}

int Server::remove(Reader& in, Writer&) {
  const u32 number = in.u32_();
  Fid* fid = find(number);
  if (!fid) return EBADF;
  TreeStat object;
  int error = share_.status(fid->path, object);
  if (!error) error = share_.remove(fid->path, (object.mode & kTypeMask) == kFolder);
  fids_.erase(number);
  return error;
}

int Server::statfs(Reader& in, Writer& out) {
  if (!find(in.u32_())) return EBADF;
  sys::TreeSpace space;
  if (const int error = share_.space(space)) return error;
  // Blocks in the size that fits into a message, so that the guest reads and writes whole ones.
  out.number(static_cast<u32>(space.type));
  out.number(static_cast<u32>(space.block_size));
  for (const u64 value : {space.blocks, space.free, space.available, space.files, space.files_free, space.id})
    out.number(value);
  out.number(static_cast<u32>(space.name_length));
  return 0;
}

// --- opening and making -------------------------------------------------------------------------------------------

int Server::lopen(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const u32 flags = in.u32_();
  if (!fid) return EBADF;
  if (!in.ok() || fid->kind != Kind::path) return EINVAL;
  sys::Fd fd;
  if (const int error = share_.open_file(fid->path, flags & ~kExclusiveFlags, fd)) return error;
  TreeStat object;
  if (const int error = share_.status(fd.get(), fid->path, object)) return error;
  const bool folder = (object.mode & kTypeMask) == kFolder;
  if (folder && (flags & kAccess)) return EISDIR;
  if (folder)
    if (const int error = share_.list(fd.get(), fid->entries)) return error;
  put_qid(out, object);
  out.number(static_cast<u32>(message_size_ - kIoHeader));
  fid->kind = folder ? Kind::folder : Kind::file;
  fid->flags = flags;
  fid->fd = std::move(fd);
  return 0;
}

int Server::lcreate(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const std::string name = in.text();
  const u32 flags = in.u32_(), mode = in.u32_(), gid = in.u32_();
  if (!fid) return EBADF;
  if (!in.ok() || fid->kind != Kind::path || name == "." || name == "..") return EINVAL;
  std::string path;
  if (const int error = child(*fid, name, path)) return error;
  sys::Fd fd;
  if (const int error = share_.create_file(path, flags & ~kExclusiveFlags, mode, {fid->uid, gid}, fd)) return error;
  TreeStat object;
  if (const int error = share_.status(fd.get(), path, object)) return error;
  put_qid(out, object);
  out.number(static_cast<u32>(message_size_ - kIoHeader));
  fid->path = path;
  fid->kind = Kind::file;
  fid->flags = flags;
  fid->fd = std::move(fd);
  return 0;
}

int Server::symlink(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const std::string name = in.text(), target = in.text();
  const u32 gid = in.u32_();
  if (!fid) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == ".." || target.empty() || target.find('\0') != target.npos) return EINVAL;
  if (const int error = child(*fid, name, path)) return error;
  if (const int error = share_.make_link(path, target, {fid->uid, gid})) return error;
  return put_qid(out, path);
}

int Server::mknod(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const std::string name = in.text();
  const u32 mode = in.u32_(), major = in.u32_(), minor = in.u32_(), gid = in.u32_();
  if (!fid) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == "..") return EINVAL;
  if (const int error = child(*fid, name, path)) return error;
  if (const int error = share_.make_node(path, mode, major, minor, {fid->uid, gid})) return error;
  return put_qid(out, path);
}

int Server::mkdir(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const std::string name = in.text();
  const u32 mode = in.u32_(), gid = in.u32_();
  if (!fid) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == "..") return EINVAL;
  if (const int error = child(*fid, name, path)) return error;
  if (const int error = share_.make_folder(path, mode, {fid->uid, gid})) return error;
  return put_qid(out, path);
}

int Server::readlink(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  if (!fid) return EBADF;
  std::string target;
  if (const int error = share_.read_link(fid->path, target)) return error;
  out.text(target);
  return 0;
}

// --- names --------------------------------------------------------------------------------------------------------

int Server::rename(Reader& in, Writer&) {
  Fid* fid = find(in.u32_());
  Fid* folder = find(in.u32_());
  const std::string name = in.text();
  if (!fid || !folder) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == "..") return EINVAL;
  if (const int error = child(*folder, name, path)) return error;
  const std::string from = fid->path;
  if (const int error = share_.rename(from, path)) return error;
  moved(from, path);
  return 0;
}

int Server::renameat(Reader& in, Writer&) {
  Fid* from_folder = find(in.u32_());
  const std::string from_name = in.text();
  Fid* to_folder = find(in.u32_());
  const std::string to_name = in.text();
  if (!from_folder || !to_folder) return EBADF;
  std::string from, to;
  for (const std::string* name : {&from_name, &to_name})
    if (*name == "." || *name == "..") return EINVAL;
  if (!in.ok()) return EINVAL;
  if (const int error = child(*from_folder, from_name, from)) return error;
  if (const int error = child(*to_folder, to_name, to)) return error;
  if (const int error = share_.rename(from, to)) return error;
  moved(from, to);
  return 0;
}

int Server::link(Reader& in, Writer&) {
  Fid* folder = find(in.u32_());
  Fid* fid = find(in.u32_());
  const std::string name = in.text();
  if (!folder || !fid) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == "..") return EINVAL;
  if (const int error = child(*folder, name, path)) return error;
  return share_.hard_link(fid->path, path);
}

int Server::unlinkat(Reader& in, Writer&) {
  Fid* folder = find(in.u32_());
  const std::string name = in.text();
  const u32 flags = in.u32_();
  if (!folder) return EBADF;
  std::string path;
  if (!in.ok() || name == "." || name == ".." || (flags & ~kRemoveFolder)) return EINVAL;
  if (const int error = child(*folder, name, path)) return error;
  return share_.remove(path, flags & kRemoveFolder);
}

// --- contents -----------------------------------------------------------------------------------------------------

int Server::read(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const u64 offset = in.u64_();
  const u32 wanted = in.u32_();
  if (!fid) return EBADF;
  const usize count = std::min<usize>(wanted, message_size_ - kHeader - 4);
  if (fid->kind == Kind::xattr_read) {
    const usize start = std::min<u64>(offset, fid->value.size()), size = std::min(count, fid->value.size() - start);
    out.number(static_cast<u32>(size));
    out.bytes().insert(out.bytes().end(), fid->value.begin() + static_cast<std::ptrdiff_t>(start),
                       fid->value.begin() + static_cast<std::ptrdiff_t>(start + size));
    return 0;
  }
  if (fid->kind != Kind::file) return fid->kind == Kind::folder ? EISDIR : EBADF;
  out.bytes().resize(4 + count);
  const s64 got = sys::Tree::read(fid->fd.get(), offset, out.bytes().data() + 4, count);
  if (got < 0) return static_cast<int>(-got);
  store_le<u32>(out.bytes().data(), static_cast<u32>(got));
  out.bytes().resize(4 + static_cast<usize>(got));
  return 0;
}

int Server::write(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const u64 offset = in.u64_();
  const std::span<const u8> data = in.take(in.u32_());
  if (!fid) return EBADF;
  if (!in.ok()) return EINVAL;
  if (fid->kind == Kind::xattr_write) {
    if (offset != fid->value.size() || data.size() > fid->value_size - fid->value.size()) return ENOSPC;
    fid->value.insert(fid->value.end(), data.begin(), data.end());
    out.number(static_cast<u32>(data.size()));
    return 0;
  }
  if (fid->kind != Kind::file) return EBADF;
  if (share_.read_only()) return EROFS;
  const s64 written = sys::Tree::write(fid->fd.get(), offset, data.data(), data.size());
  if (written < 0) return static_cast<int>(-written);
  out.number(static_cast<u32>(written));
  return 0;
}

int Server::readdir(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const u64 offset = in.u64_();
  const u32 wanted = in.u32_();
  if (!fid) return EBADF;
  if (fid->kind != Kind::folder) return fid->kind == Kind::file ? ENOTDIR : EBADF;
  if (offset == 0) {  // from the start: as it is now
    fid->entries.clear();
    if (const int error = share_.list(fid->fd.get(), fid->entries)) return error;
  }
  const usize room = std::min<usize>(wanted, message_size_ - kHeader - 4);
  Writer list;
  for (usize i = static_cast<usize>(std::min<u64>(offset, fid->entries.size())); i < fid->entries.size(); ++i) {
    const sys::TreeEntry& entry = fid->entries[i];
    constexpr usize kEntryHeader = 13 + 8 + 1 + 2;
    if (list.size() + kEntryHeader + entry.name.size() > room) break;
    // The kind by the share: a mapped link is a plain file of the host.
    TreeStat object;
    std::string path;
    const bool known = entry.name != ".." && child(*fid, entry.name, path) == 0 && share_.status(path, object) == 0;
    if (known) {
      put_qid(list, object);
    } else {
      list.number(u8{0x80});
      list.number(u32{0});
      list.number(entry.inode);
    }
    list.number(static_cast<u64>(i + 1));
    list.number(static_cast<u8>(known ? object.mode >> 12 & 15 : entry.type));
    list.text(entry.name);
  }
  out.number(static_cast<u32>(list.size()));
  out.bytes().insert(out.bytes().end(), list.bytes().begin(), list.bytes().end());
  return 0;
}

int Server::fsync(Reader& in, Writer&) {
  Fid* fid = find(in.u32_());
  const bool data_only = in.u32_() != 0;
  if (!fid || !fid->fd) return EBADF;
  return sys::Tree::sync(fid->fd.get(), data_only);
}

// The guest's kernel keeps its processes' locks apart; towards the host there are none.
int Server::lock(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  if (!fid || !fid->fd) return EBADF;
  out.number(u8{0});  // success
  return 0;
}

int Server::getlock(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  in.u8_();
  const u64 start = in.u64_(), length = in.u64_();
  const u32 process = in.u32_();
  const std::string client = in.text();
  if (!fid || !fid->fd) return EBADF;
  if (!in.ok()) return EINVAL;
  out.number(u8{2});  // nobody holds it
  out.number(start);
  out.number(length);
  out.number(process);
  out.text(client);
  return 0;
}

// --- attributes ---------------------------------------------------------------------------------------------------

int Server::getattr(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  if (!fid) return EBADF;
  TreeStat object;
  if (const int error = status(*fid, object)) return error;
  out.number(u64{0x7ff});  // the basic ones
  put_qid(out, object);
  out.number(object.mode);
  out.number(object.uid);
  out.number(object.gid);
  for (const u64 value : {object.links, object.rdev, object.size, object.block_size, object.blocks}) out.number(value);
  for (const sys::TreeTime& time : {object.accessed, object.modified, object.changed}) {
    out.number(static_cast<u64>(time.seconds));
    out.number(u64{time.nanoseconds});
  }
  for (int i = 0; i < 4; ++i) out.number(u64{0});  // birth, generation, data version
  return 0;
}

int Server::setattr(Reader& in, Writer&) {
  Fid* fid = find(in.u32_());
  const u32 valid = in.u32_(), mode = in.u32_(), uid = in.u32_(), gid = in.u32_();
  const u64 size = in.u64_();
  const u64 access_seconds = in.u64_(), access_ns = in.u64_(), modify_seconds = in.u64_(), modify_ns = in.u64_();
  if (!fid) return EBADF;
  if (!in.ok() || access_ns > 999'999'999 || modify_ns > 999'999'999) return EINVAL;
  const std::string path = fid->path;
  if (valid & kMode)
    if (const int error = share_.set_mode(path, mode)) return error;
  if (valid & (kAtime | kMtime)) {
    const auto action = [valid](u32 wanted, u32 given) {
      return !(valid & wanted) ? sys::Tree::TimeAction::keep
             : valid & given   ? sys::Tree::TimeAction::set
                               : sys::Tree::TimeAction::now;
    };
    if (const int error = share_.set_times(
            path, action(kAtime, kAtimeSet), {static_cast<s64>(access_seconds), static_cast<u32>(access_ns)},
            action(kMtime, kMtimeSet), {static_cast<s64>(modify_seconds), static_cast<u32>(modify_ns)}))
      return error;
  }
  // Only a change time: the host's moves when anything is set, so the owner is set to nobody new.
  if ((valid & (kUid | kGid)) || ((valid & kCtime) && !(valid & ~u32{kCtime})))
    if (const int error = share_.set_owner(path, {valid & kUid ? uid : ~0u, valid & kGid ? gid : ~0u})) return error;
  if (valid & kSize) {
    if (share_.read_only()) return EROFS;
    const bool by_file = fid->kind == Kind::file && (fid->flags & kAccess);
    return by_file ? sys::Tree::set_size(fid->fd.get(), size) : share_.set_size(path, size);
  }
  return 0;
}

int Server::xattrwalk(Reader& in, Writer& out) {
  Fid* fid = find(in.u32_());
  const u32 number = in.u32_();
  const std::string name = in.text();
  if (!fid) return EBADF;
  if (!in.ok() || name.size() > kMostNameSize || name.find('\0') != name.npos) return EINVAL;
  Fid attribute{.path = fid->path, .kind = Kind::xattr_read, .uid = fid->uid};
  if (name.empty()) {
    std::vector<std::string> names;
    if (const int error = share_.list_xattr(fid->path, names)) return error;
    for (const std::string& one : names)
      attribute.value.insert(attribute.value.end(), one.c_str(), one.c_str() + one.size() + 1);
  } else if (const int error = share_.get_xattr(fid->path, name, attribute.value)) {
    return error;
  }
  out.number(static_cast<u64>(attribute.value.size()));
  return add(number, std::move(attribute));
}

int Server::xattrcreate(Reader& in, Writer&) {
  Fid* fid = find(in.u32_());
  const std::string name = in.text();
  const u64 size = in.u64_();
  const u32 flags = in.u32_();
  if (!fid) return EBADF;
  if (!in.ok() || fid->kind != Kind::path || name.empty() || name.size() > kMostNameSize ||
      name.find('\0') != name.npos)
    return EINVAL;
  if (size > kMostXattr) return E2BIG;
  if (share_.read_only()) return EROFS;
  fid->kind = Kind::xattr_write;
  fid->xattr = name;
  fid->value.clear();
  fid->value_size = size;
  fid->xattr_flags = flags;
  return 0;
}

}  // namespace rhea::devices::p9
