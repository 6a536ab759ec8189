// SPDX-License-Identifier: MIT
// Checking and repairing: all references are counted and compared with the refcounts on disk.
//
//  - a refcount that is larger than the count is a leak: room is lost, no harm is done;
//  - one that is smaller is a corruption: the cluster may be given out twice;
//  - kCopied must be set exactly where the refcount is 1.
// Repair::leaks lowers refcounts; Repair::all sets them right, takes out entries that cannot be, and makes new
// refcount tables where there are none for what is in use.
#include <algorithm>

#include "block/qcow2/qcow2_node.h"

namespace rhea::block::qcow2 {

struct Qcow2Node::References {
  std::vector<u32> counts;           // by cluster
  std::vector<u64> refcount_blocks;  // clusters of the refcount structure, for a rebuild
  u64 rebuild = 0;                   // errors that only new refcount tables mend
  u64 last_data = 0;                 // for fragmentation
};

namespace {

constexpr u64 kMaxClusters = u64{1} << 27;

void reserved_bits(CheckResult& result, const char* table, u64 entry) {
  result.messages.push_back(fmt::format("ERROR found {} entry with reserved bits set: {:x}", table, entry));
  ++result.corruptions;
}

}  // namespace

// Counts a reference to every cluster of a stretch of the file.
void Qcow2Node::add_reference(References& references, CheckResult& result, u64 offset, u64 size) {
  if (!size) return;
  if (offset > kMaxHostOffset || offset + size > align_up(file_->size(), cluster())) {
    result.messages.push_back(
        fmt::format("ERROR: {} bytes at {:#x} are referred to but lie beyond the end of the file", size, offset));
    ++result.corruptions;
    if (offset > kMaxHostOffset || (offset + size) >> header_.cluster_bits > references.counts.size() + 4096) return;
    references.counts.resize(
        std::max<u64>(references.counts.size(), (offset + size + cluster() - 1) >> header_.cluster_bits));
  }
  for (u64 index = offset >> header_.cluster_bits; index <= (offset + size - 1) >> header_.cluster_bits; ++index) {
    if (index < references.counts.size() && references.counts[index] != ~u32{0}) ++references.counts[index];
  }
  result.image_end_offset = std::max(result.image_end_offset, align_up(offset + size, cluster()));
}

Result<void> Qcow2Node::count_l2(References& references, CheckResult& result, u64 l2_offset, bool active,
                                 Repair repair) {
  Table* table = RHEA_TRY(load_l2(l2_offset));
  const u64 end = align_up(file_->size(), cluster());
  for (u64 i = 0; i < l2_entries(); ++i) {
    const u64 entry = table->entry(i);
    const CompressedPlace packed = compressed_place(entry & ~(kCopied | kCompressed), header_.cluster_bits);
    const u64 reach = entry & kCompressed     ? packed.offset + packed.size
                      : (entry & kOffsetMask) ? (entry & kOffsetMask) + cluster()
                                              : 0;
    if (reach > end) {
      result.messages.push_back(fmt::format("ERROR: L2 entry {:x} leads beyond the end of the file", entry));
      ++result.corruptions;
      if (repair == Repair::all) {  // there is no data: it reads as zeros as it did
        table->set_entry(i, header_.version >= 3 ? kZeroFlag : 0);
        ++result.corruptions_fixed;
      }
      continue;
    }
    if (entry & kCompressed) {
      if (entry & kCopied) {
        result.messages.push_back(
            fmt::format("ERROR: coffset=0x{:x}: copied flag must never be set for compressed clusters", entry));
        ++result.corruptions;
        if (repair == Repair::all) {
          table->set_entry(i, entry & ~kCopied);
          ++result.corruptions_fixed;
        }
      }
      add_reference(references, result, packed.offset, packed.size);
      if (active) {
        ++result.allocated_clusters;
        ++result.compressed_clusters;
        ++result.fragmented_clusters;
      }
      continue;
    }
    if (entry & kL2Reserved) {
      reserved_bits(result, "l2", entry);
      if (repair == Repair::all) {
        table->set_entry(i, entry & ~kL2Reserved);
        ++result.corruptions_fixed;
      }
    }
    const u64 offset = entry & kOffsetMask;
    if (!offset) continue;
    if (offset & (cluster() - 1)) {
      result.messages.push_back(
          fmt::format("ERROR offset={:x}: Cluster is not properly aligned; L2 entry corrupted.", offset));
      ++result.corruptions;
      if (repair == Repair::all) {
        table->set_entry(i, header_.version >= 3 ? kZeroFlag : 0);
        ++result.corruptions_fixed;
      }
      continue;
    }
    if (active) {
      ++result.allocated_clusters;
      if (references.last_data && offset != references.last_data + cluster()) ++result.fragmented_clusters;
      references.last_data = offset;
    }
    add_reference(references, result, offset, cluster());
  }
  return {};
}

Result<void> Qcow2Node::count_table(References& references, CheckResult& result, std::vector<u64>& l1, u64 l1_offset,
                                    bool active, Repair repair) {
  add_reference(references, result, l1_offset, l1.size() * 8);
  for (u64 i = 0; i < l1.size(); ++i) {
    if (l1[i] & kL1Reserved) {
      reserved_bits(result, "l1", l1[i]);
      if (active && repair == Repair::all) {
        l1[i] &= ~kL1Reserved;
        dirty_l1_.insert(i / 64);
        ++result.corruptions_fixed;
      }
    }
    const u64 l2_offset = l1[i] & kOffsetMask;
    if (!l2_offset) continue;
    const bool beyond = l2_offset >= align_up(file_->size(), cluster());
    if ((l2_offset & (cluster() - 1)) || beyond) {
      result.messages.push_back(fmt::format("ERROR l2_offset={:x}: Table is {}; L1 entry corrupted", l2_offset,
                                            beyond ? "beyond the end of the file" : "not cluster aligned"));
      ++result.corruptions;
      if (active && repair == Repair::all) {
        l1[i] = 0;
        dirty_l1_.insert(i / 64);
        ++result.corruptions_fixed;
      }
      continue;
    }
    add_reference(references, result, l2_offset, cluster());
    RHEA_TRY(count_l2(references, result, l2_offset, active, repair));
  }
  return {};
}

// Bitmaps are not used here, but where the image says that they are valid their clusters are in use ("Bitmaps
// extension", "Bitmap directory", "Bitmap table").
Result<void> Qcow2Node::count_bitmaps(References& references, CheckResult& result) {
  if (!(header_.autoclear & kBitmapsValid)) return {};
  for (const Extension& extension : extensions_) {
    if (extension.type != kExtensionBitmaps || extension.data.size() < 24) continue;
    const u32 count = load_be<u32>(extension.data.data());
    const u64 size = load_be<u64>(extension.data.data() + 8), offset = load_be<u64>(extension.data.data() + 16);
    if (size > kMaxSnapshotTableBytes || offset > kMaxHostOffset) return Error("the bitmap directory is out of bounds");
    add_reference(references, result, offset, size);
    std::vector<u8> directory(size);
    const Segment all{directory.data(), size};
    if (size) RHEA_TRY(file_->read(offset, {&all, 1}));
    usize at = 0;
    for (u32 i = 0; i < count && at + 24 <= size; ++i) {
      const u64 table_offset = load_be<u64>(directory.data() + at);
      const u32 entries = load_be<u32>(directory.data() + at + 8);
      const u16 name_size = load_be<u16>(directory.data() + at + 18);
      const u32 extra_size = load_be<u32>(directory.data() + at + 20);
      if (u64{entries} * 8 > kMaxL1Bytes || table_offset > kMaxHostOffset)
        return Error("a bitmap's table is out of bounds");
      add_reference(references, result, table_offset, u64{entries} * 8);
      for (const u64 entry : RHEA_TRY(load_l1(table_offset, entries))) {
        if (entry & kOffsetMask) add_reference(references, result, entry & kOffsetMask, cluster());
      }
      at += align_up(24 + u64{extra_size} + name_size, 8);
    }
  }
  return {};
}

Result<void> Qcow2Node::count_refcount_structure(References& references, CheckResult& result) {
  const u64 table_bytes = u64{header_.refcount_table_clusters} * cluster();
  add_reference(references, result, header_.refcount_table_offset, table_bytes);
  for (u64 at = 0; at < table_bytes; at += cluster())
    references.refcount_blocks.push_back((header_.refcount_table_offset + at) >> header_.cluster_bits);
  for (u64 i = 0; i < refcount_table_.size(); ++i) {
    if (refcount_table_[i] & ~kOffsetMask) {
      result.messages.push_back(fmt::format("ERROR refcount table entry {} has reserved bits set", i));
      ++result.corruptions;
      ++references.rebuild;
    }
    const u64 offset = refcount_table_[i] & kOffsetMask;
    if (!offset) continue;
    const char* wrong = offset & (cluster() - 1) ? "is not cluster aligned; refcount table entry corrupted"
                        : offset >= align_up(file_->size(), cluster()) ? "is outside image"
                                                                       : nullptr;
    if (wrong) {
      result.messages.push_back(fmt::format("ERROR refcount block {} {}", i, wrong));
      ++result.corruptions;
      ++references.rebuild;
      refcount_table_[i] = 0;  // for the comparison: what it would count has no refcounts
      continue;
    }
    add_reference(references, result, offset, cluster());
    references.refcount_blocks.push_back(offset >> header_.cluster_bits);
    const u64 index = offset >> header_.cluster_bits;
    if (index < references.counts.size() && references.counts[index] != 1) {
      result.messages.push_back(fmt::format("ERROR refcount block {} refcount={}", i, references.counts[index]));
      ++result.corruptions;
      ++references.rebuild;
    }
  }
  return {};
}

Result<void> Qcow2Node::count_all(References& references, CheckResult& result, Repair repair) {
  const u64 clusters = (file_->size() + cluster() - 1) >> header_.cluster_bits;
  if (clusters > kMaxClusters) return Error("the image has {} clusters: too many to check", clusters);
  references.counts.assign(clusters, 0);
  result.total_clusters = (header_.size + cluster() - 1) >> header_.cluster_bits;
  add_reference(references, result, 0, cluster());
  RHEA_TRY(count_table(references, result, l1_, header_.l1_offset, true, repair));
  for (const SnapshotEntry& entry : snapshots_) {
    auto l1 = RHEA_TRY(load_l1(entry.l1_offset, entry.l1_size));
    RHEA_TRY(count_table(references, result, l1, entry.l1_offset, false, repair));
  }
  if (header_.snapshots_offset % cluster() || header_.snapshots_offset >= kMaxHostOffset) {
    result.messages.push_back("ERROR snapshot table offset invalid");
    ++result.corruptions;
    if (repair == Repair::all) {  // there are no snapshots, or the image would not have been opened
      const u8 none[12] = {};
      RHEA_TRY(write_header_field(kSnapshotsAt, none));
      header_.snapshots_offset = 0;
      ++result.corruptions_fixed;
    }
  }
  add_reference(references, result, header_.snapshots_offset, snapshots_bytes_);
  RHEA_TRY(count_bitmaps(references, result));
  return count_refcount_structure(references, result);
}

Result<void> Qcow2Node::compare_refcounts(References& references, CheckResult& result, Repair repair) {
  for (u64 index = 0; index < references.counts.size(); ++index) {
    const u64 stored = RHEA_TRY(refcount(index));
    const u64 counted = references.counts[index];
    if (stored == counted) continue;
    const bool leak = stored > counted;
    const bool fix = repair == Repair::all || (leak && repair == Repair::leaks);
    result.messages.push_back(fmt::format("{} cluster {} refcount={} reference={}",
                                          fix    ? "Repairing"
                                          : leak ? "Leaked"
                                                 : "ERROR",
                                          index, stored, counted));
    ++(leak ? result.leaks : result.corruptions);
    if (!fix) continue;
    Table* block = RHEA_TRY(refcount_block(index / per_block()));
    if (!block || counted > max_refcount(header_.refcount_order)) {
      ++references.rebuild;
      continue;
    }
    set_refcount(block->bytes.data(), index % per_block(), header_.refcount_order, counted);
    block->dirty = true;
    ++(leak ? result.leaks_fixed : result.corruptions_fixed);
  }
  return {};
}

Result<void> Qcow2Node::check_copied(CheckResult& result, bool repair) {
  for (u64 i = 0; i < l1_.size(); ++i) {
    const u64 l2_offset = l1_[i] & kOffsetMask;
    if (!l2_offset || (l2_offset & (cluster() - 1)) || l2_offset >= align_up(file_->size(), cluster())) continue;
    const u64 l2_count = RHEA_TRY(refcount(l2_offset >> header_.cluster_bits));
    if ((l2_count == 1) != ((l1_[i] & kCopied) != 0)) {
      result.messages.push_back(fmt::format("{} OFLAG_COPIED L2 cluster: l1_index={} l1_entry={:x} refcount={}",
                                            repair ? "Repairing" : "ERROR", i, l1_[i], l2_count));
      ++result.corruptions;
      if (repair) {
        l1_[i] ^= kCopied;
        dirty_l1_.insert(i / 64);
        ++result.corruptions_fixed;
      }
    }
    Table* table = RHEA_TRY(load_l2(l2_offset));
    for (u64 j = 0; j < l2_entries(); ++j) {
      const u64 entry = table->entry(j);
      if ((entry & kCompressed) || !(entry & kOffsetMask) || (entry & kOffsetMask & (cluster() - 1))) continue;
      const u64 count = RHEA_TRY(refcount((entry & kOffsetMask) >> header_.cluster_bits));
      if ((count == 1) == ((entry & kCopied) != 0)) continue;
      result.messages.push_back(fmt::format("{} OFLAG_COPIED data cluster: l2_entry={:x} refcount={}",
                                            repair ? "Repairing" : "ERROR", entry, count));
      ++result.corruptions;
      if (repair) {
        table->set_entry(j, entry ^ kCopied);
        ++result.corruptions_fixed;
      }
    }
  }
  return {};
}

// New refcount blocks and a new table for all that was counted, behind everything.
Result<void> Qcow2Node::rebuild_refcounts(References& references) {
  auto& counts = references.counts;
  for (const u64 index : references.refcount_blocks) {
    if (index < counts.size() && counts[index]) --counts[index];
  }
  while (!counts.empty() && !counts.back()) counts.pop_back();
  const u64 base = counts.size();
  u64 blocks = 0, table_clusters = 1;
  for (;;) {
    const u64 wanted_blocks = (base + blocks + table_clusters + per_block() - 1) / per_block();
    const u64 wanted_table = (wanted_blocks * 8 + cluster() - 1) >> header_.cluster_bits;
    if (wanted_blocks == blocks && wanted_table == table_clusters) break;
    blocks = wanted_blocks;
    table_clusters = wanted_table;
  }
  if (table_clusters * cluster() > kMaxRefcountTableBytes)
    return Error("the image is too large for its refcount width");
  counts.resize(base + blocks + table_clusters, 1);
  const u64 most = max_refcount(header_.refcount_order);
  if (std::any_of(counts.begin(), counts.end(), [&](u32 count) { return count > most; })) {
    return Error("a cluster is referred to more often than refcount_bits={} can count", 1u << header_.refcount_order);
  }
  std::vector<u8> table(table_clusters * cluster());
  for (u64 block = 0; block < blocks; ++block) {
    std::vector<u8> bytes(cluster());
    for (u64 i = block * per_block(); i < std::min<u64>(counts.size(), (block + 1) * per_block()); ++i) {
      set_refcount(bytes.data(), i % per_block(), header_.refcount_order, counts[i]);
    }
    const u64 offset = (base + block) << header_.cluster_bits;
    const Segment all{bytes.data(), bytes.size()};
    RHEA_TRY(file_->write(offset, {&all, 1}));
    store_be<u64>(table.data() + block * 8, offset);
  }
  const u64 table_offset = (base + blocks) << header_.cluster_bits;
  const Segment all{table.data(), table.size()};
  RHEA_TRY(file_->write(table_offset, {&all, 1}));
  RHEA_TRY(use_refcount_table(table_offset, table_clusters));
  refcounts_->clear();
  refcount_table_ = RHEA_TRY(load_l1(table_offset, table.size() / 8));
  for (u64 index = base; index < counts.size(); ++index) metadata_.insert(index << header_.cluster_bits);
  free_hint_ = 0;
  return {};
}

Result<CheckResult> Qcow2Node::check_locked(Repair repair) {
  CheckResult result;
  References references;
  frees_.clear();  // what they would lower is lowered by the count
  RHEA_TRY(count_all(references, result, repair));
  RHEA_TRY(compare_refcounts(references, result, repair));
  if (references.rebuild && repair == Repair::all) {
    RHEA_TRY(rebuild_refcounts(references));
    result.corruptions_fixed += references.rebuild;
  }
  RHEA_TRY(check_copied(result, repair == Repair::all));
  if (repair == Repair::none) return result;
  free_hint_ = 0;
  compressed_end_ = 0;
  RHEA_TRY(refcounts_->write_dirty());
  RHEA_TRY(write_back());
  RHEA_TRY(file_->flush());
  note_metadata();
  const u64 wrong = result.corruptions - result.corruptions_fixed;
  if (!wrong && !result.check_errors && (header_.incompatible & (kDirty | kCorrupt))) {
    RHEA_TRY(set_incompatible(header_.incompatible & ~(kDirty | kCorrupt)));
    damaged_ = false;
  }
  return result;
}

Result<CheckResult> Qcow2Node::check(Repair repair) {
  std::unique_lock lock(mutex_);
  if (repair != Repair::none && read_only_) return Error("the image is open for reading only");
  if (!read_only_) RHEA_TRY(settle());
  return check_locked(repair);
}

Result<void> Qcow2Node::repair_after_crash() {
  auto checked = check_locked(Repair::all);
  if (!checked) return std::move(checked.error()).in("the image was not closed properly and cannot be repaired");
  if (checked->corruptions > checked->corruptions_fixed)
    return Error("the image was not closed properly and has errors that cannot be repaired");
  return {};
}

}  // namespace rhea::block::qcow2
