#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Images made by rhea-img and by qemu-img, used at random, and judged by both tools.

Arguments: names of test classes (all but the long ones without). Needs RHEA_IMG and RHEA_EXERCISE in the
environment. Without qemu-img and qemu-io the classes that compare with them are skipped.
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "functional"))

RHEA_IMG = os.path.abspath(os.environ.get("RHEA_IMG", "build/release/rhea-img"))
EXERCISE = os.path.abspath(os.environ.get("RHEA_EXERCISE", "build/release/tests/block/exercise"))
QEMU_IMG, QEMU_IO = shutil.which("qemu-img"), shutil.which("qemu-io")
needs_qemu = unittest.skipUnless(QEMU_IMG and QEMU_IO, "qemu-img and qemu-io (Debian: qemu-utils) are not installed")
MIB = 1 << 20


def run(*words, status=0, timeout=240):
    """The output of a program; `status` None: any."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
    text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, words))}: ended with {done.returncode}\n{text}")
    return text if status is not None else (done.returncode, text)


def rhea(*words, status=0):
    return run(RHEA_IMG, *words, status=status)


def qemu(*words, status=0):
    return run(QEMU_IMG, *words, status=status)


class ImageTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rhea-block-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.old = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, self.old)

    def sound(self, image):
        """Both tools find nothing wrong."""
        rhea("check", image)
        if QEMU_IMG:
            qemu("check", image)

    def same(self, first, first_format, second, second_format):
        rhea("compare", "-f", first_format, "-F", second_format, first, second)
        if QEMU_IMG:
            qemu("compare", "-f", first_format, "-F", second_format, first, second)


def random_options(dice):
    """Options of a new qcow2 image, and which of the two tools makes it."""
    options = {}
    if dice.random() < 0.2:
        options["compat"] = "0.10"
    else:
        if dice.random() < 0.5:
            options["refcount_bits"] = dice.choice([1, 2, 4, 8, 16, 32, 64])
        if dice.random() < 0.25:
            options["lazy_refcounts"] = "on"
        if dice.random() < 0.4:
            options["compression_type"] = dice.choice(["zlib", "zstd"])
    if dice.random() < 0.7:
        options["cluster_size"] = dice.choice([512, 1024, 4096, 8192, 65536, 131072, 2 * MIB])
    if dice.random() < 0.2:
        options["preallocation"] = dice.choice(["metadata", "falloc", "full"])
    return options


def qemu_writes(dice, image, size, count):
    """qemu-io's commands for random writes; applied to the image and to the model alike."""
    words = []
    for _ in range(count):
        length = min(dice.choice([512, 4096, 65536, 300 * 1024]), size)
        offset = dice.randrange(0, size - length + 1) // 512 * 512
        if dice.random() < 0.75:
            words += ["-c", f"write -P {dice.randrange(1, 256)} {offset} {length}"]
        else:
            words += ["-c", f"write -z {offset} {length}"]
    return words


@needs_qemu
class RandomImages(ImageTest):
    COUNT = 8
    FIRST = 1

    def test_random(self):
        for seed in range(self.FIRST, self.FIRST + self.COUNT):
            with self.subTest(seed=seed):
                self.one(seed)
                for name in os.listdir("."):
                    os.remove(name)

    def one(self, seed):
        dice = random.Random(seed)
        options = random_options(dice)
        size = dice.choice([1, 3, 9, 24]) * MIB + dice.randrange(0, 64) * 512
        base = dice.random() < 0.35
        run(QEMU_IMG, "create", "-q", "-f", "raw", "model", size)
        extra = []
        if base:
            base_size = max(512, size + dice.choice([-1, 0, 1]) * dice.randrange(0, size // 2) // 512 * 512)
            qemu("create", "-q", "-f", "qcow2", "base", base_size)
            writes = qemu_writes(dice, "base", min(size, base_size), 6)
            run(QEMU_IO, *writes, "-f", "qcow2", "base")
            run(QEMU_IO, *writes, "-f", "raw", "model")
            extra = ["-b", "base", "-F", "qcow2"]
            options.pop("preallocation", None)  # refused: it would hide the base
        maker = dice.choice([rhea, qemu])
        text = ",".join(f"{key}={value}" for key, value in options.items())
        maker("create", "-q", "-f", "qcow2", *(["-o", text] if text else []), *extra, "image", size)
        writes = qemu_writes(dice, "image", size, dice.randrange(0, 8))
        if writes:
            run(QEMU_IO, *writes, "-f", "qcow2", "image")
            run(QEMU_IO, *writes, "-f", "raw", "model")
        self.sound("image")
        self.same("image", "qcow2", "model", "raw")
        run(EXERCISE, "random", "image", "qcow2", "model", seed, 40, dice.choice(["threads", "io_uring"]),
            dice.choice(["writeback", "writethrough", "unsafe"]))
        self.sound("image")
        self.same("image", "qcow2", "model", "raw")
        self.others(dice, options)
        if QEMU_IO:  # QEMU goes on where Rhea left it
            size = json.loads(rhea("info", "--output=json", "image"))["virtual-size"]
            writes = qemu_writes(dice, "image", size, 4)
            run(QEMU_IO, *writes, "-f", "qcow2", "image")
            run(QEMU_IO, *writes, "-f", "raw", "model")
            self.sound("image")
            self.same("image", "qcow2", "model", "raw")

    def others(self, dice, options):
        """Conversions there and back, snapshots, sizes: by one tool and looked at by the other."""
        compressed = ["-c"] if dice.random() < 0.5 else []
        text = ",".join(f"{key}={value}" for key, value in options.items() if key != "preallocation" or not compressed)
        rhea("convert", *compressed, "-O", "qcow2", *(["-o", text] if text else []), "image", "copy")
        self.sound("copy")
        self.same("copy", "qcow2", "model", "raw")
        qemu("convert", *compressed, "-O", "qcow2", *(["-o", text] if text else []), "image", "theirs")
        rhea("check", "theirs")
        rhea("compare", "theirs", "copy")
        # A cluster that many compressed ones share may already be counted as often as narrow refcounts can.
        if options.get("refcount_bits", 16) >= (16 if compressed else 2):
            for first, second in ((rhea, qemu), (qemu, rhea)):
                first("snapshot", "-c", "tag", "copy")
                self.sound("copy")
                run(QEMU_IO, "-c", "write -P 77 0 70000", "-f", "qcow2", "copy", status=None)
                second("snapshot", "-a", "tag", "copy")
                self.sound("copy")
                self.same("copy", "qcow2", "model", "raw")
                second("snapshot", "-d", "tag", "copy")
                self.sound("copy")
        run(EXERCISE, "random", "copy", "qcow2", "model", dice.randrange(1 << 30), 10)
        self.sound("copy")
        self.same("copy", "qcow2", "model", "raw")
        rhea("convert", "-f", "qcow2", "-O", "raw", "copy", "raw")
        rhea("compare", "-f", "raw", "-F", "raw", "raw", "model")
        os.replace("copy", "image")


class ManyImages(RandomImages):
    COUNT = 260
    FIRST = 1000


def metadata_ranges(image):
    """Stretches of the file that hold metadata: header, L1, L2 tables, refcount table and blocks."""
    with open(image, "rb") as file:
        data = file.read()
    number = lambda at, size: int.from_bytes(data[at:at + size], "big")
    cluster = 1 << number(20, 4)
    l1_size, l1 = number(36, 4), number(40, 8)
    table, table_clusters = number(48, 8), number(56, 4)
    ranges = [(0, 112), (l1, l1_size * 8), (table, min(64, table_clusters * cluster))]
    for start, count in ((l1, l1_size), (table, table_clusters * cluster // 8)):
        for i in range(count):
            offset = number(start + i * 8, 8) & 0x00FFFFFFFFFFFE00
            if offset and offset < len(data):
                ranges.append((offset, min(cluster, 2048)))
    return ranges


@needs_qemu
class DamagedImages(ImageTest):
    """Images with bytes of their metadata changed: both tools call them sound or both do not; neither dies; and
    what `check -r all` repairs is sound for both."""
    COUNT = 40
    FIRST = 1

    def test_damage(self):
        disagreements = []
        for seed in range(self.FIRST, self.FIRST + self.COUNT):
            with self.subTest(seed=seed):
                disagreement = self.one(seed)
                if disagreement:
                    disagreements.append(disagreement)
                for name in os.listdir("."):
                    os.remove(name)
        # The tools look at a few things that the other does not (see `one`); not at many.
        self.assertLessEqual(len(disagreements), max(1, self.COUNT // 20), "\n".join(disagreements))

    def one(self, seed):
        dice = random.Random(seed)
        options = {"cluster_size": dice.choice([512, 4096, 65536])}
        if dice.random() < 0.3:
            options["refcount_bits"] = dice.choice([1, 8, 64])
        text = ",".join(f"{key}={value}" for key, value in options.items())
        rhea("create", "-q", "-f", "qcow2", "-o", text, "image", 4 * MIB)
        run(QEMU_IO, *qemu_writes(dice, "image", 4 * MIB, 8), "-f", "qcow2", "image")
        if options.get("refcount_bits") != 1 and dice.random() < 0.4:
            rhea("snapshot", "-c", "one", "image")
            run(QEMU_IO, *qemu_writes(dice, "image", 4 * MIB, 3), "-f", "qcow2", "image")
        ranges = metadata_ranges("image")
        with open("image", "r+b") as file:
            for _ in range(dice.randrange(1, 4)):
                start, size = dice.choice(ranges)
                at = start + dice.randrange(0, max(1, size))
                file.seek(at)
                old = file.read(1) or b"\0"
                file.seek(at)
                file.write(bytes([old[0] ^ (1 << dice.randrange(8))]))
        theirs, their_text = qemu("check", "image", status=None)
        ours, our_text = rhea("check", "image", status=None)
        self.assertIn(ours, (0, 1, 2, 3, 63), our_text)  # 63: even the magic number is gone
        # Using it as a guest would: an error or not, but an end.
        status, text = run(EXERCISE, "verify", "image", "qcow2", 1, 3, status=None)
        self.assertIn(status, (0, 1), text)
        if ours in (2, 3):
            fixed, text = rhea("check", "-r", "all", "image", status=None)
            self.assertIn(fixed, (0, 1, 2, 3), text)
            if fixed == 0:
                self.assertIn(qemu("check", "image", status=None)[0], (0, 3))
        if (theirs == 0) != (ours == 0):
            return f"seed {seed}: qemu-img says {theirs}\n{their_text}\nrhea-img says {ours}\n{our_text}"
        return None


class ManyDamagedImages(DamagedImages):
    COUNT = 300
    FIRST = 5000


class Killed(ImageTest):
    """A process that is killed loses nothing that it flushed, and leaves a sound image."""

    def durable(self, options, image_format, seed):
        rhea("create", "-q", "-f", image_format, *(["-o", options] if options else []), "image", 16 * MIB)
        for again in range(3):
            process = subprocess.Popen([EXERCISE, "durable", "image", image_format, str(seed)], stdout=subprocess.PIPE)
            rounds = 0
            deadline = time.monotonic() + 60
            wanted = 20 + 35 * again
            for line in process.stdout:
                rounds = int(line)
                if rounds >= wanted or time.monotonic() > deadline:
                    break
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            rounds = int(rest[-1]) if rest else rounds
            self.assertGreater(rounds, 0)
            if image_format == "qcow2":
                # Leaks (3) are the worst that may be; with lazy refcounts the image says that it is dirty.
                for tool in (RHEA_IMG, QEMU_IMG) if QEMU_IMG else (RHEA_IMG,):
                    status, text = run(tool, "check", "image", status=None)
                    self.assertIn(status, (0, 3) if "lazy" not in options else (0, 2, 3), text)
            text = run(EXERCISE, "verify", "image", image_format, seed, rounds)
            self.assertRegex(text, r"^\d+ blocks of \d+ rounds are there")
            if image_format == "qcow2":
                rhea("check", "-r", "all", "image", status=None)
                self.sound("image")

    def test_qcow2(self):
        self.durable("", "qcow2", 1)

    def test_qcow2_small_clusters(self):
        self.durable("cluster_size=4096", "qcow2", 2)

    def test_qcow2_lazy_refcounts(self):
        self.durable("lazy_refcounts=on", "qcow2", 3)

    def test_raw(self):
        self.durable("", "raw", 4)


class Commands(ImageTest):
    """rhea-img by itself: what it prints, how it ends."""

    def test_create_and_info(self):
        text = rhea("create", "-f", "qcow2", "a.qcow2", "1G")
        self.assertEqual(text, "Formatting 'a.qcow2', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib "
                               "size=1073741824 lazy_refcounts=off refcount_bits=16\n")
        text = rhea("info", "a.qcow2")
        for line in ("image: a.qcow2", "file format: qcow2", "virtual size: 1 GiB (1073741824 bytes)", "cluster_size: 65536",
                     "    compat: 1.1", "    refcount bits: 16", "    corrupt: false"):
            self.assertIn(line + "\n", text)
        rhea("create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
        chain = json.loads(rhea("info", "--output=json", "--backing-chain", "b.qcow2"))
        self.assertEqual([layer["filename"] for layer in chain], ["b.qcow2", "a.qcow2"])
        self.assertEqual(chain[0]["backing-filename-format"], "qcow2")
        self.assertEqual(rhea("create", "c.img", "10M"), "Formatting 'c.img', fmt=raw size=10485760\n")
        self.assertEqual(os.path.getsize("c.img"), 10 * MIB)

    @needs_qemu
    def test_same_words_as_qemu(self):
        """Commands whose output and status are QEMU's to the letter, but for the program's name."""
        rhea("create", "-q", "-f", "qcow2", "a.qcow2", "64M")
        run(QEMU_IO, "-c", "write -P 3 1M 1M", "-c", "write -z 4M 64k", "a.qcow2")
        rhea("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
        run(QEMU_IO, "-c", "write -P 4 2M 64k", "b.qcow2")
        rhea("create", "-q", "r.img", "1M")
        rhea("snapshot", "-c", "first", "a.qcow2")
        for words in (["info", "a.qcow2"], ["info", "b.qcow2"], ["info", "--output=json", "--backing-chain", "b.qcow2"],
                      ["info", "--output=json", "r.img"], ["check", "a.qcow2"], ["check", "--output=json", "a.qcow2"],
                      ["map", "b.qcow2"], ["map", "--output=json", "b.qcow2"], ["snapshot", "-l", "a.qcow2"],
                      ["compare", "a.qcow2", "b.qcow2"], ["compare", "a.qcow2", "a.qcow2"], ["check", "r.img"],
                      ["resize", "-q", "b.qcow2", "32M"], ["snapshot", "-l", "r.img"],
                      ["compare", "r.img", "nope"], ["create", "-f", "foo", "x", "1M"], ["create", "-f", "qcow2", "x"],
                      ["create", "-f", "qcow2", "-o", "cluster_size=100", "x", "1M"],
                      ["create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "-o", "preallocation=metadata", "x"],
                      ["create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "-o", "preallocation=off", "x"], ["convert", "-O", "foo", "r.img", "x"],
                      ["convert", "-m", "0", "r.img", "x"], ["convert", "-m", "17", "r.img", "x"],
                      ["convert", "-r", "fast", "r.img", "x"], ["convert", "-S", "3", "r.img", "x"],
                      ["convert", "-n", "-o", "size=1", "r.img", "x"], ["convert", "--target-is-zero", "r.img", "x"],
                      ["commit", "-r", "x", "b.qcow2"], ["commit", "-b", "nope", "b.qcow2"],
                      ["rebase", "-T", "foo", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2"]):
            with self.subTest(words=words):
                their_status, theirs = qemu(*words, status=None)
                our_status, ours = rhea(*words, status=None)
                self.assertEqual(our_status, their_status)
                normal = lambda text: re.sub(r"Could not open '(\w+)': Could not open '\1'", r"Could not open '\1'",
                                             text.replace("qemu-img:", "rhea-img:"))
                if "warning: Shrinking" not in theirs:
                    self.assertEqual(normal(ours), normal(theirs))

    def test_refusals(self):
        rhea("create", "-q", "r.img", "1M")
        rhea("create", "-q", "-f", "qcow2", "q", "1M")
        for words, message in (
                (["info", "/nonexistent"], "rhea-img: Could not open '/nonexistent': No such file or directory"),
                (["info", "-f", "qcow2", "r.img"], "rhea-img: Could not open 'r.img': Image is not in qcow2 format"),
                (["frobnicate"], "rhea-img: Command not found: frobnicate"),
                (["chek", "q"], "did you mean 'check'?"),
                (["resize", "q", "1k"], "Use the --shrink option to perform a shrink operation."),
                (["resize", "q", "+1X"], "Parameter 'size' expects a non-negative number below 2^64"),
                (["snapshot", "-a", "nope", "q"], "rhea-img: Could not apply snapshot 'nope'"),
                (["commit", "q"], "rhea-img: Image does not have a backing file"),
                (["create", "-f", "qcow2", "-b", "r.img", "x"], "Backing file specified without backing format"),
                (["create", "-f", "qcow2", "-o", "foo=1", "x", "1M"], "Invalid parameter 'foo'"),
                (["create", "-f", "qcow2", "x", "1Q"], "Invalid image size specified."),
                (["create", "-f", "qcow2", "-o", "extended_l2=on", "x", "1M"], "extended_l2=on is not supported"),
                (["info", "ssh://host/x"], "Unknown protocol 'ssh'"),
                (["convert", "-c", "-O", "raw", "q", "x"], "Compression not supported for this file format"),
                (["info", "-Z", "q"], "unrecognized option '-Z'"),
                (["convert", "-C", "q", "x"], "convert's option -C is not supported"),
                (["convert", "-n", "--target-is-zero", "-B", "r.img", "-F", "raw", "q", "x"], "Cannot use --target-is-zero"),
                (["commit", "-b", "nope", "q"], "Did not find 'nope' in the backing chain of 'q'"),
        ):
            with self.subTest(words=words):
                status, text = rhea(*words, status=None)
                self.assertEqual(status, 1, text)
                self.assertIn(message, text)

    def test_resize_keeps_what_stays(self):
        rhea("create", "-q", "-f", "qcow2", "q", "8M")
        rhea("create", "-q", "m", "8M")
        run(EXERCISE, "random", "q", "qcow2", "m", 5, 20)
        size = os.path.getsize("m")
        for change in ("+3M", "-1M", "+512", "-2560"):
            rhea("resize", "--shrink", "-f", "qcow2", "q", change)
            rhea("resize", "--shrink", "-f", "raw", "m", change)
            self.sound("q")
            self.same("q", "qcow2", "m", "raw")
        self.assertNotEqual(os.path.getsize("m"), size)

    def test_commit_and_rebase(self):
        rhea("create", "-q", "m", "4M")
        rhea("create", "-q", "-f", "qcow2", "base", "4M")
        run(EXERCISE, "random", "base", "qcow2", "m", 6, 15)
        size = os.path.getsize("m")
        rhea("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", size)
        run(EXERCISE, "random", "top", "qcow2", "m", 7, 15)
        rhea("convert", "-O", "qcow2", "base", "other")
        rhea("rebase", "-u", "-b", "other", "-F", "qcow2", "top")
        self.same("top", "qcow2", "m", "raw")
        rhea("rebase", "-p", "-b", "", "top")
        self.same("top", "qcow2", "m", "raw")
        self.sound("top")
        self.assertNotIn("backing file", rhea("info", "top"))
        size = json.loads(rhea("info", "--output=json", "top"))["virtual-size"]
        rhea("create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "more", size)
        run(EXERCISE, "random", "more", "qcow2", "m", 8, 15)
        self.assertIn("Image committed.", rhea("commit", "more"))
        size = os.path.getsize("m")  # `more` may have become smaller than what is below it
        rhea("resize", "--shrink", "-f", "qcow2", "top", size)
        for image in ("top", "more"):
            self.sound(image)
            self.same(image, "qcow2", "m", "raw")

    def test_commit_through_several_layers(self):
        rhea("create", "-q", "m", "4M")
        rhea("create", "-q", "-f", "qcow2", "base", "4M")
        run(EXERCISE, "random", "base", "qcow2", "m", 16, 15)
        for above, below, seed in (("middle", "base", 17), ("top", "middle", 18)):
            rhea("create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", above, os.path.getsize("m"))
            run(EXERCISE, "random", above, "qcow2", "m", seed, 15)
        self.assertIn("Image committed.", rhea("commit", "-r", "1G", "-b", "base", "top"))
        rhea("resize", "--shrink", "-f", "qcow2", "base", os.path.getsize("m"))
        for image in ("base", "top"):
            self.sound(image)
            self.same(image, "qcow2", "m", "raw")
        # What went down is still in the layer itself.
        self.assertNotIn("rhea-img", rhea("rebase", "-T", "none", "-b", "base", "-F", "qcow2", "top"))
        self.same("top", "qcow2", "m", "raw")

    def test_requests_at_once(self):
        """However many requests there are and whatever their order, the copy is the same."""
        rhea("create", "-q", "m", "24M")
        rhea("create", "-q", "-f", "qcow2", "q", "24M")
        run(EXERCISE, "random", "q", "qcow2", "m", 12, 60)
        for options in (["-m", "1"], ["-m", "16"], ["-m", "4", "-W"], ["-m", "16", "-W", "-c"], ["-m", "3", "-c"],
                        ["-W", "-S", "0"], ["-r", "1G", "-W"]):
            with self.subTest(options=options):
                rhea("convert", *options, "-f", "qcow2", "-O", "qcow2", "q", "copy")
                self.sound("copy")
                self.same("copy", "qcow2", "m", "raw")
                os.unlink("copy")
        # Into an image that has something, from several sources.
        size = os.path.getsize("m")
        rhea("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "copy", 2 * size)
        rhea("create", "-q", "both", 2 * size)
        run(EXERCISE, "random", "copy", "qcow2", "both", 13, 20)
        rhea("resize", "-q", "--shrink", "-f", "qcow2", "copy", 2 * size)
        for options in ([], ["-W"]):
            rhea("convert", "-n", *options, "-O", "qcow2", "q", "q", "copy")
            with open("m", "rb") as f:
                once = f.read()
            with open("both", "wb") as f:
                f.write(once + once)
            self.sound("copy")
            self.same("copy", "qcow2", "both", "raw")

    def test_salvage(self):
        """What cannot be read becomes zeros, and is told; without the option the conversion ends there."""
        with open("m", "wb") as f:
            f.write(random.Random(14).randbytes(4096) * 16 * 32)
        rhea("convert", "-c", "-O", "qcow2", "m", "q")
        place = json.loads(rhea("map", "--output=json", "q"))
        self.assertTrue(place)
        with open("q", "r+b") as f:
            data = f.read()
            l1 = int.from_bytes(data[40:48], "big")
            l2 = int.from_bytes(data[l1:l1 + 8], "big") & 0x00fffffffffffe00
            cluster = int.from_bytes(data[l2 + 8 * 5:l2 + 8 * 6], "big")
            self.assertTrue(cluster >> 62 & 1, "the cluster is not compressed")
            f.seek(cluster & (1 << 54) - 1)
            f.write(b"\xff" * 64)
        status, text = rhea("convert", "-O", "raw", "q", "out", status=None)
        self.assertEqual(status, 1, text)
        text = rhea("convert", "--salvage", "-O", "raw", "q", "out")
        self.assertIn(f"warning: error while reading offset {5 * 65536}: ", text)
        with open("out", "rb") as f, open("m", "rb") as g:
            ours, theirs = f.read(), g.read()
        self.assertEqual(ours[:5 * 65536] + ours[6 * 65536:], theirs[:5 * 65536] + theirs[6 * 65536:])
        self.assertEqual(ours[5 * 65536:6 * 65536], bytes(65536))

    def test_snapshot_conversion(self):
        rhea("create", "-q", "-f", "qcow2", "q", "4M")
        rhea("create", "-q", "m", "4M")
        run(EXERCISE, "random", "q", "qcow2", "m", 9, 10)
        shutil.copy("m", "then")
        rhea("snapshot", "-c", "then", "q")
        rhea("create", "-q", "x", "1M")
        run(EXERCISE, "random", "q", "qcow2", "m", 10, 5)
        rhea("convert", "-l", "then", "-O", "raw", "q", "out")
        rhea("compare", "-f", "raw", "-F", "raw", "out", "then")

    def test_progress(self):
        rhea("create", "-q", "m", "4M")
        self.assertRegex(rhea("convert", "-p", "-O", "qcow2", "m", "q"), r"^    \(0\.00/100%\)\r.*    \(100\.00/100%\)\r\n$")


class Locks(ImageTest):
    def test_second_writer(self):
        rhea("create", "-q", "-f", "qcow2", "q", "4M")
        holder = subprocess.Popen([EXERCISE, "durable", "q", "qcow2", "1"], stdout=subprocess.PIPE)
        try:
            holder.stdout.readline()
            status, text = rhea("snapshot", "-c", "x", "q", status=None)
            self.assertEqual(status, 1)
            self.assertIn('Failed to get "write" lock', text)
            self.assertIn("Is another process using the image [q]?", text)
            status, text = rhea("info", "q", status=None)
            self.assertIn('Failed to get shared "write" lock', text)
            rhea("info", "-U", "q")
            if QEMU_IMG:
                status, text = qemu("snapshot", "-c", "x", "q", status=None)
                self.assertIn('Failed to get "write" lock', text)
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()
        rhea("check", "-r", "all", "q", status=None)

    @staticmethod
    def locked(name):
        """Whether anybody has a lock on the file."""
        inode = f":{os.stat(name).st_ino} "
        with open("/proc/locks", encoding="utf-8") as f:
            return any(inode in line for line in f)

    @needs_qemu
    def test_qemu_holds_it(self):
        rhea("create", "-q", "-f", "qcow2", "q", "4M")
        holder = subprocess.Popen([QEMU_IO, "q"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            # Asked before it has the image, rhea-img would be the one that holds it.
            for _ in range(600):
                if self.locked("q"):
                    break
                time.sleep(0.05)
            _, text = rhea("snapshot", "-c", "x", "q", status=None)
            self.assertIn('Failed to get "write" lock', text)
        finally:
            holder.communicate(b"quit\n", timeout=30)


class Urls(ImageTest):
    def test_http(self):
        import host
        rhea("create", "-q", "m", "4M")
        rhea("create", "-q", "-f", "qcow2", "q", "4M")
        run(EXERCISE, "random", "q", "qcow2", "m", 11, 20)
        with ranged_server(self.folder) as port:
            rhea("compare", "-f", "qcow2", "-F", "raw", f"http://127.0.0.1:{port}/q", "m")
            rhea("compare", "-f", "raw", "-F", "raw", f"http://127.0.0.1:{port}/m", "m")
            size = os.path.getsize("m")
            rhea("create", "-q", "-f", "qcow2", "-b", f"http://127.0.0.1:{port}/q", "-F", "qcow2", "over", size)
            run(EXERCISE, "random", "over", "qcow2", "m", 12, 10)
            rhea("compare", "-f", "qcow2", "-F", "raw", "over", "m")
            status, text = rhea("info", f"http://127.0.0.1:{port}/nope", status=None)
            self.assertEqual(status, 1)
            self.assertIn("CURL: Error opening file", text)
            status, text = rhea("snapshot", "-c", "x", f"http://127.0.0.1:{port}/q", status=None)
            self.assertIn("does not support writes", text)
        with host.web_server(self.folder) as port:  # it ignores ranges
            status, text = rhea("info", f"http://127.0.0.1:{port}/q", status=None)
            self.assertEqual(status, 1)
            self.assertIn("Server does not support 'range'", text)


def ranged_server(folder):
    """An HTTP server that answers range requests."""
    import contextlib
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, with_body):
            path = os.path.join(folder, os.path.basename(self.path))
            if not os.path.exists(path):
                self.send_error(404)
                return
            with open(path, "rb") as file:
                data = file.read()
            match = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            self.send_response(206 if match else 200)
            self.send_header("Accept-Ranges", "bytes")
            if match:
                first, last = int(match[1]), min(int(match[2]), len(data) - 1)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                data = data[first:last + 1]
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        def do_GET(self):
            self.answer(True)

        def do_HEAD(self):
            self.answer(False)

        def log_message(self, *_):
            pass

    @contextlib.contextmanager
    def serve():
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()

    return serve()


class Formats(ImageTest):
    """An image of another format is told by name; none is taken for raw."""
    MAGICS = {"qcow": b"QFI\xfb\0\0\0\1", "qed": b"QED\0", "vmdk": b"KDMV\1\0\0\0", "vhdx": b"vhdxfile", "vpc": b"conectix",
              "luks": b"LUKS\xba\xbe\0\1", "parallels": b"WithoutFreeSpace"}

    def test_refused_by_name(self):
        for name, magic in self.MAGICS.items():
            with open(name + ".img", "wb") as file:
                file.write(magic + bytes(MIB - len(magic)))
            status, text = rhea("info", name + ".img", status=None)
            self.assertEqual(status, 1)
            self.assertIn(f"is of format '{name}', which is not supported", text)

    @needs_qemu
    def test_of_qemus_making(self):
        for name in ("qed", "vmdk", "vdi", "vhdx", "vpc", "parallels"):
            qemu("create", "-q", "-f", name, "x." + name, "8M")
            status, text = rhea("info", "x." + name, status=None)
            self.assertEqual(status, 1)
            self.assertIn(f"is of format '{name}'", text)

    @needs_qemu
    def test_features_that_are_refused(self):
        qemu("create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "x", "8M")
        self.assertIn("extended L2 entries", rhea("info", "x", status=None)[1])
        qemu("create", "-q", "-f", "qcow2", "-o", "data_file=d", "y", "8M")
        self.assertIn("external file", rhea("info", "y", status=None)[1])

    @needs_qemu
    def test_bitmaps_are_no_leaks(self):
        qemu("create", "-q", "-f", "qcow2", "x", "8M")
        qemu("bitmap", "--add", "x", "b0")
        self.sound("x")


if __name__ == "__main__":
    names = sys.argv[1:] or ["Commands", "Locks", "Urls", "Formats", "Killed", "RandomImages", "DamagedImages"]
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromName(name, sys.modules[__name__]) for name in names)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for case, reason in result.skipped:
        print(f"SKIP: {case}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) == result.testsRun else 0)
