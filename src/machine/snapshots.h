// SPDX-License-Identifier: MIT
// savevm, loadvm and migrate: when the machine stops, where its state goes, what happens when that fails.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

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
};

// Files TAG.state in a folder.
std::unique_ptr<SnapshotStore> make_folder_store(const std::string& folder);

class Snapshots {
 public:
  explicit Snapshots(Machine& machine) : machine_(machine) {}
  ~Snapshots() { finish_thread(); }
  void set_store(std::unique_ptr<SnapshotStore> store) { store_ = std::move(store); }

  // On the loop, under its lock. The machine goes on where it ran before; a load that fails changes nothing.
  Result<void> save(std::string tag);  // empty: a name with the date
  Result<void> load(const std::string& tag);
  Result<void> remove(const std::string& tag);
  Result<std::vector<SnapshotRow>> list();

  enum class Status : u8 { none, active, completed, failed, cancelled };
  struct Migration {
    Status status = Status::none;
    StateProgress progress;
    s64 nanoseconds = 0;
    std::string error;
  };
  // Sends the state away; the machine stands meanwhile, and after it ("postmigrate"). In the background it is done by a
  // thread, and on_migrated is called on the loop.
  Result<void> migrate(const std::string& uri, bool background);
  void cancel();
  Migration migration() const;
  bool migrating() const { return migration_active_.load(); }
  std::function<void()> on_migrated;
  bool compress = false;

  // Takes a state in: -incoming, migrate_incoming. The machine has not run yet.
  Result<void> incoming(const std::string& uri);

 private:
  Result<SnapshotStore*> store();
  void write_migration(std::unique_ptr<OutputSink> sink, const SavedParts& parts);
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
  std::thread thread_;
};

}  // namespace rhea::machine
