# SPDX-License-Identifier: MIT
"""The start of the emulator, as the one who starts it sees it: to the guest's first instruction, and to the end.

Neither emulator is asked for its own word: the guest is a program of a few instructions that puts a letter on the UART,
so the time until the letter is in the pipe is an upper bound of the time to the first instruction. The process is made
by posix_spawn from a small interpreter, which costs about what a shell's fork and exec cost. The board has no network.
"""
import os
import signal
import statistics
import struct
import time

# mov r0, #0x10000000; add r0, #0x9000; mov r1, #'!'; str r1, [r0]; b .
LETTER = struct.pack("<5I", 0xe3a00201, 0xe2800a09, 0xe3a01021, 0xe5801000, 0xeafffffe)
OPTIONS = ["-M", "vexpress-a9", "-m", "512M", "-display", "none", "-net", "none", "-serial", "stdio", "-monitor", "none"]
# QEMU's board looks for a sound card of the host, which would count against it.
EXTRA = {"rhea": [], "qemu": ["-audiodev", "none,id=none"]}
NAME = "start to the guest's first letter"


def milliseconds(program, options, kernel):
    """From before the process is made to the letter."""
    ours, its = os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    argv = [program, *OPTIONS, *options, "-kernel", kernel]
    begin = time.monotonic()
    pid = os.posix_spawn(program, argv, dict(os.environ), file_actions=[
        (os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, its, 1), (os.POSIX_SPAWN_DUP2, nothing, 2)])
    os.close(its)
    letter = os.read(ours, 1)
    end = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(nothing)
    os.close(ours)
    if letter != b"!":
        raise SystemExit(f"bench: {program} printed {letter} instead of a letter")
    return (end - begin) * 1000


def measure(programs, order, folder, starts):
    """{who: median of the starts in ms}, turn by turn after one of each that does not count."""
    kernel = os.path.join(folder, "letter.bin")
    with open(kernel, "wb") as f:
        f.write(LETTER)
    times = {who: [] for who in order}
    for number in range(starts + 1):
        for who in order:
            took = milliseconds(programs[who], EXTRA[who], kernel)
            if number:
                times[who].append(took)
    return {who: statistics.median(times[who]) for who in order}
