// SPDX-License-Identifier: MIT
// savevm, loadvm and migrate: when the machine stops, where its state goes, what happens when that fails.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "machine/machine.h"
#include "machine/migration_link.h"
#include "machine/state.h"
#include "machine/state_files.h"

namespace rhea::machine {

class Machine;

struct SnapshotRow {
  std::string tag;
  u64 bytes = 0;
  StateInfo info;
};

// Where snapshots by name are kept.
class SnapshotStore {
 public:
  virtual ~SnapshotStore() = default;
  // Whether there is a place for snapshots at all.
  virtual Result<void> usable() { return {}; }
  virtual std::vector<SnapshotRow> list() = 0;
  // Replaces one of that name, once all is written and safe.
  virtual Result<void> save(const std::string& tag, const StateInfo& info,
                            const std::function<Result<void>(StateSink&)>& write) = 0;
  virtual Result<std::unique_ptr<StateSource>> open(const std::string& tag) = 0;
  // Disks are made what they were; after the state was found good, before it is loaded.
  virtual Result<void> apply(const std::string& tag) { return {}; }
  virtual bool has(const std::string& tag) = 0;
  virtual Result<void> remove(const std::string& tag) = 0;
  // Which disks take part until the next call: those of these nodes (or drives), the machine's state in the one called
  // `vm_state`; nothing: all that can. Errors: there is no such disk, or it cannot.
  struct Choice {
    std::string vm_state;
    std::vector<std::string> disks;
  };
  virtual Result<void> choose(const Choice* choice) {
    if (!choice) return {};
    return Error("snapshots are kept in a folder: no disk of theirs can be chosen");
  }
};

// Files TAG.state in a folder.
std::unique_ptr<SnapshotStore> make_folder_store(const std::string& folder);

// While it lives the machine stands; then it goes on where it ran before.
class Standstill {
 public:
  explicit Standstill(Machine& machine) : machine_(machine), ran_(machine.state() == RunState::running) {
    machine_.stop();
  }
  ~Standstill() {
    if (ran_) machine_.cont();
  }

 private:
  Machine& machine_;
  const bool ran_;
};

class Snapshots {
 public:
  explicit Snapshots(Machine& machine) : machine_(machine) {}
  ~Snapshots() {
    cancelled_.store(true);
    finish_thread();
  }
  void set_store(std::unique_ptr<SnapshotStore> store) { store_ = std::move(store); }

  // On the loop, under its lock. The machine goes on where it ran before; a load that fails changes nothing.
  using Choice = SnapshotStore::Choice;
  Result<void> save(std::string tag, const Choice* choice = nullptr);  // empty: a name with the date
  Result<void> load(const std::string& tag, const Choice* choice = nullptr);
  Result<void> remove(const std::string& tag, const Choice* choice = nullptr);
  Result<bool> has(const std::string& tag, const Choice* choice = nullptr);
  Result<std::vector<SnapshotRow>> list();

  enum class Status : u8 { none, setup, active, completed, failed, cancelled };
  static std::string_view status_name(Status status);  // "setup"
  struct Migration {
    Status status = Status::none;
    StateProgress progress;
    s64 nanoseconds = 0;
    std::string error;
  };
  // Sends the state away by a thread: the machine stands from when the other side is there, and after it
  // ("postmigrate"); when it fails the machine goes on. Errors: what is known at once.
  Result<void> migrate(const std::string& uri);
  void cancel();
  Migration migration() const;
  bool migrating() const { return sending() || connecting_; }
  bool sending() const { return migration_active_.load(); }  // the machine must not run
  // Called once, on the loop, when the migration has ended, however it did.
  void when_ended(std::function<void()> callback) { waiting_.push_back(std::move(callback)); }
  bool compress = false;
  bool tell_events = false;  // the event MIGRATION, at each change of the status

  // Takes a state in: -incoming, migrate_incoming. The machine has not run yet. True: it is there. False: it comes over
  // a connection, and `on_arrived` will be called on the loop.
  Result<bool> incoming(const std::string& uri);
  std::function<void(Result<void>)> on_arrived;
  const Arriving* arriving() const { return arriving_.get(); }

 private:
  Result<SnapshotStore*> store(const Choice* choice);
  void begin(std::unique_ptr<OutputSink> sink);
  void connected(Result<sys::Fd> fd);
  void arrived(Result<std::unique_ptr<StateSource>> source);
  Result<void> take(StateSource& source);
  void write_migration(std::unique_ptr<OutputSink> sink, const SavedParts& parts);
  void set_status(Status status, std::string error = {});
  void ended(bool well);
  void finish_thread() {
    if (thread_.joinable()) thread_.join();
  }

  Machine& machine_;
  std::unique_ptr<SnapshotStore> store_;
  mutable std::mutex mutex_;
  Migration migration_;
  std::atomic<bool> migration_active_{false};
  std::atomic<bool> cancelled_{false};
  bool resume_ = false;  // it ran before
  std::unique_ptr<Connecting> connecting_;
  std::unique_ptr<Arriving> arriving_;
  std::vector<std::function<void()>> waiting_;
  std::thread thread_;
};

}  // namespace rhea::machine
