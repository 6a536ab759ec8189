// SPDX-License-Identifier: MIT
#include "monitor/monitor.h"

#include <gtest/gtest.h>

#include "core/loop.h"
#include "monitor/commands.h"
#include "monitor/expression.h"

namespace rhea::monitor {
namespace {

class FakeBackend final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override { text.append(data.begin(), data.end()); }
  void set_frontend(chardev::Frontend* f) override { frontend = f; }
  void accept_input() override {}
  std::string description() const override { return "fake"; }
  std::string text;
  chardev::Frontend* frontend = nullptr;
};

// A machine that stands still, with a monitor.
struct MonitorTest : testing::Test {
  MonitorTest()
      : machine(log), wall(core::make_host_clock(machine.net_loop())), network(machine.net_loop(), *wall, log) {
    machine::MachineConfig config;
    config.board = machine::find_board("vexpress-a9");
    config.ram_size = u64{64} << 20;
    config.cpus = 2;
    config.accel.engine = "interp";
    config.name = "box";
    config.start_paused = true;
    const Result<void> built = machine.build(config);
    EXPECT_TRUE(built.ok()) << (built.ok() ? "" : built.error().message());
    EXPECT_TRUE(machine.chardevs().add(*chardev::parse_spec("mon:null"), "serial0").ok());
    monitor = std::make_unique<Monitor>(backend, context, false);
  }
  // What a command prints.
  std::string run(std::string_view line) {
    backend.text.clear();
    std::lock_guard lock(machine.loop().lock());
    monitor->execute(line);
    std::string plain;
    for (const char c : backend.text)
      if (c != '\r') plain += c;
    return plain;
  }
  void type(std::string_view keys) {
    backend.text.clear();
    std::lock_guard lock(machine.loop().lock());
    monitor->receive({reinterpret_cast<const u8*>(keys.data()), keys.size()});
  }

  Log log;
  machine::Machine machine;
  std::unique_ptr<Clock> wall;
  net::Network network;
  FakeBackend backend;
  Context context{.machine = machine, .network = network, .log = log, .title = "Rhea", .version = "1.2"};
  std::unique_ptr<Monitor> monitor;
};

TEST_F(MonitorTest, Banner) {
  monitor->start();
  EXPECT_EQ(backend.text, "Rhea 1.2 monitor - type 'help' for more information\r\n(qemu) \033[K");
}

TEST_F(MonitorTest, SharedOneWaitsForTheFocus) {
  Monitor shared(backend, context, true);
  backend.text.clear();
  shared.start();
  EXPECT_EQ(backend.text, "");
  shared.event(chardev::Event::mux_in);
  EXPECT_EQ(backend.text.find("Rhea 1.2 monitor"), 0u);
  shared.event(chardev::Event::mux_out);
  backend.text.clear();
  shared.event(chardev::Event::mux_in);
  EXPECT_EQ(backend.text, "(qemu) \033[K");
}

TEST_F(MonitorTest, SharedOneWithTheFocusBegins) {
  Monitor shared(backend, context, true);
  backend.text.clear();
  shared.event(chardev::Event::mux_in);
  EXPECT_EQ(backend.text, "");
  shared.start();
  EXPECT_EQ(backend.text, "Rhea 1.2 monitor - type 'help' for more information\r\n(qemu) \033[K");
}

TEST_F(MonitorTest, GoldenTexts) {
  const std::pair<const char*, const char*> cases[] = {
      {"info status", "VM status: paused (prelaunch)\n"},
      {"info  status ", "VM status: paused (prelaunch)\n"},
      {"info version", "1.2\n"},
      {"info name", "box\n"},
      {"info chardev", "serial0: filename=mux\nserial0-base: filename=null\n"},
      {"foo", "unknown command: 'foo'\n"},
      {"info foo", "unknown command: 'info foo'\n"},
      {"info netword", "unknown command: 'info netword' (did you mean 'info network'?)\n"},
      {"system_rest", "unknown command: 'system_rest' (did you mean 'system_reset'?)\n"},
      {"savevm x", "Error: no block device can store vmstate for snapshot\n"},
      {"info memdev", "'info memdev' is known to QEMU, but Rhea does not have it yet\n"},
      {"info virtio", "No VirtIO devices\n"},
      {"info block-jobs", "No active jobs\n"},
      {"getfd x", "Error: No file descriptor supplied via SCM_RIGHTS\n"},
      {"closefd x", "Error: File descriptor named 'x' not found\n"},
      {"block_job_cancel x", "Error: Block job 'x' not found\n"},
      {"device_add sd-card", "Error: Bus 'sd-bus' does not support hotplugging\n"},
      {"help x", "x /fmt addr -- virtual memory dump starting at 'addr'\n"},
      {"? xp", "xp /fmt addr -- physical memory dump starting at 'addr'\n"},
      {"help quit", "quit|q  -- quit the emulator\n"},
      {"help info status", "info status  -- show the current VM status (running|paused)\n"},
      {"help foo", "unknown command: 'foo'\n"},
      {"stop 3", "stop|s: extraneous characters at the end of line\nTry \"help stop\" for more information\n"},
      {"info cpus x", "cpus: extraneous characters at the end of line\nTry \"help info cpus\" for more information\n"},
      {"info mtree -z", "mtree: unsupported option -z\nTry \"help info mtree\" for more information\n"},
      {"cpu", "unexpected end of expression\nTry \"help cpu\" for more information\n"},
      {"cpu x", "invalid char 'x' in expression\nTry \"help cpu\" for more information\n"},
      {"cpu 3", "invalid CPU index\n"},
      {"cpu 0", ""},
      {"info registers 7", "CPU#7 not available\n"},
      {"log", "log: string expected\nTry \"help log\" for more information\n"},
      {"logfile", "logfile: filename expected\nTry \"help logfile\" for more information\n"},
      {"logfile /x/y", "Error opening logfile /x/y: No such file or directory\n"},
      {"set_link zz off", "Error: Device 'zz' not found\n"},
      {"set_link zz maybe", "Expected 'on' or 'off'\nTry \"help set_link\" for more information\n"},
      {"set_link", "set_link: string expected\nTry \"help set_link\" for more information\n"},
      {"x/s 0", "invalid char in format: 's'\nTry \"help x\" for more information\n"},
      {"x", "unexpected end of expression\nTry \"help x\" for more information\n"},
      {"xp/2x 0x6000000q", "xp: extraneous characters at the end of line\nTry \"help xp\" for more information\n"},
      {"xp/2xw 0x60000000", "0000000060000000: 0x00000000 0x00000000\n"},
      {"xp/20xh 0x60000000",
       "0000000060000000: 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000\n"
       "0000000060000010: 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000 0x0000\n"
       "0000000060000020: 0x0000 0x0000 0x0000 0x0000\n"},
      {"xp/4dw 0x60000000", "0000000060000000:          0          0          0          0\n"},
      {"xp/4ow 0x60000000", "0000000060000000:           0           0           0           0\n"},
      {"xp/4cb 0x60000000", "0000000060000000: '\\x00' '\\x00' '\\x00' '\\x00'\n"},
      {"xp/4xb 0x10000000", "0000000010000000: 0x00 0xf5 0x90 0x11\n"},
      {"xp/2xw 0x50000000", "0000000050000000: Cannot access memory\n"},
      {"p/x 10", "0xa\n"},
      {"p/d 0x10", "16\n"},
      {"p (1+2)*3", "9\n"},
      {"p/o 8", "010\n"},
      {"p/c 65", "'A'\n"},
      {"p 1/0", "division by zero\nTry \"help p\" for more information\n"},
      {"p $foo", "unknown register\nTry \"help p\" for more information\n"},
      {"hostfwd_add tcp::1-:2", "user mode network stack not in use\n"},
      {"system_powerdown", ""},
      {"", ""},
  };
  for (const auto& [line, text] : cases) EXPECT_EQ(run(line), text) << line;
}

TEST_F(MonitorTest, RegistersOfEachCpu) {
  const std::string text = run("info registers -a");
  EXPECT_EQ(text.find("\nCPU#0\nR00="), 0u) << text.substr(0, 40);
  EXPECT_NE(text.find("\nCPU#1\nR00="), std::string::npos);
  EXPECT_EQ(run("p/x $pc").find("unknown"), std::string::npos);
}

TEST_F(MonitorTest, CpuChoiceIsShown) {
  run("cpu 1");
  const std::string text = run("info cpus");
  EXPECT_NE(text.find("* CPU #1: thread_id="), std::string::npos);
  EXPECT_EQ(text.find("  CPU #0: thread_id="), 0u);
}

TEST_F(MonitorTest, LogItems) {
  EXPECT_EQ(run("log int,exec"), "");
  EXPECT_TRUE(log.on(LogItem::interrupt) && log.on(LogItem::exec));
  EXPECT_EQ(run("log none"), "");
  EXPECT_EQ(log.mask(), 0u);
  EXPECT_NE(run("log intt").find("did you mean 'int'?"), std::string::npos);
}

TEST_F(MonitorTest, EditsAndRemembers) {
  type("info statuz\177s\r");
  EXPECT_NE(backend.text.find("VM status: paused (prelaunch)\r\n(qemu) "), std::string::npos);
  type("\033[A\r");  // once more
  EXPECT_NE(backend.text.find("VM status: paused (prelaunch)"), std::string::npos);
  type("xnfo name\001\033[3~i\r");  // Ctrl-a, delete, i
  EXPECT_NE(backend.text.find("box\r\n"), std::string::npos);
  EXPECT_EQ(monitor->readline().history(), (std::vector<std::string>{"info status", "info name"}));
}

TEST_F(MonitorTest, Completion) {
  type("info ver\t\r");
  EXPECT_NE(backend.text.find("1.2\r\n"), std::string::npos);
  type("hos\t");
  EXPECT_EQ(monitor->readline().line(), "hostfwd_");
  type("\t");
  EXPECT_NE(backend.text.find("hostfwd_add     hostfwd_remove"), std::string::npos) << backend.text;
  type("\025log none,gue\t");
  EXPECT_EQ(monitor->readline().line(), "log none,guest_errors ");
}

// A command that takes its time: no prompt, and what is typed waits.
TEST_F(MonitorTest, SuspendsAndResumes) {
  {
    std::lock_guard lock(machine.loop().lock());
    EXPECT_FALSE(monitor->suspend());  // nobody is there yet
    monitor->start();
    EXPECT_TRUE(monitor->suspend());
  }
  type("info name\r");
  EXPECT_EQ(backend.text, "");
  EXPECT_LT(monitor->can_receive(), Readline::kMaxLine);
  std::lock_guard lock(machine.loop().lock());
  monitor->resume();
  EXPECT_NE(backend.text.find("box\r\n(qemu) "), std::string::npos) << backend.text;
}

TEST_F(MonitorTest, ArgumentsInQuotes) {
  const RegisterLookup none = [](std::string_view) { return std::optional<u64>(); };
  EXPECT_EQ(read_arguments("\"exec:cat > x\"", "-dQ", "migrate", none)->texts[0], "exec:cat > x");
  EXPECT_EQ(read_arguments("exec:cat > x", "-dQ", "migrate", none)->texts[0], "exec:cat > x");
  EXPECT_FALSE(read_arguments("\"exec:cat\" > x", "-dQ", "migrate", none).ok());
  EXPECT_FALSE(read_arguments("\"exec:cat", "-dQ", "migrate", none).ok());
  EXPECT_EQ(read_arguments("d 10", "so", "block_resize", none)->numbers[0], u64{10} << 20);
  EXPECT_EQ(read_arguments("d 512k", "so", "block_resize", none)->numbers[0], u64{512} << 10);
  EXPECT_FALSE(read_arguments("d ten", "so", "block_resize", none).ok());
}

// A failed request is told to whoever controls the machine.
TEST_F(MonitorTest, TellsOfFailedDrives) {
  std::string told;
  machine.events().listen([&](const std::string& name, const std::string& data) { told += name + " " + data; });
  block::Drive drive(machine.loop(), {.id = "d0"}, nullptr);
  machine.drive_failed({drive, block::Op::write, block::ErrorAction::stop, {block::IoCode::no_space, "full"}});
  dynamic_cast<core::Loop&>(machine.loop()).run_once();
  EXPECT_NE(told.find("BLOCK_IO_ERROR {\"device\": \"d0\", \"nospace\": true"), std::string::npos) << told;
  EXPECT_NE(told.find("\"operation\": \"write\", \"action\": \"stop\""), std::string::npos) << told;
}

TEST_F(MonitorTest, EveryCommandHasHelp) {
  for (const Command& command : commands())
    EXPECT_NE(run(fmt::format("help {}", command.name)).find(" -- "), std::string::npos);
  for (const Command& command : info_commands())
    EXPECT_NE(run(fmt::format("help info {}", command.name)).find(" -- "), std::string::npos);
}

TEST(Expression, Values) {
  const RegisterLookup none = [](std::string_view) { return std::optional<u64>(); };
  const std::pair<const char*, u64> cases[] = {{"1+2", 3},      {"0x10", 16},    {"010", 8},    {"-1", ~u64{0}},
                                               {"~0", ~u64{0}}, {"2*(3+4)", 14}, {"7%4|8", 11}, {"'A'+1", 66},
                                               {" 1 + 1 ", 2},  {"6/2*3", 9}};
  for (const auto& [text, value] : cases) {
    std::string_view rest = text;
    const auto got = take_expression(rest, none);
    ASSERT_TRUE(got.ok()) << text;
    EXPECT_EQ(*got, value) << text;
    EXPECT_TRUE(rest.empty()) << text;
  }
  for (const char* text : {"", "1+", "(1", "x", "$r99", "1/0", "99999999999999999999", "'A"}) {
    std::string_view rest = text;
    EXPECT_FALSE(take_expression(rest, none).ok()) << text;
  }
  const std::string deep(100000, '(');
  std::string_view rest = deep;
  EXPECT_FALSE(take_expression(rest, none).ok());
}

}  // namespace
}  // namespace rhea::monitor
