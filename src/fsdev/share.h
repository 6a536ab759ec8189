// SPDX-License-Identifier: MIT
// A folder of the host that a guest gets ("-fsdev local"), with one of the ways to keep what the guest says of owners,
// modes and special files:
//   passthrough   as the host's own (needs the host's privileges)
//   none          as the host's own, and what the host refuses of owners is ignored
//   mapped-xattr  in attributes user.virtfs.* of host files that are all plain and owned by who runs the emulator
//   mapped-file   in files below .virtfs_metadata beside them
// The formats of the mapped kinds are those of QEMU's, so that a folder can be used with both.
//
// Paths are those of sys::Tree. Functions return 0 or an errno.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sys/tree.h"
#include "util/result.h"

namespace rhea::fsdev {

enum class SecurityModel : u8 { passthrough, none, mapped_xattr, mapped_file };

struct Spec {
  std::string id, path;
  SecurityModel model = SecurityModel::none;
  bool read_only = false;
  bool writeout = false;  // writeout=immediate: each write is synced
};

// "local,id=f,path=/dir,security_model=none": -fsdev, and -virtfs with its mount_tag.
struct VirtfsSpec {
  Spec fsdev;
  std::string mount_tag;
};
Result<Spec> parse_fsdev(std::string_view text);
Result<VirtfsSpec> parse_virtfs(std::string_view text);

class Share {
 public:
  static Result<std::unique_ptr<Share>> open(const Spec& spec);

  const Spec& spec() const { return spec_; }
  int status(const std::string& path, sys::TreeStat& status) const;
  // Of an opened file, by path for what the model keeps elsewhere.
  int status(int fd, const std::string& path, sys::TreeStat& status) const;
  int open_file(const std::string& path, u32 flags, sys::Fd& fd) const;

  // Who makes something, as the guest says it; ~0: not said.
  struct Owner {
    u32 uid = ~0u, gid = ~0u;
  };
  int create_file(const std::string& path, u32 flags, u32 mode, Owner owner, sys::Fd& fd) const;
  int make_folder(const std::string& path, u32 mode, Owner owner) const;
  int make_node(const std::string& path, u32 mode, u32 major, u32 minor, Owner owner) const;
  int make_link(const std::string& path, const std::string& target, Owner owner) const;
  int read_link(const std::string& path, std::string& target) const;
  int hard_link(const std::string& from, const std::string& to) const;
  int rename(const std::string& from, const std::string& to) const;
  int remove(const std::string& path, bool folder) const;
  int set_mode(const std::string& path, u32 mode) const;
  int set_owner(const std::string& path, Owner owner) const;
  int set_times(const std::string& path, sys::Tree::TimeAction access, sys::TreeTime accessed,
                sys::Tree::TimeAction modify, sys::TreeTime modified) const;
  int set_size(const std::string& path, u64 size) const;
  int get_xattr(const std::string& path, const std::string& name, std::vector<u8>& value) const;
  int set_xattr(const std::string& path, const std::string& name, const std::vector<u8>& value, u32 flags) const;
  int remove_xattr(const std::string& path, const std::string& name) const;
  int list_xattr(const std::string& path, std::vector<std::string>& names) const;
  int list(int fd, std::vector<sys::TreeEntry>& entries) const;
  int space(sys::TreeSpace& space) const { return tree_->space(space); }
  bool read_only() const { return spec_.read_only; }

 private:
  // What a mapped model keeps of an object; ~0: nothing, the host's value holds.
  struct Mapped {
    u32 uid = ~0u, gid = ~0u, mode = ~0u;
    u64 rdev = ~u64{0};
  };
  Share(Spec spec, std::unique_ptr<sys::Tree> tree) : spec_(std::move(spec)), tree_(std::move(tree)) {}
  bool mapped() const {
    return spec_.model == SecurityModel::mapped_xattr || spec_.model == SecurityModel::mapped_file;
  }
  bool hidden(const std::string& path) const;
  bool xattr_hidden(const std::string& name) const;
  int allow(const std::string& path) const { return hidden(path) ? kNoEntry : 0; }
  int allow_change(const std::string& path) const;
  void apply(const std::string& path, sys::TreeStat& status) const;
  Mapped load(const std::string& path) const;
  int store(const std::string& path, const Mapped& mapped) const;
  int finish(const std::string& path, u32 mode, Owner owner, u64 rdev = ~u64{0}) const;
  std::string metadata_path(const std::string& path) const;
  int make_metadata_folder(const std::string& path) const;

  static constexpr int kNoEntry = 2;  // ENOENT
  Spec spec_;
  std::unique_ptr<sys::Tree> tree_;
};

// All -fsdev of a machine.
class Shares {
 public:
  void add(std::unique_ptr<Share> share) { list_.push_back(std::move(share)); }
  Share* find(std::string_view id) const {
    for (const auto& share : list_)
      if (share->spec().id == id) return share.get();
    return nullptr;
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> names;
    for (const auto& share : list_) names.push_back(share->spec().id);
    return names;
  }

 private:
  std::vector<std::unique_ptr<Share>> list_;
};

}  // namespace rhea::fsdev
