# SPDX-License-Identifier: MIT
"""The console on a terminal: -nographic's keys, -serial and -monitor, signals, a terminal that goes away."""
import os
import signal
import termios
import time

import guest
from guest import DTB, INITRD, KERNEL, GuestTest, machine

OFF = "console=ttyAMA0 rhea.net=off rhea.off"


class NographicKeys(GuestTest):
    def test_on_a_terminal(self):
        emulator = self.start(*machine("-net", "none"), terminal=True)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT)
        self.assertFalse(termios.tcgetattr(emulator.terminal)[3] & (termios.ICANON | termios.ECHO))
        with self.subTest("help"):
            emulator.send("\x01h")
            emulator.expect(r"C-a h +print this help")
            emulator.expect(r"C-a x +exit emulator")
        with self.subTest("Ctrl-C belongs to the guest"):
            emulator.send("sleep 1000\n")
            emulator.expect("sleep 1000\r*\n")
            time.sleep(1)
            emulator.send("\x03")
            emulator.expect(guest.PROMPT)
            self.assertEqual(emulator.run("echo $?")[0], 0)
        with self.subTest("Ctrl-a twice is one for the guest"):
            emulator.send("head -c 1 | xxd\n")
            emulator.expect("xxd\r*\n")
            time.sleep(1)
            emulator.send("\x01\x01\n")
            emulator.expect("00000000: 01")
            emulator.expect(guest.PROMPT)
        with self.subTest("monitor and back"):
            self.assertEqual(emulator.in_monitor("info status"), "VM status: running")
        with self.subTest("quit"):
            emulator.send("\x01x")
            emulator.expect(r"\w+: Terminated")
            self.assertEqual(emulator.wait(), 0)
            after = termios.tcgetattr(emulator.terminal)[:4]
            self.assertEqual(after[3] & (termios.ICANON | termios.ECHO | termios.ISIG),
                             termios.ICANON | termios.ECHO | termios.ISIG)
            self.assertEqual(emulator.terminal_before[0] & termios.ICRNL, after[0] & termios.ICRNL)


class Serial(GuestTest):
    def finished(self, *args, timeout=120):
        """A guest that powers itself off; what its stdio said."""
        emulator = self.start("-M", "vexpress-a9", "-m", "256M", "-kernel", KERNEL, "-initrd", INITRD, "-dtb", DTB,
                              "-net", "none", *args)
        self.assertEqual(emulator.wait(timeout), 0)
        return emulator.text

    def test_file(self):
        path = os.path.join(self.directory(), "serial.txt")
        text = self.finished("-append", OFF, "-display", "none", "-serial", f"file:{path}", "-monitor", "null")
        with open(path, encoding="utf-8", errors="replace") as f:
            logged = f.read()
        self.assertIn("Booting Linux on physical CPU", logged)
        self.assertIn("reboot: Power down", logged)
        self.assertNotIn("Booting Linux", text)

    def test_second_port_on_stdio(self):
        text = self.finished("-append", OFF.replace("ttyAMA0", "ttyAMA1"), "-display", "none", "-serial", "null",
                             "-serial", "stdio", "-monitor", "none")
        self.assertIn("Booting Linux on physical CPU", text)

    def test_stdio_without_a_monitor(self):
        self.assertIn("reboot: Power down", self.finished("-append", OFF, "-display", "none", "--serial", "stdio"))

    def test_mux_by_name(self):
        emulator = self.start("-M", "vexpress-a9", "-m", "128M", "-kernel", KERNEL, "-dtb", DTB, "-display", "none",
                              "-append", "console=ttyAMA0 panic=0", "-serial", "mon:stdio", "-nodefaults")
        emulator.expect("end Kernel panic", guest.BOOT_TIMEOUT)
        emulator.open_monitor()
        self.assertEqual(emulator.monitor("info network"), "")
        emulator.send("quit\n")
        self.assertEqual(emulator.wait(), 0)

    def test_two_users_of_stdio_are_refused(self):
        status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-serial", "stdio", "-monitor", "stdio")
        self.assertEqual(status, 1)
        self.assertIn("stdio", errors)

    def test_file_that_cannot_be_written(self):
        status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-serial", "file:/nonexistent/x")
        self.assertEqual(status, 1)
        self.assertIn("/nonexistent/x", errors)


class Ending(GuestTest):
    def start_running(self, **how):
        emulator = self.start(*machine("-net", "none", memory="128M"), **how)
        emulator.expect("Booting Linux on physical CPU", 60)
        return emulator

    def test_signals_stop_it_cleanly(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number):
                emulator = self.start_running()
                emulator.process.send_signal(number)
                self.assertEqual(emulator.wait(), 0)
                self.assertIn(f"terminating on signal {int(number)}", emulator.stderr())

    def test_signal_before_the_start(self):
        emulator = self.start_monitor()
        emulator.monitor("info status")
        emulator.process.send_signal(signal.SIGTERM)
        self.assertEqual(emulator.wait(), 0)

    def test_closed_terminal_ends_it(self):
        emulator = self.start_running(terminal=True)
        emulator.close_terminal()
        self.assertEqual(emulator.wait(), 0)


if __name__ == "__main__":
    guest.main()
