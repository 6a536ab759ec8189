# SPDX-License-Identifier: MIT
"""The engine: each switch off, the interpreter, -icount runs that are equal, and engines compared in lockstep."""
import os
import re
import threading

import guest
from guest import DTB, INITRD, KERNEL, GuestTest, rhea_only

SWITCHES = ("chain", "ibtc", "pin", "lazy-flags", "group", "inline-fp", "tables", "windows", "passes", "cache",
            "copies", "tier2", "tier2-thread", "lone")
EVERY = 1000
QUIET = "console=ttyAMA0 rhea.net=off rhea.off"


class Computes(GuestTest):
    """The guest boots, has network, and computes what it should, with the options given."""

    def check(self, *options):
        emulator = self.boot(*options, "-nic", "user", timeout=600)
        self.computes(emulator)
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(120), 0)

    def computes(self, emulator):
        self.guest_runs(emulator, "dd if=/dev/zero bs=1024 count=1024 2>/dev/null | md5sum | grep -q "
                                  "b6d81b360a5672d80c27430f39153e2c", 300)
        text = self.guest_runs(emulator, "awk 'BEGIN{for(i=1;i<500;i++)s+=i*i/7+1/i; printf \"%.9f\\n\", s}'", 300)
        self.assertEqual(text.strip(), "%.9f" % sum(i * i / 7 + 1 / i for i in range(1, 500)))

    def test_defaults(self):
        self.check()


@rhea_only("these are Rhea's switches")
class Switches(Computes):
    """Every optimization off, one by one and all together."""

    test_defaults = None

    def test_all_off(self):
        self.check("-accel", "tcg," + ",".join(f"{name}=off" for name in SWITCHES))


def one_switch(name):
    return lambda self: self.check("-accel", f"tcg,{name}=off", "-smp", "2")


for _name in SWITCHES:
    setattr(Switches, f"test_{_name.replace('-', '_')}_off", one_switch(_name))


@rhea_only("QEMU keeps no translations")
class Kept(Computes):
    """Translations of one run in the next, from a whole file and from a damaged one."""

    test_defaults = None

    def taken(self, folder):
        """Boots and computes; how many translations came out of the file."""
        emulator = self.boot("-net", "none", "-accel", f"tcg,cache={folder}")
        self.computes(emulator)
        text = emulator.in_monitor("info jit")
        found = re.search(r"kept translations +(\d+) read, (\d+) taken", text)
        self.assertTrue(found, text)
        emulator.send("poweroff\n")
        self.assertEqual(emulator.wait(60), 0)
        return int(found[2])

    def test_the_second_run_takes_them(self):
        folder = self.directory()
        self.assertLess(self.taken(folder), 20_000)  # dead ones of its own
        (name,) = os.listdir(folder)
        self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600)
        self.assertGreater(self.taken(folder), 40_000)
        with open(os.path.join(folder, name), "r+b") as file:
            for at in range(file.seek(0, os.SEEK_END) // 2, file.tell(), 10_007):
                file.seek(at)
                file.write(b"\x90\x90\xcc\xcc")
        self.taken(folder)


@rhea_only("QEMU copies no translations")
class Copies(GuestTest):
    """Programs that lie elsewhere each time: their translations are copied, and are what a new one would be."""

    PROGRAM = ("for i in 1 2 3 4 5 6 7 8 9 10; do lua5.4 -e 's = 0; for i = 1, 3000 do s = (s * 31 + i) % 65521; t = tostring(s) "
               "end; print(s, #string.format(\"%20.7f\", s / 7), t:rep(3))'; done")

    def run_programs(self, options):
        emulator = self.boot("-net", "none", "-accel", "tcg,cache=off" + options, initrd=guest.WORK_INITRD)
        lines = set(self.guest_runs(emulator, self.PROGRAM, 200).split("\n")) - {""}
        total = 0
        for i in range(1, 3001):
            total = (total * 31 + i) % 65521
        self.assertEqual(lines, {f"{total}\t20\t{total}{total}{total}"})
        text = emulator.in_monitor("info jit")
        found = re.search(r"copied from elsewhere (\d+) blocks(?:; (\d+) compared, (\d+) different)?", text)
        self.assertTrue(found, text)
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(60), 0)
        return [int(number or 0) for number in found.groups()]

    def test_they_are_made(self):
        self.assertGreater(self.run_programs("")[0], 5000)

    def test_they_are_what_a_translation_would_be(self):
        copied, compared, different = self.run_programs(",check-copies=on")
        self.assertEqual((copied, different), (0, 0))
        self.assertGreater(compared, 5000)

    def test_they_can_be_turned_off(self):
        self.assertEqual(self.run_programs(",copies=off")[0], 0)


@rhea_only("QEMU has no regions")
class Regions(Computes):
    """Hot paths that are compiled once more: on one CPU, on two, by the CPUs themselves, and every path that is met."""

    test_defaults = None

    def regions(self, emulator):
        text = emulator.in_monitor("info jit")
        found = re.search(r"regions +(\d+) of (\d+) paths", text)
        self.assertTrue(found, text)
        return int(found[1])

    def run_with(self, accel, cpus, least):
        emulator = self.boot("-net", "none", "-smp", str(cpus), "-accel", "tcg" + accel, initrd=guest.WORK_INITRD)
        self.computes(emulator)
        text = self.guest_runs(emulator, "lua5.4 -e 'local function f(n) if n < 2 then return n end return f(n-1) + f(n-2) end "
                                         "print(f(27))' & lua5.4 -e 'local s = 0; for i = 1, 2000000 do s = (s * 31 + i) % 65521 end; "
                                         "print(s)'; wait", 300)
        total = 0
        for i in range(1, 2_000_001):
            total = (total * 31 + i) % 65521
        self.assertEqual(set(text.split()), {"196418", str(total)})
        made = self.regions(emulator)
        self.assertGreaterEqual(made, least)
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(120), 0)
        return made

    def test_hot_paths(self):
        self.run_with("", 1, 10)

    def test_every_path_on_two_cpus(self):
        self.run_with(",eager-tier2=on", 2, 50)

    def test_without_a_thread_of_their_own(self):
        self.run_with(",tier2-thread=off", 2, 10)

    def test_they_can_be_turned_off(self):
        self.assertEqual(self.run_with(",tier2=off", 1, 0), 0)


@rhea_only("QEMU's interpreter is another build")
class Interpreter(Computes):
    """The same on the interpreter, one CPU and four."""

    test_defaults = None

    def test_one_cpu(self):
        self.check("-accel", "interp")

    def test_four_cpus(self):
        self.check("-accel", "interp", "-smp", "4")


@rhea_only("QEMU's runs are equal only when recorded and replayed")
class Icount(GuestTest):
    """Virtual time from instructions: two runs say the same at the same time."""

    def console(self, *options, timeout=300):
        emulator = self.start("-M", "vexpress-a9", "-m", "256M", "-kernel", KERNEL, "-initrd", INITRD, "-dtb", DTB,
                              "-append", QUIET, "-display", "none", "-serial", "stdio", "-monitor", "none",
                              "-net", "none", "-icount", "shift=3", *options)
        self.assertEqual(emulator.wait(timeout), 0)
        return guest.plain(emulator.text)

    def test_two_runs_print_the_same(self):
        first, second = self.console(), self.console()
        self.assertIn("reboot: Power down", first)
        self.assertEqual(first, second)

    def test_with_four_cpus(self):
        first, second = self.console("-smp", "4"), self.console("-smp", "4")
        self.assertIn("reboot: Power down", first)
        self.assertEqual(first, second)
        # Which paths are made regions of changes nothing, either.
        self.assertEqual(first, self.console("-smp", "4", "-accel", "tcg,eager-tier2=on,cache=off"))


class Pipe:
    """A FIFO the emulator writes to, read in blocks."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.stream = None
        self.opener = threading.Thread(target=self._open, daemon=True)
        self.opener.start()

    def _open(self):
        self.stream = open(self.path, "rb")

    def read(self, size):
        self.opener.join(120 * guest.SCALE)
        if self.stream is None:
            raise AssertionError("the emulator did not open its trace")
        return self.stream.read(size)


@rhea_only("compares Rhea's engines with each other")
class Lockstep(GuestTest):
    """A whole boot under -icount: every EVERY instructions a line of CPU state from each, equal to the last byte."""

    def compare(self, first_engine, second_engine, cpus=1):
        directory = self.directory()
        pipes, emulators = [], []
        for number, engine in enumerate((first_engine, second_engine)):
            pipe = Pipe(os.path.join(directory, f"trace{number}"))
            pipes.append(pipe)
            emulators.append(self.start(
                "-M", "vexpress-a9", "-m", "256M", "-smp", str(cpus), "-kernel", KERNEL, "-initrd", INITRD,
                "-dtb", DTB, "-append", QUIET, "-display", "none", "-serial", "stdio", "-monitor", "none",
                "-net", "none", "-icount", "shift=3", "-accel", f"{engine},trace={pipe.path}:{EVERY}"))
        total = self.read_both(pipes)
        for emulator in emulators:
            self.assertEqual(emulator.wait(120), 0)
            self.assertIn("reboot: Power down", emulator.text)
        self.assertGreater(total, 1_000_000, "a boot takes more instructions than that")

    def read_both(self, pipes):
        total, before = 0, b""
        while True:
            first, second = (pipe.read(1 << 20) for pipe in pipes)
            if first != second:
                self.fail(f"the engines part after {total} bytes of trace:\n{difference(before, first, second)}")
            if not first:
                return total
            total, before = total + len(first), first[-2000:]

    def test_interpreter_and_translator(self):
        self.compare("interp", "tcg")

    def test_plain_translator_and_regions(self):
        self.compare("tcg,tier2=off", "tcg,eager-tier2=on,cache=off")

    def test_regions_of_four_cpus(self):
        self.compare("tcg,tier2=off", "tcg,eager-tier2=on,cache=off", 4)

    def test_plain_and_optimized_translator(self):
        self.compare("tcg," + ",".join(f"{name}=off" for name in SWITCHES), "tcg")


def difference(before, first, second):
    """The last equal lines, then both continuations."""
    same = os.path.commonprefix([first, second])
    lines = (before + same).split(b"\n")[-10:]
    ends = [data[len(same):].split(b"\n")[:3] for data in (first, second)]
    rows = lines + [b"--- first"] + ends[0] + [b"--- second"] + ends[1]
    return b"\n".join(rows).decode(errors="replace")


if __name__ == "__main__":
    guest.main()
