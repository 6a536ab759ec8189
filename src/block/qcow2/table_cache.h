// SPDX-License-Identifier: MIT
// Metadata clusters (L2 tables or refcount blocks) in memory, as they are on disk.
//
// A pointer that find, load or make returned holds until the next load, make or drop of the same cache.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "block/node.h"
#include "util/bits.h"

namespace rhea::block::qcow2 {

struct Table {
  u64 offset;
  std::vector<u8> bytes;
  bool dirty = false;
  u64 used = 0;  // the larger, the later

  u64 entry(u64 index) const { return load_be<u64>(bytes.data() + index * 8); }
  void set_entry(u64 index, u64 value) {
    store_be<u64>(bytes.data() + index * 8, value);
    dirty = true;
  }
};

class TableCache {
 public:
  TableCache(Node& file, u64 table_size, usize capacity) : file_(file), table_size_(table_size), capacity_(capacity) {}

  Table* find(u64 offset);
  // Reads it if need be. The caller has seen to it that there is room (full(), then write_dirty()).
  Result<Table*> load(u64 offset);
  // A table that is new: zeros.
  Table* make(u64 offset);
  void drop(u64 offset) { tables_.erase(offset); }
  void clear() { tables_.clear(); }
  // The next load or make has to push out a table that was not written back.
  bool full() const;
  bool dirty() const;
  // Writes what is dirty, from low to high.
  Result<void> write_dirty();

 private:
  void evict();
  Table* insert(std::unique_ptr<Table> table);

  Node& file_;
  u64 table_size_;
  usize capacity_;
  u64 clock_ = 0;
  std::map<u64, std::unique_ptr<Table>> tables_;
};

}  // namespace rhea::block::qcow2
