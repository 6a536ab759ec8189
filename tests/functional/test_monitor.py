# SPDX-License-Identifier: MIT
"""The human monitor: texts as QEMU 7.2 prints them, and what the commands do to the machine."""
import os
import re

import guest
import host
from guest import GuestTest, SharedGuestTest, rhea_only


class Stopped(GuestTest):
    """Commands on a machine that has not started yet."""

    def setUp(self):
        super().setUp()
        self.monitor = self.start_monitor().monitor

    def test_status_follows_stop_and_cont(self):
        self.assertEqual(self.monitor("info status"), "VM status: paused (prelaunch)")
        self.assertEqual(self.monitor("cont"), "")
        self.assertEqual(self.monitor("info status"), "VM status: running")
        self.assertEqual(self.monitor("stop"), "")
        self.assertEqual(self.monitor("info status"), "VM status: paused")
        self.assertEqual(self.monitor("c"), "")
        self.assertEqual(self.monitor("info status"), "VM status: running")

    def test_version(self):
        self.assertRegex(self.monitor("info version"), r"^\d+\.\d+")

    def test_default_network(self):
        self.assertRegex(self.monitor("info network"), re.compile(
            r"^hub 0\n"
            r" \\ hub0port1: \S+: index=0,type=user,net=10\.0\.2\.0,restrict=off\n"
            r" \\ hub0port0: lan9118\.0: index=0,type=nic,model=lan9118,macaddr=52:54:00:12:34:56"
            r"(\ntraffic:\n(  \S+: link=up in=\d+ frames, \d+ bytes out=\d+ frames, \d+ bytes dropped=\d+\n?)+)?$"))
        lines = self.monitor("info usernet").split("\n")
        self.assertRegex(lines[0], r"^Hub 0 \(\S+\):$")
        self.assertEqual(lines[1], "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ")

    def test_cpus(self):
        self.assertRegex(self.monitor("info cpus"), r"^\* CPU #0: thread_id=\d+$")

    def test_registers_at_reset(self):
        text = self.monitor("info registers")
        self.assertIn("R12=00000000 R13=00000000 R14=00000000 R15=60000000\n", text)
        self.assertIn("PSR=400001d3 -Z-- A S svc32\n", text)
        self.assertIn("s62=00000000 s63=00000000 d31=0000000000000000\n", text)
        self.assertTrue(text.endswith("FPSCR: 00000000"), text)
        self.assertEqual(self.monitor("info registers -a").replace("CPU#0", "").strip(),
                         text.replace("CPU#0", "").strip())

    def test_memory_dumps(self):
        words = "0xe3a00000 0xe59f1004 0xe59f2004 0xe59ff004"
        self.assertEqual(self.monitor("x /4xw 0x60000000"), f"60000000: {words}")
        self.assertEqual(self.monitor("xp /4xw 0x60000000"), f"0000000060000000: {words}")
        self.assertEqual(self.monitor("x /2xb 0x60010000"), "60010000: 0x4d 0x5a")
        self.assertEqual(self.monitor("x /1gx 0x60000000"), "60000000: 0xe59f1004e3a00000")
        self.assertEqual(self.monitor("x /3uw 0x60000000"), "60000000: 3818913792 3852406788 3852410884")
        self.assertEqual(self.monitor("x /2uh 0x60000000"), "60000000:     0 58272")
        self.assertEqual(self.monitor("x /4cb 0x60000000"), r"60000000: '\x00' '\x00' '\xa0' '\xe3'")
        self.assertEqual(self.monitor("xp /1xw 0x50000000"), "0000000050000000: Cannot access memory")

    def test_disassembly(self):
        text = self.monitor("xp /2i 0x60000000")
        self.assertRegex(text, r"^0x60000000: +e3a00000 +mov +r0, #0\n")
        self.assertRegex(text, r"\n0x60000004: +e59f1004 +ldr +r1, \[pc, #4\]$")

    def test_memory_dump_refusals(self):
        self.assertEqual(self.monitor("x").split("\n"), ["unexpected end of expression",
                                                         'Try "help x" for more information'])
        self.assertEqual(self.monitor("x /s 0").split("\n")[0], "invalid char in format: 's'")

    def test_mtree(self):
        text = self.monitor("info mtree")
        self.assertIn("address-space: memory\n  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n", text)
        for row in ("0000000010009000-0000000010009fff (prio 0, i/o): pl011",
                    "0000000010011000-0000000010011fff (prio 0, i/o): sp804",
                    "0000000010013000-00000000100131ff (prio 0, i/o): virtio-mmio",
                    "0000000010017000-0000000010017fff (prio 0, i/o): pl031",
                    "000000001e001000-000000001e001fff (prio 0, i/o): gic_dist",
                    "0000000048000000-0000000049ffffff (prio 0, ram): vexpress.sram",
                    "0000000060000000-0000000067ffffff (prio 0, ram): vexpress.highmem"):
            self.assertIn(row, text)

    def test_qtree(self):
        text = self.monitor("info qtree")
        self.assertTrue(text.startswith("bus: main-system-bus\n  type System\n"), text[:200])
        self.assertIn('dev: lan9118, id ""', text)
        self.assertIn('mac = "52:54:00:12:34:56"', text)
        self.assertIn("dev: virtio-mmio", text)

    def test_help(self):
        text = self.monitor("help")
        for command in ("help|? [cmd]", "quit|q", "stop|s", "system_reset", "system_powerdown", "hostfwd_add",
                        "hostfwd_remove", "x /fmt addr", "xp /fmt addr", "log "):
            self.assertIn(f"\n{command}", "\n" + text)
        self.assertEqual(self.monitor("help x"), "x /fmt addr -- virtual memory dump starting at 'addr'")
        self.assertEqual(self.monitor("? xp"), "xp /fmt addr -- physical memory dump starting at 'addr'")
        for text in (self.monitor("help info"), self.monitor("info")):
            for row in ("info version  -- show the version of", "info status  -- show the current VM status",
                        "info network  -- show the network state", "info usernet  -- show user network stack"):
                self.assertIn(row, text)

    def test_unknown_words(self):
        self.assertIn("unknown command: 'foo'", self.monitor("foo"))
        self.assertIn("unknown command: 'info foo'", self.monitor("info foo"))

    @rhea_only("QEMU suggests nothing")
    def test_misspelt_words_get_a_suggestion(self):
        self.assertIn("info network", self.monitor("info netword"))
        self.assertIn("system_reset", self.monitor("system_rest"))

    def test_log_items(self):
        self.assertEqual(self.monitor("log guest_errors"), "")
        self.assertEqual(self.monitor("log none"), "")
        self.assertIn("guest_errors", self.monitor("log foo"))

    def test_empty_and_odd_lines_do_no_harm(self):
        emulator = self.emulators[0]
        for line in ("", "   ", "\t", "x /", "x /99999999999999999999xw 0", "info registers 99",
                     "hostfwd_add", "\x7f\x7f", "\xe9\xff\xfe", "\x1b[A\x1b[D\x1b[", "a" * 300, "cont 1 2 3"):
            emulator.send(line + "\n")
        emulator.send("info status\n")
        emulator.expect(r"VM status: paused \(prelaunch\)")


class Quit(GuestTest):
    def test_quit_ends_with_0(self):
        for word in ("quit", "q"):
            emulator = self.start_monitor()
            emulator.send(word + "\n")
            self.assertEqual(emulator.wait(), 0)

    def test_end_of_input_leaves_the_machine_running(self):
        emulator = self.start_monitor()
        emulator.monitor("cont")
        emulator.process.stdin.close()
        emulator.process.stdin = None
        with self.assertRaises(AssertionError):
            emulator.wait(2)

    def test_no_kernel(self):
        emulator = self.start_monitor(kernel=False)
        self.assertIn("VM status:", emulator.monitor("info status"))


class HostForwards(GuestTest):
    def test_add_list_remove(self):
        monitor = self.start_monitor().monitor
        port = host.free_port()
        self.assertEqual(monitor(f"hostfwd_add tcp:127.0.0.1:{port}-:22"), "")
        row = "  TCP[HOST_FORWARD] %3s %15s %5d %15s %5d %5d %5d"
        expected = re.escape(row % ("FD", "127.0.0.1", port, "10.0.2.15", 22, 0, 0)).replace("\\ FD", r"\s+\d+")
        self.assertRegex(monitor("info usernet"), expected)
        with self.assertRaises(OSError):
            host.socket.create_server((host.LOOPBACK, port))
        self.assertEqual(monitor(f"hostfwd_remove tcp:127.0.0.1:{port}"),
                         f"host forwarding rule for tcp:127.0.0.1:{port} removed")
        self.assertEqual(monitor(f"hostfwd_remove tcp:127.0.0.1:{port}"),
                         f"host forwarding rule for tcp:127.0.0.1:{port} not found")
        self.assertNotIn("HOST_FORWARD", monitor("info usernet"))
        host.socket.create_server((host.LOOPBACK, port)).close()

    def test_udp_and_default_addresses(self):
        monitor = self.start_monitor().monitor
        port = host.free_port(host.socket.SOCK_DGRAM)
        self.assertEqual(monitor(f"hostfwd_add udp:127.0.0.1:{port}-10.0.2.20:53"), "")
        self.assertRegex(monitor("info usernet"), rf"UDP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+{port}\s+10\.0\.2\.20\s+53 ")
        self.assertEqual(monitor(f"hostfwd_remove udp:127.0.0.1:{port}"),
                         f"host forwarding rule for udp:127.0.0.1:{port} removed")

    def test_by_id(self):
        monitor = self.start_monitor("-netdev", "user,id=n0", "-net", "nic,netdev=n0").monitor
        port = host.free_port()
        self.assertEqual(monitor(f"hostfwd_add n0 tcp:127.0.0.1:{port}-:22"), "")
        self.assertIn("removed", monitor(f"hostfwd_remove n0 tcp:127.0.0.1:{port}"))
        self.assertRegex(monitor("info usernet").split("\n")[0], r"^Hub -1 \(n0\):$")

    def test_refusals(self):
        monitor = self.start_monitor().monitor
        self.assertIn("Invalid host forwarding rule 'foo' (No : separators)", monitor("hostfwd_add foo"))
        self.assertIn("invalid format", monitor("hostfwd_remove x"))
        self.assertIn("unrecognized netdev id 'zz'", monitor("hostfwd_add zz tcp::1-:2"))
        with host.socket.create_server((host.LOOPBACK, 0)) as taken:
            port = taken.getsockname()[1]
            self.assertIn(f"Could not set up host forwarding rule 'tcp:127.0.0.1:{port}-:22'",
                          monitor(f"hostfwd_add tcp:127.0.0.1:{port}-:22"))

    def test_without_user_network(self):
        monitor = self.start_monitor("-net", "none").monitor
        self.assertIn("user mode network stack not in use", monitor("hostfwd_add tcp::1-:2"))
        self.assertEqual(monitor("info network"), "")


class Running(SharedGuestTest):
    """Commands given to a running guest from its console, by Ctrl-a c."""

    arguments = ("-nic", "user", "-smp", "2")

    def test_established_connection_is_listed(self):
        with host.TcpServer(host.read_all) as server:
            self.sh(f"(sleep 30 | nc 10.0.2.2 {server.port}) & sleep 1")
            text = self.guest.in_monitor("info usernet")
            self.assertRegex(text, rf"TCP\[ESTABLISHED\]\s+\d+\s+10\.0\.2\.15\s+\d+\s+(10\.0\.2\.2|127\.0\.0\.1)\s+{server.port} ")
            self.sh("killall sleep nc; sleep 1")

    def test_stop_freezes_and_cont_resumes(self):
        self.sh("true")
        before, after = self.guest.in_monitor("stop", "info status", "cont", "info status")[1::2]
        self.assertEqual((before, after), ("VM status: paused", "VM status: running"))
        self.sh("ping -c 1 10.0.2.2")

    def test_cpus_and_their_registers(self):
        cpus, registers = self.guest.in_monitor("info cpus", "info registers -a")
        self.assertRegex(cpus, r"^\* CPU #0: thread_id=\d+\n  CPU #1: thread_id=\d+$")
        self.assertIn("CPU#0\n", registers)
        self.assertIn("CPU#1\n", registers)

    def test_virtual_memory_is_seen_through_the_mmu(self):
        virtual, physical = self.guest.in_monitor("x /4xw 0xc0300000", "xp /4xw 0x60300000")
        self.assertRegex(virtual, r"^c0300000:( 0x[0-9a-f]{8}){4}$")
        self.assertEqual(virtual.split(": ")[1], physical.split(": ")[1])

    def test_powerdown_is_accepted(self):
        self.assertEqual(self.guest.in_monitor("system_powerdown"), "")
        self.sh("true")


class Reset(GuestTest):
    def test_system_reset_boots_again(self):
        emulator = self.boot("-net", "none", "-name", "again")
        emulator.open_monitor()
        emulator.send("system_reset\n")
        emulator.expect(guest.MONITOR_PROMPT)
        emulator.send("\x01c")
        emulator.expect("Booting Linux on physical CPU", 60)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT)

    def test_log_file_takes_what_is_logged(self):
        path = os.path.join(self.directory(), "log")
        emulator = self.start_monitor("-D", path, "-d", "guest_errors,unimp")
        emulator.monitor("log none")
        emulator.send("quit\n")
        self.assertEqual(emulator.wait(), 0)
        self.assertTrue(os.path.exists(path))


if __name__ == "__main__":
    guest.main()
