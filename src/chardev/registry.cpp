// SPDX-License-Identifier: MIT
#include "chardev/registry.h"

#include <algorithm>

#include "chardev/mux.h"
#include "sys/stream.h"
#include "util/text.h"

namespace rhea::chardev {

// What frontends hold: the device behind it can be exchanged, and its output is logged here.
class Registry::Slot final : public Backend {
 public:
  explicit Slot(std::unique_ptr<Backend> device) : device_(std::move(device)) {}

  void write(std::span<const u8> data) override {
    if (log_) log_->write(data);
    device_->write(data);
  }
  void set_frontend(Frontend* frontend) override {
    frontend_ = frontend;
    device_->set_frontend(frontend);
  }
  void accept_input() override { device_->accept_input(); }
  std::string description() const override { return device_->description(); }
  void flush() override { device_->flush(); }
  bool is_open() const override { return device_->is_open(); }
  usize queued() const override { return device_->queued(); }
  sys::Fd take_descriptor() override { return device_->take_descriptor(); }
  bool passes_descriptors() const override { return device_->passes_descriptors(); }
  int connection() const override { return device_->connection(); }
  bool wait_until_open(const std::function<void(const std::string&)>& waiting) override {
    return device_->wait_until_open(waiting);
  }

  Backend& device() { return *device_; }
  Frontend* frontend() const { return frontend_; }
  void set_log(sys::Fd fd) { log_ = std::make_unique<sys::Output>(std::move(fd)); }
  void exchange(std::unique_ptr<Backend> device) {
    device_->set_frontend(nullptr);
    device_->flush();
    device_ = std::move(device);
    log_.reset();
    device_->set_frontend(frontend_);
    if (frontend_) frontend_->event(device_->is_open() ? Event::opened : Event::closed);
  }

 private:
  std::unique_ptr<Backend> device_;
  std::unique_ptr<sys::Output> log_;
  Frontend* frontend_ = nullptr;
};

struct Registry::Entry {
  Slot* slot = nullptr;  // owned by `own`, or by the multiplexer
  std::unique_ptr<Slot> own;
  std::unique_ptr<Mux> mux;
  BackendKind kind = BackendKind::null;
  unsigned attached = 0;
};

Registry::Registry(EventLoop& loop) : loop_(loop) {}
Registry::~Registry() { flush(); }

void Registry::flush() {
  for (auto& [id, entry] : entries_) entry->slot->flush();
}

Registry::Entry* Registry::find(const std::string& id) {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.get();
}
const Registry::Entry* Registry::find(const std::string& id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.get();
}

Result<std::unique_ptr<Backend>> Registry::make(const Spec& spec, const std::string& id) {
  switch (spec.kind) {
    case BackendKind::null: return make_null();
    case BackendKind::file: return make_file(loop_, spec);
    case BackendKind::stdio: {
      if (terminal_) return Error("cannot use stdio by multiple character devices");
      auto terminal = make_stdio(loop_, spec.signals, surroundings.terminal_lost);
      terminal_ = terminal.get();
      return std::unique_ptr<Backend>(std::move(terminal));
    }
    case BackendKind::pty: {
      std::string name;
      auto made = RHEA_TRY(make_pty(loop_, spec.path, name));
      if (surroundings.redirect)
        surroundings.redirect(fmt::format("char device redirected to {} (label {})", name, id));
      return made;
    }
    case BackendKind::pipe: return make_pipe(loop_, spec.path);
    case BackendKind::serial: return make_serial(loop_, spec.path);
    case BackendKind::socket: return make_socket(loop_, spec.socket, surroundings.say);
    case BackendKind::udp: return make_udp(loop_, spec.udp);
    case BackendKind::ringbuf: return std::unique_ptr<Backend>(make_ring_buffer(spec.ring_size));
    case BackendKind::vc:
      if (!surroundings.make_console) return Error("there is no display that could show a text console");
      return surroundings.make_console(spec.console, id);
    case BackendKind::none:
    case BackendKind::reference: break;
  }
  return Error("'{}' is no device of its own", id);
}

Result<void> Registry::add(const Spec& spec, const std::string& id) {
  if (find(id)) return Error("Chardev with id '{}' already exists", id);
  RHEA_TRY(check_spec(spec));
  sys::Fd log;
  if (!spec.log_file.empty()) log = RHEA_TRY(sys::open_output(spec.log_file, spec.log_append));
  auto slot = std::make_unique<Slot>(RHEA_TRY(make(spec, id)));
  if (log) slot->set_log(std::move(log));
  auto entry = std::make_unique<Entry>();
  entry->slot = slot.get();
  entry->kind = spec.kind;
  if (spec.mux) {
    entry->mux = std::make_unique<Mux>(std::move(slot), MuxOptions{.program = surroundings.program,
                                                                   .escape = surroundings.escape,
                                                                   .clock = &loop_.real_clock(),
                                                                   .terminate = surroundings.terminate,
                                                                   .save_disks = surroundings.save_disks});
  } else {
    entry->own = std::move(slot);
  }
  entries_.emplace(id, std::move(entry));
  order_.push_back(id);
  return {};
}

Result<Backend*> Registry::attach(const std::string& id) {
  Entry* entry = find(id);
  if (!entry) return Error("chardev \"{}\" not found{}", id, did_you_mean(id, order_));
  if (entry->mux) {
    Backend* port = entry->mux->add_port();
    if (!port) return Error("too many uses of multiplexed chardev '{}' (maximum is {})", id, kMostPorts);
    ++entry->attached;
    return port;
  }
  if (entry->attached) return Error("Device '{}' is in use", id);
  entry->attached = 1;
  return static_cast<Backend*>(entry->slot);
}

void Registry::detach(Backend* port) {
  for (auto& [id, entry] : entries_)
    if (entry->own.get() == port) {
      entry->attached = 0;
      entry->own->set_frontend(nullptr);
    }
}

Result<Backend*> Registry::open(const Spec& spec, const std::string& id) {
  if (spec.kind == BackendKind::none) return static_cast<Backend*>(nullptr);
  if (spec.kind == BackendKind::reference) return attach(spec.id);
  RHEA_TRY(add(spec, id));
  return attach(id);
}

Result<void> Registry::remove(const std::string& id) {
  Entry* entry = find(id);
  if (!entry) return Error("Chardev '{}' not found{}", id, did_you_mean(id, order_));
  if (entry->attached) return Error("Chardev '{}' is busy", id);
  if (&entry->slot->device() == terminal_) terminal_ = nullptr;
  entry->slot->flush();
  entries_.erase(id);
  std::erase(order_, id);
  return {};
}

Result<void> Registry::change(const std::string& id, const Spec& spec) {
  Entry* entry = find(id);
  if (!entry) return Error("Chardev '{}' does not exist{}", id, did_you_mean(id, order_));
  if (entry->mux || spec.mux) return Error("Mux device hotswap not supported yet");
  RHEA_TRY(check_spec(spec));
  Terminal* const old_terminal = terminal_;
  const bool was_terminal = &entry->slot->device() == terminal_;
  if (was_terminal) terminal_ = nullptr;
  sys::Fd log;
  if (!spec.log_file.empty()) log = RHEA_TRY(sys::open_output(spec.log_file, spec.log_append));
  auto made = make(spec, id);
  if (!made.ok()) {
    terminal_ = old_terminal;
    return std::move(made.error());
  }
  entry->slot->exchange(made.take());
  if (log) entry->slot->set_log(std::move(log));
  entry->kind = spec.kind;
  return {};
}

Result<void> Registry::send_break(const std::string& id) {
  Entry* entry = find(id);
  if (!entry) return Error("Chardev '{}' not found{}", id, did_you_mean(id, order_));
  if (Frontend* frontend = entry->slot->frontend()) frontend->event(Event::line_break);
  return {};
}

Result<RingBuffer*> Registry::ring_buffer(const std::string& id) {
  Entry* entry = find(id);
  if (!entry) return Error("Device '{}' not found{}", id, did_you_mean(id, order_));
  auto* ring = dynamic_cast<RingBuffer*>(&entry->slot->device());
  if (!ring) return Error("{} is not a ringbuf device", id);
  return ring;
}

std::vector<Registry::Row> Registry::rows() const {
  std::vector<Row> rows;
  for (const std::string& id : order_) {
    const Entry& entry = *find(id);
    rows.push_back({id, filename(id), entry.attached != 0});
    if (entry.mux) rows.push_back({id + "-base", entry.slot->description(), true});
  }
  return rows;
}

std::vector<std::string> Registry::ids() const { return order_; }

std::string Registry::filename(const std::string& id) const {
  const Entry* entry = find(id);
  if (!entry) return {};
  return entry->mux ? "mux" : entry->slot->description();
}

bool Registry::is_mux(const std::string& id) const {
  const Entry* entry = find(id);
  return entry && entry->mux;
}

bool Registry::is_shared(const Backend* port) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [port](const auto& item) { return item.second->mux && item.second->mux->owns(port); });
}

std::string Registry::type_of(const std::string& id) const {
  const Entry* entry = find(id);
  if (!entry) return {};
  if (entry->mux) return "chardev-mux";
  switch (entry->kind) {
    case BackendKind::stdio: return "chardev-stdio";
    case BackendKind::file: return "chardev-file";
    case BackendKind::pty: return "chardev-pty";
    case BackendKind::pipe: return "chardev-pipe";
    case BackendKind::serial: return "chardev-serial";
    case BackendKind::socket: return "chardev-socket";
    case BackendKind::udp: return "chardev-udp";
    case BackendKind::ringbuf: return "chardev-ringbuf";
    case BackendKind::vc: return "chardev-vc";
    default: return "chardev-null";
  }
}

}  // namespace rhea::chardev
