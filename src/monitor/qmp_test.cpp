// SPDX-License-Identifier: MIT
#include "monitor/qmp.h"

#include <gtest/gtest.h>

#include "monitor/qmp_schema.h"
#include "monitor/qtest.h"

namespace rhea::monitor {
namespace {

class FakeBackend final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override { text.append(data.begin(), data.end()); }
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "fake"; }
  bool is_open() const override { return open; }
  usize queued() const override { return waiting; }
  std::string take() { return std::exchange(text, {}); }
  std::string text;
  bool open = true;
  usize waiting = 0;
};

struct QmpTest : testing::Test {
  QmpTest() : machine(log), wall(core::make_host_clock(machine.net_loop())), network(machine.net_loop(), *wall, log) {
    machine::MachineConfig config;
    config.board = machine::find_board("vexpress-a9");
    config.ram_size = u64{16} << 20;
    config.accel.engine = "qtest";
    config.start_paused = true;
    config.watch_lines = true;
    EXPECT_TRUE(machine.build(config).ok());
  }
  std::string send(QmpMonitor& monitor, std::string_view text) {
    backend.text.clear();
    std::lock_guard lock(machine.loop().lock());
    monitor.receive({reinterpret_cast<const u8*>(text.data()), text.size()});
    return backend.take();
  }
  void turn() { dynamic_cast<core::Loop&>(machine.loop()).run_once(); }

  Log log;
  machine::Machine machine;
  std::unique_ptr<Clock> wall;
  net::Network network;
  FakeBackend backend;
  Context context{.machine = machine, .network = network, .log = log, .title = "Rhea", .version = "1.2"};
};

TEST_F(QmpTest, GreetsWhoComesAndForgetsWhoGoes) {
  backend.open = false;
  QmpMonitor monitor(backend, context, false);
  monitor.start();
  EXPECT_EQ(backend.text, "");
  backend.open = true;
  monitor.event(chardev::Event::opened);
  EXPECT_EQ(backend.take(),
            "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, \"package\": "
            "\"Rhea 1.2\"}, "
            "\"capabilities\": [\"oob\"]}}\r\n");
  EXPECT_EQ(send(monitor, "{'execute':'qmp_capabilities'}"), "{\"return\": {}}\r\n");
  EXPECT_EQ(send(monitor, "{'execute':'query-status','id':3}"),
            "{\"return\": {\"status\": \"prelaunch\", \"singlestep\": false, \"running\": false}, \"id\": 3}\r\n");
  send(monitor, "{'execute':");
  monitor.event(chardev::Event::closed);
  monitor.event(chardev::Event::opened);
  backend.take();
  EXPECT_EQ(send(monitor, "{'execute':'query-status'}"),
            "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities negotiation with "
            "'qmp_capabilities'\"}}\r\n");
}

TEST_F(QmpTest, OutOfBandIsForThoseThatAskedForIt) {
  QmpMonitor monitor(backend, context, false);
  monitor.start();
  send(monitor, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}");
  EXPECT_NE(send(monitor, "{'exec-oob':'query-status'}").find("does not support OOB"), std::string::npos);
  QmpMonitor other(backend, context, false);
  other.start();
  send(other, "{'execute':'qmp_capabilities'}");
  EXPECT_NE(send(other, "{'exec-oob':'query-status'}").find("'exec-oob' is unexpected"), std::string::npos);
}

TEST_F(QmpTest, EventsAreLimitedWhereTheTableSaysSo) {
  QmpMonitor monitor(backend, context, false);
  monitor.start();
  send(monitor, "{'execute':'qmp_capabilities'}");
  std::lock_guard lock(machine.loop().lock());
  for (int i = 0; i < 3; ++i) machine.events().deliver("RTC_CHANGE", "{\"offset\": 1}");
  const std::string limited = backend.take();
  EXPECT_NE(limited.find("RTC_CHANGE"), std::string::npos);
  EXPECT_EQ(limited.find("RTC_CHANGE"), limited.rfind("RTC_CHANGE"));
  for (int i = 0; i < 3; ++i) machine.events().deliver("STOP");
  usize count = 0;
  for (usize at = 0; (at = backend.text.find("STOP", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 3u);
  backend.take();
  backend.waiting = usize{3} << 20;
  machine.events().deliver("STOP");
  EXPECT_EQ(backend.take(), "");
  EXPECT_EQ(monitor.can_receive(), 0u);
  backend.waiting = 0;
  EXPECT_GT(monitor.can_receive(), 0u);
}

TEST(Schema, Checks) {
  const auto check = [](const char* arguments, const char* type) {
    const Result<void> good = check_arguments(*config::parse_json(arguments), type);
    return good.ok() ? std::string() : good.error().message();
  };
  EXPECT_EQ(check("{'a':1}", "a:int"), "");
  EXPECT_EQ(check("{}", "*a:int"), "");
  EXPECT_EQ(check("{}", "a:int"), "Parameter 'a' is missing");
  EXPECT_EQ(check("{'a':'x'}", "a:int"), "Invalid parameter type for 'a', expected: integer");
  EXPECT_EQ(check("{'a':1.5}", "a:number,*b:bool"), "");
  EXPECT_EQ(check("{'a':[1,'x']}", "a:[int]"), "Invalid parameter type for 'a[1]', expected: integer");
  EXPECT_EQ(check("{'a':{'b':1}}", "a:{b:int}"), "");
  EXPECT_EQ(check("{'a':{}}", "a:{b:int}"), "Parameter 'a.b' is missing");
  EXPECT_EQ(check("{'a':'onn'}", "a:<on|off>"), "Parameter 'a' does not accept value 'onn' (did you mean 'on'?)");
  EXPECT_EQ(check("{'z':1}", ""), "Parameter 'z' is unexpected");
  EXPECT_EQ(check("{'z':1}", "..."), "");
}

TEST_F(QmpTest, QtestStepsTimeAndSeesLines) {
  Qtest qtest(backend, context, nullptr);
  const auto ask = [&](std::string_view line) {
    backend.text.clear();
    std::lock_guard lock(machine.loop().lock());
    qtest.receive({reinterpret_cast<const u8*>(line.data()), line.size()});
    return backend.take();
  };
  EXPECT_EQ(ask("writel 0x60000000 0x1234\nreadl 0x60000000\n"), "OK\nOK 0x0000000000001234\n");
  EXPECT_EQ(ask("clock_step 10\n"), "OK 10\n");
  EXPECT_EQ(ask("irq_intercept_in /machine/unattached/device[1]\n"), "OK\n");
  ask("writel 0x10011000 1000\nwritel 0x10011008 0xa3\n");
  EXPECT_EQ(ask("clock_step 1000000\n"), "IRQ raise 2\nOK 1000010\n");
  EXPECT_EQ(ask("clock_step\n"), "OK 1000010\n");
  EXPECT_EQ(ask("clock_step -5\n").substr(0, 5), "FAIL ");
}

}  // namespace
}  // namespace rhea::monitor
