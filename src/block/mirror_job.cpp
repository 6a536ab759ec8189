// SPDX-License-Identifier: MIT
// A copy that follows the disk: mirror, and commit of the active layer (whose copy is a layer below it).
//
// A bit for each grain of the disk says that the copy does not have it yet. The thread takes grains in turn, forgets
// their bits, then reads and writes them; the device's writes set bits again when they have ended, so that what was
// read in the middle of one is read again. A write that is in flight when all bits are off is not lost: it sets its
// bits at its end, and the job ends only with nothing in flight.
#include <algorithm>
#include <atomic>

#include "block/copy_job.h"
#include "block/open.h"
#include "util/bits.h"

namespace rhea::block {

namespace {

constexpr u64 kGrain = 65536;
constexpr u64 kBuffer = u64{1} << 20;

class Grains {
 public:
  Grains(u64 size, u64 grain) : size_(size), grain_(grain), bits_((size + grain - 1) / grain) {}
  u64 bytes() const { return std::min(count_ * grain_, size_); }
  bool any() const { return count_ > 0; }
  void mark(u64 offset, u64 size) {
    if (!size || offset >= size_) return;
    const u64 last = (std::min(offset + size, size_) - 1) / grain_;
    for (u64 at = offset / grain_; at <= last; ++at) {
      if (bits_[at]) continue;
      bits_[at] = true;
      ++count_;
    }
  }
  // The next grains, forgotten from now on: [offset, offset + size), at most `most` bytes.
  bool take(u64 most, u64& offset, u64& size) {
    if (!count_) return false;
    while (!bits_[next_ % bits_.size()]) ++next_;
    next_ %= bits_.size();
    const u64 first = next_, limit = std::max<u64>(1, most / grain_);
    while (next_ < bits_.size() && next_ - first < limit && bits_[next_]) {
      bits_[next_++] = false;
      --count_;
    }
    offset = first * grain_;
    size = std::min(next_ * grain_, size_) - offset;
    return true;
  }

 private:
  u64 size_, grain_;
  std::vector<bool> bits_;
  u64 count_ = 0, next_ = 0;
};

class MirrorWork final : public CopyWork {
 public:
  MirrorWork(Drive& drive, const MirrorOptions& options, MirrorTarget target)
      : drive_(drive), source_(drive.image()->node()), owned_(std::move(target)), target_(&owned_.image->node()),
        options_(options), grains_(source_.size(), grain_for(*target_)) {}
  // Onto a layer below, `depth` down.
  MirrorWork(Drive& drive, Node& base, unsigned depth)
      : drive_(drive), source_(drive.image()->node()), target_(&base), depth_(depth),
        grains_(source_.size(), grain_for(base)) {}

  const char* type() const override { return depth_ ? "commit" : "mirror"; }

  // With nothing in flight. From now on writes are noted.
  Result<void> prepare() {
    if (depth_) {
      RHEA_TRY(target_->set_read_only(false));
      opened_ = true;
      if (target_->size() < source_.size()) RHEA_TRY(target_->resize(source_.size(), Preallocation::off));
    }
    drive_.set_watcher([this](u64 offset, u64 size) {
      {
        std::lock_guard lock(mutex_);
        grains_.mark(offset, size);
      }
      if (CopyJob* job = job_) job->poke();
    });
    return {};
  }

  Result<void> run(CopyJob& job) override {
    job_ = &job;
    RHEA_TRY(look(job));
    bool told = false;
    for (;;) {
      if (!job.proceed()) return {};
      u64 offset = 0, size = 0;
      if (take(offset, size)) {
        RHEA_TRY(copy(job, offset, size));
        show(job);
        continue;
      }
      show(job);
      if (!told) {
        if (Result<void> flushed = target_->flush(); !flushed.ok()) {
          if (!job.should_retry(false, flushed.error())) return flushed;
          continue;
        }
        told = true;
        job.tell_ready();
      }
      if (job.finish_wanted()) return {};
      if (!job.wait_for([this] { return any(); })) return {};
    }
  }

  Result<void> conclude(bool keep_copy) override {
    drive_.set_watcher({});
    u64 offset = 0, size = 0;
    while (take(offset, size)) {
      bool reading = false;
      RHEA_TRY(move(offset, size, reading));
    }
    RHEA_TRY(target_->flush());
    if (depth_) return keep_copy ? close() : go_down();
    return keep_copy ? give_back() : go_over();
  }
  void abandon() override {
    drive_.set_watcher({});
    (void)close();
    (void)give_back();
  }

 private:
  u64 grain_for(Node& target) const {
    ImageInfo info;
    target.describe(info);
    // Whole clusters where something shows through the copy later.
    if (options_.granularity && !owned_.reopen) return options_.granularity;
    return std::max<u64>(options_.granularity ? options_.granularity : kGrain, info.cluster_size);
  }
  bool take(u64& offset, u64& size) {
    std::lock_guard lock(mutex_);
    return grains_.take(options_.buffer ? options_.buffer : kBuffer, offset, size);
  }
  bool any() {
    std::lock_guard lock(mutex_);
    return grains_.any();
  }
  void mark(u64 offset, u64 size) {
    std::lock_guard lock(mutex_);
    grains_.mark(offset, size);
  }
  void show(CopyJob& job) {
    std::unique_lock lock(mutex_);
    const u64 left = grains_.bytes();
    lock.unlock();
    job.count(done_, left);
  }

  // What has to be copied at first.
  Result<void> look(CopyJob& job) {
    using Sync = MirrorOptions::Sync;
    const u64 size = source_.size();
    for (u64 offset = 0; offset < size && options_.sync != Sync::none;) {
      if (!job.proceed()) return {};
      const auto mapping = source_.map(offset, size - offset);
      if (!mapping.ok()) {
        if (!job.should_retry(true, mapping.error())) return Error(mapping.error());
        continue;
      }
      const bool behind_end = !mapping->allocated && mapping->zero;
      bool wanted = true;
      if (depth_) wanted = mapping->depth < depth_ && (mapping->allocated || behind_end);
      else if (options_.sync == Sync::top) wanted = mapping->depth == 0 && mapping->allocated;
      else wanted = !(options_.target_new && mapping->zero);
      if (wanted) mark(offset, mapping->size);
      offset += mapping->size;
    }
    return {};
  }

  Result<void> copy(CopyJob& job, u64 offset, u64 size) {
    bool reading = true;
    if (Result<void> moved = move(offset, size, reading); !moved.ok()) {
      mark(offset, size);
      if (!job.should_retry(reading, moved.error())) return moved;
      return {};
    }
    done_ += size;
    job.pace(size);
    return {};
  }

  Result<void> move(u64 offset, u64 size, bool& reading) {
    for (u64 end = offset + size; offset < end;) {
      reading = true;
      const Mapping mapping = RHEA_TRY(source_.map(offset, end - offset));
      const u64 part = mapping.size;
      if (mapping.zero && !owned_.reopen) {
        reading = false;
        RHEA_TRY(target_->write_zeroes(offset, part, options_.unmap));
      } else {  // zeros as well, where the copy has to hide what comes below
        buffer_.resize(std::max<usize>(buffer_.size(), part));
        const Segment piece{buffer_.data(), part};
        RHEA_TRY(source_.read(offset, {&piece, 1}));
        reading = false;
        RHEA_TRY(target_->write(offset, {&piece, 1}));
      }
      offset += part;
    }
    return {};
  }

  Result<void> close() {
    if (!std::exchange(opened_, false)) return {};
    return target_->set_read_only(true);
  }
  Result<void> give_back() {
    if (!owned_.image) return {};
    if (owned_.give_back) owned_.give_back(std::move(owned_.image));
    owned_.image.reset();
    return {};
  }

  // The drive goes on with the layer below; the ones above are closed as they are.
  Result<void> go_down() {
    Node* parent = &source_;
    for (unsigned i = 1; i < depth_; ++i) parent = parent->backing();
    ImageInfo info;
    target_->describe(info);
    ImageSpec spec = drive_.medium_spec();
    spec.filename = info.filename;
    spec.format = info.format;
    spec.snapshot = false;
    spec.read_only = false;
    spec.backing_file.clear();
    spec.backing_format.clear();
    auto image = std::make_unique<Image>(parent->take_backing(), spec);
    opened_ = false;
    drive_.replace(std::move(image), drive_.node_name());
    return {};
  }

  Result<void> go_over() {
    if (!owned_.reopen) {
      drive_.replace(std::move(owned_.image), owned_.node_name);
      return {};
    }
    // The copy's layers below may be the disk's own, which must be closed first.
    const ImageSpec old = drive_.medium_spec();
    const std::string old_name = drive_.node_name();
    ImageSpec nothing;
    nothing.filename = "null-co://";
    nothing.format = "raw";
    owned_.image.reset();
    drive_.replace(RHEA_TRY(open_image(nothing)), old_name);
    auto opened = open_image(*owned_.reopen);
    if (opened.ok()) {
      drive_.replace(opened.take(), owned_.node_name);
      return {};
    }
    auto back = open_image(old);
    if (!back.ok()) return std::move(back.error()).in("the disk cannot be opened any more");
    drive_.replace(back.take(), old_name);
    return std::move(opened.error());
  }

  Drive& drive_;
  Node& source_;
  MirrorTarget owned_;
  Node* target_;
  MirrorOptions options_;
  const unsigned depth_ = 0;  // of the layer below that is the target; 0: it is another image
  bool opened_ = false;
  std::atomic<CopyJob*> job_ = nullptr;
  std::vector<u8> buffer_;
  u64 done_ = 0;

  std::mutex mutex_;
  Grains grains_;
};

Result<std::unique_ptr<CopyJob>> begin(Drive& drive, JobOptions options, std::unique_ptr<MirrorWork> work) {
  drive.drain();
  if (Result<void> ready = work->prepare(); !ready.ok()) {
    work->abandon();
    return std::move(ready.error());
  }
  return std::make_unique<CopyJob>(drive, std::move(options), std::move(work));
}

}  // namespace

Result<std::unique_ptr<CopyJob>> make_active_commit_job(Drive& drive, JobOptions options, Node* base) {
  unsigned depth = 0;
  for (Node* at = &drive.image()->node(); at && at != base; at = at->backing()) ++depth;
  return begin(drive, std::move(options), std::make_unique<MirrorWork>(drive, *base, depth));
}

Result<std::unique_ptr<CopyJob>> make_mirror_job(Drive& drive, JobOptions options, const MirrorOptions& mirror,
                                                 MirrorTarget target) {
  const u64 size = drive.size();
  if (target.image->read_only()) {
    if (target.give_back) target.give_back(std::move(target.image));
    return Error("the copy is read-only");
  }
  if (target.image->size() < size) {
    if (Result<void> grown = target.image->resize(size); !grown.ok()) {
      if (target.give_back) target.give_back(std::move(target.image));
      return Error("the copy is smaller than the disk ({} bytes)", size);
    }
  }
  return begin(drive, std::move(options), std::make_unique<MirrorWork>(drive, mirror, std::move(target)));
}

}  // namespace rhea::block
