// SPDX-License-Identifier: MIT
// Opening, mapping and reading. See qcow2_node.h.
#include "block/qcow2/qcow2_node.h"

#include <algorithm>
#include <cstring>

namespace rhea::block::qcow2 {

namespace {

constexpr u64 kL2CacheBytes = u64{32} << 20;
constexpr u64 kRefcountCacheBytes = u64{8} << 20;
constexpr usize kMinTables = 16;
constexpr usize kUnpackedClusters = 16;

usize tables(u64 bytes, u64 cluster) { return std::max<usize>(kMinTables, bytes / cluster); }

Result<std::vector<u8>> read_bytes(Node& file, u64 offset, u64 size) {
  std::vector<u8> bytes(size);
  const Segment all{bytes.data(), size};
  if (size) RHEA_TRY(file.read(offset, {&all, 1}));
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Qcow2Node>> Qcow2Node::open(std::unique_ptr<Node> file, const OpenFlags& flags) {
  std::unique_ptr<Qcow2Node> node(new Qcow2Node(std::move(file), flags));
  RHEA_TRY(node->load(flags));
  return node;
}

Result<void> Qcow2Node::load(const OpenFlags& flags) {
  const auto start = RHEA_TRY(read_bytes(*file_, 0, 512));
  header_ = RHEA_TRY(parse_header(start));
  if ((header_.incompatible & kCorrupt) && !read_only_ && !flags.allow_corrupt) {
    damaged_ = true;  // so that closing leaves it alone
    return Error("qcow2: Image is corrupt; cannot be opened read/write")
        .with_hint("'rhea-img check -r all' may repair it; read-only access is possible.");
  }
  const auto first = RHEA_TRY(read_bytes(*file_, 0, cluster()));
  extensions_ = RHEA_TRY(parse_extensions(first, header_));
  if (header_.backing_name_offset) {
    const auto* name = reinterpret_cast<const char*>(first.data() + header_.backing_name_offset);
    backing_name_.assign(name, header_.backing_name_size);
    if (backing_name_.find('\0') != std::string::npos) return Error("the backing file's name has a zero byte in it");
  }
  l2_ = std::make_unique<TableCache>(*file_, cluster(), tables(kL2CacheBytes, cluster()));
  refcounts_ = std::make_unique<TableCache>(*file_, cluster(), tables(kRefcountCacheBytes, cluster()));
  RHEA_TRY(load_tables());
  if (read_only_) return {};
  std::unique_lock lock(mutex_);
  if ((header_.incompatible & kDirty) && flags.check_dirty) RHEA_TRY(repair_after_crash());
  if (header_.autoclear) {  // what these bits promise does not hold once the image is written here
    header_.autoclear = 0;
    const u8 zeros[8] = {};
    RHEA_TRY(write_header_field(kAutoclearAt, zeros));
  }
  return {};
}

// All that is in memory as a whole: L1, refcount table, snapshots.
Result<void> Qcow2Node::load_tables() {
  const u64 end = align_up(file_->size(), cluster());
  if (header_.l1_size && header_.l1_offset >= end) return Error("the active L1 table lies beyond the end of the file");
  if (header_.refcount_table_offset >= end) return Error("the reference count table lies beyond the end of the file");
  l1_ = RHEA_TRY(load_l1(header_.l1_offset, header_.l1_size));
  refcount_table_ =
      RHEA_TRY(load_l1(header_.refcount_table_offset, u64{header_.refcount_table_clusters} * cluster() / 8));
  if (header_.snapshot_count) {
    const u64 there = file_->size() > header_.snapshots_offset ? file_->size() - header_.snapshots_offset : 0;
    const auto table = RHEA_TRY(read_bytes(*file_, header_.snapshots_offset, std::min(there, kMaxSnapshotTableBytes)));
    usize used = 0;
    snapshots_ = RHEA_TRY(parse_snapshots(table, header_.snapshot_count, header_, &used));
    snapshots_bytes_ = used;
  }
  note_metadata();
  return {};
}

void Qcow2Node::note_metadata() {
  metadata_.clear();
  const u64 end = file_->size();  // a hostile header's tables lie far beyond it
  const auto cover = [&](u64 offset, u64 bytes) {
    for (u64 at = offset; at < std::min(offset + bytes, end); at += cluster()) metadata_.insert(at);
  };
  cover(0, cluster());
  cover(header_.l1_offset, l1_.size() * 8);
  cover(header_.refcount_table_offset, refcount_table_.size() * 8);
  cover(header_.snapshots_offset, snapshots_bytes_);
  for (const SnapshotEntry& entry : snapshots_) cover(entry.l1_offset, u64{entry.l1_size} * 8);
  for (const u64 entry : l1_) {
    if (entry & kOffsetMask) metadata_.insert(entry & kOffsetMask);
  }
  for (const u64 entry : refcount_table_) {
    if (entry & kOffsetMask) metadata_.insert(entry & kOffsetMask);
  }
}

Result<std::vector<u64>> Qcow2Node::load_l1(u64 offset, u64 entries) {
  const auto bytes = RHEA_TRY(read_bytes(*file_, offset, entries * 8));
  std::vector<u64> table(entries);
  for (u64 i = 0; i < entries; ++i) table[i] = load_be<u64>(bytes.data() + i * 8);
  return table;
}

Qcow2Node::~Qcow2Node() {
  if (read_only_ || damaged_ || !l2_) return;
  if (!settle().ok()) return;
  if (header_.incompatible & kDirty) (void)set_incompatible(header_.incompatible & ~kDirty);
  (void)file_->flush();
}

std::string Qcow2Node::backing_format() const {
  for (const Extension& extension : extensions_) {
    if (extension.type == kExtensionBackingFormat) return {extension.data.begin(), extension.data.end()};
  }
  return {};
}

Error Qcow2Node::corrupt(std::string what) {
  if (!damaged_ && !read_only_ && header_.version >= 3) {
    header_.incompatible |= kCorrupt;
    u8 bytes[8];
    store_be<u64>(bytes, header_.incompatible);
    (void)write_header_field(kIncompatibleAt, bytes);
    (void)file_->flush();
  }
  if (!read_only_) damaged_ = true;
  return Error("qcow2: Image is corrupt: {}; it is not written to any more ('rhea-img check -r all' may repair it)",
               what);
}

Result<void> Qcow2Node::usable() const {
  if (damaged_) return Error("qcow2: the image was found to be corrupt and is not used any more");
  return {};
}

Qcow2Node::Kind Qcow2Node::kind_of(u64 entry) const {
  if (entry & kCompressed) return Kind::compressed;
  const bool allocated = entry & kOffsetMask;
  if (header_.version >= 3 && (entry & kZeroFlag)) return allocated ? Kind::zero_allocated : Kind::zero;
  return allocated ? Kind::normal : Kind::unallocated;
}

Result<Table*> Qcow2Node::load_l2(u64 offset) {
  if (offset & (cluster() - 1)) return corrupt(fmt::format("L2 table offset {:#x} unaligned", offset));
  if (Table* table = l2_->find(offset)) return table;
  if (l2_->full()) RHEA_TRY(write_back());
  return l2_->load(offset);
}

// The stretch that begins at `offset` and is of one kind, in one piece of the file.
Qcow2Node::Run Qcow2Node::run_in(const Table& table, u64 offset, u64 size) const {
  const u64 inside = in_cluster(offset);
  u64 index = l2_index(offset);
  const u64 first = table.entry(index);
  Run run{.kind = kind_of(first), .size = std::min(size, cluster() - inside), .copied = (first & kCopied) != 0};
  if (run.kind == Kind::compressed) {
    run.host = first;
    return run;
  }
  run.host = (first & kOffsetMask) + inside;
  const bool placed = run.kind == Kind::normal || run.kind == Kind::zero_allocated;
  u64 expected = (first & kOffsetMask) + cluster();
  for (++index; run.size < size && index < l2_entries(); ++index, expected += cluster()) {
    const u64 entry = table.entry(index);
    if (kind_of(entry) != run.kind) break;
    if (placed && ((entry & kOffsetMask) != expected || ((entry & kCopied) != 0) != run.copied)) break;
    run.size += std::min(cluster(), size - run.size);
  }
  return run;
}

Result<Qcow2Node::Run> Qcow2Node::lookup(u64 offset, u64 size, bool cached_only) {
  const u64 per_table = cluster() * l2_entries();
  size = std::min(size, per_table - (offset & (per_table - 1)));
  const u64 index = l1_index(offset);
  const u64 l2_offset = index < l1_.size() ? l1_[index] & kOffsetMask : 0;
  if (!l2_offset) return Run{.kind = Kind::unallocated, .size = size};
  Table* table = l2_->find(l2_offset);
  if (!table) {
    if (cached_only) return Run{};
    table = RHEA_TRY(load_l2(l2_offset));
  }
  Run run = run_in(*table, offset, size);
  const bool placed = run.kind == Kind::normal || run.kind == Kind::zero_allocated;
  if (placed && ((run.host - in_cluster(offset)) & (cluster() - 1))) {
    if (cached_only) return Run{};
    return corrupt(
        fmt::format("data cluster offset {:#x} unaligned (guest offset {:#x})", run.host - in_cluster(offset), offset));
  }
  return run;
}

Result<void> Qcow2Node::read_backing(u64 offset, Segments segments) {
  const u64 size = total_size(segments);
  const u64 below = backing_ && offset < backing_->size() ? std::min(size, backing_->size() - offset) : 0;
  if (below == size) return size ? backing_->read(offset, segments) : Result<void>();
  if (below) RHEA_TRY(backing_->read(offset, slice(segments, 0, below)));
  fill_zero(slice(segments, below, size - below));
  return {};
}

// The lock is let go while bytes move.
Result<void> Qcow2Node::read_run(const Run& run, u64 offset, Segments segments, std::unique_lock<std::mutex>& lock) {
  switch (run.kind) {
    case Kind::zero:
    case Kind::zero_allocated: fill_zero(segments); return {};
    case Kind::compressed: return read_compressed(run.host, in_cluster(offset), segments, lock);
    case Kind::normal: {
      const u64 ticket = pin();
      lock.unlock();
      auto read = file_->read(run.host, segments);
      unpin(ticket);
      lock.lock();
      return read;
    }
    default: {
      lock.unlock();
      auto read = read_backing(offset, segments);
      lock.lock();
      return read;
    }
  }
}

Result<void> Qcow2Node::read_compressed(u64 entry, u64 inside, Segments segments, std::unique_lock<std::mutex>& lock) {
  const auto give = [&](const std::vector<u8>& bytes) { copy_to(segments, bytes.data() + inside); };
  for (const Unpacked& unpacked : unpacked_) {
    if (unpacked.entry == entry) {
      give(unpacked.bytes);
      return {};
    }
  }
  const CompressedPlace place = compressed_place(entry & ~(kCopied | kCompressed), header_.cluster_bits);
  const u64 ticket = pin();
  lock.unlock();
  Unpacked unpacked{entry, std::vector<u8>(cluster())};
  const auto unpack = [&]() -> Result<void> {
    const auto packed = RHEA_TRY(read_bytes(*file_, place.offset, place.size));
    return decompress_cluster(packed, unpacked.bytes, header_.compression);
  };
  auto result = unpack();
  lock.lock();
  if (result.ok()) {
    give(unpacked.bytes);
    unpacked_.push_front(std::move(unpacked));
    if (unpacked_.size() > kUnpackedClusters) unpacked_.pop_back();
  }
  unpin(ticket);
  return result;
}

Result<void> Qcow2Node::read_locked(u64 offset, Segments segments, std::unique_lock<std::mutex>& lock) {
  const u64 size = total_size(segments);
  for (u64 done = 0; done < size;) {
    const Run run = RHEA_TRY(lookup(offset + done, size - done, false));
    if (run.size == size) return read_run(run, offset, segments, lock);
    RHEA_TRY(read_run(run, offset + done, slice(segments, done, run.size), lock));
    done += run.size;
  }
  return {};
}

Result<void> Qcow2Node::read(u64 offset, Segments segments) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(usable());
  return read_locked(offset, segments, lock);
}

Place Qcow2Node::locate_now(u64 offset, u64 size, bool write) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || damaged_ ||
      (write && (read_only_ || ((header_.compatible & kLazyRefcounts) && !(header_.incompatible & kDirty)))))
    return {};
  auto found = lookup(offset, size, true);
  if (!found.ok()) return {};
  const Run& run = *found;
  switch (run.kind) {
    case Kind::normal:
      if (write && (!run.copied || overlaps_metadata(run.host, run.size))) return {};
      return file_->locate_now(run.host, run.size, write);
    case Kind::zero:
    case Kind::zero_allocated: return write ? Place{} : Place{.kind = Place::Kind::zeros, .size = run.size};
    case Kind::unallocated: {
      if (write) return {};
      const u64 below = backing_ && offset < backing_->size() ? std::min(run.size, backing_->size() - offset) : 0;
      lock.unlock();
      return below ? backing_->locate_now(offset, below, false) : Place{.kind = Place::Kind::zeros, .size = run.size};
    }
    default: return {};
  }
}

u64 Qcow2Node::pin() {
  std::lock_guard lock(pins_mutex_);
  pins_.insert(++last_pin_);
  return last_pin_;
}

void Qcow2Node::unpin(u64 ticket) {
  std::lock_guard lock(pins_mutex_);
  pins_.erase(ticket);
}

Result<Mapping> Qcow2Node::map(u64 offset, u64 size) {
  std::unique_lock lock(mutex_);
  RHEA_TRY(usable());
  Run run = RHEA_TRY(lookup(offset, size, false));
  // Nothing is joined over the end of an L2 table but the emptiness of several.
  while (run.kind == Kind::unallocated && run.size < size) {
    const Run next = RHEA_TRY(lookup(offset + run.size, size - run.size, false));
    if (next.kind != Kind::unallocated) break;
    run.size += next.size;
  }
  Mapping mapping{
      .offset = offset, .size = run.size, .allocated = run.kind != Kind::unallocated, .filename = filename()};
  if (run.kind == Kind::normal || run.kind == Kind::zero_allocated) mapping.host_offset = run.host;
  mapping.data = run.kind == Kind::normal || run.kind == Kind::compressed;
  mapping.zero = run.kind == Kind::zero || run.kind == Kind::zero_allocated;
  mapping.compressed = run.kind == Kind::compressed;
  if (run.kind != Kind::unallocated) return mapping;
  lock.unlock();
  if (!backing_ || offset >= backing_->size()) {
    mapping.zero = true;
    return mapping;
  }
  Mapping below = RHEA_TRY(backing_->map(offset, std::min(run.size, backing_->size() - offset)));
  below.depth += 1;
  return below;
}

void Qcow2Node::describe(ImageInfo& info) const {
  file_->describe(info);
  std::lock_guard lock(mutex_);
  info.format = "qcow2";
  info.virtual_size = header_.size;
  info.cluster_size = static_cast<u32>(cluster());
  info.read_only = read_only_;
  info.dirty = header_.incompatible & kDirty;
  info.corrupt = header_.incompatible & kCorrupt;
  info.backing_filename = backing_name_;
  info.full_backing_filename = full_backing_name_;
  info.backing_format = backing_format();
  info.compat = header_.version >= 3 ? "1.1" : "0.10";
  info.compression_type = header_.compression == kZstd ? "zstd" : "zlib";
  info.lazy_refcounts = header_.compatible & kLazyRefcounts;
  info.refcount_bits = 1u << header_.refcount_order;
}

}  // namespace rhea::block::qcow2
