// SPDX-License-Identifier: MIT
// A folder of the host and what lies below it, and nothing else: paths are relative ("a/b"; "" is the folder itself),
// and no symbolic link, "..", or mount trick of whoever changes files meanwhile leads out of it. Links are objects
// here, they are never followed.
//
// Functions return 0 or an errno.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

struct TreeTime {
  s64 seconds = 0;
  u32 nanoseconds = 0;
};

// As stat(2) says it.
struct TreeStat {
  u64 device = 0, inode = 0, links = 0, rdev = 0, size = 0, block_size = 0, blocks = 0;
  u32 mode = 0, uid = 0, gid = 0;
  TreeTime accessed, modified, changed;
};

struct TreeSpace {  // as statfs(2)
  u64 type = 0, block_size = 0, blocks = 0, free = 0, available = 0, files = 0, files_free = 0, id = 0, name_length = 0;
};

struct TreeEntry {
  std::string name;
  u64 inode = 0;
  u8 type = 0;  // DT_...
};

class Tree {
 public:
  // Errors: what open says; not a folder.
  static Result<std::unique_ptr<Tree>> open(const std::string& path);

  int status(const std::string& path, TreeStat& status) const;
  static int status(int fd, TreeStat& status);
  // A regular file or a folder; anything else is refused (EINVAL), so that no device or pipe is woken. Flags are
  // open(2)'s, of which access mode, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC and O_DIRECTORY count.
  int open_file(const std::string& path, u32 flags, Fd& fd) const;
  // A new regular file, opened.
  int create_file(const std::string& path, u32 flags, u32 mode, Fd& fd) const;
  int make_folder(const std::string& path, u32 mode) const;
  int make_node(const std::string& path, u32 mode, u32 major, u32 minor) const;
  int make_link(const std::string& path, const std::string& target) const;
  int read_link(const std::string& path, std::string& target) const;
  int hard_link(const std::string& from, const std::string& to) const;
  int rename(const std::string& from, const std::string& to) const;
  int remove(const std::string& path, bool folder) const;

  int set_mode(const std::string& path, u32 mode) const;
  int set_owner(const std::string& path, u32 uid, u32 gid) const;  // ~0: as it is
  // What to do with a time: leave it, set it to the host's now, set it.
  enum class TimeAction : u8 { keep, now, set };
  int set_times(const std::string& path, TimeAction access, TreeTime accessed, TimeAction modify,
                TreeTime modified) const;
  int set_size(const std::string& path, u64 size) const;
  static int set_size(int fd, u64 size);

  int get_xattr(const std::string& path, const std::string& name, std::vector<u8>& value) const;
  int set_xattr(const std::string& path, const std::string& name, const std::vector<u8>& value, u32 flags) const;
  int remove_xattr(const std::string& path, const std::string& name) const;
  int list_xattr(const std::string& path, std::vector<std::string>& names) const;

  // All entries of an opened folder, "." and ".." among them.
  static int list(int fd, std::vector<TreeEntry>& entries);
  static s64 read(int fd, u64 offset, u8* to, usize size);  // bytes, or a negative errno
  static s64 write(int fd, u64 offset, const u8* from, usize size);
  static int sync(int fd, bool data_only);
  int space(TreeSpace& space) const;

 private:
  explicit Tree(Fd root) : root_(std::move(root)) {}
  int resolve(const std::string& path, u64 flags, Fd& fd) const;
  int reopen(int path_fd, u32 flags, Fd& fd) const;
  struct Place {
    Fd folder;
    std::string name;
  };
  int parent(const std::string& path, Place& place) const;
  Fd root_;
};

}  // namespace rhea::sys
