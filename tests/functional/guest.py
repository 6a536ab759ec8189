# SPDX-License-Identifier: MIT
"""Runs the emulator for the functional tests: start it, talk to its console, end it.

The program under test is RHEA_SYSTEM_ARM. It may be the peer (QEMU): most cases hold for both, and
what Rhea does differently on purpose carries @rhea_only. RHEA_TEST_TIMEOUT_SCALE stretches every
wait. Nothing here measures time: a wait only bounds how long a broken run may take.
"""
import ctypes
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import termios
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.append(os.path.join(ROOT, "tools/guest"))
from cpio import Archive  # noqa: E402

PROGRAM = os.environ.get("RHEA_SYSTEM_ARM", os.path.join(ROOT, "build/release/rhea-system-arm"))
GUEST = os.environ.get("RHEA_GUEST_DIR", os.path.join(ROOT, "build/guest"))
os.environ["QEMU_AUDIO_DRV"] = "none"  # the peer's only: keeps its sound drivers silent
SCALE = float(os.environ.get("RHEA_TEST_TIMEOUT_SCALE", "1"))
PROMPT = r"rhea-guest# "
MONITOR_PROMPT = r"\((qemu|rhea)\) (?:\x1b\[K)?"
BOOT_TIMEOUT = 120
TAIL_LINES = 60


def guest_file(name):
    return os.path.join(GUEST, name)


KERNEL = guest_file("vmlinuz")
INITRD = guest_file("initrd.gz")
WORK_INITRD = guest_file("work.gz")
ROOT_INITRD = guest_file("root.gz")
PROGRAMS = guest_file("programs.img")
DTB = guest_file("vexpress-v2p-ca9.dtb")
APPEND = "console=ttyAMA0"
COMPILER = "arm-linux-gnueabihf-gcc"


def call(*args, program=None, timeout=30, stdin=subprocess.DEVNULL, **more):
    """Run the program to its end: (status, stdout, stderr). For help texts and refusals."""
    done = subprocess.run([program or PROGRAM, *args], stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout * SCALE, check=False, **more)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _is_peer():
    try:
        return "QEMU emulator" in call("--version")[1]
    except OSError:
        return False


PEER = _is_peer()


def rhea_only(why):
    """For what Rhea does on purpose where QEMU does not."""
    return unittest.skipIf(PEER, f"not applicable to the peer: {why}")


def have(tool):
    return shutil.which(tool) is not None


def wait_until(condition, what, timeout=30):
    """Wait for what no console says."""
    deadline = time.monotonic() + timeout * SCALE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout * SCALE:g} s still not so: {what}")
        time.sleep(0.02)


def plain(text):
    """Console text without terminal control sequences and carriage returns."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r|\x07", "", text)


def _die_with_us():
    """In the child before exec: a test that is killed takes its emulator along."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _take_terminal():
    _die_with_us()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Emulator:
    """One run of the program, its standard streams on pipes or on a terminal of its own."""

    def __init__(self, args, terminal=False, program=None, env=None):
        self.command = [program or PROGRAM, *args]
        self.text = ""
        self.position = 0
        self.ended = False
        self.changed = threading.Condition()
        self.terminal = None
        self.errors, self.said = tempfile.TemporaryFile(), ""
        if terminal:
            self.terminal, slave = pty.openpty()
            self.terminal_before = termios.tcgetattr(slave)[:4]
            self.process = subprocess.Popen(
                self.command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
                preexec_fn=_take_terminal)
            os.close(slave)
            self.output = self.input = self.terminal
        else:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.errors, env=env, preexec_fn=_die_with_us)
            self.output, self.input = self.process.stdout.fileno(), self.process.stdin.fileno()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.output, 65536)
            except OSError:
                data = b""
            with self.changed:
                if not data:
                    self.ended = True
                self.text += data.decode(errors="replace")
                self.changed.notify_all()
            if not data:
                return

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def send(self, text):
        data = text.encode("latin-1") if isinstance(text, str) else text
        while data:
            data = data[os.write(self.input, data):]

    def expect(self, pattern, timeout=30):
        """Wait for the pattern in what has not been consumed yet, and consume up to its end."""
        deadline = time.monotonic() + timeout * SCALE
        expression = re.compile(pattern)
        with self.changed:
            while True:
                found = expression.search(self.text, self.position)
                if found:
                    self.position = found.end()
                    return found
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = "the program's output ended" if self.ended else f"waited {timeout * SCALE:g} s"
                    raise AssertionError(f"{why} before /{pattern}/ came; console:\n{self.tail()}")
                self.changed.wait(left)

    def stderr(self):
        """What the program said on stderr, when that is not the terminal too."""
        if not self.errors.closed:
            self.said = os.pread(self.errors.fileno(), 1 << 20, 0).decode(errors="replace")
        return self.said

    def tail(self, lines=TAIL_LINES):
        """The console's last lines, and stderr's."""
        tail, errors = ("\n".join(line[:400] for line in text.split("\n")[-lines:])
                        for text in (plain(self.text), self.stderr()))
        return f"{tail}\n-- stderr: {errors}" if errors else tail

    def run(self, command, timeout=60):
        """Run a command in the guest's shell: (exit status, what it printed)."""
        self.send(f"echo @@$((1+1))@; {command}; echo @@$?@@\n")
        self.expect(r"@@2@\r*\n", timeout)
        start = self.position
        end = self.expect(r"@@(\d+)@@\r*\n", timeout)
        self.expect(PROMPT, timeout)
        return int(end[1]), plain(self.text[start:end.start()])

    def monitor(self, command, timeout=30):
        """A monitor command's output; the console must be the monitor's (see in_monitor)."""
        self.send(command + "\n")
        start = self.position
        end = self.expect(MONITOR_PROMPT, timeout)
        lines = plain(self.text[start:end.start()]).split("\n")
        return "\n".join(lines[1:]).rstrip("\n")

    def open_monitor(self):
        """Ctrl-a c, and wait until the monitor answers."""
        self.send("\x01cinfo status\n")
        self.expect("VM status: ")
        self.expect(MONITOR_PROMPT)

    def in_monitor(self, *commands):
        """Switch the shared console to the monitor (Ctrl-a c), run the commands, and switch back."""
        self.open_monitor()
        texts = [self.monitor(command) for command in commands]
        self.send("\x01c\n")
        self.expect(PROMPT)
        return texts[0] if len(texts) == 1 else texts

    def wait(self, timeout=30):
        """The exit status, once the program ends by itself."""
        try:
            status = self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout * SCALE:g} s; console:\n{self.tail()}") from None
        self.reader.join(5)
        return status

    def close(self):
        """End this process, and only this one."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass
        self.said = self.stderr()
        self.errors.close()
        self.close_terminal()

    def close_terminal(self):
        """What closing the window does: the terminal's other end is gone."""
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None


def build_program(source, output, *options):
    """A static program for the guest, from one C file."""
    subprocess.run([COMPILER, "-O2", "-static", "-o", output, source, *options], check=True)


def initrd_with(path, programs, initrd=None):
    """An initrd with more in its root: programs is {name: the host's file}."""
    more = Archive()
    for name, program in programs.items():
        with open(program, "rb") as file:
            more.file(name, file.read(), 0o755)
    with open(path, "wb") as file, open(initrd or INITRD, "rb") as first:
        file.write(first.read())
        file.write(bytes(-file.tell() % 4) + more.pack())
    return path


def machine(*extra, memory="512M", initrd=None, dtb=None, append=APPEND, kernel=None):
    """The arguments that boot the stock guest; dtb="" leaves -dtb out."""
    args = ["-M", "vexpress-a9", "-m", memory, "-kernel", kernel or KERNEL, "-initrd", initrd or INITRD]
    if dtb != "":
        args += ["-dtb", dtb or DTB]
    return [*args, "-append", append, "-nographic", *extra]


def pack_files(path, files):
    """A medium for an SD card with a tar archive on it: files is {name: the host's file}."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, file in files.items():
            archive.add(file, name)
    size = os.path.getsize(path)
    os.truncate(path, max(1 << 20, 1 << (size - 1).bit_length()))  # QEMU's cards have a power of two
    return path


def programs_machine(*extra, files=None, memory="1G"):
    """The arguments that boot programs.img; with files (see pack_files), `tar xf /dev/mmcblk0` brings them."""
    # QEMU's cards are never read-only.
    card = ["-drive", f"if=sd,format=raw,snapshot=on,file={files}"] if files else []
    return machine("-drive", f"if=none,id=programs,format=raw,readonly=on,file={PROGRAMS}", "-device",
                   "virtio-blk-device,drive=programs", "-device", "virtio-rng-device", *card, *extra,
                   memory=memory, initrd=ROOT_INITRD, append=f"{APPEND} root=/dev/vda loglevel=3")


class GuestTest(unittest.TestCase):
    """Ends what a case started, and shows the consoles of one that failed."""

    needs_guest = True

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(PROGRAM):
            raise unittest.SkipTest(f"{PROGRAM} is not built")
        if cls.needs_guest and not os.path.exists(guest_file("built")):
            raise unittest.SkipTest(f"no guest in {GUEST}: run tools/guest/fetch and tools/guest/build-initrd")

    def setUp(self):
        self.emulators = []

    def start(self, *args, **how):
        emulator = Emulator(args, **how)
        self.emulators.append(emulator)
        self.addCleanup(emulator.close)
        return emulator

    def boot(self, *extra, terminal=False, program=None, timeout=BOOT_TIMEOUT, **how):
        """Boot the stock guest to its shell's prompt."""
        emulator = self.start(*machine(*extra, **how), terminal=terminal, program=program)
        emulator.expect(PROMPT, timeout)
        return emulator

    def start_monitor(self, *extra, kernel=True, **how):
        """A machine stopped at its start, with the monitor on our end of stdio."""
        image = ["-kernel", KERNEL, "-dtb", DTB, "-append", APPEND] if kernel else []
        emulator = self.start("-M", "vexpress-a9", "-m", "128M", *image, "-display", "none", "-S",
                              "-serial", "null", "-monitor", "stdio", *extra, **how)
        emulator.expect(MONITOR_PROMPT)
        return emulator

    def guest_runs(self, emulator, command, timeout=60):
        """Run a command that must succeed; returns what it printed."""
        status, text = emulator.run(command, timeout)
        self.assertEqual(status, 0, f"in the guest: {command}\n{text}")
        return text

    def directory(self):
        temporary = tempfile.TemporaryDirectory(prefix="rhea-test-")
        self.addCleanup(temporary.cleanup)
        return temporary.name

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for emulator in self.emulators:
                print(f"---- console of: {' '.join(emulator.command)}\n{emulator.tail()}\n----", file=sys.stderr)


class SharedGuestTest(GuestTest):
    """One boot for all cases of the class: self.guest, started with `arguments` and `how`."""

    arguments = ()
    how = {}
    guest = None

    @classmethod
    def command_line(cls):
        return machine(*cls.arguments, **cls.how)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest = Emulator(cls.command_line())
        cls.addClassCleanup(cls.guest.close)
        cls.guest.expect(PROMPT, BOOT_TIMEOUT)

    def setUp(self):
        super().setUp()
        self.emulators.append(self.guest)

    def sh(self, command, timeout=60):
        """What the command, which must succeed, prints in the shared guest."""
        return self.guest_runs(self.guest, command, timeout)


def main():
    """unittest, with each skip's reason on a line, and 77 (ctest: skipped) when nothing ran."""
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    for test, reason in result.skipped:
        print(f"SKIP: {test}: {reason}", flush=True)
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun == len(result.skipped) or result.testsRun == 0:
        sys.exit(77)
