// SPDX-License-Identifier: MIT
// Network backends: the table of their types, and Network, which owns a machine's backends, hubs and filters
// and answers the monitor's questions about them.
//
// Life: the command line makes a Network on the machine's network loop, adds backends (and hub ports for the
// old -net options), gives their ports to the NICs, registers the NICs' ports with add_nic, adds filters, and
// reports check(). All members are called under the network loop's lock (they take it themselves).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/event_loop.h"
#include "net/filters/make_filter.h"
#include "net/hub.h"
#include "net/port.h"
#include "net/vhost/source.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea::net {

class Network;
namespace user {
class UserBackend;
}

// One key=value as it was typed, in order. `type` and `id` are not among them.
using OptionText = std::pair<std::string, std::string>;

// A row of a type's table of options.
struct OptionRow {
  enum Kind : u8 { text, boolean, number } kind;
  std::string_view name;
  std::string_view summary;
  bool repeatable = false;
};

struct BackendContext {
  std::string id;
  EventLoop& loop;
  Clock& wall_clock;  // time of day, for captures
  Log& log;
  Network& network;
  std::vector<std::string>& warnings;     // lines for the user, without "warning: ", about the options
  std::function<void(std::string)> warn;  // the same, later, when something comes up
  // Events of QMP by name, with the text of a JSON object (core/events.h). May be empty.
  std::function<void(std::string name, std::string data)> event = {};
};

struct BackendType {
  std::string_view name;
  std::string_view summary;
  std::span<const OptionRow> options;
  // nullptr: a type that QEMU has and Rhea does not yet: `summary` says what to use instead.
  Result<std::unique_ptr<Port>> (*create)(const BackendContext& context, std::span<const OptionText> options);
  bool hub_port = false;        // its port belongs to a hub
  bool shared_segment = false;  // other machines may be on it: MAC addresses have to differ from theirs
};

// In the order of `-netdev help`.
std::span<const BackendType* const> backend_types();
const BackendType* find_backend_type(std::string_view name);

// A flow of a user network, as monitors tell it.
struct UserFlow {
  std::string netdev;
  std::string protocol;  // "tcp", "udp", "icmp"
  std::string state;     // of TCP
  std::string guest, remote;
  u64 to_guest = 0, to_host = 0;                    // bytes
  u64 segments_to_guest = 0, segments_to_host = 0;  // large ones count once
  u64 retransmissions = 0;                          // towards the guest
  s64 round_trip = 0;                               // of the guest, in ns; 0: not known
  s64 expires = 0;                                  // in ns, of UDP and ICMP
  std::string last_drop;                            // why a segment of the guest was not taken
};

// What rules of a user network kept the guest from.
struct UserBlocked {
  std::string netdev;
  std::string what;  // "tcp 192.0.2.1:80", "name example.org"
  std::string rule;  // as typed; empty: none allows it
  u64 times = 0;
};

// A port of the network, for monitors.
struct PortState {
  std::string name, type, info;
  bool up = true;
  PortCounters counters;
};

// How a NIC tells the segment where it is (QMP's AnnounceParameters), in ms.
struct AnnouncePlan {
  u64 initial = 50, max = 550, rounds = 5, step = 100;
  std::vector<std::string> interfaces;  // names of NICs; none: all
};

class Network {
 public:
  Network(EventLoop& loop, Clock& wall_clock, Log& log);
  ~Network();
  Network(const Network&) = delete;

  // A backend by its type's name. `id` empty: one like "#net123" is made up. Errors as QEMU words them, with
  // more (unknown type, "Duplicate ID 'n0' for netdev", the type's own).
  Result<Port*> add(std::string_view type, std::string id, std::span<const OptionText> options);
  // The same on hub `hub` (-net TYPE).
  Result<Port*> add_on_hub(unsigned hub, std::string_view type, std::string id, std::span<const OptionText> options);
  // A new port of a hub, for a NIC (-net nic), named as QEMU does ("hub0port0").
  Port* add_hub_port(unsigned hub);
  // By id; nullptr if there is none.
  Port* find(std::string_view id) const;
  // The port that a NIC of this backend connects to: the backend's own, or that of the filter before it.
  Port* attach_point(Port* backend) const;
  // Tells of a NIC, for `info network` and filters: call it when the NIC's port exists and is connected.
  void add_nic(Port* nic);
  void remove_nic(Port* nic);
  // The NIC that has this MAC address now; nullptr if none has.
  const Port* nic_with_mac(u64 mac) const;

  // Ends a backend (netdev_del): its NIC is without a link until a backend of the same id is added again.
  Result<void> remove(const std::string& id);
  // Of a NIC both ends of its link; of a backend what its NIC sees (set_link). Errors: "Device 'x' not found".
  Result<void> set_link(const std::string& name, bool up);
  // Several times, later and later. Errors: a name that is no NIC's.
  Result<void> announce(const AnnouncePlan& plan);
  // Whether other machines may be on the segment of a backend or a hub's port.
  bool is_shared(const Port* port) const;
  std::vector<PortState> states() const;

  Result<void> add_filter(const FilterConfig& config);
  Result<void> remove_filter(const std::string& id);
  // `status`, and what the filter says may change.
  Result<void> set_filter(const std::string& id, const std::string& name, const std::string& value);
  // The properties of one as text; empty if there is none of this id.
  Filter::Texts filter_properties(const std::string& id) const;
  // Told when a filter went with its backend.
  std::function<void(const std::string& id)> on_filter_gone;
  // Character devices for filters and guestfwd, and whether the machine's input is recorded or replayed.
  OpenLine open_line;
  OpenDevice open_device;
  vhost::OpenSource open_source;
  bool replaying = false;
  // How a NIC is told of its link and asked to announce itself, if not at once: where the machine's input is recorded.
  std::function<void(Port& nic, bool up)> tell_link;
  std::function<void(Port& nic)> ask_to_announce;
  std::string machine_name;  // -name

  // What is wrong with the set-up, as lines without "warning: ": backends and hubs that lead nowhere.
  std::vector<std::string> check() const;
  // Warnings of the backends made so far (taken away by this call).
  std::vector<std::string> take_warnings();
  // Who is told of warnings while the machine runs; else they go to the standard error output.
  std::function<void(const std::string&)> on_warning;
  // Who is told of events (QMP's names, and data as JSON).
  std::function<void(const std::string& name, const std::string& data)> on_event;

  // The monitor's commands: the text they print, lines ended by \n.
  std::string info_network() const;
  std::string info_usernet() const;
  std::string info_usernet_flows() const;
  std::vector<UserFlow> usernet_flows() const;
  std::vector<UserBlocked> usernet_blocked() const;
  std::string info_usernet_blocked() const;
  // "[id] RULE" in two arguments; empty text on success.
  std::string hostfwd_add(const std::string& id, const std::string& rule);
  std::string hostfwd_remove(const std::string& id, const std::string& rule);

  // Another state of the guest was loaded: connections with it are reset.
  void guest_replaced();
  // The guest was stopped or goes on: timers towards it rest meanwhile.
  void set_running(bool running);

 private:
  struct Entry {
    std::string id;
    Port* port = nullptr;
    std::unique_ptr<Port> owned;  // null: the port belongs to a hub
    const BackendType* type = nullptr;
    int hub = -1;  // given with -net: which hub it is on
  };
  Result<Port*> add_hubport(const std::string& id, std::span<const OptionText> options);
  Result<user::UserBackend*> user_backend(const std::string& id) const;
  std::vector<std::pair<const Entry*, user::UserBackend*>> user_backends() const;
  Hub& hub(unsigned number);
  const Hub* hub_of(const Port* port) const;
  const Entry* entry_of(const Port* port) const;
  bool is_nic(const Port* port) const;
  Filter* find_filter(std::string_view id) const;
  void announce_now(const std::vector<std::string>& names);
  std::string counters_text() const;
  std::string made_up_id();
  std::string client_text(const Port* port) const;

  EventLoop& loop_;
  Clock& wall_clock_;
  Log& log_;
  std::vector<std::string> warnings_;
  std::vector<std::unique_ptr<Hub>> hubs_;
  std::vector<Entry> entries_;
  std::vector<Port*> nics_;
  std::vector<std::unique_ptr<Filter>> filters_;
  std::map<std::string, Port*> orphans_;  // what stood behind a backend that was removed, by the backend's id
  std::set<std::string> links_down_;
  std::unique_ptr<Timer> announce_timer_;
  AnnouncePlan announce_plan_;
  u64 announced_ = 0;  // rounds
  unsigned next_id_ = 0;
};

}  // namespace rhea::net
