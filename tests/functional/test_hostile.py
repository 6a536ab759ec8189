# SPDX-License-Identifier: MIT
"""Damaged and random kernels, device trees and initrds: a message or a running machine, never a crash.

A case passes when the program ends by itself with status 1 and a message that names the file, or when it
still runs after a moment and SIGTERM ends it.
"""
import os
import random
import signal
import struct
import subprocess

import guest
from guest import DTB, INITRD, KERNEL, GuestTest

MOMENT = 1.0
PEER_CRASHES = ("structure far away", "strings far away")  # QEMU 7.2 ends by SIGSEGV on these
BASE = ("-M", "vexpress-a9", "-m", "128M", "-display", "none", "-serial", "null", "-monitor", "none", "-net", "none")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def elf(phoff=52, phnum=1, entry=0x60010000, segment=(1, 84, 0x60010000, 0x60010000, 4, 4, 5, 4)):
    """A 32-bit ARM ELF file with one segment of one instruction: a branch to itself."""
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, entry, phoff, 0, 0x5000200, 52, 32, phnum, 0, 0, 0)
    return header + struct.pack("<8I", *segment) + struct.pack("<I", 0xEAFFFFFE)


def uimage(size, checksum=0, load=0x60008000, entry=0x60008000, comp=0):
    """A U-Boot image header that claims `size` bytes follow."""
    return struct.pack(">7I4B32s", 0x27051956, checksum, 0, size, load, entry, 0, 5, 2, 2, comp, b"name")


class Hostile(GuestTest):
    def survives(self, named, *arguments):
        process = subprocess.Popen([guest.PROGRAM, *BASE, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            try:
                text = process.communicate(timeout=MOMENT)[0]
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                text = process.communicate(timeout=20 * guest.SCALE)[0]
            text = text.decode(errors="replace")
            # -SIGTERM: on a busy host the moment may end before the handlers are in place.
            self.assertIn(process.returncode, (0, 1, -signal.SIGTERM), text)
            if process.returncode == 1 and not guest.PEER:  # QEMU often says less
                self.assertIn(os.path.basename(named), text)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def each(self, option, cases, *others):
        directory = self.directory()
        for number, (name, contents) in enumerate(cases):
            if guest.PEER and name in PEER_CRASHES:
                continue
            with self.subTest(name):
                path = os.path.join(directory, f"case{number}")
                with open(path, "wb") as f:
                    f.write(contents)
                self.survives(path, option, path, *others)

    def test_kernels(self):
        image = read(KERNEL)
        self.each("-kernel", [
            ("empty", b""), ("one byte", b"M"), ("64 bytes", image[:64]), ("a page", image[:4096]),
            ("half", image[:len(image) // 2]), ("no tail", image[:-1000]),
            ("wrong end", image[:0x2C] + b"\xff" * 4 + image[0x30:]),
            *((f"random {n}", noise(100_000, n)) for n in range(3)),
            ("random with magic", noise(0x24, 9) + struct.pack("<III", 0x016F2818, 0, 0xFFFFFFFF) + noise(9000, 9)),
            ("gzip of nothing", b"\x1f\x8b\x08" + bytes(20)),
        ], "-dtb", DTB)

    def test_elf_files(self):
        whole = elf()
        self.each("-kernel", [
            ("good", whole), ("header only", whole[:20]), ("no segments", whole[:52]),
            ("segments far away", elf(phoff=0xFFFFFFF0)), ("too many segments", elf(phnum=65535)),
            ("segment past the end", elf(segment=(1, 84, 0x60010000, 0x60010000, 0x7FFFFFFF, 0x7FFFFFFF, 5, 4))),
            ("segment over the top", elf(segment=(1, 84, 0xFFFFFFF0, 0xFFFFFFF0, 4, 0x1000, 5, 4))),
            ("segment on a device", elf(segment=(1, 84, 0x10009000, 0x10009000, 4, 4, 5, 4))),
            ("file size over memory size", elf(segment=(1, 84, 0x60010000, 0x60010000, 4, 1, 5, 4))),
            ("of another machine", whole[:18] + b"\x3e\x00" + whole[20:]),
            ("big-endian", whole[:5] + b"\x02" + whole[6:]),
        ])

    def test_uimages(self):
        self.each("-kernel", [
            ("nothing follows", uimage(0)), ("less follows than said", uimage(1 << 30) + b"x"),
            ("wrong checksum", uimage(4, 0x12345678) + b"\xfe\xff\xff\xea"),
            ("unknown compression", uimage(4, comp=99) + b"\xfe\xff\xff\xea"),
            ("load outside memory", uimage(4, load=0xFFFFFFFC) + b"\xfe\xff\xff\xea"), ("cut header", uimage(4)[:40]),
        ])

    def test_device_trees(self):
        tree = read(DTB)
        huge = struct.pack(">I", 0x7FFFFFFF)
        self.each("-dtb", [
            ("empty", b""), ("one byte", b"\xd0"), ("header only", tree[:40]), ("half", tree[:len(tree) // 2]),
            ("no tail", tree[:-1]), ("random", noise(10_000, 1)), ("random after magic", tree[:4] + noise(10_000, 2)),
            ("huge total size", tree[:4] + huge + tree[8:]), ("structure far away", tree[:8] + huge + tree[12:]),
            ("strings far away", tree[:12] + huge + tree[16:]), ("version 0", tree[:20] + bytes(8) + tree[28:]),
            ("structure of noise", tree[:72] + noise(2000, 3) + tree[2072:]),
            *((f"flipped {n}", self.flipped(tree, n)) for n in range(5)),
        ], "-kernel", KERNEL, "-append", "console=ttyAMA0")

    @staticmethod
    def flipped(data, seed):
        chance, out = random.Random(seed), bytearray(data)
        for _ in range(200):
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
        return bytes(out)

    def test_initrds(self):
        image = read(INITRD)
        self.each("-initrd", [("empty", b""), ("half", image[:len(image) // 2]), ("random", noise(1 << 20, 5))],
                  "-kernel", KERNEL, "-dtb", DTB)

    def test_files_larger_than_memory(self):
        path = os.path.join(self.directory(), "big")
        with open(path, "wb") as f:
            f.truncate(1 << 30)
        for option in ("-kernel", "-initrd", "-dtb"):
            with self.subTest(option):
                others = [] if option == "-kernel" else ["-kernel", KERNEL]
                self.survives(path, option, path, *others)

    def test_things_that_are_no_files(self):
        for path in (self.directory(), "/dev/null", "/nonexistent"):
            for option in ("-kernel", "-initrd", "-dtb"):
                with self.subTest(f"{option} {path}"):
                    others = [] if option == "-kernel" else ["-kernel", KERNEL]
                    self.survives(path, option, path, *others)

    def test_long_command_line(self):
        for size in (1000, 5000, 100_000):
            with self.subTest(size):
                self.survives("", "-kernel", KERNEL, "-dtb", DTB, "-append", "x" * size)

    def test_no_kernel_at_all(self):
        self.survives("")


class DamagedInitrdInGuest(GuestTest):
    def test_kernel_reports_it(self):
        path = os.path.join(self.directory(), "initrd")
        with open(path, "wb") as f:
            f.write(read(INITRD)[:1 << 20])
        emulator = self.start(*guest.machine("-net", "none", initrd=path, append="console=ttyAMA0 panic=-1"),
                              "-no-reboot")
        emulator.expect("Kernel panic - not syncing", guest.BOOT_TIMEOUT)
        self.assertEqual(emulator.wait(), 0)


if __name__ == "__main__":
    guest.main()
