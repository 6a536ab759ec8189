// SPDX-License-Identifier: MIT
// `rhea net`: plan, up, down, status, doctor.
//
// The journal of a network is a file NAME in the user's runtime folder, net/: a line of JSON for each step, written
// before the step is made. It is locked while a program is at work on it. Down undoes its lines from the last to the
// first, whether they were made or not, and then empties it.
#include <algorithm>
#include <cstdlib>

#include "sys/claim.h"
#include "sys/file.h"
#include "sys/packet_socket.h"
#include "tool/net_doctor.h"
#include "tool/net_plan.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using config::Json;

class Journal {
 public:
  static Result<Journal> open(const std::string& name) {
    RHEA_TRY(sys::runtime_folder("net"));
    sys::Fd lock = RHEA_TRY(sys::claim("net/" + name));
    if (!lock) return Error("another rhea net is at work on {}", name);
    return Journal(name, std::move(lock));
  }
  // The networks that have one, with what is in it.
  static std::vector<std::pair<std::string, std::vector<Json>>> all() {
    std::vector<std::pair<std::string, std::vector<Json>>> list;
    const auto folder = sys::runtime_folder("net");
    if (!folder.ok()) return list;
    for (const std::string& name : sys::names_in(folder.value(), 256))
      if (auto records = read(name); !records.empty()) list.emplace_back(name, std::move(records));
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    return list;
  }
  static std::vector<Json> read(const std::string& name) {
    std::vector<Json> records;
    const auto folder = sys::runtime_folder("net");
    if (!folder.ok()) return records;
    const auto data = sys::read_file(folder.value() + "/" + name, u64{1} << 20);
    if (!data.ok()) return records;
    // A line that is not whole was not written whole: its step was not made.
    for (const std::string& line : split(std::string(data.value().begin(), data.value().end()), '\n'))
      if (auto record = config::parse_json(line); record.ok() && is_record(*record)) records.push_back(record.take());
    return records;
  }
  std::vector<Json> records() const { return read(name_); }
  Result<void> add(const Json& record) const { return sys::append_claim_text(lock_, config::json_text(record) + "\n"); }
  void clear() const { sys::set_claim_text(lock_, ""); }

 private:
  Journal(std::string name, sys::Fd lock) : name_(std::move(name)), lock_(std::move(lock)) {}
  std::string name_;
  sys::Fd lock_;
};

std::string record_texts(const std::vector<NetStep>& steps) {
  std::string text;
  for (usize i = 0; i < steps.size(); ++i) text += fmt::format("{}. {}\n", i + 1, steps[i].text);
  return text;
}

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

// For tests: the program ends at this point as if it were killed. Even: a step is in the journal; odd: it was made.
void maybe_die(usize point) {
  const char* at = std::getenv("RHEA_NET_DIE_AT");
  if (at && parse_number(at) == point) std::_Exit(137);
}

Result<std::string> up(const Words& words) {
  const NetPlan plan = RHEA_TRY(read_net_plan(words));
  if (sys::user_id() != 0) return Error("rhea net up changes the host's network, which takes root; plan shows how");
  const Journal journal = RHEA_TRY(Journal::open(plan.name));
  if (!journal.records().empty())
    return Error("network {} is up already, or half of it", plan.name)
        .with_hint("rhea net down " + plan.name + " first.");
  const std::vector<NetStep> steps = RHEA_TRY(net_steps(plan));
  std::string text;
  for (usize i = 0; i < steps.size(); ++i) {
    RHEA_TRY(journal.add(steps[i].record));
    maybe_die(2 * i);
    Result<void> made = make_step(steps[i].record);
    if (!made.ok()) {
      auto undone = undo(plan.name, journal);
      return Error("step {}, {}: {}; {}", i + 1, steps[i].text, made.error().message(),
                   undone.ok() ? "all is as it was" : undone.error().message());
    }
    maybe_die(2 * i + 1);
    text += fmt::format("{}. {}\n", i + 1, steps[i].text);
  }
  return text + fmt::format(
                    "guests: rhea-system-arm ... -nic bridge,br={0}, with an address of {1}/{2}{3}\n"
                    "undo:   rhea net down {0}\n",
                    plan.name, plan.network.text(), plan.length,
                    plan.kind == NetPlan::Kind::nat ? " and the gateway " + plan.host.text() : "");
}

Result<std::string> plan(const Words& words) {
  const NetPlan plan = RHEA_TRY(read_net_plan(words));
  return record_texts(RHEA_TRY(net_steps(plan))) + "nothing was changed; rhea net up does it\n";
}

Result<std::string> down(const Words& words) {
  if (words.size() != 1) return Error("rhea net down takes one name; rhea net status shows them");
  std::vector<std::string> names;
  for (const auto& [name, records] : Journal::all()) names.push_back(name);
  if (std::find(names.begin(), names.end(), words[0]) == names.end())
    return Error("there is no network {} of rhea net{}", words[0], did_you_mean(words[0], names));
  const Journal journal = RHEA_TRY(Journal::open(words[0]));
  return undo(words[0], journal);
}

Result<std::string> status() {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const std::vector<sys::Link> all = RHEA_TRY(links.links());
  std::string text;
  for (const auto& [name, records] : Journal::all()) {
    const auto bridge = std::find_if(all.begin(), all.end(), [&](const sys::Link& link) { return link.name == name; });
    text += fmt::format("{}: {}\n", name, bridge == all.end() ? "the bridge is gone" : bridge->up ? "up" : "down");
    for (const Json& record : records)
      if (record.at("do") == "address")
        text += fmt::format("  address {}/{}\n", record.value("address", "?"), record.value("length", 0));
    for (const Json& record : records)
      if (record.at("do") == "nat")
        text += fmt::format("  nat {}/{}: {}\n", record.value("network", "?"), record.value("length", 0),
                            RHEA_TRY(sys::has_nat_table(record.value("table", ""))) ? "there" : "gone");
    for (const sys::Link& link : all)
      if (bridge != all.end() && link.master == bridge->index)
        text += fmt::format("  port {}: {}\n", link.name, link.up ? "up" : "down");
  }
  return text.empty() ? std::string("rhea net has made nothing\n") : text;
}

Result<std::string> doctor() {
  const HostFacts facts = RHEA_TRY(look_at_host());
  std::string text;
  for (const Finding& finding : diagnose(facts)) text += fmt::format("{}\n    {}\n", finding.what, finding.fix);
  return text.empty() ? std::string("nothing found that guests would trip over\n") : text;
}

}  // namespace

Result<std::string> net_command(const Words& words) {
  const std::vector<std::string> verbs = {"plan", "up", "down", "status", "doctor"};
  const Words rest = words.empty() ? Words() : Words(words.begin() + 1, words.end());
  if (!words.empty() && words[0] == "plan") return plan(rest);
  if (!words.empty() && words[0] == "up") return up(rest);
  if (!words.empty() && words[0] == "down") return down(rest);
  if (words.size() == 1 && words[0] == "status") return status();
  if (words.size() == 1 && words[0] == "doctor") return doctor();
  return unknown_verb("net", words, verbs);
}

}  // namespace rhea::tool
