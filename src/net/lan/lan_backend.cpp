// SPDX-License-Identifier: MIT
#include "net/lan/lan_backend.h"

#include <algorithm>

#include "config/json.h"
#include "net/lan/guard.h"
#include "sys/claim.h"

namespace rhea::net::lan {

namespace {

constexpr unsigned kMostTold = 32;
constexpr unsigned kReads = 64;               // frames of a neighbour in a row
constexpr usize kMostAddresses = 256;         // of one neighbour
constexpr s64 kPatience = 20 * kMillisecond;  // of the guest with a neighbour that takes nothing
constexpr u64 kSteady = 64 * 1024;            // bytes that a neighbour takes in that time
constexpr unsigned kMostRounds = kRingBytes / kSteady;

u64 mac_number(const u8* mac) {
  u64 number = 0;
  for (unsigned i = 0; i < 6; ++i) number = number << 8 | mac[i];
  return number;
}

std::string net_text(const user::UserConfig& config) {
  return fmt::format("net={}/{},host={},dns={}{}", config.network.text(), config.prefix_length, config.host.text(),
                     config.dns.text(), config.ipv6 ? ",ipv6-prefix=" + config.prefix6.text() : "");
}

}  // namespace

class LanBackend::Inside final : public Port {
 public:
  explicit Inside(LanBackend& lan) : Port(lan.name()), lan_(lan) {}
  Caps caps() const override { return lan_.peer() ? lan_.peer()->caps() : Caps{}; }
  Sent send(const Frame& frame) override { return lan_.deliver(frame); }
  bool can_reserve() const override { return lan_.peer() && lan_.peer()->can_reserve(); }
  bool reserve(usize bytes, Reservation& reservation) override {
    return lan_.peer() && lan_.peer()->reserve(bytes, reservation);
  }
  void commit(Reservation& reservation, usize used, const Offload& offload) override {
    if (!lan_.peer()) return;
    ++lan_.counters_.frames_out;
    lan_.counters_.bytes_out += used;
    lan_.peer()->commit(reservation, used, offload);
  }
  void abort(Reservation& reservation) override {
    if (lan_.peer()) lan_.peer()->abort(reservation);
  }
  std::string type() const override { return "lan"; }
  std::string info() const override { return {}; }

 private:
  LanBackend& lan_;
};

const BackendType& lan_type() {
  static const std::vector<OptionRow> rows = [] {
    std::vector<OptionRow> list{{OptionRow::text, "name", "name of the LAN"}};
    for (const OptionRow& row : user::user_options()) list.push_back(row);
    return list;
  }();
  static const BackendType type{"lan", "guests of this user that name the same LAN, and the user network's way out",
                                rows,  LanBackend::create,
                                false, true};
  return type;
}

namespace {

// The options of the own guest's router; `forwards` gets those for other guests.
Result<std::vector<OptionText>> router_options(std::span<const OptionText> given, const Message& hello,
                                               std::vector<LanForward>& forwards) {
  std::vector<OptionText> options;
  bool named = false;
  for (const auto& [key, value] : given) {
    named |= key == "hostname";
    if (key == "name") continue;
    auto forward = key == "hostfwd" ? split_forward(value) : std::nullopt;
    if (!forward) {
      options.emplace_back(key, value);
    } else if (forward->guest == hello.name || forward->guest == hello.address.text()) {
      options.emplace_back(key, forward->rule);
    } else {
      forwards.push_back(std::move(*forward));
    }
  }
  options.emplace_back("dhcpstart", hello.address.text());
  if (!named) options.emplace_back("hostname", hello.name);
  return options;
}

// The user network's configuration without what depends on the guest's address.
Result<user::UserConfig> read_config(std::span<const OptionText> given, std::string& lan) {
  std::vector<OptionText> options;
  for (const auto& [key, value] : given) {
    if (key == "name") lan = value;
    else if (key != "hostfwd") options.emplace_back(key, value);
  }
  if (lan.empty()) return Error("Parameter 'name' is missing");
  std::vector<std::string> said_later;
  user::UserConfig config = RHEA_TRY(user::parse_user_options(options, said_later));
  if (!config.ipv4) return Error("a LAN needs IPv4: its guests get their addresses by it; ipv4=off is for user");
  return config;
}

Place::Range range_of(const user::UserConfig& config) {
  return {config.dhcp_start, IpAddress::v4(config.broadcast().to_v4() - 1), [config](const IpAddress& address) {
            const auto serves = [&](const user::GuestForward& rule) { return rule.address == address; };
            const auto kept = [&](const user::StaticLease& lease) { return lease.address == address; };
            return address != config.host && address != config.dns && address != config.smb_server &&
                   std::none_of(config.guest_forwards.begin(), config.guest_forwards.end(), serves) &&
                   std::none_of(config.leases.begin(), config.leases.end(), kept);
          }};
}

}  // namespace

Result<std::unique_ptr<Port>> LanBackend::create(const BackendContext& context, std::span<const OptionText> given) {
  std::string lan;
  const user::UserConfig config = RHEA_TRY(read_config(given, lan));
  Plan plan{.place = RHEA_TRY(Place::open(lan)), .claim = {}, .hello = {}, .router = {}, .forwards = {}};
  plan.hello.name = label_of(context.network.machine_name);
  plan.claim = RHEA_TRY(plan.place.claim_address(plan.hello.name, range_of(config)));
  plan.hello.address = plan.claim.address;
  if (plan.hello.name.empty()) plan.hello.name = fmt::format("vm{}", plan.claim.address.to_v4() & ~config.netmask());
  plan.hello.net = net_text(config);
  plan.router = RHEA_TRY(router_options(given, plan.hello, plan.forwards));
  std::unique_ptr<Port> router = RHEA_TRY(user::UserBackend::create(context, plan.router));
  auto backend = std::make_unique<LanBackend>(context, std::move(plan), std::move(router));
  RHEA_TRY(backend->members_->join());
  return std::unique_ptr<Port>(std::move(backend));
}

LanBackend::LanBackend(const BackendContext& context, Plan plan, std::unique_ptr<Port> router)
    : WireBackend(context), place_(plan.place), router_port_(std::move(router)),
      router_(static_cast<user::UserBackend*>(router_port_.get())), inside_(std::make_unique<Inside>(*this)),
      forwards_(router_->stack(), std::move(plan.forwards)), buffer_(kMaxGsoFrame),
      patience_(context.loop.real_clock().timer([this] { waited(); })),
      members_(std::make_unique<Members>(context.loop, *this, plan.place, plan.hello)) {
  Port::connect(*router_, *inside_);
  const user::UserConfig& config = router_->stack().config();
  own_addresses_ = {config.host, config.dns};
  own_records_ = config.records;
  own_records_.push_back({plan.hello.name, user::NameRecord::a, plan.hello.address, {}});
  const u32 part = plan.claim.address.to_v4() & ~config.netmask();
  const Place::Range range = range_of(config);
  router_->stack().lease_singly(plan.claim.address, static_cast<u16>(0x1000 + part * 64), [this, range] {
    auto more = place_.claim_address({}, range);
    if (!more.ok()) return IpAddress::v4(0);
    claims_.push_back(more.take());
    return claims_.back().address;
  });
  claims_.push_back(std::move(plan.claim));
  update_names();
}

LanBackend::~LanBackend() {
  members_.reset();
  Port::disconnect(*inside_);
}

Caps LanBackend::caps() const {
  return {.checksum = true, .tso4 = true, .tso6 = true, .uso = true, .max_frame = kMaxGsoFrame};
}

std::string LanBackend::info() const {
  const Message& hello = members_->hello();
  return fmt::format("name={},address={},guest={},neighbours={}", place_.name(), hello.address.text(), hello.name,
                     members_->live().size());
}

// --- from the guest -----------------------------------------------------------------------------------------------

Sent LanBackend::send(const Frame& frame) {
  std::array<u8, kEthernetHeader> head;
  if (!is_up() || frame.size() > kMaxGsoFrame || frame.copy(0, head.data(), head.size()) != head.size())
    return counted(Sent::dropped, frame);
  if (is_router_mac(head.data())) return counted(router_->send(frame), frame);
  if (head[0] & 1) {
    router_->send(frame);
    return counted(send_to_all(frame), frame);
  }
  const auto known = table_.find(mac_number(head.data()));
  return counted(known == table_.end() ? send_to_all(frame) : send_to(*known->second, frame, true), frame);
}

Sent LanBackend::send_to_all(const Frame& frame) {
  for (Neighbour* neighbour : members_->live()) send_to(*neighbour, frame, false);
  return Sent::taken;
}

Sent LanBackend::send_to(Neighbour& neighbour, const Frame& frame, bool may_wait) {
  switch (neighbour.write(frame)) {
    case RingResult::done: return Sent::taken;
    case RingResult::broken:
      members_->drop(neighbour, "it says to have read what was not written");
      return Sent::dropped;
    case RingResult::nothing: break;
  }
  if (!may_wait || neighbour.stalled) {
    ++neighbour.counters.dropped;
    return Sent::dropped;
  }
  wait_for(neighbour);
  return Sent::busy;
}

// The guest waits for the neighbour as long as that one is at work: a wire that is slow loses nothing. One that is
// stopped, or plays dead, must not hold up frames for others.
void LanBackend::wait_for(Neighbour& neighbour) {
  if (waiting_for_ == &neighbour) return;
  waiting_for_ = &neighbour;
  consumed_ = neighbour.consumed();
  rounds_ = 0;
  patience_->arm(loop_.real_clock().now() + kPatience);
}

void LanBackend::waited() {
  if (!waiting_for_) return;
  const u64 consumed = waiting_for_->consumed();
  if (consumed - consumed_ < kSteady || ++rounds_ > kMostRounds) {
    waiting_for_->stalled = true;
    return stop_waiting();
  }
  consumed_ = consumed;
  patience_->arm(loop_.real_clock().now() + kPatience);
}

void LanBackend::stop_waiting() {
  waiting_for_ = nullptr;
  patience_->cancel();
  if (peer()) peer()->on_room();
}

// --- to the guest -------------------------------------------------------------------------------------------------

void LanBackend::on_bell(Neighbour& neighbour) {
  neighbour.stalled = false;
  if (waiting_for_ == &neighbour) stop_waiting();
  pump(neighbour);
}

void LanBackend::pump(Neighbour& neighbour) {
  for (unsigned i = 0; !held_ && neighbour.live(); ++i) {
    if (i == kReads) return pump_soon();
    usize size = 0;
    switch (neighbour.read(buffer_, size, held_offload_)) {
      case RingResult::nothing: return;
      case RingResult::broken: return members_->drop(neighbour, "what it wrote is no frame");
      case RingResult::done: held_ = size; break;
    }
    take(neighbour);
  }
}

void LanBackend::pump_soon() {
  if (std::exchange(pump_posted_, true)) return;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.lock()) return;
    pump_posted_ = false;
    pump_all();
  });
}

void LanBackend::pump_all() {
  for (Neighbour* neighbour : members_->live())
    if (!held_) pump(*neighbour);
}

// The frame in buffer_: a copy that nobody else can change.
void LanBackend::take(Neighbour& neighbour) {
  const std::span<const u8> frame(buffer_.data(), held_);
  if (is_forgery(frame, own_addresses_)) {
    ++neighbour.counters.dropped;
    held_ = 0;
    return;
  }
  learn(neighbour, &buffer_[6]);
  hand_on();
}

bool LanBackend::hand_on() {
  const Piece piece{buffer_.data(), held_};
  if (deliver(Frame{{&piece, 1}, held_offload_}) == Sent::busy) return false;
  held_ = 0;
  return true;
}

void LanBackend::on_room() {
  router_->on_room();
  if (held_ && !hand_on()) return;
  pump_all();
}

void LanBackend::learn(Neighbour& neighbour, const u8* mac) {
  const u64 number = mac_number(mac);
  const auto known = table_.find(number);
  if (known == table_.end()) {
    if (neighbour.addresses == kMostAddresses) return;
    table_.emplace(number, &neighbour);
    ++neighbour.addresses;
  } else if (known->second != &neighbour && neighbour.addresses < kMostAddresses) {
    --known->second->addresses;
    known->second = &neighbour;
    ++neighbour.addresses;
  }
}

// --- who is there -------------------------------------------------------------------------------------------------

// Neighbours that come again and again must not fill a log.
void LanBackend::tell(const std::string& text) {
  if (told_ >= kMostTold) return;
  if (++told_ < kMostTold) say(text);
  else say("what else is wrong with neighbours is not told");
}

void LanBackend::on_joined(Neighbour& neighbour) {
  const Message& hello = members_->hello();
  if (neighbour.name() == hello.name)
    tell(fmt::format("two guests of LAN '{}' are named '{}': the name stands for both; -name gives others",
                     place_.name(), hello.name));
  if (neighbour.net() != hello.net)
    tell(fmt::format("guest '{}' of LAN '{}' has another network: {}; this one has {}", neighbour.name(), place_.name(),
                     neighbour.net(), hello.net));
  update_names();
  forwards_.on_joined(neighbour);
}

void LanBackend::on_left(Neighbour& neighbour, const std::string& why) {
  if (!why.empty()) tell(fmt::format("guest '{}' of LAN '{}' is cut off: {}", neighbour.name(), place_.name(), why));
  std::erase_if(table_, [&](const auto& entry) { return entry.second == &neighbour; });
  forwards_.on_left(neighbour);
  update_names();
  if (waiting_for_ != &neighbour) return;
  // Not from within the guest's own sending.
  waiting_for_ = nullptr;
  patience_->cancel();
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.lock() && peer()) peer()->on_room();
  });
}

void LanBackend::on_message(Neighbour& neighbour, const Message& message) {
  if (message.kind == Kind::forward) forwards_.on_request(neighbour, message.text);
  else if (message.kind == Kind::refusal)
    tell(fmt::format("a port for guest '{}' is not forwarded: {}", neighbour.name(), message.text));
  else members_->drop(neighbour, "it sent a message that is not for members");
}

// Whoever cannot have it sees the stream end.
void LanBackend::on_dial(u16 port, sys::Fd stream) {
  router_->stack().join({members_->hello().address, port, 0}, std::move(stream));
}

// A neighbour names itself and its guest's address: neither may be the router's.
void LanBackend::update_names() {
  const user::UserConfig& config = router_->stack().config();
  std::vector<user::NameRecord> records = own_records_;
  for (const Neighbour* neighbour : members_->live()) {
    const std::string& name = neighbour->name();
    const IpAddress& address = neighbour->address();
    if (name == "host" || name == "gateway" || name == "dns") continue;
    if (address == config.host || address == config.dns || !address.in_prefix(config.network, config.prefix_length))
      continue;
    records.push_back({name, user::NameRecord::a, address, {}});
  }
  router_->stack().set_records(std::move(records));
}

std::string LanBackend::report() {
  const auto numbers = [](const PortCounters& counters) {
    return config::Json{{"frames-in", counters.frames_in},
                        {"bytes-in", counters.bytes_in},
                        {"frames-out", counters.frames_out},
                        {"bytes-out", counters.bytes_out},
                        {"dropped", counters.dropped}};
  };
  const Message& hello = members_->hello();
  config::Json value{{"lan", place_.name()},
                     {"guest", hello.name},
                     {"address", hello.address.text()},
                     {"process", sys::process_id()},
                     {"netdev", name()},
                     {"network", hello.net},
                     {"traffic", numbers(counters())},
                     {"neighbours", config::Json::array()}};
  for (const Neighbour* neighbour : members_->live()) {
    config::Json each = numbers(neighbour->counters);
    each["guest"] = neighbour->name();
    value["neighbours"].push_back(std::move(each));
  }
  return config::json_text(value);
}

}  // namespace rhea::net::lan
