// SPDX-License-Identifier: MIT
// A device's state as bytes: visitors that write `fields(Visitor&)` into a buffer, check a buffer against a device,
// and read it back.
//
// The format is a list of items, each {kind u8, name length u8, name, length u32, content}; a group's content is its
// version (u32) and a list of items. A field that the device has and the buffer has not keeps its value; one that the
// buffer has and the device has not is passed over. Fields of one name in one group are taken in order.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::core {

class StateWriter final : public Visitor {
 public:
  void number(std::string_view name, u64& value, unsigned bytes) override;
  void bytes(std::string_view name, std::vector<u8>& value, usize limit) override;
  void raw(std::string_view name, void* data, usize size) override;
  unsigned begin(std::string_view name, unsigned version) override;
  void end() override;
  bool restoring() const override { return false; }

  const std::vector<u8>& data() const { return data_; }
  std::vector<u8> take() { return std::move(data_); }

 private:
  void item(u8 kind, std::string_view name, std::span<const u8> content);
  std::vector<u8> data_;
  std::vector<usize> open_;  // where the lengths of open groups are
};

// A parsed buffer. It refers to the bytes it was parsed from.
class StateTree {
 public:
  struct Item {
    u8 kind = 0;
    std::string_view name;
    std::span<const u8> content;  // of a group: none
    u32 version = 0;
    std::vector<Item> items;
  };
  // Errors: what is wrong, and where. Nothing of the buffer is trusted.
  static Result<StateTree> parse(std::span<const u8> data);
  const Item& root() const { return root_; }

 private:
  Item root_;
};

// What checking and reading share: finding the item for a field.
class StateCursor {
 public:
  explicit StateCursor(const StateTree& tree) { path_.push_back({&tree.root(), 0}); }
  const StateTree::Item* next(std::string_view name, u8 kind);
  void enter(const StateTree::Item* group) { path_.push_back({group, 0}); }
  void leave() {
    if (path_.size() > 1) path_.pop_back();
  }
  void fail(std::string_view name, std::string what);
  const std::optional<Error>& error() const { return error_; }

 private:
  struct Level {
    const StateTree::Item* group;  // nullptr: the buffer has no such group
    usize next;
  };
  std::vector<Level> path_;
  std::optional<Error> error_;
};

// Visits as one who saves does, so that the device stays as it is, and finds whether the buffer fits.
class StateChecker final : public Visitor {
 public:
  explicit StateChecker(const StateTree& tree) : cursor_(tree) {}
  void number(std::string_view name, u64& value, unsigned bytes) override;
  void bytes(std::string_view name, std::vector<u8>& value, usize limit) override;
  void raw(std::string_view name, void* data, usize size) override;
  unsigned begin(std::string_view name, unsigned version) override;
  void end() override { cursor_.leave(); }
  bool restoring() const override { return false; }
  const std::optional<Error>& error() const { return cursor_.error(); }

 private:
  StateCursor cursor_;
};

class StateReader final : public Visitor {
 public:
  explicit StateReader(const StateTree& tree) : cursor_(tree) {}
  void number(std::string_view name, u64& value, unsigned bytes) override;
  void bytes(std::string_view name, std::vector<u8>& value, usize limit) override;
  void raw(std::string_view name, void* data, usize size) override;
  unsigned begin(std::string_view name, unsigned version) override;
  void end() override { cursor_.leave(); }
  bool restoring() const override { return true; }
  // A field that did not fit kept its value.
  const std::optional<Error>& error() const { return cursor_.error(); }

 private:
  StateCursor cursor_;
};

// fields() of anything that has it, as bytes.
template <typename T>
std::vector<u8> save_state(T& thing) {
  StateWriter writer;
  thing.fields(writer);
  return writer.take();
}
// Nothing of `thing` is changed by check_state.
template <typename T>
Result<void> check_state(T& thing, const StateTree& tree) {
  StateChecker checker(tree);
  thing.fields(checker);
  if (checker.error()) return Error(*checker.error());
  return {};
}
template <typename T>
Result<void> load_state(T& thing, const StateTree& tree) {
  StateReader reader(tree);
  thing.fields(reader);
  if (reader.error()) return Error(*reader.error());
  return {};
}

}  // namespace rhea::core
