// SPDX-License-Identifier: MIT
// `rhea lan`: who is on the LANs of this user, and the host's ways into them.
#include <algorithm>

#include "net/lan/place.h"
#include "tool/lan_exec.h"
#include "tool/lan_members.h"
#include "tool/lan_proxy.h"
#include "tool/tool.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using config::Json;
using namespace net::lan;

// Of a member's report: text for a terminal, whatever it says.
std::string text_of(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return "?";
  const Json& value = object[key];
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  for (char& c : text)
    if (c < 0x20 || c > 0x7e) c = '?';
  return text.substr(0, 80);
}

Result<std::string> list() {
  std::string text;
  for (const std::string& lan : Place::all()) {
    std::vector<std::string> guests;
    for (const Json& report : ask_lan(lan))
      guests.push_back(text_of(report, "guest") + " " + text_of(report, "address"));
    if (!guests.empty()) text += fmt::format("{}: {}\n", lan, join(guests, ", "));
  }
  return text.empty() ? std::string("no LAN has guests now\n") : text;
}

std::string show_text(const std::vector<Json>& reports) {
  std::string text =
      fmt::format("{:<20} {:<15} {:>8} {:>12} {:>14} {:>12} {:>14} {:>8} {:>10}\n", "guest", "address", "process",
                  "frames sent", "bytes sent", "frames got", "bytes got", "dropped", "neighbours");
  for (const Json& report : reports) {
    const Json traffic = report.value("traffic", Json::object());
    const Json neighbours = report.value("neighbours", Json::array());
    text += fmt::format("{:<20} {:<15} {:>8} {:>12} {:>14} {:>12} {:>14} {:>8} {:>10}\n", text_of(report, "guest"),
                        text_of(report, "address"), text_of(report, "process"), text_of(traffic, "frames-in"),
                        text_of(traffic, "bytes-in"), text_of(traffic, "frames-out"), text_of(traffic, "bytes-out"),
                        text_of(traffic, "dropped"), neighbours.size());
  }
  return text;
}

Result<std::string> show(const Words& words) {
  std::string lan;
  bool json = false;
  for (const std::string& word : words) {
    if (word == "--json") json = true;
    else if (lan.empty()) lan = word;
    else return Error("rhea lan show takes one name, not also '{}'", word);
  }
  if (lan.empty()) return Error("rhea lan show needs the name of a LAN; rhea lan list shows them");
  const std::vector<std::string> known = Place::all();
  if (std::find(known.begin(), known.end(), lan) == known.end())
    return Error("no guest was ever on a LAN '{}'{}", lan, did_you_mean(lan, known))
        .with_hint("rhea-system-arm ... -nic lan,name=" + lan + " puts one there.");
  const std::vector<Json> reports = ask_lan(lan);
  if (json) return config::json_text(Json(reports), true) + "\n";
  if (reports.empty()) return fmt::format("no guest is on LAN '{}' now\n", lan);
  return show_text(reports);
}

}  // namespace

Result<std::string> lan_command(const Words& words, int& status) {
  if (!words.empty() && words[0] == "list" && words.size() == 1) return list();
  if (!words.empty() && words[0] == "show") return show({words.begin() + 1, words.end()});
  if (!words.empty() && words[0] == "exec") return lan_exec({words.begin() + 1, words.end()}, status);
  if (!words.empty() && words[0] == "proxy") return lan_proxy({words.begin() + 1, words.end()});
  return unknown_verb("lan", words, {"list", "show", "exec", "proxy"});
}

}  // namespace rhea::tool
