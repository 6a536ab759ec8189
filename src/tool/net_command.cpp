// SPDX-License-Identifier: MIT
// `rhea net`: plan, up, keep, down, status, doctor.
//
// Up writes each step into the journal (net_journal.h) before it makes it; down undoes its lines from the last to the
// first, whether they were made or not, and then empties it. Beside both stands a guardian, a process of its own: when
// the first one is killed it undoes at once what is in the journal. When both are killed the journal is still there,
// and down does it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "sys/claim.h"
#include "sys/guardian.h"
#include "sys/privilege.h"
#include "sys/routes.h"
#include "tool/net_doctor.h"
#include "tool/net_forms.h"
#include "tool/net_journal.h"
#include "tool/net_service.h"
#include "tool/net_steps.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using config::Json;

constexpr unsigned kRescueTries = 5;
constexpr unsigned kRescuePause = 500;     // ms
constexpr unsigned kGatewayBefore = 1000;  // ms, for the gateway to answer
constexpr unsigned kGatewayAfter = 3000;   // ms, besides what spanning tree takes
constexpr unsigned kKeepPause = 100;       // ms
constexpr char kDone = 'd', kConfirm = 'c';

// What another network needs too stays, and is that one's to undo from now on.
Result<bool> hand_over(const std::string& name, const Json& record) {
  if (record.at("do") != "sysctl") return false;
  for (const auto& [other, records] : Journal::all()) {
    if (other == name) continue;
    const bool needs = std::any_of(records.begin(), records.end(), [&](const Json& each) {
      return each.at("do") == "sysctl" && each.value("name", "") == record.at("name").get<std::string>();
    });
    if (!needs) continue;
    if (record.at("was") != record.at("now")) RHEA_TRY(RHEA_TRY(Journal::open(other)).add(record));
    return true;
  }
  return false;
}

Result<std::string> undo(const std::string& name, const Journal& journal) {
  std::string text;
  std::vector<Json> records = journal.records();
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    const bool keep = RHEA_TRY(hand_over(name, *record));
    auto done = undo_step(*record, keep);
    if (!done.ok())
      return Error("{}: not all could be undone: {}", name, done.error().message())
          .with_hint("rhea net down " + name + " tries it again.");
    if (!done->empty()) text += *done + "\n";
  }
  journal.clear();
  return text;
}

// The guardian's work.
void rescue(const std::string& name, const Journal& journal) {
  for (unsigned i = 0; i < kRescueTries; ++i) {
    if (undo(name, journal).ok()) return;
    sys::sleep_milliseconds(kRescuePause);
  }
}

std::string keep_file(const std::string& name) { return run_file(name, ".keep"); }

void wait_for_keep(const std::string& name, const Journal& journal, unsigned seconds) {
  for (unsigned i = 0; i < seconds * 1000 / kKeepPause; ++i) {
    if (sys::is_there(keep_file(name))) return sys::remove_file(keep_file(name));
    sys::sleep_milliseconds(kKeepPause);
  }
  rescue(name, journal);
}

// For tests: this process ends at a point as if it were killed ("3"), with the guardian ("3,both").
class Points {
 public:
  explicit Points(int guardian) : guardian_(guardian) {
    const char* at = std::getenv("RHEA_NET_DIE_AT");
    const std::vector<std::string> words = split(at ? at : "", ',');
    point_ = parse_number(words[0]);
    both_ = words.size() > 1 && words[1] == "both";
  }
  void pass() {
    if (point_ != count_++) return;
    if (both_) sys::kill_process(guardian_);
    sys::kill_process(sys::process_id());
  }

 private:
  int guardian_;
  std::optional<u64> point_;
  bool both_ = false;
  u64 count_ = 0;
};

Result<void> make_all(const NetSteps& plan, const Journal& journal, Points& points) {
  for (usize i = 0; i < plan.steps.size(); ++i) {
    const NetStep& step = plan.steps[i];
    std::printf("%zu. %s\n", i + 1, step.text.c_str());
    std::fflush(stdout);
    RHEA_TRY(journal.add(step.record));
    points.pass();
    const Result<void> made = make_step(step.record, [&] { points.pass(); });
    if (!made.ok()) return Error("step {}, {}: {}", i + 1, step.text, made.error().message());
    points.pass();
  }
  return {};
}

Result<u32> index_of(const std::string& name) {
  const auto link = RHEA_TRY(RHEA_TRY(sys::Links::open()).find(name));
  if (!link) return Error("{} is gone", name);
  return link->index;
}

// A bridged network has to reach the gateway that its NIC reached before.
class GatewayCheck {
 public:
  GatewayCheck(const NetPlan& plan, const NetSteps& steps) : plan_(plan), steps_(steps) {}
  Result<void> before() {
    if (steps_.gateway == IpAddress::v4(0) || steps_.own == IpAddress::v4(0)) return {};
    wanted_ = RHEA_TRY(sys::answers_arp(RHEA_TRY(index_of(plan_.nic)), steps_.own, steps_.gateway, kGatewayBefore));
    if (!wanted_)
      std::printf("the gateway %s does not answer now, and is not asked later\n", steps_.gateway.text().c_str());
    return {};
  }
  Result<void> after() const {
    if (!wanted_) return {};
    // A port listens and learns first.
    const unsigned patience = kGatewayAfter + (plan_.bridge.stp ? plan_.bridge.forward_delay * 2 * 10 : 0);
    if (RHEA_TRY(sys::answers_arp(RHEA_TRY(index_of(plan_.name)), steps_.own, steps_.gateway, patience))) return {};
    return Error("the gateway {} answered on {}, and does not on {}", steps_.gateway.text(), plan_.nic, plan_.name);
  }

 private:
  const NetPlan& plan_;
  const NetSteps& steps_;
  bool wanted_ = false;
};

std::string what_now(const NetPlan& plan) {
  const bool macvtap = plan.kind == NetPlan::Kind::macvtap;
  std::string guests = macvtap         ? fmt::format("-nic tap,ifname={}", plan.name)
                       : plan.is_tap() ? fmt::format("-nic tap,ifname={},script=no", plan.name)
                                       : fmt::format("-nic bridge,br={}", plan.name);
  if (plan.is_own() && plan.server == NetPlan::Server::none)
    guests += fmt::format(", with an address of {}/{}{}", plan.network.text(), plan.length,
                          plan.kind == NetPlan::Kind::nat ? " and the gateway " + plan.host.text() : "");
  std::string text = fmt::format("guests: rhea-system-arm ... {}\nundo:   rhea net down {}\n", guests, plan.name);
  if (plan.confirm) text += fmt::format("all is undone in {} s, unless: rhea net keep {}\n", plan.confirm, plan.name);
  return text;
}

Result<std::string> up(const Words& words) {
  const NetPlan plan = RHEA_TRY(read_net_plan(words));
  if (sys::user_id() != 0) return Error("rhea net up changes the host's network, which takes root; plan shows how");
  const Journal journal = RHEA_TRY(Journal::open(plan.name));
  if (!journal.records().empty())
    return Error("network {} is up already, or half of it", plan.name)
        .with_hint("rhea net down " + plan.name + " first.");
  const NetSteps steps = RHEA_TRY(net_steps(plan));
  for (const std::string& note : steps.notes) std::printf("note: %s\n", note.c_str());
  GatewayCheck gateway(plan, steps);
  RHEA_TRY(gateway.before());
  sys::remove_file(keep_file(plan.name));
  sys::Guardian guardian = RHEA_TRY(sys::Guardian::start([&](char word) {
    if (word == '\0') rescue(plan.name, journal);
    if (word == kConfirm) wait_for_keep(plan.name, journal, plan.confirm);
  }));
  Points points(guardian.process());
  Result<void> made = make_all(steps, journal, points);
  if (made.ok()) made = gateway.after();
  if (!made.ok()) {
    auto undone = undo(plan.name, journal);
    if (undone.ok()) guardian.done(kDone);
    return Error("{}; {}", made.error().message(), undone.ok() ? "all is as it was" : undone.error().message());
  }
  guardian.done(plan.confirm ? kConfirm : kDone);
  return what_now(plan);
}

Result<std::string> plan(const Words& words) {
  Words rest;
  std::string form;
  for (const std::string& word : words)
    if (word.starts_with("form=")) form = word.substr(5);
    else rest.push_back(word);
  const NetPlan plan = RHEA_TRY(read_net_plan(rest));
  if (!form.empty()) return net_form(plan, form);
  const NetSteps steps = RHEA_TRY(net_steps(plan));
  std::string text;
  for (const std::string& note : steps.notes) text += "note: " + note + "\n";
  for (usize i = 0; i < steps.steps.size(); ++i) text += fmt::format("{}. {}\n", i + 1, steps.steps[i].text);
  if (steps.gateway != IpAddress::v4(0))
    text += fmt::format("then the gateway {} has to answer, or all is undone\n", steps.gateway.text());
  return text + "nothing was changed; rhea net up does it\n";
}

Result<std::string> known_network(const char* verb, const Words& words) {
  if (words.size() != 1) return Error("rhea net {} takes one name; rhea net status shows them", verb);
  std::vector<std::string> names;
  for (const auto& [name, records] : Journal::all()) names.push_back(name);
  if (std::find(names.begin(), names.end(), words[0]) == names.end())
    return Error("there is no network {} of rhea net{}", words[0], did_you_mean(words[0], names));
  return words[0];
}

Result<std::string> down(const Words& words) {
  const std::string name = RHEA_TRY(known_network("down", words));
  const Journal journal = RHEA_TRY(Journal::open(name));
  sys::Guardian guardian = RHEA_TRY(sys::Guardian::start([&](char word) {
    if (word == '\0') rescue(name, journal);
  }));
  auto text = undo(name, journal);
  guardian.done(kDone);
  return text;
}

Result<std::string> keep(const Words& words) {
  const std::string name = RHEA_TRY(known_network("keep", words));
  if (auto free = Journal::open(name, false); free.ok()) return Error("{} waits for no confirmation", name);
  RHEA_TRY(sys::claim_file(keep_file(name)));
  // The guardian has seen it when the lock is free.
  for (unsigned i = 0; i < 50; ++i) {
    sys::sleep_milliseconds(kKeepPause);
    if (auto free = Journal::open(name, false); !free.ok()) continue;
    if (Journal::read(name).empty()) return Error("it came too late: {} is undone", name);
    return name + " is kept\n";
  }
  return Error("{}: nobody takes the confirmation", name);
}

Result<std::string> status_of(const std::string& name, const std::vector<Json>& records,
                              const std::vector<sys::Link>& all) {
  const auto bridge = std::find_if(all.begin(), all.end(), [&](const sys::Link& link) { return link.name == name; });
  std::string text = fmt::format("{}: {}\n", name, bridge == all.end() ? "it is gone" : bridge->up ? "up" : "down");
  for (const Json& record : records) {
    const std::string what = record.at("do");
    if (what == "address")
      text += fmt::format("  address {}/{}\n", record.value("address", "?"), record.value("length", 0));
    if (what == "nat")
      text += fmt::format("  nat {}/{}: {}\n", record.value("network", "?"), record.value("length", 0),
                          RHEA_TRY(sys::has_nat_table(record.value("table", ""))) ? "there" : "gone");
    if (what == "service") text += fmt::format("  dhcp and dns: {}\n", service_runs(record) ? "running" : "gone");
    if (what == "move") text += fmt::format("  has the addresses of {}\n", record.value("from", "?"));
  }
  for (const sys::Link& link : all)
    if (bridge != all.end() && link.master == bridge->index)
      text += fmt::format("  port {}: {}\n", link.name, link.up ? "up" : "down");
  return text;
}

Result<std::string> status() {
  const std::vector<sys::Link> all = RHEA_TRY(RHEA_TRY(sys::Links::open()).links());
  std::string text;
  for (const auto& [name, records] : Journal::all()) text += RHEA_TRY(status_of(name, records, all));
  return text.empty() ? std::string("rhea net has made nothing\n") : text;
}

Result<std::string> doctor() {
  const HostFacts facts = RHEA_TRY(look_at_host());
  std::string text;
  for (const Finding& finding : diagnose(facts)) text += fmt::format("{}\n    {}\n", finding.what, finding.fix);
  return text.empty() ? std::string("nothing found that guests would trip over\n") : text;
}

}  // namespace

Result<std::string> net_command(const Words& words, int&) {
  const std::vector<std::string> verbs = {"plan", "up", "keep", "down", "status", "doctor"};
  const Words rest = words.empty() ? Words() : Words(words.begin() + 1, words.end());
  if (!words.empty() && words[0] == "plan") return plan(rest);
  if (!words.empty() && words[0] == "up") return up(rest);
  if (!words.empty() && words[0] == "keep") return keep(rest);
  if (!words.empty() && words[0] == "down") return down(rest);
  if (!words.empty() && words[0] == "serve") return serve_network(rest);  // of up's own
  if (words.size() == 1 && words[0] == "status") return status();
  if (words.size() == 1 && words[0] == "doctor") return doctor();
  return unknown_verb("net", words, verbs);
}

}  // namespace rhea::tool
