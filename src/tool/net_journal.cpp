// SPDX-License-Identifier: MIT
#include "tool/net_journal.h"

#include <algorithm>

#include "sys/claim.h"
#include "sys/file.h"
#include "sys/guardian.h"
#include "sys/packet_socket.h"
#include "tool/net_steps.h"
#include "util/text.h"

namespace rhea::tool {

using config::Json;

namespace {

constexpr const char* kFolder = "net";
constexpr usize kMostNetworks = 256;
constexpr unsigned kTries = 20, kPause = 50;  // ms

}  // namespace

std::string text_at(const Json& record, const char* key) { return record.at(key).get<std::string>(); }

std::string run_file(const std::string& name, const char* end) {
  const auto folder = sys::state_folder(kRunFolder);
  return folder.ok() ? folder.value() + "/" + name + end : std::string();
}

Result<Journal> Journal::open(const std::string& name, bool patient) {
  const std::string path = RHEA_TRY(sys::state_folder(kFolder)) + "/" + name;
  sys::Fd lock = RHEA_TRY(sys::claim_file(path));
  for (unsigned i = 0; patient && !lock && i < kTries; ++i) {
    sys::sleep_milliseconds(kPause);
    lock = RHEA_TRY(sys::claim_file(path));
  }
  if (!lock)
    return Error("another rhea net is at work on {}", name)
        .with_hint("One that waits for a confirmation gets it by: rhea net keep " + name);
  return Journal(name, std::move(lock));
}

std::vector<std::pair<std::string, std::vector<Json>>> Journal::all() {
  std::vector<std::pair<std::string, std::vector<Json>>> list;
  const auto folder = sys::state_folder(kFolder);
  if (!folder.ok()) return list;
  for (const std::string& name : sys::names_in(folder.value(), kMostNetworks))
    if (auto records = read(name); !records.empty()) list.emplace_back(name, std::move(records));
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return list;
}

std::vector<Json> Journal::read(const std::string& name) {
  std::vector<Json> records;
  const auto folder = sys::state_folder(kFolder);
  if (!folder.ok()) return records;
  const auto data = sys::read_file(folder.value() + "/" + name, u64{1} << 20);
  if (!data.ok()) return records;
  // A line that is not whole was not written whole: its step was not made.
  for (const std::string& line : split(std::string(data.value().begin(), data.value().end()), '\n'))
    if (auto record = config::parse_json(line); record.ok() && is_record(*record)) records.push_back(record.take());
  return records;
}

Result<void> Journal::add(const Json& record) const {
  return sys::append_claim_text(lock_, config::json_text(record) + "\n");
}

void Journal::clear() const { sys::set_claim_text(lock_, ""); }

}  // namespace rhea::tool
