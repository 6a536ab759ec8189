// SPDX-License-Identifier: MIT
// Another size for the disk. See qcow2_node.h.
#include <algorithm>

#include "block/qcow2/qcow2_node.h"

namespace rhea::block::qcow2 {

Result<void> Qcow2Node::store_size(u64 size) {
  u8 field[8];
  store_be<u64>(field, size);
  RHEA_TRY(file_->flush());
  RHEA_TRY(write_header_field(kSizeAt, field));
  RHEA_TRY(file_->flush());
  header_.size = size;
  return {};
}

Result<void> Qcow2Node::grow_l1(u64 entries) {
  std::vector<u64> l1 = l1_;
  // Some more than is asked for, as there will be more of it.
  l1.resize(std::min<u64>(std::max<u64>(entries, l1.size() + l1.size() / 2), std::max<u64>(entries, kMaxL1Bytes / 8)));
  return switch_l1(std::move(l1));
}

// What an earlier loadvm left beyond the disk's end must not become a part of the disk.
Result<void> Qcow2Node::drop_vm_state() {
  const u64 shift = 2 * header_.cluster_bits - 3;
  const u64 first = l1_entries_for(header_.size, header_.cluster_bits);
  for (u64 i = first; i < l1_.size(); ++i) {
    if (!(l1_[i] & kOffsetMask)) continue;
    RHEA_TRY(discard_clusters(i << shift, l2_entries(), true));
    free_later(l1_[i] & kOffsetMask, cluster());
    l1_[i] = 0;
    dirty_l1_.insert(i / 64);
  }
  return {};
}

Result<void> Qcow2Node::grow(u64 size, std::unique_lock<std::mutex>& lock) {
  const u64 old = header_.size;
  const u64 needed = l1_entries_for(size, header_.cluster_bits);
  if (needed > l1_.size())
    RHEA_TRY(switch_l1([&] {
      auto l1 = l1_;
      l1.resize(needed);
      return l1;
    }()));
  // What comes into sight reads as zeros: the rest of the last cluster, and what the backing image has there.
  const u64 rest = std::min(align_up(old, cluster()), size);
  RHEA_TRY(zero_part(old, rest - old, lock));
  if (backing_ && backing_->size() > rest && size > rest) {
    const u64 end = align_up(std::min(size, backing_->size()), cluster());
    RHEA_TRY(zero_clusters(rest, (end - rest) >> header_.cluster_bits, true, lock));
  }
  RHEA_TRY(settle());
  return store_size(size);
}

Result<void> Qcow2Node::shrink(u64 size, std::unique_lock<std::mutex>& lock) {
  const u64 end = align_up(size, cluster());
  RHEA_TRY(zero_part(size, std::min(end, header_.size) - size, lock));
  if (end < header_.size) {
    RHEA_TRY(discard_clusters(end, (align_up(header_.size, cluster()) - end) >> header_.cluster_bits, true));
  }
  RHEA_TRY(settle());
  RHEA_TRY(store_size(size));
  RHEA_TRY(drop_vm_state());  // now also the L2 tables that the disk does not need any more
  RHEA_TRY(settle());
  u64 last = (file_->size() + cluster() - 1) >> header_.cluster_bits;
  while (last > 1 && RHEA_TRY(refcount(last - 1)) == 0) --last;
  if (last << header_.cluster_bits < file_->size())
    RHEA_TRY(file_->resize(last << header_.cluster_bits, Preallocation::off));
  free_hint_ = std::min(free_hint_, last);
  return {};
}

Result<void> Qcow2Node::resize(u64 size, Preallocation preallocation) {
  const u64 old = header_.size;
  {
    std::unique_lock lock(mutex_);
    RHEA_TRY(begin_change());
    if (size == old) return {};
    if (size % 512) return Error("The new size must be a multiple of 512");
    if (!snapshots_.empty() && header_.version < 3) return Error("Can't resize a version 2 image which has snapshots");
    if (size < old && preallocation != Preallocation::off)
      return Error("Preallocation can't be used for shrinking an image");
    if (l1_entries_for(size, header_.cluster_bits) * 8 > kMaxL1Bytes || size > (u64{1} << 62)) {
      return Error("The image size is too large for a cluster size of {} bytes: at most {} bytes", cluster(),
                   (kMaxL1Bytes / 8) << (2 * header_.cluster_bits - 3));
    }
    RHEA_TRY(drop_vm_state());
    RHEA_TRY(settle());
    RHEA_TRY(size < old ? shrink(size, lock) : grow(size, lock));
  }
  if (preallocation != Preallocation::off)
    RHEA_TRY(preallocate(align_up(old, cluster()), size - std::min(size, align_up(old, cluster())), preallocation));
  return flush();
}

}  // namespace rhea::block::qcow2
