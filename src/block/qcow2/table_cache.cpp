// SPDX-License-Identifier: MIT
#include "block/qcow2/table_cache.h"

#include <algorithm>

namespace rhea::block::qcow2 {

Table* TableCache::find(u64 offset) {
  const auto found = tables_.find(offset);
  if (found == tables_.end()) return nullptr;
  found->second->used = ++clock_;
  return found->second.get();
}

Table* TableCache::insert(std::unique_ptr<Table> table) {
  table->used = ++clock_;
  Table* result = table.get();
  tables_[table->offset] = std::move(table);
  return result;
}

Result<Table*> TableCache::load(u64 offset) {
  if (Table* table = find(offset)) return table;
  evict();
  auto table = std::make_unique<Table>();
  table->offset = offset;
  table->bytes.resize(table_size_);
  const Segment all{table->bytes.data(), table_size_};
  RHEA_TRY(file_.read(offset, {&all, 1}));
  return insert(std::move(table));
}

Table* TableCache::make(u64 offset) {
  evict();
  auto table = std::make_unique<Table>();
  table->offset = offset;
  table->bytes.resize(table_size_);
  table->dirty = true;
  return insert(std::move(table));
}

bool TableCache::full() const {
  if (tables_.size() < capacity_) return false;
  return std::none_of(tables_.begin(), tables_.end(), [](const auto& item) { return !item.second->dirty; });
}

bool TableCache::dirty() const {
  return std::any_of(tables_.begin(), tables_.end(), [](const auto& item) { return item.second->dirty; });
}

void TableCache::evict() {
  while (tables_.size() >= capacity_) {
    auto oldest = tables_.end();
    for (auto at = tables_.begin(); at != tables_.end(); ++at) {
      if (!at->second->dirty && (oldest == tables_.end() || at->second->used < oldest->second->used)) oldest = at;
    }
    if (oldest == tables_.end()) return;
    tables_.erase(oldest);
  }
}

Result<void> TableCache::write_dirty() {
  for (auto& [offset, table] : tables_) {
    if (!table->dirty) continue;
    const Segment all{table->bytes.data(), table_size_};
    RHEA_TRY(file_.write(offset, {&all, 1}));
    table->dirty = false;
  }
  return {};
}

}  // namespace rhea::block::qcow2
