// SPDX-License-Identifier: MIT
// Making and undoing what records say (net_steps.h). Undoing takes a step that was made, half made or not made.
#include <algorithm>

#include "sys/routes.h"
#include "sys/tap.h"
#include "tool/net_journal.h"
#include "tool/net_service.h"
#include "tool/net_steps.h"
#include "util/text.h"

namespace rhea::tool {

using config::Json;

namespace {

Result<sys::Link> link_of(sys::Links& links, const std::string& name) {
  auto link = RHEA_TRY(links.find(name));
  if (!link) return Error("{} is gone", name);
  return std::move(*link);
}

std::optional<std::vector<u8>> bytes_of(const Json& value) {
  if (!value.is_string()) return std::nullopt;
  const std::string text = value.get<std::string>();
  std::vector<u8> bytes;
  for (usize i = 0; i + 1 < text.size(); i += 2) {
    const auto byte = parse_number("0x" + text.substr(i, 2));
    if (!byte) return std::nullopt;
    bytes.push_back(static_cast<u8>(*byte));
  }
  return text.size() % 2 ? std::nullopt : std::optional(std::move(bytes));
}

std::vector<std::vector<u8>> bodies_of(const Json& list) {
  std::vector<std::vector<u8>> bodies;
  for (const Json& each : list) bodies.push_back(bytes_of(each).value_or(std::vector<u8>()));
  return bodies;
}

// Making.

Result<void> make_bridge(const Json& record, const std::function<void()>& between) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  sys::BridgeOptions options;
  options.mac = RHEA_TRY(read_station(text_at(record, "mac")));
  options.stp = record.at("stp").get<bool>();
  options.forward_delay = record.at("delay").get<u32>();
  options.hello = record.at("hello").get<u32>();
  const std::string name = text_at(record, "name");
  RHEA_TRY(links.add_bridge(name, options));
  if (!record.at("up").get<bool>()) return {};
  between();
  return links.set_up(RHEA_TRY(link_of(links, name)).index);
}

Result<void> make_macvtap(const Json& record, const std::function<void()>& between) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const std::string name = text_at(record, "name");
  const u32 over = RHEA_TRY(link_of(links, text_at(record, "over"))).index;
  RHEA_TRY(links.add_macvtap(name, over, RHEA_TRY(read_station(text_at(record, "mac"))), record.at("mode").get<u32>()));
  between();
  const u32 index = RHEA_TRY(link_of(links, name)).index;
  if (const unsigned user = record.at("user").get<unsigned>()) RHEA_TRY(sys::give_macvtap(name, index, user));
  between();
  return links.set_up(index);
}

Result<void> make_tap(const Json& record) {
  const std::string name = text_at(record, "name");
  return sys::make_persistent_tap(name, record.at("user").get<unsigned>(),
                                  RHEA_TRY(read_station(text_at(record, "mac"))));
}

Result<void> make_address(const Json& record, const std::function<void()>& between) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const sys::Link link = RHEA_TRY(link_of(links, text_at(record, "name")));
  const auto address = parse_ipv4(text_at(record, "address"));
  if (!address) return Error("is no address");
  RHEA_TRY(links.add_address({link.index, *address, record.at("length").get<unsigned>()}));
  between();
  return links.set_up(link.index);
}

Result<void> make_port(const Json& record) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const sys::Link nic = RHEA_TRY(link_of(links, text_at(record, "name")));
  return links.set_master(nic.index, RHEA_TRY(link_of(links, text_at(record, "bridge"))).index);
}

// Addresses first on both, then routes, so that at no moment this host cannot answer.
Result<void> move_all(const Json& record, u32 from, u32 to, bool home, const std::function<void()>& between) {
  sys::Routes routes = RHEA_TRY(sys::Routes::open());
  const auto addresses = bodies_of(record.at("addresses"));
  for (const auto& each : addresses) {
    RHEA_TRY(routes.put_address(each, to, home));
    between();
  }
  for (const auto& each : bodies_of(record.at("routes"))) {
    RHEA_TRY(routes.put_route(each, to));
    between();
  }
  if (from != 0)
    for (const auto& each : addresses) {
      RHEA_TRY(routes.drop_address(each, from));
      between();
    }
  return {};
}

Result<void> make_move(const Json& record, const std::function<void()>& between) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const u32 from = RHEA_TRY(link_of(links, text_at(record, "from"))).index;
  return move_all(record, from, RHEA_TRY(link_of(links, text_at(record, "to"))).index, false, between);
}

Result<void> make_nat(const Json& record) {
  sys::NatTable table{.name = text_at(record, "table"),
                      .network = parse_ipv4(text_at(record, "network")).value_or(IpAddress::v4(0)),
                      .length = record.at("length").get<unsigned>(),
                      .forwards = {}};
  for (const Json& each : record.at("forwards"))
    table.forwards.push_back({each.at("udp").get<bool>(), each.at("port").get<u16>(),
                              parse_ipv4(text_at(each, "guest")).value_or(IpAddress::v4(0)),
                              each.at("guest-port").get<u16>()});
  return sys::add_nat_table(table);
}

// Undoing.

Result<std::string> undo_interface(const Json& record, const std::string& kind) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const std::string name = text_at(record, "name");
  const auto link = RHEA_TRY(links.find(name));
  if (!link) return std::string();
  if (link->kind != kind || station_text(link->mac) != text_at(record, "mac"))
    return fmt::format("{} is left: it is not the one that was made", name);
  RHEA_TRY(links.remove(link->index));
  return fmt::format("{} {} is gone, with its addresses", kind == "tun" ? "tap" : kind, name);
}

Result<std::string> undo_port(const Json& record) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const std::string name = text_at(record, "name");
  const auto nic = RHEA_TRY(links.find(name));
  const auto bridge = RHEA_TRY(links.find(text_at(record, "bridge")));
  if (!nic || !bridge || nic->master != bridge->index) return std::string();
  RHEA_TRY(links.set_master(nic->index, 0));
  return fmt::format("{} is no port of {} any more", name, bridge->name);
}

Result<std::string> undo_move(const Json& record) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const std::string home = text_at(record, "from");
  const auto nic = RHEA_TRY(links.find(home));
  if (!nic) return fmt::format("{} is gone: its addresses and routes have no place", home);
  const auto bridge = RHEA_TRY(links.find(text_at(record, "to")));
  RHEA_TRY(move_all(record, bridge ? bridge->index : 0, nic->index, true, [] {}));
  return fmt::format("addresses and routes are on {} again", home);
}

Result<std::string> undo_sysctl(const Json& record, bool keep) {
  const std::string name = text_at(record, "name"), was = text_at(record, "was");
  if (keep || was == text_at(record, "now") || sys::read_sysctl(name) != text_at(record, "now")) return std::string();
  RHEA_TRY(sys::write_sysctl(name, was));
  return fmt::format("/proc/sys/{} is {} again", name, was);
}

Result<std::string> undo_nat(const Json& record) {
  const std::string table = text_at(record, "table");
  if (!RHEA_TRY(sys::has_nat_table(table))) return std::string();
  RHEA_TRY(sys::remove_nat_table(table));
  return fmt::format("nftables table ip {} is gone", table);
}

// What a record has to have.
class Shape {
 public:
  explicit Shape(const Json& value) : value_(value) {}
  bool texts(std::initializer_list<const char*> names) const {
    return all(names, [](const Json& each) { return each.is_string(); });
  }
  bool numbers(std::initializer_list<const char*> names) const {
    return all(names, [](const Json& each) { return each.is_number_unsigned() && each.get<u64>() <= UINT32_MAX; });
  }
  bool flags(std::initializer_list<const char*> names) const {
    return all(names, [](const Json& each) { return each.is_boolean(); });
  }
  template <typename Check>
  bool list(const char* name, Check check) const {
    return value_.contains(name) && value_[name].is_array() &&
           std::all_of(value_[name].begin(), value_[name].end(), check);
  }

 private:
  template <typename Check>
  bool all(std::initializer_list<const char*> names, Check check) const {
    return std::all_of(names.begin(), names.end(),
                       [&](const char* name) { return value_.contains(name) && check(value_[name]); });
  }
  const Json& value_;
};

bool is_forward(const Json& value) {
  const Shape shape(value);
  return value.is_object() && shape.flags({"udp"}) && shape.texts({"guest"}) && shape.numbers({"port", "guest-port"});
}

}  // namespace

bool is_record(const Json& value) {
  if (!value.is_object() || !value.contains("do") || !value["do"].is_string()) return false;
  const std::string what = text_at(value, "do");
  const Shape shape(value);
  if (what == "bridge")
    return shape.texts({"name", "mac"}) && shape.numbers({"delay", "hello"}) && shape.flags({"stp", "up"});
  if (what == "tap") return shape.texts({"name", "mac"}) && shape.numbers({"user"});
  if (what == "macvtap") return shape.texts({"name", "over", "mac"}) && shape.numbers({"mode", "user"});
  if (what == "address") return shape.texts({"name", "address"}) && shape.numbers({"length"});
  if (what == "port") return shape.texts({"name", "bridge"});
  if (what == "sysctl") return shape.texts({"name", "was", "now"}) && value["name"] == kForwarding;
  if (what == "move") {
    const auto is = [](bool (*check)(const std::vector<u8>&)) {
      return [check](const Json& each) {
        const auto bytes = bytes_of(each);
        return bytes && check(*bytes);
      };
    };
    return shape.texts({"from", "to"}) && shape.list("addresses", is(sys::is_address_body)) &&
           shape.list("routes", is(sys::is_route_body));
  }
  if (what == "service") return is_service_record(value);
  return what == "nat" && shape.texts({"table", "network"}) && shape.numbers({"length"}) &&
         shape.list("forwards", is_forward);
}

Result<void> make_step(const Json& record, const std::function<void()>& between) {
  const std::string what = text_at(record, "do");
  if (what == "bridge") return make_bridge(record, between);
  if (what == "tap") return make_tap(record);
  if (what == "macvtap") return make_macvtap(record, between);
  if (what == "address") return make_address(record, between);
  if (what == "port") return make_port(record);
  if (what == "move") return make_move(record, between);
  if (what == "nat") return make_nat(record);
  if (what == "service") return start_service(record);
  const std::string now = text_at(record, "now");
  return text_at(record, "was") == now ? Result<void>() : sys::write_sysctl(text_at(record, "name"), now);
}

Result<std::string> undo_step(const Json& record, bool keep) {
  const std::string what = text_at(record, "do");
  if (what == "bridge") return undo_interface(record, "bridge");
  if (what == "tap") return undo_interface(record, "tun");
  if (what == "macvtap") return undo_interface(record, "macvtap");
  if (what == "port") return undo_port(record);
  if (what == "move") return undo_move(record);
  if (what == "nat") return undo_nat(record);
  if (what == "service") return end_service(record);
  return what == "sysctl" ? undo_sysctl(record, keep) : Result<std::string>(std::string());
}

}  // namespace rhea::tool
