// SPDX-License-Identifier: MIT
// The 9P server against a folder of its own, by messages as v9fs sends them.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "devices/testing.h"
#include "devices/virtio/p9_server.h"

namespace rhea::devices::p9 {
namespace {

namespace fs = std::filesystem;

class Session {
 public:
  explicit Session(fsdev::SecurityModel model = fsdev::SecurityModel::none, bool read_only = false) {
    std::string name = ::testing::TempDir() + "rhea-9p-XXXXXX";
    root = ::mkdtemp(name.data());
    fs::create_directory(root / "share");
    std::ofstream(root / "secret") << "secret";
    auto opened =
        fsdev::Share::open({.id = "f", .path = (root / "share").string(), .model = model, .read_only = read_only});
    EXPECT_TRUE(opened.ok());
    share = opened.take();
    server = std::make_unique<Server>(*share, log);
    Writer version;
    version.number(u32{16384});
    version.text("9P2000.L");
    EXPECT_EQ(call(100, version), 0);
    EXPECT_EQ(attach(0), 0);
  }
  ~Session() { fs::remove_all(root); }

  // 0 and the answer's body in `reply`, or the errno.
  int call(u8 type, Writer& body) {
    Writer message;
    message.number(static_cast<u32>(7 + body.size()));
    message.number(type);
    message.number(u16{1});
    message.bytes().insert(message.bytes().end(), body.bytes().begin(), body.bytes().end());
    const std::vector<u8> answer = server->handle(message.bytes());
    if (answer.size() < 7) return -1;
    EXPECT_EQ(load_le<u32>(answer.data()), answer.size());
    reply.assign(answer.begin() + 7, answer.end());
    if (answer[4] == 7) return static_cast<int>(load_le<u32>(reply.data()));
    EXPECT_EQ(answer[4], type + 1);
    return 0;
  }
  int attach(u32 fid) {
    Writer w;
    w.number(fid);
    w.number(~u32{0});
    w.text("root");
    w.text("");
    w.number(u32{1000});
    return call(104, w);
  }
  int walk(u32 fid, u32 to, const std::vector<std::string>& names) {
    Writer w;
    w.number(fid);
    w.number(to);
    w.number(static_cast<u16>(names.size()));
    for (const std::string& name : names) w.text(name);
    const int error = call(110, w);
    if (!error && load_le<u16>(reply.data()) != names.size()) return ENOENT;
    return error;
  }
  int simple(u8 type, std::initializer_list<u32> numbers) {
    Writer w;
    for (const u32 number : numbers) w.number(number);
    return call(type, w);
  }
  int named(u8 type, u32 fid, const std::string& name, std::initializer_list<u32> numbers) {
    Writer w;
    w.number(fid);
    w.text(name);
    for (const u32 number : numbers) w.number(number);
    return call(type, w);
  }
  int symlink(u32 fid, const std::string& name, const std::string& target) {
    Writer w;
    w.number(fid);
    w.text(name);
    w.text(target);
    w.number(u32{1000});
    return call(16, w);
  }
  int write(u32 fid, u64 offset, const std::string& data) {
    Writer w;
    w.number(fid);
    w.number(offset);
    w.number(static_cast<u32>(data.size()));
    w.bytes().insert(w.bytes().end(), data.begin(), data.end());
    return call(118, w);
  }
  std::string read(u32 fid, u64 offset, u32 size) {
    Writer w;
    w.number(fid);
    w.number(offset);
    w.number(size);
    const int error = call(116, w);
    if (error) return fmt::format("error {}", error);
    return {reply.begin() + 4, reply.end()};
  }
  int open(u32 fid, u32 flags) { return simple(12, {fid, flags}); }
  int clunk(u32 fid) { return simple(120, {fid}); }
  struct Attributes {
    u32 mode, uid, gid;
    u64 size, rdev;
  };
  Attributes attributes(u32 fid) {
    Writer w;
    w.number(fid);
    w.number(u64{0x7ff});
    EXPECT_EQ(call(24, w), 0);
    const u8* at = reply.data() + 8 + 13;
    return {load_le<u32>(at), load_le<u32>(at + 4), load_le<u32>(at + 8), load_le<u64>(at + 28), load_le<u64>(at + 20)};
  }
  int set(u32 fid, u32 valid, u32 mode, u32 uid, u32 gid, u64 size) {
    Writer w;
    for (const u32 number : {fid, valid, mode, uid, gid}) w.number(number);
    w.number(size);
    for (int i = 0; i < 4; ++i) w.number(u64{5});
    return call(26, w);
  }
  std::vector<std::string> list(u32 fid) {
    std::vector<std::string> names;
    for (u64 offset = 0;;) {
      Writer w;
      w.number(fid);
      w.number(offset);
      w.number(u32{100});
      EXPECT_EQ(call(40, w), 0);
      if (load_le<u32>(reply.data()) == 0) break;
      Reader r(std::span<const u8>(reply).subspan(4));
      for (usize left = reply.size() - 4; left;) {
        r.take(13);
        offset = r.u64_();
        r.u8_();
        const std::string name = r.text();
        left -= 24 + name.size();
        if (name != "." && name != "..") names.push_back(name);
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path root;
  Log log;
  std::unique_ptr<fsdev::Share> share;
  std::unique_ptr<Server> server;
  std::vector<u8> reply;
};

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class EveryModel : public ::testing::TestWithParam<fsdev::SecurityModel> {};

TEST_P(EveryModel, FilesAndFolders) {
  Session s(GetParam());
  EXPECT_EQ(s.named(72, 0, "d", {0755, 1000}), 0);
  ASSERT_EQ(s.walk(0, 1, {"d"}), 0);
  EXPECT_EQ(s.named(14, 1, "file", {2, 0644, 1000}), 0);
  EXPECT_EQ(s.write(1, 0, "hello world"), 0);
  EXPECT_EQ(s.read(1, 6, 100), "world");
  EXPECT_EQ(s.simple(50, {1, 0}), 0);
  const auto made = s.attributes(1);
  EXPECT_EQ(made.mode, 0100644u);
  EXPECT_EQ(made.size, 11u);
  EXPECT_EQ(s.set(1, 8, 0, 0, 0, 5), 0);
  EXPECT_EQ(s.read(1, 0, 100), "hello");
  EXPECT_EQ(s.clunk(1), 0);
  EXPECT_EQ(contents(s.root / "share/d/file"), "hello");

  ASSERT_EQ(s.walk(0, 2, {"d", "file"}), 0);
  EXPECT_EQ(s.set(2, 1, 0600, 0, 0, 0), 0);
  EXPECT_EQ(s.attributes(2).mode, 0100600u);
  ASSERT_EQ(s.walk(0, 3, {"d"}), 0);
  EXPECT_EQ(s.symlink(3, "l", "../../secret"), 0);
  ASSERT_EQ(s.walk(0, 4, {"d", "l"}), 0);
  EXPECT_EQ(s.attributes(4).mode & 0170000u, 0120000u);
  EXPECT_EQ(s.simple(22, {4}), 0);
  EXPECT_EQ(std::string(s.reply.begin() + 2, s.reply.end()), "../../secret");
  EXPECT_EQ(s.walk(0, 9, {"d", "l", "x"}), ENOENT) << "a link is not walked through";

  ASSERT_EQ(s.walk(0, 5, {"d"}), 0);
  ASSERT_EQ(s.open(5, 0), 0);
  EXPECT_EQ(s.list(5), (std::vector<std::string>{"file", "l"}));

  // Names: rename with a fid below it, hard link, remove.
  Writer rename;
  rename.number(u32{0});
  rename.text("d");
  rename.number(u32{0});
  rename.text("e");
  EXPECT_EQ(s.call(74, rename), 0);
  EXPECT_EQ(s.attributes(2).mode, 0100600u) << "the fid follows";
  Writer link;
  link.number(u32{0});
  link.number(u32{2});
  link.text("hard");
  EXPECT_EQ(s.call(70, link), 0);
  EXPECT_EQ(contents(s.root / "share/hard"), "hello");
  EXPECT_EQ(s.named(76, 0, "e", {0x200}), ENOTEMPTY);
  EXPECT_EQ(s.named(76, 3, "file", {0}), 0);
  EXPECT_EQ(s.named(76, 3, "l", {0}), 0);
  EXPECT_EQ(s.named(76, 0, "e", {0x200}), 0);
  EXPECT_FALSE(fs::exists(s.root / "share/e"));
  ASSERT_EQ(s.walk(0, 6, {"hard"}), 0);
  EXPECT_EQ(s.simple(122, {6}), 0);
  EXPECT_EQ(s.clunk(6), EBADF) << "a remove clunks";
}

TEST_P(EveryModel, AnOpenFileOutlivesItsName) {
  Session s(GetParam());
  ASSERT_EQ(s.walk(0, 1, {}), 0);
  ASSERT_EQ(s.named(14, 1, "temporary", {2, 0600, 1000}), 0);
  EXPECT_EQ(s.named(76, 0, "temporary", {0}), 0);
  EXPECT_EQ(s.write(1, 0, "still here"), 0);
  EXPECT_EQ(s.read(1, 6, 100), "here");
  EXPECT_EQ(s.attributes(1).size, 10u);
}

std::string model_name(fsdev::SecurityModel model) {
  constexpr const char* kNames[] = {"passthrough", "none", "mapped_xattr", "mapped_file"};
  return kNames[static_cast<int>(model)];
}

INSTANTIATE_TEST_SUITE_P(All, EveryModel,
                         ::testing::Values(fsdev::SecurityModel::none, fsdev::SecurityModel::mapped_xattr,
                                           fsdev::SecurityModel::mapped_file),
                         [](const auto& info) { return model_name(info.param); });

TEST(P9, MappedModelsKeepWhatTheHostCannot) {
  for (const auto model : {fsdev::SecurityModel::mapped_xattr, fsdev::SecurityModel::mapped_file}) {
    Session s(model);
    Writer w;  // mknod: a block device
    w.number(u32{0});
    w.text("disk");
    for (const u32 number : {060660u, 8u, 3u, 6u}) w.number(number);
    ASSERT_EQ(s.call(18, w), 0);
    EXPECT_TRUE(fs::is_regular_file(s.root / "share/disk"));
    ASSERT_EQ(s.walk(0, 1, {"disk"}), 0);
    EXPECT_EQ(s.attributes(1).mode, 060660u);
    EXPECT_EQ(s.attributes(1).rdev, 0x803u);
    EXPECT_EQ(s.attributes(1).uid, 1000u);
    EXPECT_EQ(s.attributes(1).gid, 6u);
    EXPECT_EQ(s.set(1, 6, 0, 42, 43, 0), 0);
    EXPECT_EQ(s.attributes(1).uid, 42u);
    EXPECT_EQ(s.attributes(1).mode, 060660u);
    ASSERT_EQ(s.walk(0, 2, {}), 0);
    ASSERT_EQ(s.open(2, 0), 0);
    EXPECT_EQ(s.list(2), (std::vector<std::string>{"disk"})) << "the records are not seen";
    EXPECT_EQ(s.walk(0, 3, {".virtfs_metadata"}), ENOENT);
  }
}

TEST(P9, NothingLeadsOut) {
  Session s;
  fs::create_symlink("..", s.root / "share/up");
  fs::create_symlink("/etc/passwd", s.root / "share/etc");
  fs::create_symlink(s.root / "secret", s.root / "share/secret");
  fs::create_directory(s.root / "share/d");
  EXPECT_EQ(s.walk(0, 1, {"..", "..", "..", "d", "..", ".."}), 0);
  ASSERT_EQ(s.open(1, 0), 0);
  EXPECT_EQ(s.list(1), (std::vector<std::string>{"d", "etc", "secret", "up"})) << "the root is its own parent";
  EXPECT_EQ(s.walk(0, 2, {"up", "secret"}), ENOENT);
  EXPECT_EQ(s.walk(0, 2, {"../secret"}), EINVAL);
  EXPECT_EQ(s.walk(0, 2, {"/etc/passwd"}), EINVAL);
  EXPECT_EQ(s.walk(0, 2, {std::string("d\0x", 3)}), EINVAL);
  for (const char* name : {"etc", "secret", "up"}) {
    ASSERT_EQ(s.walk(0, 3, {name}), 0);
    EXPECT_EQ(s.open(3, 0), ELOOP) << name;
    EXPECT_EQ(s.open(3, 1 | 01000), ELOOP) << name;
    EXPECT_NE(s.set(3, 8, 0, 0, 0, 0), 0) << name;
    EXPECT_EQ(s.clunk(3), 0);
  }
  ASSERT_EQ(s.walk(0, 4, {}), 0);
  EXPECT_EQ(s.named(14, 4, "secret", {1, 0644, 0}), EEXIST) << "not created through a link";
  EXPECT_EQ(s.named(14, 4, "..", {1, 0644, 0}), EINVAL);
  EXPECT_EQ(s.named(76, 0, "..", {0x200}), EINVAL);
  EXPECT_EQ(contents(s.root / "secret"), "secret");
  EXPECT_EQ(s.named(18, 0, "pipe", {0010600, 0, 0, 0}), 0);
  ASSERT_EQ(s.walk(0, 5, {"pipe"}), 0);
  EXPECT_EQ(s.open(5, 0), EINVAL) << "a pipe of the host is not waited for";
}

TEST(P9, ReadOnly) {
  Session s(fsdev::SecurityModel::none, true);
  std::ofstream(s.root / "share/file") << "text";
  ASSERT_EQ(s.walk(0, 1, {"file"}), 0);
  EXPECT_EQ(s.open(1, 2), EROFS);
  EXPECT_EQ(s.open(1, 0), 0);
  EXPECT_EQ(s.read(1, 0, 10), "text");
  EXPECT_EQ(s.write(1, 0, "x"), EROFS);
  EXPECT_EQ(s.named(72, 0, "d", {0755, 0}), EROFS);
  EXPECT_EQ(s.named(76, 0, "file", {0}), EROFS);
  EXPECT_EQ(s.set(1, 1, 0777, 0, 0, 0), EROFS);
  EXPECT_EQ(s.set(1, 8, 0, 0, 0, 0), EROFS);
  EXPECT_EQ(s.symlink(0, "l", "t"), EROFS);
}

TEST(P9, Xattrs) {
  Session s(fsdev::SecurityModel::mapped_xattr);
  ASSERT_EQ(s.walk(0, 1, {}), 0);
  ASSERT_EQ(s.named(14, 1, "file", {1, 0644, 0}), 0);
  ASSERT_EQ(s.walk(0, 2, {"file"}), 0);
  const auto create = [&](const std::string& name, u64 size) {
    Writer w;
    w.number(u32{2});
    w.text(name);
    w.number(size);
    w.number(u32{0});
    return s.call(32, w);
  };
  ASSERT_EQ(create("user.colour", 4), 0);
  EXPECT_EQ(s.write(2, 0, "blue!"), ENOSPC);
  EXPECT_EQ(s.write(2, 0, "blue"), 0);
  const int set = s.clunk(2);
  if (set == EOPNOTSUPP) GTEST_SKIP() << "no xattrs where temporary files are";
  EXPECT_EQ(set, 0);
  ASSERT_EQ(s.walk(0, 2, {"file"}), 0);
  const auto look = [&](u32 fid, const std::string& name) {
    Writer w;
    w.number(u32{2});
    w.number(fid);
    w.text(name);
    return s.call(30, w);
  };
  ASSERT_EQ(look(3, "user.colour"), 0);
  EXPECT_EQ(load_le<u64>(s.reply.data()), 4u);
  EXPECT_EQ(s.read(3, 0, 100), "blue");
  ASSERT_EQ(look(4, ""), 0);
  EXPECT_EQ(s.read(4, 0, 1000).find("user.virtfs"), std::string::npos) << "the model's own are hidden";
  EXPECT_EQ(look(5, "user.virtfs.uid"), ENODATA);
  ASSERT_EQ(create("user.virtfs.uid", 4), 0);
  EXPECT_EQ(s.write(2, 0, "root"), 0);
  EXPECT_EQ(s.clunk(2), EACCES);
}

TEST(P9, DamagedMessages) {
  Session s;
  EXPECT_TRUE(s.server->handle({}).empty());
  const std::vector<u8> huge = {0xff, 0xff, 0xff, 0xff, 110, 0, 0};
  EXPECT_TRUE(s.server->handle(huge).empty());
  EXPECT_EQ(s.simple(200, {}), EOPNOTSUPP);
  EXPECT_EQ(s.simple(110, {0}), EINVAL) << "cut short";
  EXPECT_EQ(s.attach(0), EINVAL) << "the fid is in use";
  EXPECT_EQ(s.read(77, 0, 1), "error 9");
  EXPECT_EQ(s.read(0, 0, 1), "error 9") << "not opened";
  Writer old;
  old.number(u32{8192});
  old.text("9P2000.u");
  EXPECT_EQ(s.call(100, old), 0);
  EXPECT_EQ(std::string(s.reply.begin() + 6, s.reply.end()), "unknown");
}

TEST(P9, FidsSurviveASnapshot) {
  Session s;
  ASSERT_EQ(s.walk(0, 1, {}), 0);
  ASSERT_EQ(s.named(14, 1, "file", {2, 0644, 0}), 0);
  EXPECT_EQ(s.write(1, 0, "before"), 0);
  struct Holder : Device {
    explicit Holder(Server& of) : server(of) {}
    void reset(ResetKind) override {}
    void fields(Visitor& visitor) override { server.fields(visitor); }
    Server& server;
  } holder(*s.server);
  devices::testing::FieldStore store;
  store.save(holder);
  s.server->reset();
  EXPECT_EQ(s.clunk(1), EBADF);
  store.restore(holder);
  EXPECT_EQ(s.read(1, 0, 100), "before");
  EXPECT_EQ(s.write(1, 6, " after"), 0);
  EXPECT_EQ(s.read(1, 0, 100), "before after");
}

}  // namespace
}  // namespace rhea::devices::p9
