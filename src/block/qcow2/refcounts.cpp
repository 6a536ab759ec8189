// SPDX-License-Identifier: MIT
// Which clusters of the file are in use, and how often. See qcow2_node.h for the order in which things reach the
// disk.
//
// A refcount block that is missing stands for clusters that are all free. When clusters are given out of such a
// stretch, blocks are made behind them; a block may lie in the stretch that it counts itself.
#include <algorithm>

#include "block/qcow2/qcow2_node.h"

namespace rhea::block::qcow2 {

Result<Table*> Qcow2Node::refcount_block(u64 block) {
  const u64 offset = block < refcount_table_.size() ? refcount_table_[block] & kOffsetMask : 0;
  if (!offset) return static_cast<Table*>(nullptr);
  if (offset & (cluster() - 1)) return corrupt(fmt::format("refcount block offset {:#x} unaligned", offset));
  if (Table* table = refcounts_->find(offset)) return table;
  if (refcounts_->full()) RHEA_TRY(refcounts_->write_dirty());
  return refcounts_->load(offset);
}

Result<u64> Qcow2Node::refcount(u64 index) {
  Table* block = RHEA_TRY(refcount_block(index / per_block()));
  return block ? get_refcount(block->bytes.data(), index % per_block(), header_.refcount_order) : 0;
}

Result<void> Qcow2Node::change_refcount(u64 index, s64 by) {
  Table* block = RHEA_TRY(refcount_block(index / per_block()));
  if (!block) return corrupt(fmt::format("cluster {} is in use but has no refcount", index));
  const u64 old = get_refcount(block->bytes.data(), index % per_block(), header_.refcount_order);
  const u64 most = max_refcount(header_.refcount_order);
  if (by < 0 && old < static_cast<u64>(-by))
    return corrupt(fmt::format("the refcount of cluster {} is {}, though it is in use", index, old));
  if (by > 0 && most - old < static_cast<u64>(by)) {
    return Error("a cluster cannot be referred to more than {} times in an image of refcount_bits={}", most,
                 1u << header_.refcount_order);
  }
  const u64 now = old + static_cast<u64>(by);
  set_refcount(block->bytes.data(), index % per_block(), header_.refcount_order, now);
  block->dirty = true;
  if (now == 0) free_hint_ = std::min(free_hint_, index);
  return {};
}

Result<void> Qcow2Node::change_refcounts(u64 offset, u64 size, s64 by) {
  if (!size) return {};
  for (u64 index = offset >> header_.cluster_bits; index <= (offset + size - 1) >> header_.cluster_bits; ++index) {
    RHEA_TRY(change_refcount(index, by));
  }
  return {};
}

// A run of free clusters: the first one of at least `least`, and at most `most` of it.
Result<Qcow2Node::Clusters> Qcow2Node::find_free(u64 least, u64 most) {
  u64 index = free_hint_, run = 0;
  bool first_free_seen = false;
  // Clusters that were given out lie beyond the file's end until they are written, but not this many.
  const u64 last = (file_->size() >> header_.cluster_bits) + (u64{1} << 20) + most;
  for (;;) {
    if (index > last && run == 0)
      return corrupt("refcounts say that all clusters far beyond the file's end are in use");
    const u64 number = index / per_block();
    Table* block = RHEA_TRY(refcount_block(number));
    const u64 end = (number + 1) * per_block();
    if (!block) {
      const u64 step = std::min(end - index, most - run);
      run += step;
      index += step;
      first_free_seen = true;
      if (run >= most) break;
      continue;
    }
    for (; index < end && run < most; ++index) {
      if (get_refcount(block->bytes.data(), index % per_block(), header_.refcount_order) == 0) {
        ++run;
        first_free_seen = true;
        continue;
      }
      if (run >= least) return Clusters{index - run, run};
      run = 0;
      if (!first_free_seen) free_hint_ = index + 1;
    }
    if (run >= most) break;
    if (index > kMaxHostOffset >> header_.cluster_bits) return Error("the image has no free clusters left");
  }
  return Clusters{index - run, run};
}

Result<Qcow2Node::Clusters> Qcow2Node::allocate(u64 least, u64 most) {
  for (;;) {
    const Clusters found = RHEA_TRY(find_free(least, most));
    const u64 end = found.offset + found.count;  // here still numbers of clusters
    if (end > kMaxHostOffset >> header_.cluster_bits) return Error("the image has no free clusters left");
    // Room for the blocks that this may need, and for theirs.
    const u64 needed = (end + 2 * (found.count / per_block() + 2)) / per_block() + 2;
    if (needed > refcount_table_.size()) {
      RHEA_TRY(grow_refcount_table(needed));
      continue;
    }
    RHEA_TRY(make_blocks(found.offset, end));
    for (u64 i = found.offset; i < end; ++i) RHEA_TRY(change_refcount(i, 1));
    if (found.offset == free_hint_) free_hint_ = end;
    return Clusters{found.offset << header_.cluster_bits, found.count};
  }
}

Result<u64> Qcow2Node::allocate_contiguous(u64 bytes) {
  const u64 count = std::max<u64>(1, (bytes + cluster() - 1) >> header_.cluster_bits);
  return RHEA_TRY(allocate(count, count)).offset;
}

// Blocks for all of the clusters [first, end), which are free.
Result<void> Qcow2Node::make_blocks(u64 first, u64 end) {
  u64 cursor = end;
  for (u64 block = first / per_block(); block <= (end - 1) / per_block(); ++block) {
    if (!(refcount_table_[block] & kOffsetMask)) RHEA_TRY(place_block(block, cursor));
  }
  return {};
}

// Makes a block at the first free cluster from `cursor` on.
Result<void> Qcow2Node::place_block(u64 block, u64& cursor) {
  for (;; ++cursor) {
    if (RHEA_TRY(refcount(cursor)) == 0) break;
  }
  const u64 index = cursor++;
  const u64 counted_by = index / per_block();
  if (counted_by >= refcount_table_.size()) return Error("the refcount table is too small");
  if (counted_by != block && !(refcount_table_[counted_by] & kOffsetMask)) RHEA_TRY(place_block(counted_by, cursor));
  const u64 offset = index << header_.cluster_bits;
  RHEA_TRY(check_overlap(offset, cluster()));
  if (refcounts_->full()) RHEA_TRY(refcounts_->write_dirty());
  Table* table = refcounts_->make(offset);
  metadata_.insert(offset);
  if (counted_by == block) set_refcount(table->bytes.data(), index % per_block(), header_.refcount_order, 1);
  const Segment all{table->bytes.data(), cluster()};
  RHEA_TRY(file_->write(offset, {&all, 1}));
  refcount_table_[block] = offset;
  if (counted_by != block) {
    RHEA_TRY(change_refcount(index, 1));
    RHEA_TRY(refcounts_->write_dirty());
  }
  // The table must not name the block before it is there.
  RHEA_TRY(file_->flush());
  u8 bytes[8];
  store_be<u64>(bytes, offset);
  return write_header_field(header_.refcount_table_offset + block * 8, bytes);
}

// The header must not name the table before it is there, and what comes next counts on the header.
Result<void> Qcow2Node::use_refcount_table(u64 offset, u64 clusters) {
  RHEA_TRY(file_->flush());
  u8 field[12];
  store_be<u64>(field, offset);
  store_be<u32>(field + 8, static_cast<u32>(clusters));
  RHEA_TRY(write_header_field(kRefcountTableAt, field));
  RHEA_TRY(file_->flush());
  header_.refcount_table_offset = offset;
  header_.refcount_table_clusters = static_cast<u32>(clusters);
  return {};
}

// A larger table, behind all that the old one can count, with the blocks that count it.
Result<void> Qcow2Node::grow_refcount_table(u64 blocks) {
  const u64 old_entries = refcount_table_.size();
  const u64 first_index = old_entries * per_block();
  u64 entries = 0, table_clusters = 0, new_blocks = 1;
  for (;;) {
    entries = std::max(blocks, old_entries + old_entries / 2 + 1) + new_blocks;
    table_clusters = (entries * 8 + cluster() - 1) >> header_.cluster_bits;
    entries = table_clusters * cluster() / 8;
    const u64 wanted = (table_clusters + new_blocks + per_block() - 1) / per_block();
    if (wanted <= new_blocks) break;
    new_blocks = wanted;
  }
  if (table_clusters * cluster() > kMaxRefcountTableBytes)
    return Error("the image is as large as its refcount table may count");
  const u64 base = first_index << header_.cluster_bits;
  std::vector<u64> table = refcount_table_;
  table.resize(entries);
  const u64 used = new_blocks + table_clusters;
  for (u64 i = 0; i < new_blocks; ++i) {
    std::vector<u8> block(cluster());
    for (u64 at = i * per_block(); at < std::min(used, (i + 1) * per_block()); ++at) {
      set_refcount(block.data(), at % per_block(), header_.refcount_order, 1);
    }
    const u64 offset = base + i * cluster();
    const Segment all{block.data(), cluster()};
    RHEA_TRY(file_->write(offset, {&all, 1}));
    table[old_entries + i] = offset;
  }
  std::vector<u8> bytes(table_clusters * cluster());
  for (u64 i = 0; i < entries; ++i) store_be<u64>(bytes.data() + i * 8, table[i]);
  const u64 table_offset = base + new_blocks * cluster();
  const Segment all{bytes.data(), bytes.size()};
  RHEA_TRY(file_->write(table_offset, {&all, 1}));
  const u64 old_offset = header_.refcount_table_offset, old_bytes = u64{header_.refcount_table_clusters} * cluster();
  RHEA_TRY(use_refcount_table(table_offset, table_clusters));
  refcount_table_ = std::move(table);
  for (u64 at = base; at < base + used * cluster(); at += cluster()) metadata_.insert(at);
  return change_refcounts_and_forget(old_offset, old_bytes);
}

// Metadata that nothing on disk refers to any more is free at once.
Result<void> Qcow2Node::change_refcounts_and_forget(u64 offset, u64 bytes) {
  for (u64 at = offset; at < offset + bytes; at += cluster()) metadata_.erase(at);
  return change_refcounts(offset, bytes, -1);
}

// Compressed clusters follow each other without regard to clusters' ends, as far as the clusters are neighbours.
Result<u64> Qcow2Node::allocate_compressed(u64 bytes) {
  const u64 end = compressed_end_;
  const u64 left = end & (cluster() - 1) ? cluster() - (end & (cluster() - 1)) : 0;
  const u64 most = max_refcount(header_.refcount_order);
  const bool shareable = left && RHEA_TRY(refcount(end >> header_.cluster_bits)) < most &&
                         RHEA_TRY(refcount(end >> header_.cluster_bits)) > 0;
  if (shareable && bytes <= left) {
    RHEA_TRY(change_refcounts(end, bytes, 1));
    compressed_end_ = end + bytes;
    return end;
  }
  const u64 made = RHEA_TRY(allocate(1, 1)).offset;
  if (shareable && made == align_up(end, cluster())) {
    RHEA_TRY(change_refcounts(end, left, 1));
    compressed_end_ = end + bytes;
    return end;
  }
  compressed_end_ = made + bytes;
  return made;
}

void Qcow2Node::free_later(u64 offset, u64 size, bool give_back) {
  std::lock_guard lock(pins_mutex_);
  frees_.push_back({offset, size, give_back, last_pin_, ++last_free_});
}

// Takes back what is neither referred to on disk nor in use by a read or write any more.
Result<void> Qcow2Node::apply_frees() {
  while (!frees_.empty()) {
    const Free free = frees_.front();
    {
      std::lock_guard lock(pins_mutex_);
      if (!pins_.empty() && *pins_.begin() <= free.stamp) return {};
    }
    if (free.number > stable_free_) return {};
    frees_.pop_front();
    if (free.size & (cluster() - 1)) unpacked_.clear();
    const u64 first = free.offset >> header_.cluster_bits, last = (free.offset + free.size - 1) >> header_.cluster_bits;
    for (u64 index = first; index <= last; ++index) {
      RHEA_TRY(change_refcount(index, -1));
      if (RHEA_TRY(refcount(index)) != 0) continue;
      const u64 offset = index << header_.cluster_bits;
      metadata_.erase(offset);
      l2_->drop(offset);
      if (align_down(compressed_end_, cluster()) == offset) compressed_end_ = 0;
      if (free.give_back && give_back_) RHEA_TRY(file_->discard(offset, cluster()));
    }
  }
  return {};
}

Result<void> Qcow2Node::write_l1() {
  for (const u64 sector : dirty_l1_) {
    std::vector<u8> bytes;
    for (u64 i = sector * 64; i < std::min<u64>(l1_.size(), sector * 64 + 64); ++i) {
      bytes.resize(bytes.size() + 8);
      store_be<u64>(bytes.data() + bytes.size() - 8, l1_[i]);
    }
    RHEA_TRY(write_header_field(header_.l1_offset + sector * 512, bytes));
  }
  dirty_l1_.clear();
  return {};
}

Result<void> Qcow2Node::write_back() {
  const bool tables = l2_->dirty() || !dirty_l1_.empty();
  if (!(header_.incompatible & kDirty)) RHEA_TRY(refcounts_->write_dirty());
  if (!tables) return {};
  RHEA_TRY(file_->flush());
  RHEA_TRY(l2_->write_dirty());
  if (dirty_l1_.empty()) return {};
  RHEA_TRY(file_->flush());
  return write_l1();
}

Result<void> Qcow2Node::settle() {
  do {
    RHEA_TRY(write_back());
    RHEA_TRY(file_->flush());
    stable_free_ = last_free_;
    const usize before = frees_.size();
    RHEA_TRY(apply_frees());
    RHEA_TRY(refcounts_->write_dirty());
    if (frees_.size() == before) break;
  } while (!frees_.empty());
  return {};
}

}  // namespace rhea::block::qcow2
