// SPDX-License-Identifier: MIT
// Writing, zeroing and discarding. See qcow2_node.h for the order in which things reach the disk.
#include <algorithm>
#include <cstring>

#include "block/qcow2/qcow2_node.h"

namespace rhea::block::qcow2 {

Result<void> Qcow2Node::write_header_field(u64 at, std::span<const u8> bytes) {
  const Segment all{const_cast<u8*>(bytes.data()), bytes.size()};
  return file_->write(at, {&all, 1});
}

Result<void> Qcow2Node::set_incompatible(u64 bits) {
  u8 bytes[8];
  store_be<u64>(bytes, bits);
  RHEA_TRY(file_->flush());
  RHEA_TRY(write_header_field(kIncompatibleAt, bytes));
  RHEA_TRY(file_->flush());
  header_.incompatible = bits;
  return {};
}

Result<void> Qcow2Node::begin_change() {
  if (read_only_) return Error("'{}' is open for reading only", filename());
  RHEA_TRY(usable());
  if ((header_.compatible & kLazyRefcounts) && !(header_.incompatible & kDirty)) {
    RHEA_TRY(set_incompatible(header_.incompatible | kDirty));
  }
  return {};
}

bool Qcow2Node::overlaps_metadata(u64 offset, u64 size) const {
  const u64 first = align_down(offset, cluster());
  for (u64 at = first; at < offset + size; at += cluster()) {
    if (metadata_.contains(at)) return true;
  }
  return false;
}

Result<void> Qcow2Node::check_overlap(u64 offset, u64 size) {
  if (offset + size > kMaxHostOffset)
    return corrupt(fmt::format("a cluster at {:#x} lies beyond what the format can address", offset));
  if (!overlaps_metadata(offset, size)) return {};
  return corrupt(fmt::format("preventing an invalid write on metadata (at {:#x}, {} bytes)", offset, size));
}

// The L2 table of `offset`, one that only the active disk refers to.
Result<Table*> Qcow2Node::l2_for_write(u64 offset) {
  const u64 index = l1_index(offset);
  if (index >= l1_.size()) return Error("byte {} is beyond the image's L1 table", offset);
  const u64 old = l1_[index] & kOffsetMask;
  if (old && (l1_[index] & kCopied)) return load_l2(old);
  std::vector<u8> content;
  if (old) content = RHEA_TRY(load_l2(old))->bytes;
  const Clusters made = RHEA_TRY(allocate(1, 1));
  if (l2_->full()) RHEA_TRY(write_back());
  Table* table = l2_->make(made.offset);
  if (old) table->bytes = std::move(content);
  l1_[index] = made.offset | kCopied;
  dirty_l1_.insert(index / 64);
  metadata_.insert(made.offset);
  if (old) free_later(old, cluster());
  return table;
}

void Qcow2Node::free_entry(u64 entry, bool give_back) {
  if (entry & kCompressed) {
    const CompressedPlace place = compressed_place(entry & ~(kCopied | kCompressed), header_.cluster_bits);
    free_later(place.offset, place.size, give_back);
  } else if (entry & kOffsetMask) {
    free_later(entry & kOffsetMask, cluster(), give_back);
  }
}

Result<void> Qcow2Node::write(u64 offset, Segments segments) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  return write_locked(offset, segments, lock);
}

Result<void> Qcow2Node::write_locked(u64 offset, Segments segments, std::unique_lock<std::mutex>& lock) {
  const u64 size = total_size(segments);
  for (u64 done = 0; done < size;) {
    const Run run = RHEA_TRY(lookup(offset + done, size - done, false));
    if (run.kind != Kind::normal || !run.copied) {
      done += RHEA_TRY(write_new_clusters(offset + done, slice(segments, done, size - done)));
      continue;
    }
    RHEA_TRY(check_overlap(run.host, run.size));
    const u64 ticket = pin();
    lock.unlock();
    auto written =
        run.size == size ? file_->write(run.host, segments) : file_->write(run.host, slice(segments, done, run.size));
    unpin(ticket);
    lock.lock();
    RHEA_TRY(std::move(written));
    done += run.size;
  }
  return {};
}

// What the clusters hold before `offset` and from `end` on, for those that are written in part.
Result<void> Qcow2Node::read_around(u64 offset, std::span<u8> head, u64 end, std::span<u8> tail) {
  // Reading lets go of the lock that it is given; ours has to stay, so it is given another.
  std::mutex unused;
  std::unique_lock own(unused);
  if (!head.empty()) {
    const Segment all{head.data(), head.size()};
    RHEA_TRY(read_locked(offset - head.size(), {&all, 1}, own));
  }
  if (!tail.empty()) {
    const Segment all{tail.data(), tail.size()};
    RHEA_TRY(read_locked(end, {&all, 1}, own));
  }
  return {};
}

bool Qcow2Node::reads_as_zero(u64 entry, u64 offset) const {
  const Kind kind = kind_of(entry);
  if (kind == Kind::zero || kind == Kind::zero_allocated) return true;
  return kind == Kind::unallocated && (!backing_ || align_down(offset, cluster()) >= backing_->size());
}

// Gives clusters to the beginning of the range and writes them; returns how many bytes of it that was. The lock
// is kept all along: nobody sees or makes clusters in between.
Result<u64> Qcow2Node::write_new_clusters(u64 offset, Segments segments) {
  Table* table = RHEA_TRY(l2_for_write(offset));
  const u64 first = l2_index(offset), inside = in_cluster(offset);
  const u64 most = std::min(l2_entries() - first, (inside + total_size(segments) + cluster() - 1) / cluster());
  const auto in_place = [&](u64 entry) { return kind_of(entry) == Kind::zero_allocated && (entry & kCopied); };
  const auto is_own = [&](u64 entry) { return kind_of(entry) == Kind::normal && (entry & kCopied); };
  Clusters room{};
  const bool reuse = in_place(table->entry(first));
  u64 count = 1;
  if (reuse) {
    room.offset = table->entry(first) & kOffsetMask;
    while (count < most && in_place(table->entry(first + count)) &&
           (table->entry(first + count) & kOffsetMask) == room.offset + count * cluster())
      ++count;
    room.count = count;
  } else {
    while (count < most && !in_place(table->entry(first + count)) && !is_own(table->entry(first + count))) ++count;
    room = RHEA_TRY(allocate(1, count));
  }
  auto written = fill_clusters(*table, offset, segments, room);
  if (!written) {
    if (!reuse) (void)change_refcounts(room.offset, room.count * cluster(), -1);
    return std::move(written.error());
  }
  for (u64 i = 0; i < room.count; ++i) {
    const u64 old = table->entry(first + i);
    table->set_entry(first + i, (room.offset + i * cluster()) | kCopied);
    if (!reuse) free_entry(old, false);
  }
  return std::min(room.count * cluster() - inside, total_size(segments));
}

// The data, with what was around it in its first and last cluster.
Result<void> Qcow2Node::fill_clusters(const Table& table, u64 offset, Segments segments, const Clusters& room) {
  RHEA_TRY(check_overlap(room.offset, room.count * cluster()));
  const u64 inside = in_cluster(offset), bytes = room.count * cluster();
  const u64 size = std::min(bytes - inside, total_size(segments));
  const auto data = slice(segments, 0, size);
  const u64 first = l2_index(offset), tail_size = bytes - inside - size;
  const bool zero_around = (!inside || reads_as_zero(table.entry(first), offset)) &&
                           (!tail_size || reads_as_zero(table.entry(first + room.count - 1), offset + size));
  // What lies beyond the file's end is zeros already.
  if ((!inside && !tail_size) || (zero_around && room.offset >= file_->size()))
    return file_->write(room.offset + inside, data);
  std::vector<u8> head(inside), tail(tail_size);
  RHEA_TRY(read_around(offset, head, offset + size, tail));
  std::vector<Segment> all;
  if (inside) all.push_back({head.data(), inside});
  all.insert(all.end(), data.begin(), data.end());
  if (tail_size) all.push_back({tail.data(), tail_size});
  return file_->write(room.offset, all);
}

Result<void> Qcow2Node::write_compressed(u64 offset, Segments segments) {
  const u64 size = total_size(segments);
  if (in_cluster(offset) || size > cluster() || (size < cluster() && offset + size != header_.size)) {
    return Error("compressed writes are of whole clusters");
  }
  std::vector<u8> whole(cluster());
  copy_from(segments, whole.data());
  const auto packed = compress_cluster(whole, header_.compression);
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  const Run run = RHEA_TRY(lookup(offset, 1, false));
  if (packed.empty() || run.kind == Kind::normal || run.kind == Kind::zero_allocated)
    return write_locked(offset, segments, lock);
  Table* table = RHEA_TRY(l2_for_write(offset));
  const u64 place = RHEA_TRY(allocate_compressed(packed.size()));
  RHEA_TRY(check_overlap(place, packed.size()));
  const Segment all{const_cast<u8*>(packed.data()), packed.size()};
  RHEA_TRY(file_->write(place, {&all, 1}));
  const u64 old = table->entry(l2_index(offset));
  table->set_entry(l2_index(offset), compressed_entry(place, packed.size(), header_.cluster_bits));
  free_entry(old, false);
  return {};
}

Result<void> Qcow2Node::zero_part(u64 offset, u64 size, std::unique_lock<std::mutex>& lock) {
  if (!size) return {};
  const Run run = RHEA_TRY(lookup(offset, size, false));
  const bool zero = run.kind == Kind::zero || run.kind == Kind::zero_allocated ||
                    (run.kind == Kind::unallocated && (!backing_ || offset >= backing_->size()));
  if (zero) return {};
  std::vector<u8> zeros(size);
  const Segment all{zeros.data(), size};
  return write_locked(offset, {&all, 1}, lock);
}

// Whole clusters, which read as zeros afterwards.
Result<void> Qcow2Node::zero_clusters(u64 offset, u64 count, bool unmap, std::unique_lock<std::mutex>& lock) {
  for (u64 i = 0; i < count; ++i, offset += cluster()) {
    const Run run = RHEA_TRY(lookup(offset, cluster(), false));
    const bool nothing_below = !backing_ || offset >= backing_->size();
    if (run.kind == Kind::zero || (run.kind == Kind::zero_allocated && !unmap)) continue;
    if (run.kind == Kind::unallocated && nothing_below) continue;
    if (header_.version < 3 && (!nothing_below || !unmap)) {
      RHEA_TRY(zero_part(offset, cluster(), lock));
      continue;
    }
    Table* table = RHEA_TRY(l2_for_write(offset));
    const u64 old = table->entry(l2_index(offset));
    const u64 flag = header_.version >= 3 ? kZeroFlag : 0;
    const bool keep = !unmap && !(old & kCompressed) && (old & kCopied) && (old & kOffsetMask);
    table->set_entry(l2_index(offset), keep ? old | flag : flag);
    if (!keep) free_entry(old, give_back_ && unmap);
  }
  return {};
}

Result<void> Qcow2Node::write_zeroes(u64 offset, u64 size, bool unmap) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  const u64 end = offset + size;
  const u64 first = align_up(offset, cluster());
  // The last cluster may be longer than the disk.
  const u64 last = end == header_.size ? align_up(end, cluster()) : align_down(end, cluster());
  if (first >= last) {
    const u64 middle = std::min(end, first);
    RHEA_TRY(zero_part(offset, middle - offset, lock));
    return zero_part(middle, end - middle, lock);
  }
  RHEA_TRY(zero_part(offset, first - offset, lock));
  RHEA_TRY(zero_clusters(first, (last - first) >> header_.cluster_bits, unmap, lock));
  return last < end ? zero_part(last, end - last, lock) : Result<void>();
}

// `full`: what is below shows through afterwards; else it reads as zeros.
Result<void> Qcow2Node::discard_clusters(u64 offset, u64 count, bool full) {
  for (u64 i = 0; i < count; ++i, offset += cluster()) {
    const Run run = RHEA_TRY(lookup(offset, u64{1} << 62, false));
    const bool nothing = run.kind == Kind::unallocated ? full || !backing_ : run.kind == Kind::zero && !full;
    if (nothing) {
      const u64 skip =
          std::min(count - i - 1, (run.size >> header_.cluster_bits) > 0 ? (run.size >> header_.cluster_bits) - 1 : 0);
      i += skip;
      offset += skip * cluster();
      continue;
    }
    if (!full && header_.version < 3 && backing_) continue;  // it cannot be said to be zeros
    Table* table = RHEA_TRY(l2_for_write(offset));
    const u64 old = table->entry(l2_index(offset));
    table->set_entry(l2_index(offset), !full && header_.version >= 3 ? kZeroFlag : 0);
    free_entry(old, true);
  }
  return {};
}

Result<void> Qcow2Node::discard(u64 offset, u64 size) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  const u64 first = align_up(offset, cluster());
  const u64 end =
      offset + size == header_.size ? align_up(offset + size, cluster()) : align_down(offset + size, cluster());
  return first < end ? discard_clusters(first, (end - first) >> header_.cluster_bits, false) : Result<void>();
}

// What is below does not change meanwhile, so it is read before the lock is taken; who has written a cluster by then
// has made it this layer's own, and it stays as it is.
Result<void> Qcow2Node::pull(u64 offset, u64 size, bool zeros) {
  std::vector<u8> bytes(zeros ? 0 : size);
  const Segment all{bytes.data(), bytes.size()};
  if (!zeros) RHEA_TRY(read_backing(offset, {&all, 1}));
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  for (u64 done = 0; done < size;) {
    const u64 at = offset + done;
    const Run run = RHEA_TRY(lookup(at, size - done, false));
    u64 count = run.size;
    if (run.kind == Kind::unallocated && zeros && header_.version >= 3) {
      count = std::min(cluster() - in_cluster(at), count);
      RHEA_TRY(l2_for_write(at))->set_entry(l2_index(at), kZeroFlag);
    } else if (run.kind == Kind::unallocated) {
      if (zeros) bytes.resize(std::min<u64>(count, u64{1} << 20));
      const Segment part{bytes.data() + (zeros ? 0 : done), zeros ? bytes.size() : count};
      count = RHEA_TRY(write_new_clusters(at, {&part, 1}));
    }
    done += count;
  }
  return {};
}

Result<void> Qcow2Node::make_empty() {
  {
    std::unique_lock lock(mutex_);
    RHEA_TRY(begin_change());
    RHEA_TRY(discard_clusters(0, align_up(header_.size, cluster()) >> header_.cluster_bits, true));
    RHEA_TRY(settle());
  }
  return flush();
}

Result<void> Qcow2Node::flush() {
  if (read_only_) return {};
  std::unique_lock lock(mutex_);
  RHEA_TRY(usable());
  RHEA_TRY(apply_frees());
  RHEA_TRY(write_back());
  const u64 freed = last_free_;
  lock.unlock();
  RHEA_TRY(file_->flush());
  lock.lock();
  stable_free_ = std::max(stable_free_, freed);
  return {};
}

Result<void> Qcow2Node::set_read_only(bool read_only) {
  if (read_only == read_only_) return {};
  if (read_only) {
    std::unique_lock lock(mutex_);
    RHEA_TRY(usable());
    RHEA_TRY(settle());
    if (header_.incompatible & kDirty) RHEA_TRY(set_incompatible(header_.incompatible & ~kDirty));
    RHEA_TRY(file_->flush());
    RHEA_TRY(file_->set_read_only(true));
    read_only_ = true;
    return {};
  }
  if (header_.incompatible & kCorrupt) return Error("qcow2: Image is corrupt; cannot be opened read/write");
  RHEA_TRY(file_->set_read_only(false));
  std::unique_lock lock(mutex_);
  read_only_ = false;
  if (header_.incompatible & kDirty) return repair_after_crash();
  return {};
}

Result<void> Qcow2Node::change_backing(const std::string& file, const std::string& format) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  std::erase_if(extensions_, [](const Extension& extension) { return extension.type == kExtensionBackingFormat; });
  if (!file.empty() && !format.empty())
    extensions_.push_back({kExtensionBackingFormat, {format.begin(), format.end()}});
  backing_name_ = file;
  return rewrite_header();
}

Result<void> Qcow2Node::rewrite_header() {
  const auto bytes = RHEA_TRY(build_header(header_, extensions_, backing_name_));
  const Segment all{const_cast<u8*>(bytes.data()), bytes.size()};
  RHEA_TRY(file_->flush());
  RHEA_TRY(file_->write(0, {&all, 1}));
  RHEA_TRY(file_->flush());
  header_ = RHEA_TRY(parse_header(bytes));
  return {};
}

Result<void> Qcow2Node::preallocate(u64 offset, u64 size, Preallocation mode) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(begin_change());
  const u64 end = align_up(offset + size, cluster());
  for (offset = align_down(offset, cluster()); offset < end;) {
    Table* table = RHEA_TRY(l2_for_write(offset));
    const u64 first = l2_index(offset);
    u64 count = std::min(l2_entries() - first, (end - offset) >> header_.cluster_bits);
    if (kind_of(table->entry(first)) != Kind::unallocated) {
      offset += cluster();
      continue;
    }
    const Clusters room = RHEA_TRY(allocate(1, count));
    for (u64 i = 0; i < room.count; ++i) {
      if (kind_of(table->entry(first + i)) != Kind::unallocated) return Error("the range to preallocate is in use");
      table->set_entry(first + i, (room.offset + i * cluster()) | kCopied);
    }
    const u64 bytes = room.count * cluster();
    const u64 length = file_->size();
    if (mode != Preallocation::metadata || room.offset < length) {
      RHEA_TRY(file_->write_zeroes(room.offset, bytes, false));
    } else {  // the file is as long as its clusters reach, or they would seem to be missing
      u8 zero = 0;
      const Segment last{&zero, 1};
      RHEA_TRY(file_->write(room.offset + bytes - 1, {&last, 1}));
    }
    offset += bytes;
  }
  return {};
}

}  // namespace rhea::block::qcow2
