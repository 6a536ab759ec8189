// SPDX-License-Identifier: MIT
#include "tool/lan_members.h"

#include <algorithm>

#include "net/lan/message.h"
#include "net/lan/place.h"
#include "sys/packet_socket.h"

namespace rhea::tool {

using config::Json;

namespace {

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

bool says(const Json& report, const char* key, const std::string& text) {
  return report.contains(key) && report[key].is_string() && report[key].get<std::string>() == text;
}

}  // namespace

std::vector<Json> ask_lan(const std::string& lan) {
  std::vector<Json> reports;
  const auto place = Place::open(lan);
  if (!place.ok()) return reports;
  for (const std::string& socket : place.value().sockets())
    if (auto report = ask(socket)) reports.push_back(std::move(*report));
  const auto address = [](const Json& report) {
    if (!report.contains("address") || !report["address"].is_string()) return u32{0};
    const auto parsed = parse_ipv4(report["address"].get<std::string>());
    return parsed ? parsed->to_v4() : 0;
  };
  std::stable_sort(reports.begin(), reports.end(),
                   [&](const Json& a, const Json& b) { return address(a) < address(b); });
  return reports;
}

std::optional<std::string> find_member(const std::string& lan, const std::string& guest) {
  const auto place = Place::open(lan);
  if (!place.ok()) return {};
  for (const std::string& socket : place.value().sockets()) {
    const auto report = ask(socket);
    if (report && (says(*report, "guest", guest) || says(*report, "address", guest))) return socket;
  }
  return {};
}

}  // namespace rhea::tool
