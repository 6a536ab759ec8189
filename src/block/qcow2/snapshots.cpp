// SPDX-License-Identifier: MIT
// Internal snapshots: a copy of the L1 table that refers to the same L2 tables and clusters, whose refcounts
// count one more. What is referred to twice is never written in place (kCopied is off), so both sides stay as they
// are.
//
// Every step leaves a sound image behind if it is the last one: references are counted before they exist and
// forgotten before they are uncounted.
#include <algorithm>

#include "block/qcow2/qcow2_node.h"
#include "util/text.h"

namespace rhea::block::qcow2 {

Result<std::vector<Snapshot>> Qcow2Node::snapshots() {
  std::lock_guard lock(mutex_);
  std::vector<Snapshot> list;
  for (const SnapshotEntry& entry : snapshots_) list.push_back(entry.snapshot);
  return list;
}

// By id first, then by name, as QEMU's tools look them up.
Result<usize> Qcow2Node::find_snapshot(const std::string& id_or_name) const {
  for (usize i = 0; i < snapshots_.size(); ++i) {
    if (snapshots_[i].snapshot.id == id_or_name) return i;
  }
  std::vector<std::string> names;
  for (usize i = 0; i < snapshots_.size(); ++i) {
    if (snapshots_[i].snapshot.name == id_or_name) return i;
    names.push_back(snapshots_[i].snapshot.name);
  }
  return Error("snapshot '{}' does not exist{}", id_or_name, did_you_mean(id_or_name, names));
}

// Writes the table to a new place and lets the header name it.
Result<void> Qcow2Node::store_snapshots(std::vector<SnapshotEntry> snapshots) {
  std::vector<u8> table = build_snapshots(snapshots);
  if (snapshots.size() > kMaxSnapshots || table.size() > kMaxSnapshotTableBytes)
    return Error("the image has too many snapshots");
  const u64 bytes = table.size();
  u64 offset = 0;
  if (bytes) {
    offset = RHEA_TRY(allocate_contiguous(bytes));
    RHEA_TRY(check_overlap(offset, bytes));
    table.resize(align_up(bytes, cluster()));
    RHEA_TRY(refcounts_->write_dirty());
    const Segment all{table.data(), table.size()};
    RHEA_TRY(file_->write(offset, {&all, 1}));
  }
  RHEA_TRY(file_->flush());
  u8 field[12];
  store_be<u32>(field, static_cast<u32>(snapshots.size()));
  store_be<u64>(field + 4, offset);
  RHEA_TRY(write_header_field(kSnapshotsAt, field));
  RHEA_TRY(file_->flush());
  const u64 old_offset = header_.snapshots_offset, old_bytes = snapshots_bytes_;
  header_.snapshot_count = static_cast<u32>(snapshots.size());
  header_.snapshots_offset = offset;
  snapshots_bytes_ = bytes;
  snapshots_ = std::move(snapshots);
  for (u64 at = offset; at < offset + bytes; at += cluster()) metadata_.insert(at);
  return old_bytes ? change_refcounts_and_forget(old_offset, old_bytes) : Result<void>();
}

// One reference more or less to all that an L1 table leads to.
Result<void> Qcow2Node::count_references(const std::vector<u64>& l1, s64 by) {
  for (const u64 l1_entry : l1) {
    const u64 l2_offset = l1_entry & kOffsetMask;
    if (!l2_offset) continue;
    const std::vector<u8> bytes = RHEA_TRY(load_l2(l2_offset))->bytes;
    for (u64 i = 0; i < l2_entries(); ++i) {
      const u64 entry = load_be<u64>(bytes.data() + i * 8);
      if (entry & kCompressed) {
        const CompressedPlace place = compressed_place(entry & ~(kCopied | kCompressed), header_.cluster_bits);
        RHEA_TRY(change_refcounts(place.offset, place.size, by));
      } else if (entry & kOffsetMask) {
        RHEA_TRY(change_refcounts(entry & kOffsetMask, 1, by));
      }
    }
    RHEA_TRY(change_refcounts(l2_offset, 1, by));
    if (by < 0 && RHEA_TRY(refcount(l2_offset >> header_.cluster_bits)) == 0) {
      l2_->drop(l2_offset);
      metadata_.erase(l2_offset);
    }
  }
  if (by < 0) {
    unpacked_.clear();
    compressed_end_ = 0;
  }
  return {};
}

// kCopied says that a refcount is 1: in the active disk's L1 and L2 tables.
Result<void> Qcow2Node::update_copied_flags() {
  for (u64 i = 0; i < l1_.size(); ++i) {
    const u64 l2_offset = l1_[i] & kOffsetMask;
    if (!l2_offset) continue;
    const u64 l1_entry = l2_offset | (RHEA_TRY(refcount(l2_offset >> header_.cluster_bits)) == 1 ? kCopied : 0);
    if (l1_entry != l1_[i]) {
      l1_[i] = l1_entry;
      dirty_l1_.insert(i / 64);
    }
    Table* table = RHEA_TRY(load_l2(l2_offset));
    for (u64 j = 0; j < l2_entries(); ++j) {
      const u64 old = table->entry(j);
      if ((old & kCompressed) || !(old & kOffsetMask)) continue;
      const u64 entry =
          (old & ~kCopied) | (RHEA_TRY(refcount((old & kOffsetMask) >> header_.cluster_bits)) == 1 ? kCopied : 0);
      if (entry != old) table->set_entry(j, entry);
    }
  }
  return {};
}

// Makes `entries` the active L1 table: written to a new place, then named by the header, in one step.
Result<void> Qcow2Node::switch_l1(std::vector<u64> entries) {
  if (entries.size() * 8 > kMaxL1Bytes)
    return Error("the image would need an L1 table of more than {} MiB", kMaxL1Bytes >> 20);
  const u64 offset = RHEA_TRY(allocate_contiguous(entries.size() * 8));
  std::vector<u8> bytes(std::max<u64>(cluster(), align_up(entries.size() * 8, cluster())));
  RHEA_TRY(check_overlap(offset, bytes.size()));
  for (usize i = 0; i < entries.size(); ++i) store_be<u64>(bytes.data() + i * 8, entries[i]);
  RHEA_TRY(write_back());
  const Segment all{bytes.data(), bytes.size()};
  RHEA_TRY(file_->write(offset, {&all, 1}));
  RHEA_TRY(file_->flush());
  u8 field[12];
  store_be<u32>(field, static_cast<u32>(entries.size()));
  store_be<u64>(field + 4, offset);
  RHEA_TRY(write_header_field(kL1At, field));
  RHEA_TRY(file_->flush());
  const u64 old_offset = header_.l1_offset,
            old_bytes = std::max<u64>(u64{header_.l1_size} * 8, header_.l1_offset ? 1 : 0);
  header_.l1_offset = offset;
  header_.l1_size = static_cast<u32>(entries.size());
  l1_ = std::move(entries);
  dirty_l1_.clear();
  for (u64 at = offset; at < offset + bytes.size(); at += cluster()) metadata_.insert(at);
  for (const u64 entry : l1_) {
    if (entry & kOffsetMask) metadata_.insert(entry & kOffsetMask);
  }
  return old_bytes ? change_refcounts_and_forget(old_offset, old_bytes) : Result<void>();
}

Result<Snapshot> Qcow2Node::create_snapshot(Snapshot snapshot) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  RHEA_TRY(settle());
  if (snapshot.name.size() > 65535) return Error("the snapshot's name is longer than 65535 bytes");
  if (snapshot.id.empty()) {
    u64 highest = 0;
    for (const SnapshotEntry& entry : snapshots_)
      highest = std::max(highest, parse_number(entry.snapshot.id).value_or(0));
    snapshot.id = std::to_string(highest + 1);
  } else if (std::any_of(snapshots_.begin(), snapshots_.end(),
                         [&](const auto& entry) { return entry.snapshot.id == snapshot.id; })) {
    return Error("there is a snapshot with the id '{}' already", snapshot.id);
  }
  snapshot.disk_size = header_.size;
  SnapshotEntry entry{.snapshot = snapshot, .l1_size = static_cast<u32>(l1_.size())};
  entry.l1_offset = RHEA_TRY(allocate_contiguous(l1_.size() * 8));
  std::vector<u8> bytes(std::max<u64>(cluster(), align_up(l1_.size() * 8, cluster())));
  RHEA_TRY(check_overlap(entry.l1_offset, bytes.size()));
  for (usize i = 0; i < l1_.size(); ++i) store_be<u64>(bytes.data() + i * 8, l1_[i] & ~kCopied);
  const Segment all{bytes.data(), bytes.size()};
  RHEA_TRY(file_->write(entry.l1_offset, {&all, 1}));
  for (u64 at = entry.l1_offset; at < entry.l1_offset + bytes.size(); at += cluster()) metadata_.insert(at);
  if (auto counted = count_references(l1_, 1); !counted) {
    (void)check_locked(Repair::all);  // takes back what was counted so far
    return std::move(counted.error());
  }
  RHEA_TRY(update_copied_flags());
  RHEA_TRY(settle());
  auto list = snapshots_;
  list.push_back(std::move(entry));
  RHEA_TRY(store_snapshots(std::move(list)));
  // The machine's state belongs to the snapshot alone from now on.
  const u64 state_clusters = align_up(snapshot.vm_state_size, cluster()) >> header_.cluster_bits;
  RHEA_TRY(discard_clusters(vm_state_offset(), state_clusters, true));
  RHEA_TRY(settle());
  return snapshot;
}

Result<void> Qcow2Node::apply_snapshot(const std::string& id_or_name) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  RHEA_TRY(settle());
  const SnapshotEntry entry = snapshots_[RHEA_TRY(find_snapshot(id_or_name))];
  const u64 size = entry.snapshot.disk_size;
  if (size != header_.size && header_.version < 3)
    return Error("the snapshot '{}' is of a disk of another size", id_or_name);
  if (size > (u64{1} << 62))
    return Error("the snapshot '{}' is of a disk of {} bytes, which cannot be", id_or_name, size);
  std::vector<u64> l1 = RHEA_TRY(load_l1(entry.l1_offset, entry.l1_size));
  for (u64& l1_entry : l1) l1_entry &= ~kCopied;
  if (auto counted = count_references(l1, 1); !counted) {
    (void)check_locked(Repair::all);
    return std::move(counted.error());
  }
  l1.resize(std::max<u64>(l1.size(), l1_entries_for(std::max(size, header_.size), header_.cluster_bits)));
  const std::vector<u64> old = l1_;
  RHEA_TRY(refcounts_->write_dirty());
  RHEA_TRY(switch_l1(std::move(l1)));
  if (size != header_.size) RHEA_TRY(store_size(size));
  RHEA_TRY(count_references(old, -1));
  for (const u64 l1_entry : l1_) {  // what both had is metadata still
    if (l1_entry & kOffsetMask) metadata_.insert(l1_entry & kOffsetMask);
  }
  RHEA_TRY(update_copied_flags());
  return settle();
}

Result<void> Qcow2Node::delete_snapshot(const std::string& id_or_name) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  RHEA_TRY(settle());
  const usize index = RHEA_TRY(find_snapshot(id_or_name));
  const SnapshotEntry entry = snapshots_[index];
  const auto l1 = RHEA_TRY(load_l1(entry.l1_offset, entry.l1_size));
  auto list = snapshots_;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
  RHEA_TRY(store_snapshots(std::move(list)));
  RHEA_TRY(count_references(l1, -1));
  if (entry.l1_size) RHEA_TRY(change_refcounts_and_forget(entry.l1_offset, u64{entry.l1_size} * 8));
  for (const u64 l1_entry : l1_) {
    if (l1_entry & kOffsetMask) metadata_.insert(l1_entry & kOffsetMask);
  }
  RHEA_TRY(update_copied_flags());
  return settle();
}

Result<void> Qcow2Node::view_snapshot(const std::string& id_or_name) {
  std::unique_lock lock(mutex_);
  if (!read_only_) return Error("a snapshot can be looked at in an image that is open for reading only");
  const SnapshotEntry entry = snapshots_[RHEA_TRY(find_snapshot(id_or_name))];
  l1_ = RHEA_TRY(load_l1(entry.l1_offset, entry.l1_size));
  header_.size = entry.snapshot.disk_size;
  return {};
}

// The machine's state is kept as if the disk went on: from the first L1 entry that the disk does not need.
u64 Qcow2Node::vm_state_offset() const {
  return l1_entries_for(header_.size, header_.cluster_bits) << (2 * header_.cluster_bits - 3);
}

Result<void> Qcow2Node::write_vm_state(u64 position, std::span<const u8> data) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  const u64 offset = vm_state_offset() + position;
  const u64 needed = l1_entries_for(offset + data.size(), header_.cluster_bits);
  if (needed > l1_.size()) RHEA_TRY(grow_l1(needed));
  const Segment all{const_cast<u8*>(data.data()), data.size()};
  return write_locked(offset, {&all, 1}, lock);
}

Result<void> Qcow2Node::read_vm_state(u64 position, std::span<u8> data) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(usable());
  const Segment all{data.data(), data.size()};
  return read_locked(vm_state_offset() + position, {&all, 1}, lock);
}

}  // namespace rhea::block::qcow2
