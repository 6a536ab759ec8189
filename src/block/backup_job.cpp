// SPDX-License-Identifier: MIT
// A copy of the disk as it was when the job began: backup.
//
// The disk is cut into grains, each to be copied once. The job's thread takes them in turn. A write of the device to a
// grain that has not been copied is held back by the drive (WriteGuard); a second thread, which neither a pause nor a
// speed stops, copies that grain first. So what is read is always the old content, and nothing but such a first write
// to a grain ever waits.
//
// When the grain that a write waits for cannot be copied, the copy is lost, not the write: the job ends with the error
// and the device goes on.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <optional>

#include "block/copy_job.h"
#include "sys/thread.h"
#include "util/bits.h"

namespace rhea::block {

namespace {

constexpr u64 kGrain = 65536;          // bytes, at least
constexpr u64 kBuffer = u64{1} << 20;  // bytes copied at a time
using Sync = MirrorOptions::Sync;

class BackupWork final : public CopyWork, public WriteGuard {
 public:
  BackupWork(Drive& drive, const BackupOptions& options, MirrorTarget target)
      : drive_(drive), source_(drive.image()->node()), owned_(std::move(target)), target_(owned_.image->node()),
        options_(options), size_(source_.size()), grain_(grain_for(target_)),
        grains_((size_ + grain_ - 1) / grain_, Grain::wanted), left_(size_) {}
  ~BackupWork() override { stop(); }
  const char* type() const override { return "backup"; }

  // With nothing in flight: from now on the old content is kept.
  void prepare() {
    drive_.set_guard(this);
    server_ = std::thread([this] { serve(); });
  }

  Result<void> run(CopyJob& job) override {
    job_ = &job;
    tell_loss();  // there may be one already
    show();
    if (options_.sync == Sync::none) {
      if (!job.wait_for([] { return false; })) return {};
      auto error = lost();
      return error ? Result<void>(std::move(*error)) : Result<void>();
    }
    if (options_.sync == Sync::top) RHEA_TRY(pass_over_unallocated(job));
    std::vector<u8> buffer;
    for (;;) {
      if (!job.proceed()) return {};
      if (auto error = lost()) return std::move(*error);
      u64 offset = 0, size = 0;
      if (!take(offset, size)) break;
      bool reading = true;
      Result<void> moved = move(offset, size, buffer, reading);
      put_down(offset, size, moved.ok());
      if (moved.ok()) job.pace(size);
      else if (!job.should_retry(reading, moved.error())) return moved;
    }
    return flush(job);
  }

  Result<void> conclude(bool) override {
    stop();
    give_back();
    return {};
  }
  void abandon() override {
    stop();
    if (owned_.image) (void)target_.flush();  // what there is of it; without its background copying that is all
    give_back();
  }

  bool may_write(u64 offset, u64 size) override {
    std::lock_guard lock(mutex_);
    const Range range = range_of(offset, size);
    if (is_free(range)) return true;
    want(range);
    return false;
  }

  void wait_for_write(u64 offset, u64 size) override {
    std::unique_lock lock(mutex_);
    const Range range = range_of(offset, size);
    if (!is_free(range)) want(range);
    settled_.wait(lock, [&] { return is_free(range); });
  }

 private:
  enum class Grain : u8 { wanted, under_way, done };
  struct Range {
    usize first, end;  // grains
    friend bool operator==(const Range&, const Range&) = default;
  };

  static u64 grain_for(Node& target) {
    ImageInfo info;
    target.describe(info);
    return std::max<u64>(kGrain, info.cluster_size);
  }

  // --- grains; with the lock held, where nothing else is said -----------------------------------------------------
  Range range_of(u64 offset, u64 size) const {
    offset = std::min(offset, size_);
    const u64 end = offset + std::min(size, size_ - offset);
    return {static_cast<usize>(offset / grain_), static_cast<usize>((end + grain_ - 1) / grain_)};
  }
  u64 bytes(const Range& range) const { return std::min(range.end * grain_, size_) - range.first * grain_; }
  bool is_free(const Range& range) const {
    if (lost_ || !left_) return true;
    return std::all_of(grains_.begin() + static_cast<std::ptrdiff_t>(range.first),
                       grains_.begin() + static_cast<std::ptrdiff_t>(range.end),
                       [](Grain grain) { return grain == Grain::done; });
  }
  void want(const Range& range) {
    if (std::find(requests_.begin(), requests_.end(), range) == requests_.end()) requests_.push_back(range);
    asked_.notify_one();
  }
  // Grains from `first` on that nobody copies yet, as many as go into a buffer; they are the caller's then.
  Range claim(usize first, usize limit) {
    Range range{first, first};
    const usize most = std::max<usize>(1, kBuffer / grain_);
    while (range.end < limit && range.end - first < most && grains_[range.end] == Grain::wanted)
      grains_[range.end++] = Grain::under_way;
    return range;
  }
  void mark(const Range& range, Grain as) {
    std::fill(grains_.begin() + static_cast<std::ptrdiff_t>(range.first),
              grains_.begin() + static_cast<std::ptrdiff_t>(range.end), as);
    if (as == Grain::done) {
      left_ -= bytes(range);
      done_ += bytes(range);
    } else {
      next_ = std::min(next_, range.first);
    }
    settled_.notify_all();
  }
  std::optional<Error> lost() {  // takes the lock
    std::lock_guard lock(mutex_);
    return lost_;
  }
  // Once, and when the job's thread runs. Not with the lock held: the job has one of its own.
  void tell_loss() {
    CopyJob* job = job_;
    const auto error = lost();
    if (job && error && !told_.exchange(true)) job->give_up(lost_reading_, *error);
  }
  void show() {  // takes the lock
    std::unique_lock lock(mutex_);
    const u64 done = done_, left = left_;
    lock.unlock();
    if (CopyJob* job = job_) job->count(done, left);
  }

  // --- the job's thread -------------------------------------------------------------------------------------------
  // The next piece; false: all is done.
  bool take(u64& offset, u64& size) {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (next_ < grains_.size() && grains_[next_] != Grain::wanted) ++next_;
      if (next_ < grains_.size()) break;
      if (!left_ || lost_) return false;
      const usize before = next_;  // the other thread has the rest
      settled_.wait(lock, [&] { return !left_ || lost_ || next_ != before; });
    }
    const Range range = claim(next_, grains_.size());
    offset = range.first * grain_;
    size = bytes(range);
    return true;
  }
  void put_down(u64 offset, u64 size, bool copied) {
    {
      std::lock_guard lock(mutex_);
      mark(range_of(offset, size), copied ? Grain::done : Grain::wanted);
    }
    show();
  }

  // sync=top: grains that the top layer has nothing of are in the layer below, for the copy too.
  Result<void> pass_over_unallocated(CopyJob& job) {
    std::vector<bool> has(grains_.size());
    for (u64 offset = 0; offset < size_;) {
      if (!job.proceed()) return {};
      const auto mapping = source_.map(offset, size_ - offset);
      if (!mapping.ok()) {
        if (!job.should_retry(true, mapping.error())) return Error(mapping.error());
        continue;
      }
      const Range range = range_of(offset, mapping->size);
      if (mapping->depth == 0 && mapping->allocated)
        std::fill(has.begin() + static_cast<std::ptrdiff_t>(range.first),
                  has.begin() + static_cast<std::ptrdiff_t>(range.end), true);
      offset += mapping->size;
    }
    {
      std::lock_guard lock(mutex_);
      for (usize i = 0; i < grains_.size(); ++i) {
        if (has[i] || grains_[i] != Grain::wanted) continue;
        grains_[i] = Grain::done;
        left_ -= bytes({i, i + 1});
      }
    }
    show();
    return {};
  }

  Result<void> flush(CopyJob& job) {
    for (;;) {
      if (auto error = lost()) return std::move(*error);
      Result<void> flushed = target_.flush();
      if (flushed.ok()) return flushed;
      if (!job.should_retry(false, flushed.error())) return flushed;
      if (!job.proceed()) return {};
    }
  }

  // --- the thread that writes wait for ----------------------------------------------------------------------------
  void serve() {
    sys::name_current_thread("block-backup");
    std::vector<u8> buffer;
    std::unique_lock lock(mutex_);
    for (;;) {
      asked_.wait(lock, [this] { return closing_ || !requests_.empty(); });
      if (closing_) return;
      copy_first(requests_.front(), buffer, lock);
      requests_.pop_front();
      lock.unlock();
      show();
      drive_.loop().post([this, alive = alive_] {
        if (*alive) drive_.guard_changed();
      });
      lock.lock();
    }
  }
  void copy_first(const Range range, std::vector<u8>& buffer, std::unique_lock<std::mutex>& lock) {
    for (usize at = range.first; at < range.end && !lost_ && !closing_;) {
      if (grains_[at] == Grain::done) {
        ++at;
        continue;
      }
      if (grains_[at] == Grain::under_way) {
        settled_.wait(lock, [&] { return grains_[at] != Grain::under_way; });
        continue;
      }
      const Range piece = claim(at, range.end);
      lock.unlock();
      bool reading = true;
      Result<void> moved = move(piece.first * grain_, bytes(piece), buffer, reading);
      lock.lock();
      if (!moved.ok()) {  // the old content is about to go, and the copy does not have it
        lost_ = moved.error();
        lost_reading_ = reading;
      }
      mark(piece, moved.ok() ? Grain::done : Grain::wanted);
    }
    const bool tell = lost_.has_value();
    lock.unlock();
    if (tell) tell_loss();
    lock.lock();
  }

  // --- both -------------------------------------------------------------------------------------------------------
  Result<void> move(u64 offset, u64 size, std::vector<u8>& buffer, bool& reading) {
    const bool hide = owned_.reopen.has_value();  // zeros as well, where the copy has to hide what comes below
    for (u64 end = offset + size; offset < end;) {
      reading = true;
      const Mapping mapping = RHEA_TRY(source_.map(offset, end - offset));
      u64 part = mapping.size;
      if (options_.compress && part < end - offset) part = std::min(align_up(part, grain_), end - offset);
      if (mapping.zero && !hide && part == mapping.size) {
        reading = false;
        if (!options_.target_new) RHEA_TRY(target_.write_zeroes(offset, part, true));
      } else {
        buffer.resize(std::max<usize>(buffer.size(), part));
        const Segment piece{buffer.data(), part};
        RHEA_TRY(source_.read(offset, {&piece, 1}));
        reading = false;
        if (options_.compress) RHEA_TRY(write_compressed(offset, {buffer.data(), part}));
        else RHEA_TRY(target_.write(offset, {&piece, 1}));
      }
      offset += part;
    }
    return {};
  }
  Result<void> write_compressed(u64 offset, std::span<u8> data) {
    ImageInfo info;
    target_.describe(info);
    const u64 cluster = std::max<u64>(info.cluster_size, 512);
    for (u64 at = 0; at < data.size(); at += cluster) {
      const Segment piece{data.data() + at, std::min<u64>(cluster, data.size() - at)};
      RHEA_TRY(target_.write_compressed(offset + at, {&piece, 1}));
    }
    return {};
  }

  void stop() {
    if (!server_.joinable()) return;
    *alive_ = false;
    drive_.set_guard(nullptr);
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    asked_.notify_all();
    server_.join();
  }
  void give_back() {
    if (owned_.image && owned_.give_back) owned_.give_back(std::move(owned_.image));
    owned_.image.reset();
  }

  Drive& drive_;
  Node& source_;
  MirrorTarget owned_;
  Node& target_;
  const BackupOptions options_;
  const u64 size_;   // bytes
  const u64 grain_;  // bytes
  std::atomic<CopyJob*> job_ = nullptr;
  std::atomic<bool> told_ = false;
  std::thread server_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the loop's

  std::mutex mutex_;                 // of what follows
  std::condition_variable asked_;    // there is a request, or the end has come
  std::condition_variable settled_;  // a grain is not under way any more
  std::vector<Grain> grains_;
  usize next_ = 0;              // no grain before it is wanted
  u64 left_ = 0, done_ = 0;     // bytes
  std::deque<Range> requests_;  // what writes wait for
  std::optional<Error> lost_;
  bool lost_reading_ = false;  // what failed; fixed once there is an error
  bool closing_ = false;
};

}  // namespace

Result<std::unique_ptr<CopyJob>> make_backup_job(Drive& drive, JobOptions options, const BackupOptions& backup,
                                                 MirrorTarget target) {
  const auto refuse = [&](Error error) {
    if (target.give_back) target.give_back(std::move(target.image));
    return error;
  };
  if (target.image->read_only()) return refuse(Error("the copy is read-only"));
  if (target.image->size() != drive.size()) return refuse(Error("Source and target image have different sizes"));
  if (backup.compress && target.image->info().format == "raw")
    return refuse(Error("Compression is not supported for this drive {}", target.node_name));
  drive.drain();
  auto work = std::make_unique<BackupWork>(drive, backup, std::move(target));
  work->prepare();
  auto job = std::make_unique<CopyJob>(drive, std::move(options), std::move(work));
  job->count(0, drive.size());  // before its thread says so
  return job;
}

}  // namespace rhea::block
