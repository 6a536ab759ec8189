# SPDX-License-Identifier: MIT
"""Semihosting: a program for the bare board (programs/semihosted.c) that uses the host's files and console."""
import os
import subprocess
import unittest

import guest
from guest import GuestTest, have

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", "semihosted.c")
COMPILER = "arm-linux-gnueabihf-gcc"


class Semihosting(GuestTest):
    needs_guest = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not have(COMPILER):
            raise unittest.SkipTest(f"{COMPILER} is not installed")

    def program(self, folder, instructions="arm"):
        elf = os.path.join(folder, f"{instructions}.elf")
        subprocess.run([COMPILER, "-nostdlib", "-ffreestanding", "-O1", "-Wall", f"-m{instructions}", "-mcpu=cortex-a9",
                        "-mfloat-abi=soft", "-static", "-Wl,-Ttext=0x60010000,--build-id=none", "-o", elf, SOURCE], check=True)
        return elf

    def arguments(self, elf, *options):
        return ("-M", "vexpress-a9", "-m", "16M", "-kernel", elf, "-display", "none", "-serial", "null", "-monitor", "null",
                "-net", "none", *options)

    def works(self, instructions, *options):
        folder = self.directory()
        elf = self.program(folder, instructions)
        status, output, errors = guest.call(*self.arguments(
            elf, "-semihosting-config", f"enable=on,arg=prog,arg={folder},arg=all", *options))
        self.assertEqual((status, output), (42, "to the console\n"), errors)
        self.assertIn("all is well\n", errors)
        self.assertNotIn("still here", errors)
        with open(os.path.join(folder, "other"), encoding="ascii") as file:
            self.assertEqual(file.read(), "hello, host!")

    def test_arm(self):
        self.works("arm")

    def test_thumb(self):
        self.works("thumb")

    def test_interpreter(self):
        self.works("thumb", "-accel", "interp")

    def test_counted(self):
        self.works("arm", "-icount", "3")

    def test_exit_status(self):
        folder = self.directory()
        elf = self.program(folder)
        for what, expected in (("exit", 0), ("error", 1)):
            status, _, errors = guest.call(*self.arguments(
                elf, "-semihosting", "-semihosting-config", f"arg=prog,arg={folder},arg={what}"))
            self.assertEqual(status, expected, errors)

    def test_command_line_of_the_kernel(self):
        """Without arg= it is the program's name and -append."""
        folder = self.directory()
        elf = self.program(folder)
        status, _, errors = guest.call(*self.arguments(elf, "-append", f"{folder} all", "-semihosting"))
        self.assertEqual(status, 42, errors)

    def test_console_on_a_chardev(self):
        """What is typed there comes back in capitals; the CPU waits for it, and can be stopped meanwhile."""
        folder = self.directory()
        emulator = self.start("-M", "vexpress-a9", "-m", "16M", "-kernel", self.program(folder), "-display", "none", "-serial",
                              "null", "-net", "none", "-chardev", "stdio,id=c,mux=on", "-mon", "chardev=c",
                              "-semihosting-config", f"chardev=c,arg=prog,arg={folder},arg=echo")
        emulator.expect(guest.MONITOR_PROMPT)
        self.assertEqual(emulator.monitor("stop"), "")
        self.assertEqual(emulator.monitor("info status"), "VM status: paused")
        self.assertEqual(emulator.monitor("cont"), "")
        emulator.send("\x01c")
        emulator.send("hello")
        emulator.expect("HELLO")
        emulator.send(".")
        self.assertEqual(emulator.wait(), 7)

    def test_not_without_the_option(self):
        """The instruction is an ordinary supervisor call then: the program gets nowhere."""
        folder = self.directory()
        emulator = self.start("-M", "vexpress-a9", "-m", "16M", "-kernel", self.program(folder), "-display", "none", "-serial",
                              "null", "-monitor", "stdio")
        emulator.expect(r"\(qemu\) ")
        guest.wait_until(lambda: "R15=6001" not in emulator.monitor("info registers"), "the CPU is in its vectors")
        emulator.send("quit\n")
        self.assertEqual(emulator.wait(), 0)
        self.assertFalse(os.path.exists(os.path.join(folder, "file")))

    def test_refusals(self):
        for option, message in (("target=gbd", "unsupported semihosting-config gbd"), ("target=gdb", "not handed to gdb"),
                                ("chardev=nope", "nope"), ("enabel=on", "did you mean 'enable'?")):
            status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-S", "-semihosting-config", option)
            self.assertEqual(status, 1)
            self.assertIn(message, errors)


if __name__ == "__main__":
    guest.main()
