// SPDX-License-Identifier: MIT
// The JSON monitor: a greeting, a handshake, then commands (rows of qmp.inc) and their answers, and events.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/json.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

using config::Json;

class QmpMonitor;

// A call of a command, its arguments checked against its row.
struct QmpCall {
  Context& context;
  QmpMonitor& monitor;
  Json arguments;

  bool has(std::string_view name) const { return arguments.contains(name); }
  std::string text(std::string_view name, std::string_view absent = {}) const;
  s64 number(std::string_view name, s64 absent = 0) const;
  bool flag(std::string_view name, bool absent = false) const;
};

// An error's hint is its class where that is not GenericError.
inline Error device_not_found(const std::string& text) { return Error("{}", text).with_hint("DeviceNotFound"); }

// A row of qmp.inc. Types are written in the small language of qmp_schema.h.
struct QmpCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view returns;  // empty: an empty object
  bool out_of_band;          // may be called by exec-oob
  Result<Json> (*run)(QmpCall& call);
};
std::span<const QmpCommand> qmp_commands();
const QmpCommand* find_qmp_command(std::string_view name);

// A row of the events in qmp.inc.
struct QmpEvent {
  std::string_view name;
  std::string_view data;
  s64 interval;  // ns between two of them, at least; 0: all are sent
};
std::span<const QmpEvent> qmp_events();

class QmpMonitor final : public chardev::Frontend {
 public:
  QmpMonitor(chardev::Backend& backend, Context& context, bool pretty);
  ~QmpMonitor() override;
  QmpMonitor(const QmpMonitor&) = delete;

  chardev::Backend& backend() { return backend_; }
  // Greets, if somebody is there.
  void start();

  usize can_receive() override;
  void receive(std::span<const u8> data) override;
  void event(chardev::Event event) override;

 private:
  struct Limited {
    std::string name;  // of the event
    s64 next = 0;      // not before this time
    std::string waiting;
    bool has_waiting = false;
  };
  void greet();
  void send(const Json& value);
  void send_error(const Error& error, const Json* id);
  void handle(Result<Json> request);
  Result<Json> run(Json& request, bool out_of_band);
  Result<Json> negotiate(const Json& arguments);
  Result<void> check_request(const Json& request) const;
  void on_event(const std::string& name, const std::string& data);
  void send_event(const std::string& name, const std::string& data);
  void send_waiting();

  chardev::Backend& backend_;
  Context& context_;
  config::JsonStream stream_;
  bool pretty_;
  bool negotiated_ = false;
  bool oob_ = false;
  unsigned listener_ = 0;
  bool started_ = false;
  bool connected_ = false;
  std::map<std::string, Limited> limited_;
  std::unique_ptr<Timer> limit_timer_;
};

// Commands, by the file that holds them.
#define QMP(name, arguments, returns, oob, run) Result<Json> run(QmpCall& call);
#define EVENT(name, data, interval)
#include "monitor/qmp.inc"
#undef QMP
#undef EVENT

}  // namespace rhea::monitor
