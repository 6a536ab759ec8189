# SPDX-License-Identifier: MIT
"""The debugger's line, driven by gdb itself on a small program for the bare board (programs/debuggee.c)."""
import os
import re
import subprocess
import unittest

import guest
from guest import GuestTest, SCALE, have

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", "debuggee.c")
COMPILER = "arm-linux-gnueabihf-gcc"
DEBUGGER = next((name for name in ("gdb-multiarch", "arm-none-eabi-gdb") if have(name)), None)


class DebugTest(GuestTest):
    needs_guest = False
    machine = ("-M", "vexpress-a9", "-m", "16M", "-display", "none", "-serial", "null", "-monitor", "null")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not DEBUGGER:
            raise unittest.SkipTest("gdb-multiarch is not installed")
        if not have(COMPILER):
            raise unittest.SkipTest(f"{COMPILER} is not installed")

    def setUp(self):
        super().setUp()
        self.folder = self.directory()
        self.elf = os.path.join(self.folder, "debuggee.elf")
        subprocess.run([COMPILER, "-nostdlib", "-ffreestanding", "-g", "-O1", "-marm", "-mcpu=cortex-a9", "-mfloat-abi=hard",
                        "-mfpu=neon", "-static", "-Wl,-Ttext=0x60010000,--build-id=none", "-o", self.elf, PROGRAM], check=True)

    def gdb(self, *commands, more=(), timeout=90):
        """Runs gdb on the machine, stopped at its start, with the commands: what it prints."""
        emulator = " ".join([guest.PROGRAM, *self.machine, *more, "-kernel", self.elf, "-S", "-gdb", "stdio"])
        script = ["set confirm off", "set pagination off", "set width 0",
                  f"set remotetimeout {int(60 * SCALE)}", f"target remote | exec {emulator}", *commands, "kill"]
        words = [DEBUGGER, "-nx", "-batch"]
        for command in script:
            words += ["-ex", command]
        done = subprocess.run([*words, self.elf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              timeout=timeout * SCALE, check=False)
        return done.stdout.decode(errors="replace")

    def assertPrints(self, text, *patterns):
        position = 0
        for pattern in patterns:
            found = re.compile(pattern).search(text, position)
            self.assertTrue(found, f"/{pattern}/ is not behind the ones before it in:\n{text}")
            position = found.end()


class Gdb(DebugTest):
    def test_breakpoint_backtrace_and_registers(self):
        text = self.gdb("break inner", "continue", "backtrace", "print counter", "info registers pc cpsr", "info threads",
                        "continue", "print counter", "print/x $SCTLR", "print $q1.u64", "print $d8", "set var $d8 = 2.5",
                        "print $d8", "print $sp_irq")
        self.assertPrints(text, r"Breakpoint 1, inner \(value=2\)", r"#0 +inner \(value=2\)", r"#1 .*in outer", r"#2 .*in main",
                          r"\$1 = 1\n", r"pc +0x\w+ +0x\w+ <inner", r"\* 1 +Thread 1 \"CPU 0\"", r"Breakpoint 1, inner \(value=3\)",
                          r"\$2 = 2\n", r"\$3 = 0xc50078", r"\$4 = \{0, 0\}", r"= 0\n", r"= 2\.5\n", r"= 0\n")

    def test_watchpoints(self):
        text = self.gdb("watch rare", "continue", "continue", "print counter", "delete", "rwatch counter", "continue",
                        "delete", "awatch last", "continue", "info program")
        self.assertPrints(text, r"Hardware watchpoint 1: rare", r"Old value = 0\nNew value = 64\n", r"Old value = 64\nNew value = 128\n",
                          r"\$1 = 128\n", r"Hardware read watchpoint 2: counter", r"Value = 128", r"Hardware access .*3: last", r"= 12[89]")

    def test_steps(self):
        text = self.gdb("break main", "continue", "delete", "stepi", "stepi", "print/x $pc", "tbreak inner", "continue", "finish",
                        "tbreak outer", "continue", "next", "next", "info line")
        self.assertPrints(text, r"Breakpoint 1, main", r"\$1 = 0x6001", r"Temporary breakpoint 2, inner",
                          r"Value returned is \$2 = 6", r"Temporary breakpoint 3, outer")

    def test_changes_reach_the_program(self):
        text = self.gdb("break outer", "continue", "set var counter = 1000", "continue", "print counter", "print value",
                        "set var $r0 = 7", "delete", "tbreak inner", "continue", "print value",
                        "print $_siginfo", "maintenance packet qqemu.PhyMemMode", "maintenance packet Qqemu.PhyMemMode:1",
                        "x/wx 0x10000000", "maintenance packet Qqemu.PhyMemMode:0", "x/wx 0x90000000")
        self.assertPrints(text, r"\$1 = 1001\n", r"\$2 = 1001\n", r"Temporary breakpoint", r"= 8\n", r'received: "0"',
                          r'received: "OK"', r"0x10000000:\s+0x1190f500", r'received: "OK"', r"Cannot access memory at address 0x90000000")

    def test_the_monitor_answers(self):
        text = self.gdb("monitor info status", "monitor info registers", "monitor nonsense")
        self.assertPrints(text, r"VM status: paused", r"R00=", r"unknown command: 'nonsense'")

    def test_the_interpreter_stops_at_the_same_places(self):
        commands = ("break inner", "continue", "continue", "print counter", "info registers", "delete", "watch rare", "continue",
                    "info registers", "stepi", "stepi", "info registers")
        translated = self.gdb(*commands)
        interpreted = self.gdb(*commands, more=("-accel", "interp"))
        self.assertIn("New value = 64", translated)
        self.assertEqual(translated, interpreted)

    def test_several_cpus_are_threads(self):
        text = self.gdb("info threads", "break inner", "continue", "thread", "thread apply all print $pc", more=("-smp", "2"))
        self.assertPrints(text, r"1 +Thread 1 \"CPU 0\"", r"2 +Thread 2 \"CPU 1\"", r"Breakpoint 1, inner", r"Current thread is [12]",
                          r"Thread 2", r"\$\d = ")


class Backwards(DebugTest):
    """reverse-step and reverse-continue, on a machine that records itself."""

    def recorded(self, *commands):
        return self.gdb(*commands, more=("-icount", f"shift=3,rr=record,rrfile={self.folder}/rr"))

    def test_to_the_last_write_of_a_variable(self):
        text = self.recorded("tbreak inner if value == 101", "continue", "print rare",
                             "print counter", "watch rare", "reverse-continue", "print counter", "print rare", "continue",
                             "print counter", "print rare")
        self.assertPrints(text, r"Temporary breakpoint 1, inner \(value=101\)", r"= 64\n", r"= 100\n", r"Hardware watchpoint 2: rare",
                          r"Old value = 64\nNew value = 0\n", r"= 64\n", r"= 0\n", r"Old value = 0\nNew value = 64\n", r"= 64\n", r"= 64\n")

    def test_steps_back(self):
        text = self.recorded("tbreak inner if value == 20", "continue", "stepi", "stepi", "info registers", "reverse-stepi", "reverse-stepi",
                             "print $pc", "print value", "break outer", "reverse-continue", "print value", "reverse-continue",
                             "print value", "delete", "reverse-continue", "print $pc")
        self.assertPrints(text, r"inner \(value=20\)", r"= \(void \(\*\)\(\)\) 0x60010000 <inner", r"= 20\n", r"Breakpoint 2, outer", r"= 19\n",
                          r"Breakpoint 2, outer", r"= 18\n", r"No more reverse-execution history", r"<_start>")

    def test_there_and_back_is_the_same(self):
        text = self.recorded("tbreak inner if value == 200", "continue", "info registers", "tbreak inner if value == 300",
                             "continue", "tbreak inner if value == 200", "reverse-continue", "info registers", "print counter")
        dumps = re.findall(r"(?s)(r0 .*?cpsr[^\n]*)", text)
        self.assertEqual(len(dumps), 2, text)
        self.assertEqual(dumps[0], dumps[1])
        self.assertIn("= 199\n", text)


class Line(GuestTest):
    """The line itself: options, the monitor's command, bad packets."""
    needs_guest = False

    def test_two_servers_are_refused(self):
        status, _, errors = guest.call("-M", "vexpress-a9", "-s", "-gdb", "stdio")
        self.assertEqual(status, 1)
        self.assertIn("the gdb server is on 'tcp::1234' already", errors)

    def test_the_monitor_starts_and_ends_it(self):
        monitor = self.start_monitor(kernel=False)
        self.assertEqual(monitor.monitor("gdbserver none"), "Disabled gdbserver")
        self.assertIn("Waiting for gdb connection on device 'null'", monitor.monitor("gdbserver null"))


if __name__ == "__main__":
    guest.main()
