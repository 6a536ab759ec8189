// SPDX-License-Identifier: MIT
#include "core/state_codec.h"

#include <algorithm>
#include <cstring>

#include "util/bits.h"

namespace rhea::core {

namespace {

constexpr u8 kNumber = 1, kBytes = 2, kRaw = 3, kGroup = 4;
constexpr usize kMaxDepth = 16;
constexpr usize kMaxItems = 1u << 16;  // in one group
constexpr u64 width_mask(unsigned bytes) { return bytes >= 8 ? ~u64{0} : (u64{1} << (bytes * 8)) - 1; }

class Parser {
 public:
  explicit Parser(std::span<const u8> data) : rest_(data) {}
  bool done() const { return rest_.empty(); }
  bool take(usize count, std::span<const u8>& part) {
    if (rest_.size() < count) return false;
    part = rest_.first(count);
    rest_ = rest_.subspan(count);
    return true;
  }

 private:
  std::span<const u8> rest_;
};

Result<void> parse_items(std::span<const u8> data, StateTree::Item& group, usize depth) {
  if (depth > kMaxDepth) return Error("its groups are more than {} deep", kMaxDepth);
  Parser parser(data);
  while (!parser.done()) {
    std::span<const u8> head, name, length, content;
    if (!parser.take(2, head) || !parser.take(head[1], name) || !parser.take(4, length) ||
        !parser.take(load_le<u32>(length.data()), content)) {
      return Error("it ends in the middle of a field");
    }
    if (group.items.size() >= kMaxItems) return Error("a group has more than {} fields", kMaxItems);
    StateTree::Item item{
        .kind = head[0], .name = {reinterpret_cast<const char*>(name.data()), name.size()}, .content = content};
    if (item.kind < kNumber || item.kind > kGroup)
      return Error("field '{}' is of no known kind ({})", item.name, item.kind);
    if (item.kind == kNumber && content.size() != 8)
      return Error("number '{}' has {} bytes instead of 8", item.name, content.size());
    if (item.kind == kGroup) {
      if (content.size() < 4) return Error("group '{}' is cut short", item.name);
      item.version = load_le<u32>(content.data());
      RHEA_TRY(parse_items(content.subspan(4), item, depth + 1));
      item.content = {};
    }
    group.items.push_back(std::move(item));
  }
  return {};
}

// Checks shared by StateChecker and StateReader: the item's content where it fits.
const StateTree::Item* fitting_number(StateCursor& cursor, std::string_view name, unsigned bytes, u64& value) {
  const StateTree::Item* item = cursor.next(name, kNumber);
  if (!item) return nullptr;
  value = load_le<u64>(item->content.data());
  // A negative number of fewer bytes was widened.
  const bool fits = (value & ~width_mask(bytes)) == 0 || (value | width_mask(bytes)) == ~u64{0};
  if (fits) return item;
  cursor.fail(name, fmt::format("{:#x} does not fit into {} bytes", value, bytes));
  return nullptr;
}

const StateTree::Item* fitting_bytes(StateCursor& cursor, std::string_view name, usize limit) {
  const StateTree::Item* item = cursor.next(name, kBytes);
  if (!item || item->content.size() <= limit) return item;
  cursor.fail(name, fmt::format("it has {} bytes, at most {} are possible", item->content.size(), limit));
  return nullptr;
}

const StateTree::Item* fitting_raw(StateCursor& cursor, std::string_view name, usize size) {
  const StateTree::Item* item = cursor.next(name, kRaw);
  if (!item || item->content.size() == size) return item;
  cursor.fail(name, fmt::format("it has {} bytes instead of {}", item->content.size(), size));
  return nullptr;
}

unsigned enter_group(StateCursor& cursor, std::string_view name, unsigned version) {
  const StateTree::Item* item = cursor.next(name, kGroup);
  if (item && item->version > version) {
    cursor.fail(name, fmt::format("it has version {}, the newest known one is {}", item->version, version));
    item = nullptr;
  }
  cursor.enter(item);
  return item ? item->version : version;
}

}  // namespace

// ---- writing -------------------------------------------------------------------------------------------------------
void StateWriter::item(u8 kind, std::string_view name, std::span<const u8> content) {
  const usize length = std::min<usize>(name.size(), 255);
  data_.push_back(kind);
  data_.push_back(static_cast<u8>(length));
  data_.insert(data_.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(length));
  std::array<u8, 4> size;
  store_le<u32>(size.data(), static_cast<u32>(content.size()));
  data_.insert(data_.end(), size.begin(), size.end());
  data_.insert(data_.end(), content.begin(), content.end());
}

void StateWriter::number(std::string_view name, u64& value, unsigned) {
  std::array<u8, 8> content;
  store_le<u64>(content.data(), value);
  item(kNumber, name, content);
}

void StateWriter::bytes(std::string_view name, std::vector<u8>& value, usize) { item(kBytes, name, value); }
void StateWriter::raw(std::string_view name, void* data, usize size) {
  item(kRaw, name, {static_cast<const u8*>(data), size});
}

unsigned StateWriter::begin(std::string_view name, unsigned version) {
  std::array<u8, 4> content;
  store_le<u32>(content.data(), version);
  item(kGroup, name, content);
  open_.push_back(data_.size() - 8);
  return version;
}

void StateWriter::end() {
  const usize at = open_.back();
  open_.pop_back();
  store_le<u32>(data_.data() + at, static_cast<u32>(data_.size() - at - 4));
}

// ---- parsing -------------------------------------------------------------------------------------------------------
Result<StateTree> StateTree::parse(std::span<const u8> data) {
  StateTree tree;
  tree.root_.kind = kGroup;
  RHEA_TRY(parse_items(data, tree.root_, 0));
  return tree;
}

// From where the last one was found on: fields mostly come in order.
const StateTree::Item* StateCursor::next(std::string_view name, u8 kind) {
  Level& level = path_.back();
  if (!level.group) return nullptr;
  const auto& items = level.group->items;
  for (usize i = 0; i < items.size(); i++) {
    const usize at = (level.next + i) % items.size();
    if (items[at].name != name) continue;
    level.next = at + 1;
    if (items[at].kind == kind) return &items[at];
    fail(name, "it is of another kind");
    return nullptr;
  }
  return nullptr;
}

void StateCursor::fail(std::string_view name, std::string what) {
  if (error_) return;
  std::string path;
  for (const Level& level : path_)
    if (level.group && !level.group->name.empty()) path += std::string(level.group->name) + "/";
  error_ = Error("{}{}: {}", path, name, what);
}

// ---- checking, reading ---------------------------------------------------------------------------------------------
void StateChecker::number(std::string_view name, u64&, unsigned bytes) {
  u64 ignored;
  fitting_number(cursor_, name, bytes, ignored);
}
void StateChecker::bytes(std::string_view name, std::vector<u8>&, usize limit) { fitting_bytes(cursor_, name, limit); }
void StateChecker::raw(std::string_view name, void*, usize size) { fitting_raw(cursor_, name, size); }
unsigned StateChecker::begin(std::string_view name, unsigned version) {
  return enter_group(cursor_, name, version), version;
}

void StateReader::number(std::string_view name, u64& value, unsigned bytes) {
  u64 stored;
  if (fitting_number(cursor_, name, bytes, stored)) value = stored;
}
void StateReader::bytes(std::string_view name, std::vector<u8>& value, usize limit) {
  if (const StateTree::Item* item = fitting_bytes(cursor_, name, limit))
    value.assign(item->content.begin(), item->content.end());
}
void StateReader::raw(std::string_view name, void* data, usize size) {
  if (const StateTree::Item* item = fitting_raw(cursor_, name, size)) std::memcpy(data, item->content.data(), size);
}
unsigned StateReader::begin(std::string_view name, unsigned version) { return enter_group(cursor_, name, version); }

}  // namespace rhea::core
