# SPDX-License-Identifier: MIT
"""Programs of Debian that write code while they run, or all day long: node, and gcc whose code is run at once."""
import os
import re
import shutil
import struct
import tempfile
import unittest

import guest
from guest import SharedGuestTest

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
NODE = "node --allow-natives-syntax --expose-gc"
MASK = 0xffffffff


def signed(word):
    return (word & MASK ^ 0x80000000) - 0x80000000


def bits(double):
    return struct.pack(">d", double).hex()


def integers(rounds):
    x = 12345
    for _ in range(rounds):
        x = x * 1103515245 + 12345 & MASK
        x ^= x >> 7
        x = (x << 3 | x >> 29) & MASK
        if signed(x) % 5 == 0:
            x = ~x & MASK
    return x


def doubles(rounds):
    total, product = 0.0, 1.0
    for i in range(1, rounds + 1):
        total += i ** 0.5 * 1.5 - i / 3
        product = product * 1.0000001 + (0.25 if total < product else -0.25)
    return f"{bits(total)} {bits(product)}"


def exceptions(rounds):
    total = 0
    for i in range(rounds):
        total = total + (i if i % 3 else 0) ^ 1
    return total


def generators(count):
    total = 0
    for number in range(count):
        total = (total * 3 + number) % 1000003
    return total


def expressions(count):
    text = "".join(f"{i * 7919 % 10007} " for i in range(1, count + 1))
    doubled = len(re.findall(r"\b(\d)\d*\1\b", text))
    swapped = re.sub(r"(\d+)(\d\d)\b", r"\2\1", text)
    return f"{doubled} {len(swapped)} {swapped[:24].strip()} {len(re.findall(r'[0-9](?=3 )', text))}"


def big_integers(count):
    a, b = 0, 1
    for _ in range(count):
        a, b = b, a + b
    value = a % 1000000007 * (1 << 61) - (a >> 3)
    return -(-value % 999999999989) if value < 0 else value % 999999999989


def xorshift(rounds, x):
    for _ in range(rounds):
        x ^= x << 13 & (1 << 64) - 1
        x ^= x >> 7
        x ^= x << 17 & (1 << 64) - 1
    return x


def roots(count):
    total = 0.0
    for n in range(count, 0, -1):
        total += n ** 0.5
    return bits(total)


class ProgramsTest(SharedGuestTest):
    """The disk of tools/guest/build-programs, with this directory's programs in /tmp."""

    @classmethod
    def command_line(cls):
        folder = tempfile.mkdtemp(prefix="rhea-test-")
        cls.addClassCleanup(shutil.rmtree, folder)
        card = guest.pack_files(f"{folder}/card.tar", {name: os.path.join(HERE, name) for name in os.listdir(HERE)})
        return guest.programs_machine("-net", "none", *cls.arguments, files=card)

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(guest.PROGRAMS):
            raise unittest.SkipTest(f"no {guest.PROGRAMS}: run tools/guest/build-programs")
        super().setUpClass()
        status, text = cls.guest.run("tar xf /dev/mmcblk0")
        if status:
            raise AssertionError(f"no files from the card:\n{text}")

    def values(self, *options):
        """What engine.js prints: {name: value}."""
        text = self.sh(f"{NODE} {' '.join(options)} engine.js", 600)
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith("Warning"))


class Node(ProgramsTest):
    """V8 makes code for functions, regular expressions and WebAssembly; one CPU."""

    def test_results_with_generated_code_and_without(self):
        made = self.values()
        self.assertGreaterEqual(int(made.pop("optimized")), 7, made)
        for name, value in self.reference().items():
            self.assertEqual(made[name], str(value), name)
        interpreted = self.values("--jitless")
        self.assertEqual(interpreted.pop("optimized"), "0")
        self.assertEqual(len(interpreted), 13)
        self.assertEqual({name: made[name] for name in interpreted}, interpreted)

    @staticmethod
    def reference():
        return {"integers": integers(1000000), "doubles": doubles(300000), "generators": generators(50000),
                "expressions": expressions(10000), "big integers": big_integers(3000),
                "exceptions": f"3000 {exceptions(9000)}",
                "promises": f"first tick then a b {sum(range(3000))}",
                "workers": " ".join(map(str, [60000, 0, 6000] + [integers(100000)] * 3)),
                "wasm fib": 46368, "wasm xorshift": xorshift(200000, 88172645463325252), "wasm roots": roots(200000),
                "wasm traps": "true true 0 3"}


class NodeTwoCpus(ProgramsTest):
    """Code made on one CPU while another runs: early, for everything, and by V8's threads beside the program."""

    arguments = ("-smp", "2")

    def test_code_made_early_and_beside(self):
        plain = self.values()
        self.assertEqual(self.values("--always-sparkplug", "--interrupt-budget=5000"), plain)
        for name, value in Node.reference().items():
            self.assertEqual(plain[name], str(value), name)


class Compiler(ProgramsTest):
    """Programs that the guest's own gcc makes are run right away: pages of data become code."""

    def test_a_program_compiled_in_the_guest(self):
        for steps, options in ((1000, "-O0"), (30000, "-O2 -marm"), (50000, "-O3 -mthumb")):
            x = 1
            for _ in range(steps):
                x = x * 1664525 + 1013904223 & MASK
            with self.subTest(f"{options}, {steps} steps"):
                text = self.sh(f"gcc {options} -DSTEPS={steps} -o lcg lcg.c && ./lcg", 300)
                self.assertEqual(text.strip(), str(x))

    def test_sqlite_and_python_agree(self):
        text = self.sh("sqlite3 :memory: 'with recursive n(i) as (select 1 union all select i+1 from n where i<5000) "
                       "select sum(i*i%1009), group_concat(i*7%13,\"\") from n where i%500=0'", 120)
        numbers = [i for i in range(1, 5001) if i % 500 == 0]
        want = f"{sum(i * i % 1009 for i in numbers)}|{''.join(str(i * 7 % 13) for i in numbers)}"
        self.assertEqual(text.strip(), want)
        self.assertEqual(self.sh("python3 -c 'import zlib; print(zlib.crc32(bytes(i*i%251 for i in range(99999))))'",
                                 120).strip(), str(self.crc()))

    @staticmethod
    def crc():
        import zlib
        return zlib.crc32(bytes(i * i % 251 for i in range(99999)))


if __name__ == "__main__":
    guest.main()
