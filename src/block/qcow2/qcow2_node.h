// SPDX-License-Identifier: MIT
// The qcow2 format, versions 2 and 3: an image that grows as it is written, over a backing image or none.
//
// What holds at every moment, so that a process that is killed leaves a sound image:
//  - On disk, a cluster's refcount is never smaller than the number of references to it. So refcounts that grow
//    are written (and flushed) before the table that refers to the cluster, an L2 table before the L1 entry that
//    names it, and data before its L2 entry. What a killed process leaves behind is at most leaked clusters.
//  - A cluster that nothing refers to any more is on `frees_` until that too is on disk and until whoever still
//    reads or writes the bytes (pin()) has finished. Only then its refcount falls and it can be used again.
//  - write_back() is the only place where L2 and L1 go to disk, and keeps that order.
//  - With lazy refcounts the header's dirty bit is set instead, and the next open counts anew.
//
// Concurrency: one mutex over all metadata. Reads and overwrites of allocated clusters let go of it while bytes
// move; writes that allocate keep it. locate_now() never waits for it.
//
// Files: qcow2_node.cpp opens, maps and reads; write.cpp writes, zeroes, discards; refcounts.cpp gives clusters
// out and takes them back; snapshots.cpp; resize.cpp; check.cpp; create.cpp.
#pragma once

#include <deque>
#include <mutex>
#include <set>
#include <unordered_set>

#include "block/node.h"
#include "block/qcow2/layout.h"
#include "block/qcow2/table_cache.h"

namespace rhea::block::qcow2 {

struct OpenFlags {
  bool read_only = false;
  bool discard = false;        // freed clusters are given back to the host
  bool check_dirty = true;     // an image that was not closed is repaired
  bool allow_corrupt = false;  // for rhea-img check
};

class Qcow2Node final : public Node {
 public:
  static Result<std::unique_ptr<Qcow2Node>> open(std::unique_ptr<Node> file, const OpenFlags& flags);
  ~Qcow2Node() override;

  // The layer below, as the header names it, and what was opened for it.
  const std::string& backing_name() const { return backing_name_; }
  std::string backing_format() const;
  void set_backing(std::unique_ptr<Node> backing, std::string full_name) {
    backing_ = std::move(backing);
    full_backing_name_ = std::move(full_name);
  }
  const Header& header() const { return header_; }

  u64 size() const override { return header_.size; }
  bool read_only() const override { return read_only_; }
  Result<void> read(u64 offset, Segments segments) override;
  Result<void> write(u64 offset, Segments segments) override;
  Result<void> write_zeroes(u64 offset, u64 size, bool unmap) override;
  Result<void> discard(u64 offset, u64 size) override;
  Result<void> flush() override;
  Result<void> resize(u64 size, Preallocation preallocation) override;
  Result<Mapping> map(u64 offset, u64 size) override;
  void describe(ImageInfo& info) const override;
  Place locate_now(u64 offset, u64 size, bool write) override;
  u64 pin() override;
  void unpin(u64 ticket) override;
  Node* backing() override { return backing_.get(); }
  std::unique_ptr<Node> take_backing() override { return std::move(backing_); }
  void put_backing(std::unique_ptr<Node> backing, std::string full_name) override {
    set_backing(std::move(backing), std::move(full_name));
  }
  Result<void> pull(u64 offset, u64 size, bool zeros) override;
  Result<void> set_read_only(bool read_only) override;
  Result<void> make_empty() override;
  Result<void> change_backing(const std::string& file, const std::string& format) override;
  Result<void> write_compressed(u64 offset, Segments segments) override;
  Result<CheckResult> check(Repair repair) override;
  bool can_snapshot() const override { return true; }
  Result<std::vector<Snapshot>> snapshots() override;
  Result<Snapshot> create_snapshot(Snapshot snapshot) override;
  Result<void> apply_snapshot(const std::string& id_or_name) override;
  Result<void> delete_snapshot(const std::string& id_or_name) override;
  Result<void> write_vm_state(u64 position, std::span<const u8> data) override;
  Result<void> read_vm_state(u64 position, std::span<u8> data) override;
  std::string format_name() const override { return "qcow2"; }
  std::string filename() const override { return file_->filename(); }

  // Makes the disk what a snapshot has, for reading only (rhea-img convert -l): no metadata is changed.
  Result<void> view_snapshot(const std::string& id_or_name);
  // Gives every cluster of [offset, offset + size) its place. `full`: and writes zeros there.
  Result<void> preallocate(u64 offset, u64 size, Preallocation mode);

 private:
  enum class Kind : u8 { unknown, unallocated, zero, zero_allocated, normal, compressed };
  struct Run {
    Kind kind = Kind::unknown;
    u64 host = 0;  // of normal and zero_allocated: the byte's place; of compressed: the L2 entry
    u64 size = 0;  // bytes of the disk
    bool copied = false;
  };
  struct Free {
    u64 offset, size;  // bytes; of compressed clusters they are not aligned
    bool give_back;
    u64 stamp;  // of the newest pin when it was freed
    u64 number;
  };
  struct Clusters {
    u64 offset;
    u64 count;
  };
  struct References;  // check.cpp

  Qcow2Node(std::unique_ptr<Node> file, const OpenFlags& flags)
      : file_(std::move(file)), read_only_(flags.read_only), give_back_(flags.discard) {}
  Result<void> load(const OpenFlags& flags);
  Result<void> load_tables();
  void note_metadata();  // fills metadata_

  // --- qcow2_node.cpp: mapping. All of these are called with the mutex held. -----------------------------------
  u64 cluster() const { return header_.cluster_size(); }
  u64 in_cluster(u64 offset) const { return offset & (cluster() - 1); }
  u64 l2_entries() const { return cluster() / 8; }
  u64 l1_index(u64 offset) const { return offset >> (2 * header_.cluster_bits - 3); }
  u64 l2_index(u64 offset) const { return (offset >> header_.cluster_bits) & (l2_entries() - 1); }
  Kind kind_of(u64 entry) const;
  Result<Run> lookup(u64 offset, u64 size, bool cached_only);
  Run run_in(const Table& table, u64 offset, u64 size) const;
  Result<Table*> load_l2(u64 offset);
  Result<void> read_run(const Run& run, u64 offset, Segments segments, std::unique_lock<std::mutex>& lock);
  Result<void> read_backing(u64 offset, Segments segments);
  Result<void> read_compressed(u64 entry, u64 in_cluster, Segments segments, std::unique_lock<std::mutex>& lock);
  Result<void> read_locked(u64 offset, Segments segments, std::unique_lock<std::mutex>& lock);
  // Marks the image as damaged, so that nobody writes to it any more.
  Error corrupt(std::string what);
  Result<void> usable() const;

  // --- write.cpp -------------------------------------------------------------------------------------------------
  Result<void> begin_change();              // sets the dirty bit, refuses what is read-only or damaged
  Result<Table*> l2_for_write(u64 offset);  // makes it, or makes it this layer's own
  Result<void> write_locked(u64 offset, Segments segments, std::unique_lock<std::mutex>& lock);
  Result<u64> write_new_clusters(u64 offset, Segments segments);
  Result<void> fill_clusters(const Table& table, u64 offset, Segments segments, const Clusters& room);
  Result<void> read_around(u64 offset, std::span<u8> head, u64 end, std::span<u8> tail);
  bool reads_as_zero(u64 entry, u64 offset) const;
  Result<void> zero_clusters(u64 offset, u64 count, bool unmap, std::unique_lock<std::mutex>& lock);
  Result<void> discard_clusters(u64 offset, u64 count, bool full);
  Result<void> zero_part(u64 offset, u64 size, std::unique_lock<std::mutex>& lock);
  void free_entry(u64 entry, bool give_back);
  Result<void> write_header_field(u64 at, std::span<const u8> bytes);
  Result<void> set_incompatible(u64 bits);
  bool overlaps_metadata(u64 offset, u64 size) const;
  Result<void> check_overlap(u64 offset, u64 size);

  // --- refcounts.cpp ---------------------------------------------------------------------------------------------
  u64 per_block() const { return cluster() * 8 >> header_.refcount_order; }  // refcounts in a block
  Result<Table*> refcount_block(u64 block);                                  // nullptr: there is none
  Result<void> use_refcount_table(u64 offset, u64 clusters);                 // one that has been written
  Result<u64> refcount(u64 index);                                           // of a cluster by number
  Result<void> change_refcount(u64 index, s64 by);
  Result<void> change_refcounts(u64 offset, u64 size, s64 by);
  Result<Clusters> find_free(u64 least, u64 most);
  Result<Clusters> allocate(u64 least, u64 most);  // a run of that many, in use once
  Result<u64> allocate_contiguous(u64 bytes);      // its offset
  Result<u64> allocate_compressed(u64 bytes);
  Result<void> make_blocks(u64 first, u64 end);
  Result<void> place_block(u64 block, u64& cursor);
  Result<void> grow_refcount_table(u64 blocks);
  void free_later(u64 offset, u64 size, bool give_back = false);
  Result<void> change_refcounts_and_forget(u64 offset, u64 bytes);
  Result<void> apply_frees();
  Result<void> write_back();
  Result<void> settle();  // write_back, flush, frees, until nothing is left
  Result<void> write_l1();

  // --- snapshots.cpp, resize.cpp, check.cpp ----------------------------------------------------------------------
  Result<usize> find_snapshot(const std::string& id_or_name) const;
  Result<void> store_snapshots(std::vector<SnapshotEntry> snapshots);
  Result<std::vector<u64>> load_l1(u64 offset, u64 entries);
  Result<void> count_references(const std::vector<u64>& l1, s64 by);
  Result<void> update_copied_flags();
  Result<void> switch_l1(std::vector<u64> entries);
  Result<void> grow_l1(u64 entries);
  Result<void> grow(u64 size, std::unique_lock<std::mutex>& lock);
  Result<void> shrink(u64 size, std::unique_lock<std::mutex>& lock);
  Result<void> store_size(u64 size);
  Result<void> drop_vm_state();
  u64 vm_state_offset() const;
  Result<void> repair_after_crash();
  Result<void> rewrite_header();
  void add_reference(References& references, CheckResult& result, u64 offset, u64 size);
  Result<void> count_all(References& references, CheckResult& result, Repair repair);
  Result<void> count_table(References& references, CheckResult& result, std::vector<u64>& l1, u64 l1_offset,
                           bool active, Repair repair);
  Result<void> count_l2(References& references, CheckResult& result, u64 l2_offset, bool active, Repair repair);
  Result<void> count_bitmaps(References& references, CheckResult& result);
  Result<void> count_refcount_structure(References& references, CheckResult& result);
  Result<void> compare_refcounts(References& references, CheckResult& result, Repair repair);
  Result<void> check_copied(CheckResult& result, bool repair);
  Result<void> rebuild_refcounts(References& references);
  Result<CheckResult> check_locked(Repair repair);

  std::unique_ptr<Node> file_;
  std::unique_ptr<Node> backing_;
  std::string backing_name_, full_backing_name_;
  bool read_only_;
  bool give_back_;
  bool damaged_ = false;

  mutable std::mutex mutex_;
  Header header_;
  std::vector<Extension> extensions_;
  std::vector<u64> l1_;
  std::set<u64> dirty_l1_;  // sectors of 64 entries
  std::vector<u64> refcount_table_;
  std::vector<SnapshotEntry> snapshots_;
  u64 snapshots_bytes_ = 0;  // of the table on disk
  std::unique_ptr<TableCache> l2_, refcounts_;
  std::unordered_set<u64> metadata_;  // clusters (by offset) that data is never written to
  u64 free_hint_ = 0;                 // all clusters below are in use
  u64 compressed_end_ = 0;            // where the next compressed cluster may begin; 0: nowhere
  std::deque<Free> frees_;
  u64 last_free_ = 0, stable_free_ = 0;  // numbers: the newest; the newest that is so on disk

  struct Unpacked {
    u64 entry;
    std::vector<u8> bytes;
  };
  std::deque<Unpacked> unpacked_;  // compressed clusters read last

  mutable std::mutex pins_mutex_;
  std::set<u64> pins_;
  u64 last_pin_ = 0;
};

}  // namespace rhea::block::qcow2
