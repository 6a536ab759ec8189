// SPDX-License-Identifier: MIT
#include "block/copy_job.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <random>

#include "block/create.h"
#include "block/open.h"
#include "core/loop.h"

namespace rhea::block {
namespace {

constexpr u64 kSize = u64{8} << 20;

class Jobs : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "rhea-jobs.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    make("base.qcow2", "");
    make("middle.qcow2", "base.qcow2");
    make("top.qcow2", "middle.qcow2");
    truth_.assign(kSize, 0);
    put("base.qcow2", 0, 4 << 20, 1);
    put("middle.qcow2", 2 << 20, 4 << 20, 2);
    put("top.qcow2", (3 << 20) + 1000, 1 << 20, 3);
    drive_ = std::make_unique<Drive>(loop_, DriveConfig{.id = "d0"}, nullptr);
    std::lock_guard lock(loop_.lock());
    auto image = open_image({.filename = path("top.qcow2")});
    ASSERT_TRUE(image.ok()) << image.error().message();
    drive_->insert(image.take(), "n0");
  }
  void TearDown() override {
    job_.reset();
    drive_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void make(const std::string& name, const std::string& backing, u64 size = kSize) {
    CreateSpec spec{.filename = path(name), .format = "qcow2", .size = size};
    if (!backing.empty()) {
      spec.backing_file = backing;
      spec.backing_format = "qcow2";
    }
    const auto made = create_image(spec);
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  void put(const std::string& name, u64 offset, u64 size, u8 value) {
    auto image = open_image({.filename = path(name)});
    ASSERT_TRUE(image.ok()) << image.error().message();
    ASSERT_TRUE((*image)->write(offset, std::vector<u8>(size, value)).ok());
    std::fill_n(truth_.begin() + static_cast<std::ptrdiff_t>(offset), size, value);
  }
  std::vector<u8> content(const std::string& name) {
    auto image = open_image({.filename = path(name), .read_only = true, .share = true});
    EXPECT_TRUE(image.ok()) << image.error().message();
    std::vector<u8> bytes(kSize);
    EXPECT_TRUE((*image)->read(0, bytes).ok());
    return bytes;
  }
  std::vector<std::string> chain() const {
    std::vector<std::string> names;
    for (Node* node = &drive_->image()->node(); node; node = node->backing())
      names.push_back(std::filesystem::path(node->filename()).filename());
    return names;
  }
  Node* layer(const std::string& name) { return find_layer(*drive_, path(name)); }

  void start(Result<std::unique_ptr<CopyJob>> made) {
    ASSERT_TRUE(made.ok()) << made.error().message();
    job_ = made.take();
    job_->start([this](CopyJob& job, const CopyJob::News& news) {
      using Event = CopyJob::Event;
      const char* const names[] = {
          job_status_name(job.status()), "READY", "ERROR", "PENDING", "COMPLETED", "CANCELLED"};
      said_.emplace_back(names[static_cast<usize>(news.event)]);
      if (news.event == Event::error) said_.back() += news.reading ? " read" : " write";
    });
  }
  // A turn of the loop, and a write of the device, which the copy has to have.
  void turn() { loop_.run_once(); }
  void write(u64 offset, u64 size, u8 value) {
    write_until(offset, size, value, [&](const bool&) { drive_->drain(); });
  }
  template <typename Wait>
  void write_until(u64 offset, u64 size, u8 value, Wait&& wait) {
    std::vector<u8> data(size, value);
    std::fill_n(truth_.begin() + static_cast<std::ptrdiff_t>(offset), size, value);
    bool ended = false;
    Request request{.op = Op::write, .offset = offset, .size = size, .segments = {{data.data(), size}}};
    request.done = [&](IoResult result) { ended = result.ok(); };
    if (auto now = drive_->start(std::move(request))) ended = now->ok();
    wait(ended);
    EXPECT_TRUE(ended);
  }
  void busy(unsigned writes) {
    for (unsigned i = 0; i < writes; ++i) {
      const u64 offset = random_() % (kSize - 70000);
      write(offset, 1 + random_() % 70000, static_cast<u8>(random_()));
    }
  }
  void until(JobStatus status) {
    while (job_->status() != status) {
      loop_.post([] {});
      turn();
    }
  }
  bool said(const std::string& word) const { return std::find(said_.begin(), said_.end(), word) != said_.end(); }
  void check_image(const std::string& name) {
    auto image = open_image({.filename = path(name), .read_only = true, .share = true, .repair_on_open = false});
    ASSERT_TRUE(image.ok()) << image.error().message();
    const auto result = (*image)->node().check(Repair::none);
    ASSERT_TRUE(result.ok()) << result.error().message();
    EXPECT_EQ(result->corruptions, 0u);
  }

  std::string folder_;
  core::Loop loop_{"test"};
  std::unique_ptr<Drive> drive_;
  std::unique_ptr<CopyJob> job_;
  std::vector<std::string> said_;
  std::vector<u8> truth_;
  std::mt19937 random_{7};
};

TEST_F(Jobs, StreamOfAll) {
  std::lock_guard lock(loop_.lock());
  start(make_stream_job(*drive_, {.id = "j"}, nullptr, ""));
  EXPECT_EQ(drive_->busy().error().message(), "Node 'd0' is busy: block device is in use by block job: stream");
  busy(50);
  until(JobStatus::concluded);
  EXPECT_EQ(said_, (std::vector<std::string>{"running", "waiting", "pending", "COMPLETED", "concluded"}));
  EXPECT_EQ(chain(), std::vector<std::string>{"top.qcow2"});
  EXPECT_TRUE(drive_->busy().ok());
  busy(5);
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
  auto top = open_image({.filename = path("top.qcow2"), .read_only = true});
  EXPECT_TRUE((*top)->info().backing_filename.empty());
  check_image("top.qcow2");
}

TEST_F(Jobs, StreamToABase) {
  std::lock_guard lock(loop_.lock());
  EXPECT_FALSE(make_stream_job(*drive_, {.id = "j"}, layer("top.qcow2"), "").ok());
  start(make_stream_job(*drive_, {.id = "j"}, layer("base.qcow2"), "base.qcow2"));
  busy(20);
  until(JobStatus::concluded);
  EXPECT_EQ(chain(), (std::vector<std::string>{"top.qcow2", "base.qcow2"}));
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
  check_image("top.qcow2");
}

// What lies behind the end of a layer that goes is zeros, whatever the base has there.
TEST_F(Jobs, ShortLayers) {
  std::lock_guard lock(loop_.lock());
  drive_->remove();
  for (const bool up : {true, false}) {
    make("short.qcow2", "base.qcow2", 65536 + 512);
    make("top2.qcow2", "short.qcow2");
    put("short.qcow2", 0, 512, 9);
    auto image = open_image({.filename = path("top2.qcow2")});
    ASSERT_TRUE(image.ok()) << image.error().message();
    drive_->insert(image.take(), "n1");
    truth_ = content("top2.qcow2");
    if (up) start(make_stream_job(*drive_, {.id = "j"}, layer("base.qcow2"), ""));
    else start(make_commit_job(*drive_, {.id = "j"}, layer("short.qcow2"), layer("base.qcow2"), ""));
    until(JobStatus::concluded);
    EXPECT_EQ(job_->error(), "");
    drive_->remove();
    if (up) EXPECT_EQ(content("top2.qcow2"), truth_);
    else EXPECT_TRUE(std::equal(truth_.begin(), truth_.begin() + 65536, content("top2.qcow2").begin()));
  }
}

TEST_F(Jobs, CommitOfAMiddleLayer) {
  std::lock_guard lock(loop_.lock());
  EXPECT_FALSE(make_commit_job(*drive_, {.id = "j"}, layer("base.qcow2"), layer("middle.qcow2"), "").ok());
  start(make_commit_job(*drive_, {.id = "j"}, layer("middle.qcow2"), layer("base.qcow2"), ""));
  busy(30);
  until(JobStatus::concluded);
  EXPECT_EQ(chain(), (std::vector<std::string>{"top.qcow2", "base.qcow2"}));
  EXPECT_TRUE(layer("base.qcow2")->read_only());
  busy(5);
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
  check_image("top.qcow2");
  check_image("base.qcow2");
}

TEST_F(Jobs, CommitOfTheActiveLayer) {
  std::lock_guard lock(loop_.lock());
  start(make_active_commit_job(*drive_, {.id = "j"}, layer("base.qcow2")));
  EXPECT_NE(job_->complete().error().message().find("cannot accept command verb 'complete'"), std::string::npos);
  busy(30);
  until(JobStatus::ready);
  busy(30);
  ASSERT_TRUE(job_->complete().ok());
  busy(10);
  until(JobStatus::concluded);
  EXPECT_EQ(said_,
            (std::vector<std::string>{"running", "ready", "READY", "waiting", "pending", "COMPLETED", "concluded"}));
  EXPECT_EQ(chain(), std::vector<std::string>{"base.qcow2"});
  busy(10);
  drive_->remove();
  EXPECT_EQ(content("base.qcow2"), truth_);
  check_image("base.qcow2");
}

TEST_F(Jobs, MirrorThatIsGoneOnWith) {
  std::lock_guard lock(loop_.lock());
  make("copy.qcow2", "");
  MirrorTarget target{.image = open_image({.filename = path("copy.qcow2")}).take(), .node_name = "copy"};
  start(make_mirror_job(*drive_, {.id = "j"}, {.target_new = true}, std::move(target)));
  busy(30);
  until(JobStatus::ready);
  busy(30);
  ASSERT_TRUE(job_->complete().ok());
  until(JobStatus::concluded);
  EXPECT_EQ(drive_->node_name(), "copy");
  EXPECT_EQ(chain(), std::vector<std::string>{"copy.qcow2"});
  busy(10);
  drive_->remove();
  EXPECT_EQ(content("copy.qcow2"), truth_);
  check_image("copy.qcow2");
  check_image("top.qcow2");
}

// Cancelled when it is ready, the copy is the disk as it was then; before, it is nothing.
TEST_F(Jobs, MirrorThatIsCancelled) {
  std::lock_guard lock(loop_.lock());
  for (const bool early : {false, true}) {
    make("copy.qcow2", "");
    said_.clear();
    std::unique_ptr<Image> back;
    MirrorTarget target{.image = open_image({.filename = path("copy.qcow2")}).take(),
                        .node_name = "copy",
                        .give_back = [&](std::unique_ptr<Image> image) { back = std::move(image); }};
    start(make_mirror_job(*drive_, {.id = "j", .speed = early ? u64{4096} : 0}, {.granularity = 4096},
                          std::move(target)));
    if (!early) until(JobStatus::ready);
    busy(10);
    ASSERT_TRUE(job_->cancel(false).ok());
    until(JobStatus::concluded);
    EXPECT_TRUE(said(early ? "CANCELLED" : "COMPLETED"));
    EXPECT_EQ(drive_->node_name(), "n0");
    ASSERT_NE(back, nullptr);
    back.reset();
    if (!early) EXPECT_EQ(content("copy.qcow2"), truth_);
  }
}

// The copy has what the top layer has, over the backing file that the disk has too.
TEST_F(Jobs, MirrorOfTheTopLayer) {
  std::lock_guard lock(loop_.lock());
  make("copy.qcow2", "middle.qcow2");
  ASSERT_TRUE(drive_->image()->write_zeroes(5 << 20, 1 << 20, true).ok());
  std::fill_n(truth_.begin() + (5 << 20), 1 << 20, u8{0});
  ImageSpec spec{.filename = path("copy.qcow2"), .with_backing = false};
  MirrorTarget target{.image = open_image(spec).take(), .node_name = "copy", .reopen = spec};
  target.reopen->with_backing = true;
  start(make_mirror_job(*drive_, {.id = "j"}, {.sync = MirrorOptions::Sync::top}, std::move(target)));
  busy(20);
  until(JobStatus::ready);
  ASSERT_TRUE(job_->complete().ok());
  until(JobStatus::concluded);
  EXPECT_EQ(job_->error(), "");
  EXPECT_EQ(chain(), (std::vector<std::string>{"copy.qcow2", "middle.qcow2", "base.qcow2"}));
  drive_->remove();
  EXPECT_EQ(content("copy.qcow2"), truth_);
}

TEST_F(Jobs, PausesAndSpeed) {
  std::lock_guard lock(loop_.lock());
  start(make_stream_job(*drive_, {.id = "j", .speed = 1}, nullptr, ""));
  EXPECT_FALSE(job_->set_speed(-1).ok());
  ASSERT_TRUE(job_->pause().ok());
  EXPECT_EQ(job_->pause().error().message(), "Job is already paused");
  EXPECT_EQ(job_->status(), JobStatus::paused);
  ASSERT_TRUE(job_->set_speed(0).ok());
  ASSERT_TRUE(job_->resume().ok());
  EXPECT_EQ(job_->resume().error().message(), "Can't resume a job that was not paused");
  until(JobStatus::concluded);
  EXPECT_TRUE(said("COMPLETED"));
  EXPECT_EQ(job_->offset(), kSize);
  EXPECT_FALSE(job_->cancel(true).ok());
}

TEST_F(Jobs, PendingUntilItIsFinalized) {
  std::lock_guard lock(loop_.lock());
  start(make_active_commit_job(*drive_, {.id = "j", .auto_finalize = false}, layer("middle.qcow2")));
  EXPECT_FALSE(job_->finalize().ok());
  until(JobStatus::ready);
  ASSERT_TRUE(job_->complete().ok());
  until(JobStatus::pending);
  busy(20);
  ASSERT_TRUE(job_->finalize().ok());
  EXPECT_EQ(job_->status(), JobStatus::concluded);
  EXPECT_EQ(chain(), (std::vector<std::string>{"middle.qcow2", "base.qcow2"}));
  drive_->remove();
  EXPECT_EQ(content("middle.qcow2"), truth_);
}

// A disk that says no: the policy decides.
class BadNode final : public Node {
 public:
  explicit BadNode(std::atomic<bool>& bad) : bad_(bad) {}
  u64 size() const override { return kSize; }
  bool read_only() const override { return false; }
  Result<void> read(u64, Segments) override { return {}; }
  Result<void> write(u64, Segments) override { return answer(); }
  Result<void> write_zeroes(u64, u64, bool) override { return answer(); }
  Result<void> discard(u64, u64) override { return {}; }
  Result<void> flush() override { return {}; }
  Result<void> resize(u64, Preallocation) override { return {}; }
  Result<Mapping> map(u64 offset, u64 size) override { return Mapping{.offset = offset, .size = size}; }
  void describe(ImageInfo&) const override {}
  std::string format_name() const override { return "bad"; }
  std::string filename() const override { return "bad"; }

 private:
  Result<void> answer() {
    if (bad_) return Error("the disk is on fire");
    return {};
  }
  std::atomic<bool>& bad_;
};

TEST_F(Jobs, Errors) {
  std::lock_guard lock(loop_.lock());
  std::atomic<bool> bad = true;
  const auto target = [&] {
    return MirrorTarget{.image = std::make_unique<Image>(std::make_unique<BadNode>(bad), ImageSpec{})};
  };
  start(make_mirror_job(*drive_, {.id = "j"}, {}, target()));
  until(JobStatus::concluded);
  EXPECT_EQ(said_, (std::vector<std::string>{"running", "ERROR write", "aborting", "COMPLETED", "concluded"}));
  EXPECT_EQ(job_->error(), "the disk is on fire");
  said_.clear();
  start(make_mirror_job(*drive_, {.id = "j", .on_target_error = ErrorAction::stop}, {}, target()));
  until(JobStatus::paused);
  EXPECT_EQ(job_->io_status(), Drive::IoStatus::failed);
  bad = false;
  ASSERT_TRUE(job_->resume().ok());
  until(JobStatus::ready);
  EXPECT_EQ(job_->io_status(), Drive::IoStatus::ok);
  ASSERT_TRUE(job_->cancel(true).ok());
  until(JobStatus::concluded);
  EXPECT_TRUE(said("CANCELLED"));
}

// --- backup ---------------------------------------------------------------------------------------------------------

class Backups : public Jobs {
 protected:
  // Onto copy.qcow2, over `backing` where there is one.
  MirrorTarget target(const std::string& backing) {
    make("copy.qcow2", backing);
    ImageSpec spec{.filename = path("copy.qcow2"), .with_backing = false};
    MirrorTarget target{.image = open_image(spec).take(), .node_name = "copy"};
    if (!backing.empty()) target.reopen = spec;
    return target;
  }
  // One at a time, without waiting for all that the drive does.
  void write_and_turn(u64 offset, u64 size, u8 value) {
    write_until(offset, size, value, [&](const bool& ended) {
      while (!ended) {
        loop_.post([] {});
        turn();
      }
    });
  }
  void mixed(unsigned writes) {
    for (unsigned i = 0; i < writes; ++i) {
      const u64 offset = random_() % (kSize - 70000);
      if (i % 2) write(offset, 1 + random_() % 70000, static_cast<u8>(random_()));
      else write_and_turn(offset, 1 + random_() % 70000, static_cast<u8>(random_()));
    }
  }
};

TEST_F(Backups, OfAll) {
  std::lock_guard lock(loop_.lock());
  for (const bool compress : {false, true}) {
    said_.clear();
    const std::vector<u8> then = truth_;
    start(make_backup_job(*drive_, {.id = "j", .speed = 1}, {.target_new = true, .compress = compress}, target("")));
    EXPECT_EQ(drive_->busy().error().message(), "Node 'd0' is busy: block device is in use by block job: backup");
    mixed(20);
    EXPECT_LT(job_->offset(), kSize);
    ASSERT_TRUE(job_->set_speed(0).ok());
    mixed(20);
    until(JobStatus::concluded);
    EXPECT_EQ(said_, (std::vector<std::string>{"running", "waiting", "pending", "COMPLETED", "concluded"}));
    EXPECT_EQ(job_->error(), "");
    EXPECT_EQ(job_->offset(), kSize);
    EXPECT_EQ(drive_->node_name(), "n0");
    mixed(5);
    EXPECT_EQ(content("copy.qcow2"), then);
    check_image("copy.qcow2");
  }
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
}

// Zeros of the top layer hide what is below it, in the copy too; and what it does not have is not copied.
TEST_F(Backups, OfTheTopLayer) {
  std::lock_guard lock(loop_.lock());
  ASSERT_TRUE(drive_->image()->write_zeroes(5 << 20, 1 << 20, true).ok());
  std::fill_n(truth_.begin() + (5 << 20), 1 << 20, u8{0});
  const std::vector<u8> then = truth_;
  start(make_backup_job(*drive_, {.id = "j"}, {.sync = MirrorOptions::Sync::top}, target("middle.qcow2")));
  mixed(30);
  until(JobStatus::concluded);
  EXPECT_EQ(job_->error(), "");
  EXPECT_LT(job_->length(), kSize);
  mixed(5);
  EXPECT_EQ(content("copy.qcow2"), then);
}

// Nothing but what is about to be lost is copied; the copy over the disk itself is the disk as it was. While the job is
// paused, too.
TEST_F(Backups, OfWhatIsWritten) {
  std::lock_guard lock(loop_.lock());
  const std::vector<u8> then = truth_;
  start(make_backup_job(*drive_, {.id = "j"}, {.sync = MirrorOptions::Sync::none}, target("top.qcow2")));
  mixed(15);
  ASSERT_TRUE(job_->pause().ok());
  mixed(15);
  EXPECT_FALSE(job_->complete().ok());
  EXPECT_GT(job_->offset(), 0u);
  EXPECT_LT(job_->offset(), kSize);
  EXPECT_EQ(job_->length(), kSize);
  ASSERT_TRUE(job_->cancel(false).ok());
  until(JobStatus::concluded);
  EXPECT_TRUE(said("CANCELLED"));
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
  EXPECT_EQ(content("copy.qcow2"), then);
}

// Every request ends within its start().
TEST_F(Backups, OfASynchronousDrive) {
  std::lock_guard lock(loop_.lock());
  const std::vector<u8> then = truth_;
  drive_->set_synchronous(true);
  start(make_backup_job(*drive_, {.id = "j", .speed = 1}, {}, target("")));
  std::vector<u8> data(4096, 77);
  EXPECT_TRUE(drive_->start({.op = Op::write, .offset = 3 << 20, .size = 4096, .segments = {{data.data(), 4096}}}));
  EXPECT_TRUE(drive_->start({.op = Op::write_zeroes, .offset = 1 << 20, .size = 1 << 20, .unmap = true}));
  ASSERT_TRUE(job_->set_speed(0).ok());
  until(JobStatus::concluded);
  EXPECT_EQ(content("copy.qcow2"), then);
}

// The copy is lost, not the write.
TEST_F(Backups, ThatCannotKeepUp) {
  std::lock_guard lock(loop_.lock());
  for (const bool paused : {false, true}) {
    said_.clear();
    std::atomic<bool> bad = false;
    MirrorTarget target{.image = std::make_unique<Image>(std::make_unique<BadNode>(bad), ImageSpec{})};
    start(
        make_backup_job(*drive_, {.id = "j", .speed = 1, .on_target_error = ErrorAction::stop}, {}, std::move(target)));
    if (paused) ASSERT_TRUE(job_->pause().ok());
    bad = true;
    write_and_turn(4 << 20, 5000, 9);
    until(JobStatus::concluded);
    EXPECT_EQ(job_->error(), "the disk is on fire");
    EXPECT_TRUE(said("ERROR write"));
    EXPECT_TRUE(drive_->busy().ok());
    mixed(5);
  }
  drive_->remove();
  EXPECT_EQ(content("top.qcow2"), truth_);
}

TEST_F(Backups, Refused) {
  std::lock_guard lock(loop_.lock());
  make("small.qcow2", "", kSize / 2);
  bool back = false;
  const auto onto = [&](const std::string& name, bool read_only) {
    ImageSpec spec{.filename = path(name), .read_only = read_only};
    return MirrorTarget{.image = open_image(spec).take(),
                        .node_name = "copy",
                        .give_back = [&](std::unique_ptr<Image> image) { back = image != nullptr; }};
  };
  EXPECT_EQ(make_backup_job(*drive_, {.id = "j"}, {}, onto("small.qcow2", false)).error().message(),
            "Source and target image have different sizes");
  EXPECT_TRUE(std::exchange(back, false));
  make("copy.qcow2", "");
  EXPECT_EQ(make_backup_job(*drive_, {.id = "j"}, {}, onto("copy.qcow2", true)).error().message(),
            "the copy is read-only");
  EXPECT_TRUE(back);
  EXPECT_TRUE(drive_->busy().ok());
}

// A job that goes with its owner lets go of what it held back.
TEST_F(Backups, Forgotten) {
  std::lock_guard lock(loop_.lock());
  start(make_backup_job(*drive_, {.id = "j", .speed = 1}, {}, target("")));
  std::vector<u8> data(4096, 7);
  bool ended = false;
  Request request{.op = Op::write, .offset = 6 << 20, .size = 4096, .segments = {{data.data(), 4096}}};
  request.done = [&](IoResult result) { ended = result.ok(); };
  const bool now = drive_->start(std::move(request)).has_value();
  job_.reset();
  drive_->drain();
  EXPECT_TRUE(now || ended);
  EXPECT_TRUE(drive_->busy().ok());
}

// --- external snapshots ---------------------------------------------------------------------------------------------

TEST_F(Jobs, LayersOnTop) {
  std::lock_guard lock(loop_.lock());
  make("new.qcow2", "");
  make("small.qcow2", "", kSize / 2);
  const auto open = [&](const std::string& name) {
    return open_image({.filename = path(name), .with_backing = false}).take();
  };
  auto small = open("small.qcow2");
  EXPECT_NE(drive_->add_layer(small, "n1").error().message().find("The overlay is smaller than the disk"),
            std::string::npos);
  EXPECT_NE(small, nullptr);
  auto layer = open("new.qcow2");
  ASSERT_TRUE(drive_->add_layer(layer, "n1").ok());
  EXPECT_EQ(layer, nullptr);
  EXPECT_EQ(drive_->node_name(), "n1");
  EXPECT_EQ(chain(), (std::vector<std::string>{"new.qcow2", "top.qcow2", "middle.qcow2", "base.qcow2"}));
  EXPECT_TRUE(this->layer("top.qcow2")->read_only());
  const std::vector<u8> then = truth_;
  busy(30);
  EXPECT_EQ(content("top.qcow2"), then);
  // The header names what it lies on, though it did not when it came; and the drive's spec opens the whole chain.
  ASSERT_TRUE(drive_->deactivate().ok());
  EXPECT_EQ(content("new.qcow2"), truth_);
  ASSERT_TRUE(drive_->activate().ok());
  EXPECT_EQ(chain().size(), 4u);
  start(make_active_commit_job(*drive_, {.id = "j"}, this->layer("top.qcow2")));
  until(JobStatus::ready);
  make("other.qcow2", "");
  auto other = open("other.qcow2");
  EXPECT_EQ(drive_->add_layer(other, "n2").error().message(),
            "Node 'd0' is busy: block device is in use by block job: commit");
  ASSERT_TRUE(job_->complete().ok());
  until(JobStatus::concluded);
  ASSERT_TRUE(drive_->add_layer(other, "n2").ok());
  busy(10);
  drive_->remove();
  EXPECT_EQ(content("other.qcow2"), truth_);
  check_image("other.qcow2");
  check_image("top.qcow2");
}

// A job that nobody ended goes with its owner; what it had opened is closed.
TEST_F(Jobs, Forgotten) {
  std::lock_guard lock(loop_.lock());
  start(make_active_commit_job(*drive_, {.id = "j", .speed = 1}, layer("base.qcow2")));
  job_.reset();
  EXPECT_TRUE(drive_->busy().ok());
  EXPECT_TRUE(layer("base.qcow2")->read_only());
}

// --- limits ---------------------------------------------------------------------------------------------------------

ThrottleLimits limits(ThrottleLimits::Which which, ThrottleLimits::Limit limit) {
  ThrottleLimits all;
  all.limits[which] = limit;
  return all;
}

TEST(Throttle, AverageOverTime) {
  ThrottleGroup group("g");
  group.set_limits(limits(ThrottleLimits::bps_write, {.average = 1'000'000}), 0);
  s64 now = 0;
  u64 done = 0;
  EXPECT_EQ(group.ready_at(Op::read, now), now);
  while (done < 10'000'000) {
    now = group.ready_at(Op::write, now);
    group.take(Op::write, 50'000, now);
    done += 50'000;
    EXPECT_EQ(group.ready_at(Op::read, now), now);
    EXPECT_EQ(group.ready_at(Op::flush, now), now);
  }
  EXPECT_GT(now, s64{9'700} * kMillisecond);
  EXPECT_LT(now, s64{10'100} * kMillisecond);
}

TEST(Throttle, BurstsThenTheAverage) {
  ThrottleGroup group("g");
  group.set_limits(limits(ThrottleLimits::iops_total, {.average = 100, .max = 1000, .length = 2}), 0);
  s64 now = 0;
  unsigned in_two_seconds = 0;
  for (unsigned i = 0; i < 3000; ++i) {
    now = group.ready_at(i % 2 ? Op::read : Op::write, now);
    if (now <= 2 * kSecond) ++in_two_seconds;
    group.take(Op::read, 512, now);
  }
  EXPECT_GT(in_two_seconds, 1900u);
  EXPECT_LT(in_two_seconds, 2200u);
  EXPECT_GT(now, 7 * kSecond);
}

TEST(Throttle, LargeRequestsCountSeveralTimes) {
  ThrottleGroup group("g");
  ThrottleLimits all = limits(ThrottleLimits::iops_total, {.average = 10});
  all.iops_size = 4096;
  group.set_limits(all, 0);
  group.take(Op::read, 40960, 0);  // ten of them
  EXPECT_GT(group.ready_at(Op::read, 0), 800 * kMillisecond);
  EXPECT_LT(group.ready_at(Op::read, 0), kSecond);
}

TEST(Throttle, WhatGoesAgainstWhat) {
  using L = ThrottleLimits;
  const auto wrong = [](const L& limits) { return limits.check().error().message(); };
  L both = limits(L::bps_total, {.average = 1});
  both.limits[L::bps_read].average = 1;
  EXPECT_EQ(wrong(both), "bps/iops/max total values and read/write values cannot be used at the same time");
  EXPECT_EQ(wrong(limits(L::bps_total, {.average = 5, .max = 3})), "bps_max/iops_max cannot be lower than bps/iops");
  EXPECT_EQ(wrong(limits(L::bps_total, {.max = 3})), "bps_max/iops_max require corresponding bps/iops values");
  EXPECT_EQ(wrong(limits(L::bps_total, {.average = 1, .length = 0})), "the burst length cannot be 0");
  EXPECT_EQ(wrong(limits(L::bps_total, {.average = 1, .length = 3})), "burst length set without burst rate");
  EXPECT_EQ(wrong(limits(L::bps_total, {.average = ~u64{0}})),
            "bps/iops/max values must be within [0, 1000000000000000]");
  L size;
  size.iops_size = 4;
  EXPECT_EQ(wrong(size), "iops size requires an iops value to be set");
  EXPECT_TRUE(limits(L::iops_read, {.average = 5, .max = 7, .length = 2}).check().ok());
}

// Drives of one group wait for each other; draining waits for nobody's limit.
TEST_F(Jobs, ThrottledDrives) {
  std::lock_guard lock(loop_.lock());
  DriveTable table;
  Drive& one = **table.add(std::make_unique<Drive>(loop_, DriveConfig{.id = "one"}, nullptr));
  Drive& two = **table.add(std::make_unique<Drive>(loop_, DriveConfig{.id = "two", .unit = 1}, nullptr));
  for (Drive* drive : {&one, &two})
    drive->insert(open_image({.filename = "null-co://", .format = "raw"}).take(), drive->id());
  for (Drive* drive : {&one, &two}) table.set_throttle(*drive, "g", limits(ThrottleLimits::iops_total, {.average = 1}));
  EXPECT_EQ(one.throttle(), two.throttle());
  std::vector<u8> data(512);
  unsigned ended = 0;
  const auto read = [&](Drive& drive) {
    Request request{.op = Op::read, .size = 512, .segments = {{data.data(), 512}}};
    request.done = [&](IoResult result) { ended += result.ok(); };
    const auto now = drive.start(std::move(request));
    if (now) ++ended;
    return now.has_value();
  };
  EXPECT_TRUE(read(one) || ended == 0);
  EXPECT_FALSE(read(two));
  EXPECT_FALSE(read(one));
  one.drain();
  two.drain();
  EXPECT_EQ(ended, 3u);
  EXPECT_FALSE(read(one));
  table.set_throttle(one, "", {});  // none any more: what waited goes on
  one.drain();
  EXPECT_EQ(ended, 4u);
  EXPECT_EQ(one.throttle(), nullptr);
  EXPECT_NE(two.throttle(), nullptr);
}

// The filter node's group goes with the image; it and the drive's own both have to let a request through.
TEST_F(Jobs, ThrottledImages) {
  std::lock_guard lock(loop_.lock());
  DriveTable table;
  Drive& drive = **table.add(std::make_unique<Drive>(loop_, DriveConfig{.id = "one"}, nullptr));
  const ThrottleLimits slow = limits(ThrottleLimits::iops_total, {.average = 1});
  ASSERT_TRUE(table.add_throttle_group("tg", slow).ok());
  EXPECT_EQ(table.add_throttle_group("tg", {}).error().message(), "A group with this name already exists");
  EXPECT_FALSE(table.add_throttle_group("x", limits(ThrottleLimits::iops_total, {.max = 1})).ok());
  const auto group = table.find_throttle_group("tg");
  drive.insert(open_image({.filename = "null-co://", .format = "raw", .throttle = group}).take(), "one");
  std::vector<u8> data(512);
  unsigned ended = 0;
  const auto read = [&] {
    Request request{.op = Op::read, .size = 512, .segments = {{data.data(), 512}}};
    request.done = [&](IoResult result) { ended += result.ok(); };
    const auto now = drive.start(std::move(request));
    if (now) ++ended;
    return now.has_value();
  };
  (void)read();
  EXPECT_FALSE(read());
  EXPECT_EQ(table.remove_throttle_group("tg").error().message(), "object 'tg' is in use, can not be deleted");
  table.set_limits(*group, {});  // what waited goes on
  while (drive.image()->in_flight()) turn();
  EXPECT_EQ(ended, 2u);
  table.set_throttle(drive, "tg", slow);
  EXPECT_EQ(drive.throttle(), group);
  table.set_throttle(drive, "", {});
  drive.remove();
  ASSERT_TRUE(table.remove_throttle_group("tg").ok());
  EXPECT_EQ(table.find_throttle_group("tg"), nullptr);
}

TEST(Throttle, ValuesByName) {
  ThrottleLimits all;
  for (const auto& [name, value] : throttle_values(all)) {
    ASSERT_TRUE(set_throttle_value(all, name, value + 7)) << name;
  }
  for (const auto& [name, value] : throttle_values(all)) EXPECT_EQ(value, name.ends_with("-length") ? 8u : 7u) << name;
  for (const char* name : {"", "bps", "bps-total-", "bps-total-min", "iops-total-max-len", "iops-size-max"})
    EXPECT_FALSE(set_throttle_value(all, name, 1)) << name;
}

}  // namespace
}  // namespace rhea::block
