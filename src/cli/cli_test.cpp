// SPDX-License-Identifier: MIT
// Golden texts: what options say, and what is said of wrong ones. The wordings are QEMU 7.2's, where it has
// one.
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/known.h"
#include "cli/read_config.h"
#include "cli/settings.h"
#include "util/text.h"

namespace rhea::cli {
namespace {

Result<Settings> parse(const std::string& line) {
  std::vector<std::string> words = line.empty() ? std::vector<std::string>() : split(line, ' ');
  return parse_command_line("qemu-system-arm", words);
}

// The error of a command line, with its hint.
std::string error(const std::string& line) {
  const auto settings = parse(line);
  if (settings.ok()) return "no error";
  const std::string& hint = settings.error().hint();
  return settings.error().message() + (hint.empty() ? "" : "\n" + hint);
}

std::string text(const std::string& line, int status = 0) {
  const auto settings = parse(line);
  if (!settings.ok()) return "error: " + settings.error().message();
  if (!settings->exit) return "no text";
  EXPECT_EQ(settings->exit->status, status);
  return settings->exit->text;
}

Settings settings(const std::string& line) {
  auto parsed = parse(line.empty() ? "-M vexpress-a9" : "-M vexpress-a9 " + line);
  EXPECT_TRUE(parsed.ok()) << line << ": " << (parsed.ok() ? "" : parsed.error().message());
  return parsed.ok() ? parsed.take() : Settings{};
}

constexpr const char* kSizeHint =
    "\nOptional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, "
    "respectively.";

TEST(CommandLine, Refusals) {
  const std::string board = "-M vexpress-a9 ";
  const std::pair<std::string, std::string> cases[] = {
      {"", "No machine specified, and there is no default\nUse -machine help to list supported machines"},
      {"-M vexpress-a8",
       "unsupported machine type (did you mean 'vexpress-a9'?)\nUse -machine help to list supported "
       "machines"},
      {"-M zzz", "unsupported machine type\nUse -machine help to list supported machines"},
      {"-foo", "-foo: invalid option"},
      {"-devide ?", "-devide: invalid option (did you mean '-device'?)"},
      {"-nodefaultss", "-nodefaultss: invalid option (did you mean '-nodefaults'?)"},
      {"--kernal x", "--kernal: invalid option (did you mean '-kernel'?)"},
      {"-kernel", "-kernel: requires an argument"},
      {"-m 1Z", std::string("-m 1Z: Parameter 'size' expects a non-negative number below 2^64") + kSizeHint},
      {"-m raspi2b,help",
       std::string("-m raspi2b,help: Parameter 'size' expects a non-negative number below 2^64") + kSizeHint},
      {"-m help", std::string("-m help: Parameter 'size' expects a non-negative number below 2^64") + kSizeHint},
      {"-m 17179869184G", "-m 17179869184G: Value '17179869184G' is out of range for parameter 'size'"},
      {"-m 512M,foo=1", "-m 512M,foo=1: Invalid parameter 'foo'"},
      {board + "-m size=64M,slots=2", "-m size=64M,slots=2: slots specified but no max-size"},
      {board + "-m 2G", "vexpress-a9: cannot model more than 1GB RAM"},
      {board + "-smp 8", "Invalid SMP CPUs 8. The max CPUs supported by machine 'vexpress-a9' is 4"},
      {board + "-smp 2,cores=3",
       "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (0) * cores (3) * threads "
       "(1) != maxcpus (2)"},
      {board + "-smp 4,maxcpus=2",
       "Invalid CPU topology: maxcpus must be equal to or greater than smp: sockets (1) * cores (2) * "
       "threads (1) == maxcpus "
       "(2) < smp_cpus (4)"},
      {board + "-smp 4,dies=2", "dies not supported by this machine's CPU topology"},
      {board + "-smp 4,cores", "-smp 4,cores: Expected '=' after parameter 'cores'"},
      {board + "-smp 2,coress=2", "Parameter 'smp.coress' is unexpected (did you mean 'smp.cores'?)"},
      {board + "-cpu foo", "unable to find CPU model 'foo'"},
      {board + "-cpu cortex-a99", "unable to find CPU model 'cortex-a99' (did you mean 'cortex-a9'?)"},
      {board + "-cpu cortex-a15", "Cortex-A9MPCore peripheral can only use Cortex-A9 CPU"},
      {board + "-accel foo", "-accel foo: invalid accelerator foo"},
      {board + "-accel tgc", "-accel tgc: invalid accelerator tgc (did you mean 'tcg'?)"},
      {board + "-accel tcg,foo=1", "-accel tcg,foo=1: Property 'tcg-accel.foo' not found"},
      {board + "-accel tcg,thread=foo", "-accel tcg,thread=foo: Invalid 'thread' setting foo"},
      {"-M vexpress-a9,foo=1", "Property 'vexpress-a9-machine.foo' not found"},
      {"-M vexpress-a9,kernal=1", "Property 'vexpress-a9-machine.kernal' not found (did you mean 'kernel'?)"},
      {board + "-append x", "-append only allowed with -kernel option"},
      {board + "-initrd x", "-initrd only allowed with -kernel option"},
      {"-device foo,,bar=1,",
       "No machine specified, and there is no default\nUse -machine help to list supported machines"},
      {"-object foo,id=f0", "-object foo,id=f0: Parameter 'qom-type' does not accept value 'foo'"},
      {"-vga foo", "-vga foo: unknown vga type: foo"},
  };
  for (const auto& [line, message] : cases) EXPECT_EQ(error(line), message) << line;
}

TEST(CommandLine, WhatQemuKnowsIsNamed) {
  for (const char* line :
       {"-M raspi2b", "-spice port=1", "-enable-kvm", "-M vexpress-a9 -display gtk", "-M vexpress-a9 -vga std",
        "-M vexpress-a9,usb=on", "-M vexpress-a9 -object rng-egd,id=r", "-device e1000,help"})
    EXPECT_NE(error(line).find("known to QEMU"), std::string::npos) << line << ": " << error(line);
}

TEST(CommandLine, HelpTexts) {
  EXPECT_EQ(text("-smp raspi2b,help"),
            "smp-opts options:\n  clusters=<num>\n  cores=<num>\n  cpus=<num>\n  dies=<num>\n  "
            "maxcpus=<num>\n  sockets=<num>\n"
            "  threads=<num>\n");
  EXPECT_EQ(text("-M help"),
            "Supported machines are:\nnone                 empty machine\nvexpress-a9          ARM Versatile "
            "Express for Cortex-A9\n");
  EXPECT_EQ(text("-M ?"), text("-machine help"));
  EXPECT_EQ(text("-M vexpress-a9 -nic model=help").substr(0, 29), "Supported NIC models:\nlan9118");
  EXPECT_EQ(text("-M vexpress-a9,help").substr(0, 82),
            "vexpress-a9-machine options:\n  append=<string>        - Linux kernel command line\n");
  EXPECT_EQ(text("-d help", 1).substr(0, 28), "Log items (comma separated):");
  EXPECT_EQ(text("-device help"), text("-device ?"));
  EXPECT_NE(text("-device help").find("Network devices:\nname \"virtio-net-device\", bus virtio-bus\n"),
            std::string::npos);
  EXPECT_NE(
      text("-device virtio-net-device,help").find("  netdev=<str>           - ID of a netdev to use as a backend\n"),
      std::string::npos);
  EXPECT_TRUE(text("-netdev help").starts_with("Available netdev backend types:\n"));
  EXPECT_NE(text("-netdev help").find("\nuser\n"), std::string::npos);
  EXPECT_EQ(text("-version"), text("--version"));
  EXPECT_EQ(text("-h"), text("-help"));
}

TEST(CommandLine, MachinePropertiesAreOptions) {
  const Settings a = settings("-kernel k -initrd i -append a,b=c -dtb d -m 64 -smp 2");
  const Settings b = settings("-M vexpress-a9,kernel=k,initrd=i,append=a,,b=c,dtb=d,memory.size=64M,smp.cpus=2");
  for (const Settings* s : {&a, &b}) {
    EXPECT_EQ(s->machine.kernel, "k");
    EXPECT_EQ(s->machine.initrd, "i");
    EXPECT_EQ(s->machine.append, "a,b=c");
    EXPECT_EQ(s->machine.dtb, "d");
    EXPECT_EQ(s->machine.ram_size, u64{64} << 20);
    EXPECT_EQ(s->machine.cpus, 2u);
  }
  EXPECT_EQ(settings("-kernel one -kernel two").machine.kernel, "two");
  EXPECT_EQ(settings("-m 0").machine.ram_size, 0u);
}

TEST(CommandLine, Topology) {
  const std::pair<const char*, unsigned> cases[] = {
      {"4", 4}, {"cpus=2", 2},   {"4,sockets=1,cores=4,threads=1", 4}, {"sockets=2,cores=2", 4}, {"2,maxcpus=4", 2},
      {"0", 1}, {"threads=2", 2}};
  for (const auto& [argument, cpus] : cases)
    EXPECT_EQ(settings(std::string("-smp ") + argument).machine.cpus, cpus) << argument;
  EXPECT_EQ(settings("-smp 0").warnings.size(), 1u);
}

TEST(CommandLine, Accelerators) {
  EXPECT_EQ(settings("").machine.accel.engine, "tcg");
  EXPECT_EQ(settings("-accel interp").machine.accel.engine, "interp");
  EXPECT_EQ(settings("-M accel=interp").machine.accel.engine, "interp");
  const Settings fallback = settings("-accel kvm -accel interp");
  EXPECT_EQ(fallback.machine.accel.engine, "interp");
  EXPECT_EQ(fallback.warnings.size(), 1u);
  EXPECT_FALSE(settings("-accel tcg,chain=off").machine.accel.chain);
  EXPECT_EQ(settings("-accel tcg,tb-size=16").machine.accel.cache_size, u64{16} << 20);
  EXPECT_EQ(settings("-icount 5").machine.accel.icount_shift, 5u);
  EXPECT_TRUE(settings("-icount auto").machine.accel.icount);
  EXPECT_NE(error("-M vexpress-a9 -icount 11").find("icount: Invalid shift value"), std::string::npos);
}

TEST(CommandLine, Globals) {
  const Settings s = settings("-global virtio-mmio.force-legacy=false -global driver=foo,property=bar,value=1");
  ASSERT_EQ(s.machine.globals.size(), 1u);
  EXPECT_EQ(s.warnings, std::vector<std::string>{"global foo.bar has invalid class name"});
}

TEST(CommandLine, Control) {
  const Settings s = settings(
      "-chardev socket,id=c,path=/x,server=on,wait=off -mon c,mode=control -qmp unix:/y -no-shutdown -uuid "
      "00112233-4455-6677-8899-AABBCCDDEEFF -rtc 2006-06-17T16:01:21,clock=vm -pidfile p -daemonize -msg "
      "timestamp=on "
      "-device virtio-net-device,id=d -set device.d.mac=52:54:00:00:00:01");
  EXPECT_EQ(s.chardevs.size(), 1u);
  EXPECT_EQ(s.mons.size(), 1u);
  EXPECT_TRUE(s.machine.no_shutdown && s.daemonize && s.timestamps);
  EXPECT_EQ(s.machine.uuid_text(), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(s.machine.rtc.date, 1150560081);
  EXPECT_EQ(s.devices[0].argument, "virtio-net-device,id=d,mac=52:54:00:00:00:01");
  EXPECT_TRUE(settings("-action reboot=shutdown,shutdown=pause").machine.no_reboot);
  const std::pair<std::string, std::string> wrong[] = {
      {"-uuid foo",
       "-uuid foo: failed to parse UUID string: wrong format\nIt is written "
       "00112233-4455-6677-8899-aabbccddeeff."},
      {"-rtc base=foo", "-rtc base=foo: invalid datetime format\nvalid formats: '2006-06-17T16:01:21' or '2006-06-17'"},
      {"-rtc clock=hots", "-rtc clock=hots: invalid option value 'hots' (did you mean 'host'?)"},
      {"-set device.zz.a=1", "-set device.zz.a=1: there is no device \"zz\" defined"},
      {"-set foo", "-set foo: can't parse: \"foo\": it is written GROUP.ID.KEY=VALUE"},
      {"-qtest foo", "-qtest foo: 'foo' is not a valid char driver"},
      {"-action reboot=foo",
       "-action reboot=foo: Parameter 'reboot' does not accept value 'foo': it is reset, shutdown"},
      {"-parallel stdio", "-parallel stdio: no board of Rhea's has a parallel port: only none and null are taken"},
      {"-readconfig /nonexistent/x",
       "-readconfig /nonexistent/x: read config /nonexistent/x: No such file or directory"},
  };
  for (const auto& [line, message] : wrong) EXPECT_EQ(error("-M vexpress-a9 " + line), message) << line;
}

TEST(ReadConfig, Sections) {
  const auto options = read_config_text(
      "# remark\n\n[device \"n0\"]\n  driver = \"virtio-net-device\"\n  mac=\"a,b\"\n[machine]\ntype = "
      "\"none\"\n",
      "f");
  ASSERT_TRUE(options.ok());
  ASSERT_EQ(options->size(), 2u);
  EXPECT_EQ((*options)[0].option, "-device");
  EXPECT_EQ((*options)[0].argument, "id=n0,driver=virtio-net-device,mac=a,,b");
  EXPECT_EQ((*options)[1].argument, "type=none");
  EXPECT_EQ(read_config_text("[foo]\n", "f").error().message(), "f:1: There is no option group 'foo'");
  EXPECT_EQ(read_config_text("[machin]\n", "f").error().message(),
            "f:1: There is no option group 'machin' (did you mean 'machine'?)");
  EXPECT_EQ(read_config_text("\na = \"b\"\n", "f").error().message(), "f:2: no group defined");
  EXPECT_EQ(read_config_text("[machine]\na = b\n", "f").error().message().find("f:2: parse error"), 0u);
}

TEST(CommandLine, EveryOptionOfTheTableIsInTheHelp) {
  const std::string help = help_text("rhea-system-arm");
  for (const OptionRow& row : option_rows()) {
    if (!row.apply) continue;
    EXPECT_NE(help.find(fmt::format("-{}", row.name)), std::string::npos) << row.name;
  }
  EXPECT_NE(help.find("usage: rhea-system-arm [options]"), std::string::npos);
}

TEST(Known, NoOptionIsInBothTables) {
  for (const OptionRow& row : option_rows()) {
    if (!row.apply) continue;
    EXPECT_EQ(find_qemu_option(row.name), nullptr) << row.name;
    EXPECT_TRUE(row.alias.empty() || !find_qemu_option(row.alias)) << row.alias;
  }
}

TEST(Known, Words) {
  EXPECT_TRUE(qemu_knows(Word::machine, "raspi2b"));
  EXPECT_FALSE(qemu_knows(Word::machine, "raspi"));
  EXPECT_FALSE(qemu_knows(Word::machine, ""));
  EXPECT_EQ(*qemu_device_bus("e1000"), "PCI");
  EXPECT_EQ(*qemu_device_bus("e1000-82540em"), "PCI");
  EXPECT_EQ(*qemu_device_bus("usb-net"), "usb-bus");
  EXPECT_FALSE(qemu_device_bus("rtl8129").has_value());
}

}  // namespace
}  // namespace rhea::cli
