#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wires between guests and to the host's kernel, beside QEMU's with the same stock guests, in one run.

Guest to guest: `-netdev lan` against QEMU's dgram and mcast sockets. Guest and host: a tap with offloads against QEMU's
without vhost. All by iperf3 over TCP, in a network namespace of its own. A ratio is the median of the rounds' own.
Prints a table on standard output, what goes on on the standard error output.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests/functional")]
import guest  # noqa: E402
import host  # noqa: E402

MACS = ("52:54:00:00:07:01", "52:54:00:00:07:02")
SOCKETS = ("dgram", "mcast")


def sh(emulator, command):
    status, text = emulator.run(command, 600)
    if status:
        raise RuntimeError(f"{command}: {text}")
    return text


def megabits(text):
    end = json.loads(text[text.index("{"):text.rindex("}") + 1])["end"]
    return end["sum_received"]["bits_per_second"] / 1e6


def boot(program, side, netdev, address):
    emulator = guest.Emulator(guest.machine(
        "-netdev", netdev, "-device", f"virtio-net-device,netdev=n0,mac={MACS[side]}", memory="256M",
        initrd=guest.WORK_INITRD, append=guest.APPEND + " rhea.net=off"), program=program)
    try:
        emulator.expect(guest.PROMPT, 600)
        name = os.path.basename(os.path.dirname(sh(emulator, f"grep -il {MACS[side]} /sys/class/net/*/address").strip()))
        sh(emulator, f"ip addr add {address}/24 dev {name}; ip link set {name} up")
    except BaseException:
        emulator.close()
        raise
    return emulator


def netdevs(kind, directory):
    """What the two guests of a pair say."""
    if kind == "lan":
        return ["lan,id=n0,name=bench"] * 2
    if kind == "mcast":
        return ["socket,id=n0,mcast=230.0.0.1:7001,localaddr=127.0.0.1"] * 2
    a, b = (os.path.join(directory, name) for name in "ab")
    return [f"dgram,id=n0,local.type=unix,local.path={x},remote.type=unix,remote.path={y}" for x, y in ((a, b), (b, a))]


def between_guests(program, kind, seconds):
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        pair = []
        try:
            for side, netdev in enumerate(netdevs(kind, directory)):
                pair.append(boot(program, side, netdev, f"10.9.0.{side + 1}"))
            sh(pair[1], "iperf3 -s -D > /dev/null; until netstat -tln | grep -q :5201; do sleep 0.1; done")
            sh(pair[0], "ping -c 3 10.9.0.2")
            return megabits(sh(pair[0], f"iperf3 -c 10.9.0.2 -t {seconds} -J"))
        finally:
            for emulator in pair:
                emulator.close()


def over_tap(program, seconds):
    """Both ways: host to guest, guest to host."""
    subprocess.run("ip tuntap add dev tap0 mode tap && ip addr add 10.8.0.254/24 dev tap0 && ip link set tap0 up",
                   shell=True, check=True)
    server = subprocess.Popen(["iperf3", "-s", "-B", "10.8.0.254"], stdout=subprocess.DEVNULL)
    emulator = None
    try:
        emulator = boot(program, 0, "tap,id=n0,ifname=tap0,script=no,downscript=no", "10.8.0.1")
        sh(emulator, "ping -c 3 10.8.0.254")
        return [megabits(sh(emulator, f"iperf3 -c 10.8.0.254 -t {seconds} -J {way}")) for way in ("-R", "")]
    finally:
        if emulator:
            emulator.close()
        server.terminate()
        server.wait()
        subprocess.run(["ip", "link", "del", "tap0"], check=True)


def note(figures, key, who, value):
    figures.setdefault(key, {}).setdefault(who, []).append(value)
    print(f"  {who}: {key}: {value:.1f} Mbit/s", file=sys.stderr, flush=True)


def measure(args, order, figures):
    for who in order:
        if who == "rhea":
            value = between_guests(args.rhea, "lan", args.seconds)
            for kind in SOCKETS:
                note(figures, f"guest to guest, lan beside {kind}", who, value)
        else:
            for kind in SOCKETS:
                note(figures, f"guest to guest, lan beside {kind}", who, between_guests(args.qemu, kind, args.seconds))
    for who in order:
        values = over_tap(args.rhea if who == "rhea" else args.qemu, args.seconds)
        for way, value in zip(("host to guest", "guest to host"), values):
            note(figures, f"tap, {way}", who, value)


def table(figures):
    lines = ["| wire | Rhea | QEMU | ratio | asked |", "|---|---|---|---|---|"]
    for key, values in figures.items():
        asked = 10 if key.startswith("guest") else 2.5
        ratio = statistics.median(r / q for r, q in zip(values["rhea"], values["qemu"]))
        rhea, qemu = (statistics.median(values[who]) for who in ("rhea", "qemu"))
        lines.append(f"| {key} | {rhea:.0f} Mbit/s | {qemu:.0f} Mbit/s | {ratio:.2f}x | "
                     f"{asked}x: {'yes' if ratio >= asked else 'no'} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each transfer")
    parser.add_argument("--rhea", default=os.path.join(ROOT, "build/release/rhea-system-arm"))
    parser.add_argument("--qemu", default="/usr/bin/qemu-system-arm")
    args = parser.parse_args()
    reason = host.enter_namespace()
    if reason:
        sys.exit(f"bench: wires: {reason}")
    figures = {}
    for number in range(args.rounds):
        print(f"wires, round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
        measure(args, ("rhea", "qemu") if number % 2 == 0 else ("qemu", "rhea"), figures)
        time.sleep(0.1)
    print(table(figures))


if __name__ == "__main__":
    main()
