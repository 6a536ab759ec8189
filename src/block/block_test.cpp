// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "block/create.h"
#include "block/drive.h"
#include "block/open.h"
#include "block/probe.h"
#include "core/loop.h"

namespace rhea::block {
namespace {

class Block : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "rhea-block.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string make(const std::string& name, CreateSpec spec) {
    spec.filename = path(name);
    const auto made = create_image(spec);
    EXPECT_TRUE(made.ok()) << made.error().message();
    return spec.filename;
  }
  std::unique_ptr<Image> open(const ImageSpec& spec) {
    auto image = open_image(spec);
    EXPECT_TRUE(image.ok()) << image.error().message();
    return image.ok() ? image.take() : nullptr;
  }
  void turn_until(const std::function<bool()>& done) {
    while (!done()) loop_.run_once();
  }

  std::string folder_;
  core::Loop loop_{"test"};
};

TEST_F(Block, Words) {
  EXPECT_EQ(*parse_cache_mode("none"), CacheMode::none);
  EXPECT_NE(parse_cache_mode("writebak").error().message().find("did you mean 'writeback'?"), std::string::npos);
  EXPECT_EQ(*parse_drive_bus("sd"), DriveBus::sd);
  EXPECT_TRUE(parse_drive_bus("foo").error().message().starts_with("unsupported bus type 'foo'"));
  EXPECT_TRUE(parse_error_action("enospc", false).ok());
  EXPECT_FALSE(parse_error_action("enospc", true).ok());
}

TEST_F(Block, RawOverItsEnd) {
  const std::string name = path("odd");
  std::ofstream(name) << std::string(1000, 'x');
  auto image = open({.filename = name, .format = "raw"});
  EXPECT_EQ(image->size(), 1024u);
  std::vector<u8> data(1024, 1);
  ASSERT_TRUE(image->read(0, data).ok());
  EXPECT_EQ(data[999], 'x');
  EXPECT_EQ(data[1000], 0);
  EXPECT_EQ(image->perform({.op = Op::read, .offset = 1024, .size = 512, .segments = {{data.data(), 512}}}).code,
            IoCode::out_of_range);
}

TEST_F(Block, GuessedRawKeepsItsHeader) {
  const std::string name = make("r", {.format = "raw", .size = 1 << 20});
  std::vector<u8> magic(512);
  std::copy_n("QFI\xfb\0\0\0\3", 8, magic.begin());
  {
    auto image = open({.filename = name});
    ASSERT_EQ(image->warnings().size(), 1u);
    EXPECT_TRUE(image->warnings()[0].starts_with(
        fmt::format("WARNING: Image format was not specified for '{}' and probing guessed raw.", name)));
    EXPECT_FALSE(image->write(0, magic).ok());
    std::vector<u8> boot(512, 0xeb);
    EXPECT_TRUE(image->write(0, boot).ok());
  }
  auto image = open({.filename = name, .format = "raw"});
  EXPECT_TRUE(image->warnings().empty());
  EXPECT_TRUE(image->write(0, magic).ok());
}

TEST_F(Block, Names) {
  EXPECT_EQ(protocol_of("http://host/x"), "http");
  EXPECT_EQ(protocol_of("dir/a:b"), "");
  EXPECT_EQ(protocol_of("a:b"), "a");
  EXPECT_EQ(resolve_backing("dir/over", "base"), "dir/base");
  EXPECT_EQ(resolve_backing("over", "base"), "base");
  EXPECT_EQ(resolve_backing("dir/over", "/base"), "/base");
  EXPECT_EQ(resolve_backing("dir/over", "http://h/base"), "http://h/base");
}

TEST_F(Block, Refusals) {
  EXPECT_TRUE(open_image({.filename = path("nope")}).error().message().ends_with("No such file or directory"));
  const std::string raw = make("r", {.format = "raw", .size = 1 << 20});
  EXPECT_EQ(open_image({.filename = raw, .format = "qcow2"}).error().message(), "Image is not in qcow2 format");
  EXPECT_TRUE(open_image({.filename = raw, .format = "foo"}).error().message().starts_with("Unknown driver 'foo'"));
  EXPECT_TRUE(
      open_image({.filename = "ssh://h/x", .read_only = true}).error().message().starts_with("Unknown protocol 'ssh'"));
  EXPECT_FALSE(open_image({.filename = folder_, .format = "raw"}).ok());
  EXPECT_FALSE(open_image({.filename = "/dev/null", .format = "raw"}).ok());
  ImageSpec native{.filename = raw, .format = "raw"};
  native.aio = AioMode::native;
  EXPECT_TRUE(open_image(native).error().message().starts_with("aio=native was specified"));
}

TEST_F(Block, LoopOfBackingFiles) {
  make("a", {.format = "qcow2", .size = 1 << 20, .backing_file = "b", .backing_format = "qcow2"});
  make("b", {.format = "qcow2", .size = 1 << 20, .backing_file = "a", .backing_format = "qcow2"});
  const auto image = open_image({.filename = path("a")});
  ASSERT_FALSE(image.ok());
  EXPECT_NE(image.error().message().find("loop"), std::string::npos);
}

TEST_F(Block, SecondWriter) {
  const std::string name = make("q", {.format = "qcow2", .size = 1 << 20});
  auto first = open({.filename = name});
  const auto second = open_image({.filename = name});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message(), "Failed to get \"write\" lock");
  EXPECT_EQ(second.error().hint(), fmt::format("Is another process using the image [{}]?", name));
  EXPECT_FALSE(open_image({.filename = name, .read_only = true}).ok());
  ImageSpec shared{.filename = name, .read_only = true};
  shared.share = true;
  EXPECT_TRUE(open_image(shared).ok());
  first.reset();
  auto reader = open({.filename = name, .read_only = true});
  EXPECT_TRUE(open_image({.filename = name, .read_only = true}).ok());
  EXPECT_EQ(open_image({.filename = name}).error().message(), "Failed to get \"write\" lock");
}

TEST_F(Block, TemporaryOverlayIsForgottenUnlessCommitted) {
  const std::string name = make("r", {.format = "raw", .size = 1 << 20});
  const std::vector<u8> data(4096, 3);
  ImageSpec spec{.filename = name, .format = "raw", .snapshot = true};
  for (const bool commit : {false, true}) {
    auto image = open(spec);
    EXPECT_FALSE(image->read_only());
    ASSERT_TRUE(image->write(8192, data).ok());
    if (commit) { ASSERT_TRUE(image->commit().ok()); }
    std::vector<u8> back(4096);
    ASSERT_TRUE(image->read(8192, back).ok());
    EXPECT_EQ(back, data);
    image.reset();
    ASSERT_TRUE(open({.filename = name, .format = "raw"})->read(8192, back).ok());
    EXPECT_EQ(back, commit ? data : std::vector<u8>(4096));
  }
}

TEST_F(Block, RequestsInFlight) {
  for (const AioMode aio : {AioMode::threads, AioMode::io_uring}) {
    for (const char* format : {"raw", "qcow2"}) {
      make("x", {.format = format, .size = 4 << 20});
      ImageSpec spec{.filename = path("x"), .format = format};
      spec.aio = aio;
      auto image = open(spec);
      std::lock_guard lock(loop_.lock());
      image->attach(loop_);
      std::vector<std::vector<u8>> blocks;
      unsigned ended = 0;
      for (u8 i = 0; i < 32; ++i) blocks.emplace_back(65536, static_cast<u8>(i + 1));
      for (u64 i = 0; i < blocks.size(); ++i) {
        Request request{.op = Op::write,
                        .offset = i * 65536,
                        .size = 65536,
                        .segments = {{blocks[i].data(), 512}, {blocks[i].data() + 512, 65024}}};
        request.done = [&](IoResult result) {
          EXPECT_TRUE(result.ok());
          ++ended;
        };
        if (image->start(std::move(request))) ++ended;
      }
      turn_until([&] { return ended == blocks.size(); });
      EXPECT_EQ(image->in_flight(), 0u);
      std::vector<u8> back(32 * 65536);
      bool read = false;
      Request request{.op = Op::read, .size = back.size(), .segments = {{back.data(), back.size()}}};
      request.done = [&](IoResult result) { read = result.ok(); };
      if (auto now = image->start(std::move(request))) read = now->ok();
      image->drain();
      EXPECT_TRUE(read);
      for (u64 i = 0; i < blocks.size(); ++i) EXPECT_EQ(back[i * 65536 + 65535], i + 1);
    }
  }
}

// --- Drives -------------------------------------------------------------------------------------------------------

class Client final : public DriveClient {
 public:
  void medium_changed(bool loaded) override { events.push_back(loaded ? "in" : "out"); }
  void resized() override { events.push_back("resized"); }
  bool eject_allowed(bool) override { return allowed; }
  std::vector<std::string> events;
  bool allowed = true;
};

TEST_F(Block, DriveTellsItsDevice) {
  Drive drive(loop_, {.id = "d0"}, {});
  Client client;
  ASSERT_TRUE(drive.attach(&client, "/machine/x", true).ok());
  EXPECT_FALSE(drive.attach(&client, "/machine/y", true).ok());
  std::vector<u8> data(512);
  EXPECT_EQ(drive.start({.op = Op::read, .size = 512, .segments = {{data.data(), 512}}})->code, IoCode::no_medium);
  make("q", {.format = "qcow2", .size = 1 << 20});
  drive.insert(open({.filename = path("q")}));
  ASSERT_TRUE(drive.resize(2 << 20).ok());
  EXPECT_EQ(drive.size(), u64{2} << 20);
  client.allowed = false;
  EXPECT_FALSE(drive.eject(false).ok());
  ASSERT_TRUE(drive.eject(true).ok());
  EXPECT_EQ(client.events, (std::vector<std::string>{"in", "resized", "out"}));
  drive.detach();
}

// A node whose writes fail until told otherwise.
class Failing final : public Node {
 public:
  std::string error = "No space left on device";
  u64 size() const override { return 1 << 20; }
  bool read_only() const override { return false; }
  Result<void> read(u64, Segments segments) override { return fill_zero(segments), result(); }
  Result<void> write(u64, Segments) override { return result(); }
  Result<void> write_zeroes(u64, u64, bool) override { return result(); }
  Result<void> discard(u64, u64) override { return result(); }
  Result<void> flush() override { return {}; }
  Result<void> resize(u64, Preallocation) override { return result(); }
  Result<Mapping> map(u64 offset, u64 size) override { return Mapping{.offset = offset, .size = size, .data = true}; }
  void describe(ImageInfo&) const override {}
  std::string format_name() const override { return "failing"; }
  std::string filename() const override { return "failing"; }

 private:
  Result<void> result() const { return error.empty() ? Result<void>() : Result<void>(Error("{}", error)); }
};

TEST_F(Block, ErrorPolicies) {
  struct Case {
    ErrorAction write_error;
    const char* error;
    bool stops;
    IoCode told;  // when it does not stop
  };
  for (const Case& c : {Case{ErrorAction::enospc, "No space left on device", true, IoCode::ok},
                        Case{ErrorAction::enospc, "Input/output error", false, IoCode::failed},
                        Case{ErrorAction::report, "No space left on device", false, IoCode::no_space},
                        Case{ErrorAction::ignore, "Input/output error", false, IoCode::ok},
                        Case{ErrorAction::stop, "Input/output error", true, IoCode::ok}}) {
    unsigned failures = 0;
    Drive drive(loop_, {.id = "d", .write_error = c.write_error}, [&](const Drive::Failure& failure) {
      ++failures;
      EXPECT_EQ(failure.action == ErrorAction::stop, c.stops);
    });
    auto node = std::make_unique<Failing>();
    Failing& failing = *node;
    failing.error = c.error;
    drive.insert(std::make_unique<Image>(std::move(node), ImageSpec{}));
    std::vector<u8> data(512);
    std::optional<IoResult> result;
    drive.submit({.op = Op::write, .size = 512, .segments = {{data.data(), 512}}, .done = [&](IoResult done) {
                    result = std::move(done);
                  }});
    if (!c.stops) {
      turn_until([&] { return result.has_value(); });
      EXPECT_EQ(result->code, c.told);
      continue;
    }
    turn_until([&] { return failures > 0; });
    loop_.run_once();
    EXPECT_TRUE(drive.held());
    EXPECT_FALSE(result);
    failing.error.clear();
    drive.resume();
    turn_until([&] { return result.has_value(); });
    EXPECT_TRUE(result->ok());
    EXPECT_EQ(drive.statistics().write.operations, 1u);
    EXPECT_EQ(drive.statistics().write.failed, 1u);
  }
}

TEST_F(Block, DriveTable) {
  DriveTable table;
  const auto add = [&](DriveConfig config) {
    return table.add(std::make_unique<Drive>(loop_, std::move(config), nullptr));
  };
  ASSERT_TRUE(add({.id = "sd0", .bus = DriveBus::sd}).ok());
  EXPECT_EQ(add({.id = "x", .bus = DriveBus::sd}).error().message(), "drive with bus=0, unit=0 (index=0) exists");
  EXPECT_EQ(add({.id = "sd0"}).error().message(), "Duplicate ID 'sd0' for drive");
  EXPECT_EQ(table.free_unit(DriveBus::sd), 1);
  EXPECT_EQ(table.find(DriveBus::sd, 0, 0), table.find("sd0"));
  EXPECT_FALSE(table.remove("y").ok());
  EXPECT_TRUE(table.remove("sd0").ok());
}

}  // namespace
}  // namespace rhea::block
