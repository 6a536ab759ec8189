// SPDX-License-Identifier: MIT
#include "machine/disk_snapshots.h"

#include <algorithm>

#include "block/image.h"

namespace rhea::machine {

namespace {

// Gathers small pieces: a qcow2 image is written by clusters.
class VmStateSink final : public StateSink {
 public:
  explicit VmStateSink(block::Image& image) : image_(image) {}
  Result<void> write(std::span<const u8> data) override {
    buffer_.insert(buffer_.end(), data.begin(), data.end());
    return buffer_.size() < kPiece ? Result<void>() : flush();
  }
  Result<void> flush() {
    RHEA_TRY(image_.write_vm_state(position_, buffer_));
    position_ += buffer_.size();
    buffer_.clear();
    return {};
  }
  u64 size() const { return position_; }

 private:
  static constexpr usize kPiece = usize{1} << 20;
  block::Image& image_;
  std::vector<u8> buffer_;
  u64 position_ = 0;
};

class VmStateSource final : public StateSource {
 public:
  VmStateSource(std::unique_ptr<block::Image> image, u64 size) : image_(std::move(image)), size_(size) {}
  Result<void> read(std::span<u8> data) override {
    if (data.size() > size_ - at_) return Error("it ends after {} bytes, in the middle of something", size_);
    RHEA_TRY(image_->read_vm_state(at_, data));
    at_ += data.size();
    return {};
  }
  bool rewind() override { return at_ = 0, true; }

 private:
  std::unique_ptr<block::Image> image_;
  u64 size_, at_ = 0;
};

std::optional<block::Snapshot> find_snapshot(block::Image& image, const std::string& tag) {
  auto list = image.snapshots();
  if (!list.ok()) return std::nullopt;
  for (block::Snapshot& snapshot : *list)
    if (snapshot.name == tag) return snapshot;
  for (block::Snapshot& snapshot : *list)
    if (snapshot.id == tag) return snapshot;
  return std::nullopt;
}

class DiskStore final : public SnapshotStore {
 public:
  explicit DiskStore(block::DriveTable& drives) : drives_(drives) {}

  Result<void> choose(const Choice* choice) override {
    chosen_.reset();
    if (!choice) return {};
    std::vector<block::Image*> images;
    const auto add = [&](const std::string& name) -> Result<void> {
      const block::Drive* drive = drives_.find(name);
      if (!drive || !drive->has_medium()) return Error("No block device node '{}'", name);
      if (drive->read_only() || !drive->image()->can_snapshot())
        return Error("Device '{}' {}", name,
                     drive->read_only() ? "is read-only" : "is writable but does not support snapshots");
      if (std::find(images.begin(), images.end(), drive->image()) == images.end()) images.push_back(drive->image());
      return {};
    };
    if (std::find(choice->disks.begin(), choice->disks.end(), choice->vm_state) == choice->disks.end())
      return Error("vmstate block device '{}' does not exist among the devices", choice->vm_state);
    RHEA_TRY(add(choice->vm_state));
    for (const std::string& name : choice->disks) RHEA_TRY(add(name));
    chosen_ = std::move(images);
    return {};
  }

  Result<void> usable() override {
    if (chosen_) return {};
    if (!vm_image()) return Error("no block device can store vmstate for snapshot");
    for (const auto& drive : drives_.all())
      if (drive->has_medium() && !drive->read_only() && !drive->image()->can_snapshot())
        return Error("Device '{}' is writable but does not support snapshots", drive->id());
    return {};
  }

  std::vector<SnapshotRow> list() override {
    std::vector<SnapshotRow> rows;
    if (!vm_image()) return rows;
    auto list = vm_image()->snapshots();
    if (!list.ok()) return rows;
    for (const block::Snapshot& snapshot : *list) {
      if (!snapshot.vm_state_size || !has(snapshot.name)) continue;
      rows.push_back({snapshot.name,
                      snapshot.vm_state_size,
                      {.date = snapshot.date_seconds,
                       .clock = static_cast<s64>(snapshot.vm_clock_nanoseconds),
                       .icount = static_cast<s64>(snapshot.icount)}});
    }
    return rows;
  }

  bool has(const std::string& tag) override {
    const auto disks = images();
    return !disks.empty() && std::all_of(disks.begin(), disks.end(),
                                         [&](block::Image* image) { return find_snapshot(*image, tag).has_value(); });
  }

  // The old one of that name goes when the new one is complete.
  Result<void> save(const std::string& tag, const StateInfo& info,
                    const std::function<Result<void>(StateSink&)>& write) override {
    RHEA_TRY(no_jobs());
    drives_.drain_all();
    RHEA_TRY(drives_.flush_all());
    VmStateSink sink(*vm_image());
    RHEA_TRY(write(sink));
    RHEA_TRY(sink.flush());
    for (block::Image* image : images()) {
      const auto old = find_snapshot(*image, tag);
      block::Snapshot snapshot;
      snapshot.name = tag;
      snapshot.vm_state_size = image == vm_image() ? sink.size() : 0;
      snapshot.date_seconds = static_cast<u32>(info.date);
      snapshot.vm_clock_nanoseconds = static_cast<u64>(info.clock);
      snapshot.icount = static_cast<u64>(info.icount);
      RHEA_TRY(image->create_snapshot(snapshot));
      if (old) RHEA_TRY(image->delete_snapshot(old->id));
      RHEA_TRY(image->flush());
    }
    return {};
  }

  // The disk as the snapshot has it, opened a second time: nothing is taken back before the state was found good.
  Result<std::unique_ptr<StateSource>> open(const std::string& tag) override {
    const auto snapshot = find_snapshot(*vm_image(), tag);
    if (!snapshot || !snapshot->vm_state_size) return Error("it has no machine state");
    RHEA_TRY(no_jobs());
    drives_.drain_all();
    RHEA_TRY(drives_.flush_all());
    block::ImageSpec spec = vm_image()->spec();
    spec.read_only = spec.share = true;
    spec.snapshot = false;
    spec.load_snapshot = snapshot->id;
    std::unique_ptr<block::Image> image = RHEA_TRY(block::open_image(spec));
    return std::unique_ptr<StateSource>(std::make_unique<VmStateSource>(std::move(image), snapshot->vm_state_size));
  }

  Result<void> apply(const std::string& tag) override {
    drives_.drain_all();
    for (block::Image* image : images()) RHEA_TRY(image->apply_snapshot(find_snapshot(*image, tag)->id));
    return {};
  }

  Result<void> remove(const std::string& tag) override {
    drives_.drain_all();
    for (block::Image* image : images()) RHEA_TRY(image->delete_snapshot(find_snapshot(*image, tag)->id));
    return {};
  }

 private:
  // A job would miss what is put in place of the disk.
  Result<void> no_jobs() const {
    for (const auto& drive : drives_.all()) RHEA_TRY(drive->busy());
    return {};
  }
  std::vector<block::Image*> images() const {
    if (chosen_) return *chosen_;
    std::vector<block::Image*> list;
    for (const auto& drive : drives_.all())
      if (drive->has_medium() && !drive->read_only() && drive->image()->can_snapshot()) list.push_back(drive->image());
    return list;
  }
  block::Image* vm_image() const {
    const auto list = images();
    return list.empty() ? nullptr : list.front();
  }
  block::DriveTable& drives_;
  std::optional<std::vector<block::Image*>> chosen_;  // the one with the machine's state first
};

}  // namespace

std::unique_ptr<SnapshotStore> make_disk_store(block::DriveTable& drives) {
  return std::make_unique<DiskStore>(drives);
}

}  // namespace rhea::machine
