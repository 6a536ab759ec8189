// SPDX-License-Identifier: MIT
#include "machine/snapshots.h"

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "machine/machine.h"

namespace rhea::machine {

namespace {

namespace fs = std::filesystem;

class FolderStore final : public SnapshotStore {
 public:
  explicit FolderStore(std::string folder) : folder_(std::move(folder)) {}

  std::vector<SnapshotRow> list() override {
    std::vector<SnapshotRow> rows;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      if (entry.path().extension() != kSuffix) continue;
      auto source = FileSource::open(entry.path().string());
      if (!source.ok()) continue;
      auto info = read_state_info(**source);
      if (info.ok()) rows.push_back({entry.path().stem().string(), entry.file_size(error), *info});
    }
    std::sort(rows.begin(), rows.end(), [](const SnapshotRow& a, const SnapshotRow& b) {
      return a.info.date != b.info.date ? a.info.date < b.info.date : a.tag < b.tag;
    });
    return rows;
  }

  Result<void> save(const std::string& tag, const StateInfo&,
                    const std::function<Result<void>(StateSink&)>& write) override {
    const std::string path = RHEA_TRY(path_of(tag)), unfinished = path + ".new";
    Result<void> done = [&]() -> Result<void> {
      auto sink = RHEA_TRY(open_migration_sink("file:" + unfinished));
      RHEA_TRY(write(*sink));
      return sink->finish();
    }();
    std::error_code error;
    if (done.ok()) {
      fs::rename(unfinished, path, error);
      if (error) done = Error("{}: {}", path, error.message());
    }
    if (!done.ok()) fs::remove(unfinished, error);
    return done;
  }

  Result<std::unique_ptr<StateSource>> open(const std::string& tag) override {
    const std::string path = RHEA_TRY(path_of(tag));
    std::unique_ptr<FileSource> source = RHEA_TRY(FileSource::open(path));
    return std::unique_ptr<StateSource>(std::move(source));
  }

  bool has(const std::string& tag) override {
    const auto path = path_of(tag);
    std::error_code error;
    return path.ok() && fs::is_regular_file(*path, error);
  }

  Result<void> remove(const std::string& tag) override {
    const std::string path = RHEA_TRY(path_of(tag));
    std::error_code error;
    if (!fs::remove(path, error)) return Error("{}: {}", path, error ? error.message() : "it is not there");
    return {};
  }

 private:
  static constexpr const char* kSuffix = ".state";

  Result<std::string> path_of(const std::string& tag) const {
    if (tag.empty() || tag[0] == '.' || tag.find('/') != tag.npos || tag.size() > 200)
      return Error(
          "'{}' cannot be the name of a snapshot in a folder: it must not be empty, begin with a dot or hold a slash",
          tag);
    return (fs::path(folder_) / (tag + kSuffix)).string();
  }
  std::string folder_;
};

}  // namespace

std::unique_ptr<SnapshotStore> make_folder_store(const std::string& folder) {
  return std::make_unique<FolderStore>(folder);
}

Result<SnapshotStore*> Snapshots::store(const Choice* choice) {
  if (!store_) return Error("no block device can store vmstate for snapshot");
  RHEA_TRY(store_->choose(choice));
  RHEA_TRY(store_->usable());
  return store_.get();
}

Result<void> Snapshots::save(std::string tag, const Choice* choice) {
  SnapshotStore* store = RHEA_TRY(this->store(choice));
  if (migrating()) return Error("a migration is on its way");
  if (tag.empty()) {
    const std::time_t now = static_cast<std::time_t>(machine_.wall_time() / kSecond);
    std::tm parts{};
    localtime_r(&now, &parts);
    char text[32];
    std::strftime(text, sizeof text, "vm-%Y%m%d%H%M%S", &parts);
    tag = text;
  }
  const Standstill standstill(machine_);
  return store->save(tag, state_info(machine_), [&](StateSink& sink) -> Result<void> {
    RHEA_TRY(save_machine(machine_, sink, {.compress = compress, .progress = {}}));
    return {};
  });
}

Result<void> Snapshots::load(const std::string& tag, const Choice* choice) {
  SnapshotStore* store = RHEA_TRY(this->store(choice));
  if (migrating()) return Error("a migration is on its way");
  if (!store->has(tag)) return Error("Snapshot '{}' does not exist in one or more devices", tag);
  std::unique_ptr<StateSource> source = RHEA_TRY(store->open(tag));
  const Standstill standstill(machine_);
  Result<void> loaded = load_machine(machine_, *source, [&] { return store->apply(tag); });
  if (!loaded.ok()) return std::move(loaded.error()).in(fmt::format("Snapshot '{}'", tag));
  machine_.tell_restored();
  return {};
}

Result<bool> Snapshots::has(const std::string& tag, const Choice* choice) {
  SnapshotStore* store = RHEA_TRY(this->store(choice));
  return store->has(tag);
}

Result<void> Snapshots::remove(const std::string& tag, const Choice* choice) {
  SnapshotStore* store = RHEA_TRY(this->store(choice));
  if (!store->has(tag)) return Error("Snapshot '{}' does not exist in one or more devices", tag);
  return store->remove(tag);
}

Result<std::vector<SnapshotRow>> Snapshots::list() {
  SnapshotStore* store = RHEA_TRY(this->store(nullptr));
  return store->list();
}

// ---- migration ----
std::string_view Snapshots::status_name(Status status) {
  switch (status) {
    case Status::none: return "none";
    case Status::setup: return "setup";
    case Status::active: return "active";
    case Status::completed: return "completed";
    case Status::failed: return "failed";
    case Status::cancelled: return "cancelled";
  }
  return "none";
}

Snapshots::Migration Snapshots::migration() const {
  std::lock_guard lock(mutex_);
  return migration_;
}

// Any thread.
void Snapshots::set_status(Status status, std::string error) {
  {
    std::lock_guard lock(mutex_);
    migration_.status = status;
    migration_.error = std::move(error);
  }
  if (tell_events) machine_.events().emit("MIGRATION", fmt::format("{{\"status\": \"{}\"}}", status_name(status)));
}

Result<void> Snapshots::migrate(const std::string& uri) {
  if (migrating()) return Error("There's a migration process in progress");
  if (arriving_ || machine_.state() == RunState::inmigrate) return Error("Guest is waiting for an incoming migration");
  std::unique_ptr<OutputSink> sink;
  if (!is_socket_uri(uri)) sink = RHEA_TRY(open_migration_sink(uri));
  else
    connecting_ = RHEA_TRY(Connecting::start(machine_.loop(), RHEA_TRY(parse_socket_uri(uri)),
                                             [this](Result<sys::Fd> fd) { connected(std::move(fd)); }));
  cancelled_.store(false);
  {
    std::lock_guard lock(mutex_);
    migration_ = {};
  }
  set_status(Status::setup);
  if (sink) begin(std::move(sink));
  return {};
}

void Snapshots::connected(Result<sys::Fd> fd) {
  connecting_.reset();
  if (fd.ok()) return begin(std::make_unique<OutputSink>(fd.take()));
  set_status(Status::failed, fd.error().message());
  ended(true);
}

void Snapshots::begin(std::unique_ptr<OutputSink> sink) {
  finish_thread();
  resume_ = machine_.state() == RunState::running;
  machine_.stop();
  // The other side opens the same images.
  if (Result<void> closed = machine_.drives().deactivate_all(); !closed.ok()) {
    set_status(Status::failed, closed.error().message());
    machine_.loop().post([this] { ended(false); });
    return;
  }
  migration_active_.store(true);
  sink->give_up_when(cancelled_);
  set_status(Status::active);
  thread_ = std::thread([this, sink = std::move(sink), parts = save_parts(machine_)]() mutable {
    write_migration(std::move(sink), parts);
  });
}

void Snapshots::write_migration(std::unique_ptr<OutputSink> sink, const SavedParts& parts) {
  Clock& clock = machine_.loop().real_clock();
  const s64 start = clock.now();
  const auto progress = [&](const StateProgress& now) {
    std::lock_guard lock(mutex_);
    migration_.progress = now;
    migration_.nanoseconds = clock.now() - start;
    return !cancelled_.load();
  };
  Result<StateProgress> written = write_state(parts, *sink, {.compress = compress, .progress = progress});
  Result<void> finished = written.ok() ? sink->finish() : Result<void>(written.error());
  sink.reset();
  {
    std::lock_guard lock(mutex_);
    migration_.nanoseconds = clock.now() - start;
    if (finished.ok()) migration_.progress = *written;
  }
  const Status status = finished.ok() ? Status::completed : cancelled_.load() ? Status::cancelled : Status::failed;
  set_status(status, finished.ok() ? std::string() : finished.error().message());
  migration_active_.store(false);
  machine_.loop().post([this, well = finished.ok()] { ended(well); });
}

void Snapshots::ended(bool well) {
  if (migration().status == Status::completed) machine_.set_migrated();
  if (!well) {
    const Result<void> opened = machine_.drives().activate_all();
    if (!opened.ok()) machine_.log().write_text(fmt::format("after the migration: {}", opened.error().message()));
    else if (std::exchange(resume_, false)) machine_.cont();
  }
  for (const auto& callback : std::exchange(waiting_, {})) callback();
}

void Snapshots::cancel() {
  cancelled_.store(true);
  if (!connecting_) return;
  connecting_.reset();
  set_status(Status::cancelled);
  ended(true);
}

Result<bool> Snapshots::incoming(const std::string& uri) {
  if (arriving_) return Error("a state is awaited at {} already", arriving_->name().text());
  if (is_socket_uri(uri)) {
    arriving_ =
        RHEA_TRY(Arriving::listen(machine_.loop(), RHEA_TRY(parse_socket_uri(uri)),
                                  [this](Result<std::unique_ptr<StateSource>> source) { arrived(std::move(source)); }));
    return false;
  }
  std::unique_ptr<StateSource> source = RHEA_TRY(open_migration_source(uri));
  RHEA_TRY(take(*source));
  return true;
}

// When the state is none, the disks are again whose they were.
Result<void> Snapshots::take(StateSource& source) {
  Result<void> taken = machine_.drives().activate_all();
  if (taken.ok()) taken = load_machine(machine_, source);
  if (taken.ok()) {
    machine_.tell_restored();
    return {};
  }
  const Result<void> closed = machine_.drives().deactivate_all();
  if (!closed.ok()) machine_.log().write_text(fmt::format("after a state that was none: {}", closed.error().message()));
  return taken;
}

void Snapshots::arrived(Result<std::unique_ptr<StateSource>> source) {
  arriving_.reset();
  Result<void> loaded = source.ok() ? take(**source) : Result<void>(source.error());
  if (on_arrived) on_arrived(std::move(loaded));
}

}  // namespace rhea::machine
