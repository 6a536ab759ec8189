// SPDX-License-Identifier: MIT
// `rhea lan`: asks every member of a LAN, each by its socket, what it knows. A member that does not answer (its process
// is stopped) is passed over after a while; what it says is JSON of any content, and is checked as such.
#include <algorithm>

#include "config/json.h"
#include "net/lan/message.h"
#include "net/lan/place.h"
#include "sys/packet_socket.h"
#include "tool/lan_exec.h"
#include "tool/tool.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using config::Json;
using namespace net::lan;

constexpr unsigned kPatience = 2000;  // ms for an answer

// Nothing: nobody is there, or nothing that makes sense came.
std::optional<Json> ask(const std::string& socket) {
  int error = 0;
  const sys::Fd fd = sys::connect_packets(socket, error);
  if (!fd || sys::send_packet(fd.get(), encode({.kind = Kind::ask})).outcome != sys::ReadOutcome::data) return {};
  if (!sys::wait_packet(fd.get(), kPatience)) return {};
  std::vector<u8> buffer(kLargestReport);
  const sys::Packet packet = sys::receive_packet(fd.get(), buffer);
  if (packet.got.outcome != sys::ReadOutcome::data || packet.truncated) return {};
  const auto message = decode(std::span<const u8>(buffer).first(packet.got.count));
  if (!message || message->kind != Kind::report) return {};
  auto value = config::parse_json(message->text);
  if (!value.ok() || !value->is_object()) return {};
  return value.take();
}

}  // namespace

std::vector<Json> ask_lan(const std::string& lan) {
  std::vector<Json> reports;
  const auto place = Place::open(lan);
  if (!place.ok()) return reports;
  for (const std::string& socket : place.value().sockets())
    if (auto report = ask(socket)) reports.push_back(std::move(*report));
  const auto address = [](const Json& report) {
    const auto parsed = parse_ipv4(report.value("address", std::string()));
    return parsed ? parsed->to_v4() : 0;
  };
  std::stable_sort(reports.begin(), reports.end(),
                   [&](const Json& a, const Json& b) { return address(a) < address(b); });
  return reports;
}

namespace {

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
  return unknown_verb("lan", words, {"list", "show", "exec"});
}

}  // namespace rhea::tool
