// SPDX-License-Identifier: MIT
// A server of 9P2000.L (the protocol of Linux' v9fs, diod's protocol.md) over a folder of the host. One message in, one
// out; it knows nothing of how they travel.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/snapshot.h"
#include "devices/virtio/p9_wire.h"
#include "fsdev/share.h"
#include "util/log.h"

namespace rhea::devices::p9 {

class Server {
 public:
  static constexpr u32 kMostMessage = 1u << 20;
  static constexpr usize kMostFids = 1u << 16;

  Server(fsdev::Share& share, Log& log) : share_(share), log_(log) {}
  // The answer to a message. Empty: it is too damaged to be answered.
  std::vector<u8> handle(std::span<const u8> message);
  // Forgets the session.
  void reset();
  void fields(Visitor& visitor);
  usize fids() const { return fids_.size(); }

 private:
  enum class Kind : u8 { path, file, folder, xattr_read, xattr_write };
  struct Fid {
    std::string path;
    Kind kind = Kind::path;
    u32 uid = ~0u;
    u32 flags = 0;  // that it was opened with
    sys::Fd fd;
    std::vector<sys::TreeEntry> entries;  // of a folder that is being read
    std::string xattr;                    // the attribute's name
    std::vector<u8> value;                // what is read, or is being written
    u64 value_size = 0;
    u32 xattr_flags = 0;
  };
  using Handler = int (Server::*)(Reader&, Writer&);
  struct Row {
    u8 type;
    const char* name;
    Handler handler;
  };
  static std::span<const Row> rows();

  // Handlers return an errno and have written the body of the answer when it is 0.
  int version(Reader& in, Writer& out);
  int auth(Reader& in, Writer& out);
  int attach(Reader& in, Writer& out);
  int flush(Reader& in, Writer& out);
  int walk(Reader& in, Writer& out);
  int read(Reader& in, Writer& out);
  int write(Reader& in, Writer& out);
  int clunk(Reader& in, Writer& out);
  int remove(Reader& in, Writer& out);
  int statfs(Reader& in, Writer& out);
  int lopen(Reader& in, Writer& out);
  int lcreate(Reader& in, Writer& out);
  int symlink(Reader& in, Writer& out);
  int mknod(Reader& in, Writer& out);
  int rename(Reader& in, Writer& out);
  int readlink(Reader& in, Writer& out);
  int getattr(Reader& in, Writer& out);
  int setattr(Reader& in, Writer& out);
  int xattrwalk(Reader& in, Writer& out);
  int xattrcreate(Reader& in, Writer& out);
  int readdir(Reader& in, Writer& out);
  int fsync(Reader& in, Writer& out);
  int lock(Reader& in, Writer& out);
  int getlock(Reader& in, Writer& out);
  int link(Reader& in, Writer& out);
  int mkdir(Reader& in, Writer& out);
  int renameat(Reader& in, Writer& out);
  int unlinkat(Reader& in, Writer& out);

  Fid* find(u32 number);
  int add(u32 number, Fid fid);
  int release(Fid& fid);
  int child(const Fid& folder, const std::string& name, std::string& path) const;
  int status(const Fid& fid, sys::TreeStat& status);
  int put_qid(Writer& out, const std::string& path);
  void put_qid(Writer& out, const sys::TreeStat& status);
  u64 qid_path(u64 device, u64 inode);
  void moved(const std::string& from, const std::string& to);

  fsdev::Share& share_;
  Log& log_;
  std::unordered_map<u32, Fid> fids_;
  u32 message_size_ = 8192;
  std::map<u64, u64> devices_;  // host file systems below the share, numbered as they are met
};

}  // namespace rhea::devices::p9
