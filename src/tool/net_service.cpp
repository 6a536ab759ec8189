// SPDX-License-Identifier: MIT
// The own server is the user network's stack (net/user) of which only DHCP and DNS can be reached: frames come from a
// packet socket on the interface through a narrow gate, and the host's own network code goes on beside it. DHCP speaks
// with the host's address, as clients take the router's; the name server has an address of its own.
#include "tool/net_service.h"

#include <algorithm>
#include <array>

#include "core/loop.h"
#include "net/backend.h"
#include "sys/claim.h"
#include "sys/daemon.h"
#include "sys/guardian.h"
#include "sys/host_socket.h"
#include "sys/interface_socket.h"
#include "sys/packet_socket.h"
#include "sys/pass_descriptor.h"
#include "sys/privilege.h"
#include "sys/process.h"
#include "tool/net_journal.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::tool {

using config::Json;

namespace {

constexpr const char* kOwn = "rhea";
constexpr usize kMostProcesses = 1 << 17;
constexpr unsigned kPatience = 100;  // of 20 ms, for a server to end by itself
constexpr usize kLargestFrame = 2048;
constexpr unsigned kReads = 64;  // in a row
constexpr usize kEthernet = 14, kIp = 20, kUdpHeader = 8;
constexpr u16 kDhcpServer = 67;

IpAddress last_of_own(const NetPlan& plan) {
  return IpAddress::v4(std::min(plan.first.to_v4() + 15, plan.last.to_v4()));
}

Json own_arguments(const NetPlan& plan) {
  Json list = {fmt::format("net={}/{}", plan.network.text(), plan.length), "host=" + plan.host.text(),
               "dns=" + plan.name_server().text(), "dhcpstart=" + plan.first.text(), "ipv6=off"};
  if (plan.kind == NetPlan::Kind::host_only) list.push_back("restrict=on");
  for (const NetLease& lease : plan.leases)
    list.push_back(fmt::format("dhcp-lease={}={}{}", station_text(lease.mac), lease.address.text(),
                               lease.name.empty() ? "" : "=" + lease.name));
  return list;
}

Json dnsmasq_arguments(const NetPlan& plan) {
  Json list = {
      "--conf-file=",
      "--pid-file=" + run_file(plan.name, ".pid"),
      "--dhcp-leasefile=" + run_file(plan.name, ".leases"),
      "--interface=" + plan.name,
      "--except-interface=lo",
      "--bind-interfaces",
      "--dhcp-authoritative",
      fmt::format("--dhcp-range={},{},{},24h", plan.first.text(), plan.last.text(), IpAddress::v4(plan.mask()).text()),
      "--host-record=host,gateway," + plan.host.text()};
  if (plan.kind == NetPlan::Kind::host_only)
    for (const char* word : {"--dhcp-option=option:router", "--no-resolv"}) list.push_back(word);
  for (const NetLease& lease : plan.leases)
    list.push_back(fmt::format("--dhcp-host={},{}{}", station_text(lease.mac), lease.address.text(),
                               lease.name.empty() ? "" : "," + lease.name));
  return list;
}

// The processes of a record's server in this network namespace, found by what they were started with.
std::vector<int> processes_of(const Json& record) {
  const std::string name = text_at(record, "name");
  const std::string mark = "--pid-file=" + run_file(name, ".pid");
  const bool own = record.at("program") == kOwn;
  std::vector<int> found;
  for (const std::string& entry : sys::names_in("/proc", kMostProcesses)) {
    const auto number = entry[0] >= '1' && entry[0] <= '9' ? parse_number(entry) : std::nullopt;
    if (!number) continue;
    const int process = static_cast<int>(*number);
    const std::vector<std::string> words = sys::words_of_process(process);
    const bool is = own ? words.size() > 3 && words[1] == "net" && words[2] == "serve" && words[3] == name
                        : std::find(words.begin(), words.end(), mark) != words.end();
    if (is && sys::shares_network(process)) found.push_back(process);
  }
  return found;
}

}  // namespace

std::string find_dnsmasq() {
  for (const char* path : {"/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq", "/usr/bin/dnsmasq"})
    if (sys::is_executable(path)) return path;
  return {};
}

std::string service_text(const NetPlan& plan, bool own) {
  return own ? fmt::format("DHCP for {} to {} and names at {}, by Rhea's own server", plan.first.text(),
                           last_of_own(plan).text(), plan.name_server().text())
             : fmt::format("DHCP for {} to {} and names at {}, by dnsmasq", plan.first.text(), plan.last.text(),
                           plan.host.text());
}

Json service_record(const NetPlan& plan, const std::string& dnsmasq) {
  return {{"do", "service"},
          {"name", plan.name},
          {"program", dnsmasq.empty() ? kOwn : dnsmasq},
          {"arguments", dnsmasq.empty() ? own_arguments(plan) : dnsmasq_arguments(plan)}};
}

bool is_service_record(const Json& value) {
  const auto text = [&](const char* key) { return value.contains(key) && value[key].is_string(); };
  if (!text("name") || !text("program") || !value.contains("arguments") || !value["arguments"].is_array()) return false;
  const std::string program = text_at(value, "program");
  return (program == kOwn || program.ends_with("/dnsmasq")) &&
         std::all_of(value["arguments"].begin(), value["arguments"].end(),
                     [](const Json& each) { return each.is_string(); });
}

Result<void> start_service(const Json& record) {
  RHEA_TRY(sys::state_folder(kRunFolder));
  std::vector<std::string> words = {text_at(record, "program")};
  if (words[0] == kOwn) words = {"/proc/self/exe", "net", "serve", text_at(record, "name")};
  for (const Json& each : record.at("arguments")) words.push_back(each.get<std::string>());
  const int status = RHEA_TRY(sys::run_program(words));
  if (status) return Error("{} ended with status {}", text_at(record, "program"), status >> 8);
  return {};
}

bool service_runs(const Json& record) { return !processes_of(record).empty(); }

Result<std::string> end_service(const Json& record) {
  std::vector<int> processes = processes_of(record);
  const bool there = !processes.empty();
  for (const int process : processes) sys::end_process(process);
  for (unsigned i = 0; i < kPatience && !processes.empty(); ++i) {
    sys::sleep_milliseconds(20);
    processes = processes_of(record);
  }
  for (const int process : processes) sys::kill_process(process);
  const std::string name = text_at(record, "name");
  for (const char* end : {".pid", ".leases"}) sys::remove_file(run_file(name, end));
  return there ? fmt::format("the DHCP server of {} has ended", name) : std::string();
}

bool is_for_server(std::span<const u8> frame, const IpAddress& server) {
  if (frame.size() < kEthernet + kIp) return false;
  const u8* ip = &frame[kEthernet];
  const u16 type = load_be<u16>(&frame[12]);
  if (type == 0x0806) return frame.size() >= kEthernet + 28 && std::equal(ip + 24, ip + 28, server.wire());
  if (type != 0x0800 || ip[0] >> 4 != 4) return false;
  if (std::equal(ip + 16, ip + 20, server.wire())) return true;
  const usize header = (ip[0] & 15u) * 4;
  const bool whole = (load_be<u16>(ip + 6) & 0x3fff) == 0;
  return whole && ip[9] == 17 && frame.size() >= kEthernet + header + kUdpHeader &&
         load_be<u16>(ip + header + 2) == kDhcpServer;
}

bool is_from_server(std::span<const u8> frame, const IpAddress& server) {
  if (frame.size() < kEthernet + kIp) return false;
  const u8* ip = &frame[kEthernet];
  const u16 type = load_be<u16>(&frame[12]);
  if (type == 0x0806) return frame.size() >= kEthernet + 28 && std::equal(ip + 14, ip + 18, server.wire());
  if (type != 0x0800) return false;
  if (std::equal(ip + 12, ip + 16, server.wire())) return true;
  const usize header = (ip[0] & 15u) * 4;
  return ip[9] == 17 && frame.size() >= kEthernet + header + kUdpHeader && load_be<u16>(ip + header) == kDhcpServer;
}

namespace {

// The interface, as the stack sees it.
class InterfacePort final : public net::Port {
 public:
  InterfacePort(EventLoop& loop, sys::Fd fd, const IpAddress& server)
      : Port("interface"), fd_(std::move(fd)), server_(server) {
    watch_ = loop.watch(fd_.get(), kReadable, [this](u32) { read(); });
  }
  net::Caps caps() const override { return {}; }
  net::Sent send(const net::Frame& frame) override {
    std::vector<u8> bytes;
    for (const net::Piece& piece : frame.pieces) bytes.insert(bytes.end(), piece.data, piece.data + piece.size);
    const bool sent = is_from_server(bytes, server_) && sys::write_interface(fd_.get(), bytes);
    return sent ? net::Sent::taken : net::Sent::dropped;
  }
  std::string type() const override { return "interface"; }
  std::string info() const override { return {}; }

 private:
  void read() {
    for (unsigned i = 0; i < kReads; ++i) {
      const sys::ReadSome got = sys::read_interface(fd_.get(), buffer_);
      if (got.outcome != sys::ReadOutcome::data) return;
      const net::Piece piece{buffer_.data(), std::min(got.count, buffer_.size())};
      if (!is_for_server({piece.data, piece.size}, server_) || !peer()) continue;
      // A lease is renewed at the host's own station address, which is not the stack's.
      if (load_be<u16>(&buffer_[12]) == 0x0800 &&
          !std::equal(&buffer_[kEthernet + 16], &buffer_[kEthernet + 20], server_.wire()))
        std::fill_n(buffer_.begin(), 6, u8{0xff});
      peer()->send({std::span(&piece, 1), {}});
    }
  }
  sys::Fd fd_;
  IpAddress server_;
  std::array<u8, kLargestFrame> buffer_;
  std::unique_ptr<FdWatch> watch_;
};

struct ServerOptions {
  std::vector<net::OptionText> all;
  IpAddress host = IpAddress::v4(0), server = IpAddress::v4(0);
};

Result<ServerOptions> read_options(const Words& words) {
  ServerOptions options;
  for (usize i = 1; i < words.size(); ++i) {
    const usize equals = words[i].find('=');
    if (equals == std::string::npos) return Error("'{}' is no key=value", words[i]);
    const std::string key = words[i].substr(0, equals), value = words[i].substr(equals + 1);
    options.all.emplace_back(key, value);
    const auto address = parse_ipv4(value);
    if (key == "dns" && address) options.server = *address;
    if (key == "host" && address) options.host = *address;
  }
  if (words.size() < 2 || options.server == IpAddress::v4(0) || options.host == IpAddress::v4(0))
    return Error("the server of a network is started by rhea net up");
  return options;
}

// Takes what clients send to the host itself and is answered here all the same, so that the host does not refuse it.
std::unique_ptr<sys::Socket> quiet_socket(const IpAddress& host) {
  int error = 0;
  auto socket = sys::Socket::open(sys::SocketKind::datagram, false, error);
  if (socket && socket->bind({host, kDhcpServer}) != 0) socket.reset();
  return socket;
}

}  // namespace

Result<std::string> serve_network(const Words& words) {
  const ServerOptions options = RHEA_TRY(read_options(words));
  sys::Daemon daemon;
  if (const auto status = daemon.start()) {
    if (*status == 0) return std::string();
    return Error("the server of {} did not start", words[0]);
  }
  const std::unique_ptr<sys::Socket> quiet = quiet_socket(options.host);
  sys::Fd interface = RHEA_TRY(sys::open_interface(words[0]));
  core::Loop loop("rhea-net");
  const std::unique_ptr<Clock> clock = core::make_host_clock(loop);
  Log log;
  net::Network network(loop, *clock, log);
  net::Port* server = RHEA_TRY(network.add("user", "server", options.all));
  InterfacePort port(loop, std::move(interface), options.server);
  net::Port::connect(port, *server);
  RHEA_TRY(sys::give_up_all_rights());
  daemon.ready();
  loop.run();
  return std::string();
}

}  // namespace rhea::tool
