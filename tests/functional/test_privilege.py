# SPDX-License-Identifier: MIT
"""What the user network can do with which privilege: as root, and as an ordinary user without capabilities.

Runs in a network namespace of its own, where lo has an address of the documentation's (192.0.2.7) to ping.
"""
import os
import re
import shutil
import subprocess
import sys

import guest
import host
from guest import GuestTest, rhea_only

ELSEWHERE = "192.0.2.7"
NOWHERE = "198.51.100.8"  # there is no route to it
ORDINARY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
RANGE = "/proc/sys/net/ipv4/ping_group_range"


def set_ping_range(text):
    with open(RANGE, "w", encoding="ascii") as f:
        f.write(text)


class Privilege(GuestTest):
    """Each case states what is expected of it with that privilege."""

    def boot_as(self, ordinary, *options):
        program = None
        if ordinary:
            program = os.path.join(self.directory(), "ordinary")
            with open(program, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\nexec {' '.join(ORDINARY)} {guest.PROGRAM} \"$@\"\n")
            os.chmod(program, 0o755)
            os.chmod(os.path.dirname(program), 0o755)
        return self.boot("-nic", "user" + "".join("," + option for option in options), program=program)

    def works_without_privilege(self, emulator, port):
        self.assertIn("ttl=255", self.guest_runs(emulator, "ping -c 1 10.0.2.2"))
        with host.TcpServer(lambda c: c.sendall(b"here\n")) as server:
            self.assertEqual(self.guest_runs(emulator, f"nc 10.0.2.2 {server.port} < /dev/null"), "here\n")
        self.guest_runs(emulator, "(echo in the guest | nc -l -p 9000 > /dev/null) > /dev/null 2>&1 & "
                                  "until netstat -tln | grep -q :9000; do sleep 0.2; done")
        with host.connect(port) as c:
            self.assertEqual(host.read_all(c), b"in the guest\n")

    def test_root_pings(self):
        set_ping_range("1 0")
        emulator = self.boot_as(False)
        self.assertIn("1 packets received", self.guest_runs(emulator, f"ping -c 1 -W 5 {ELSEWHERE}"))
        self.assertNotIn("ping_group_range", emulator.stderr() + emulator.text)

    @rhea_only("QEMU says nothing")
    def test_an_ordinary_user_is_told_what_forbids_ping(self):
        set_ping_range("1 0")
        port = host.free_port()
        emulator = self.boot_as(True, f"hostfwd=tcp:127.0.0.1:{port}-:9000")
        self.works_without_privilege(emulator, port)
        # Of a target that answers a UDP probe it still learns; of no other.
        self.assertIn("1 packets received", self.guest_runs(emulator, f"ping -c 1 -W 5 {ELSEWHERE}"))
        self.assertNotEqual(emulator.run(f"ping -c 1 -W 2 {NOWHERE}")[0], 0)
        said = re.findall(r"[^\n]*ping_group_range[^\n]*", emulator.stderr() + emulator.text)
        self.assertEqual(len(said), 1, said)

    def test_an_ordinary_user_pings_where_it_may(self):
        set_ping_range("0 2147483647")
        emulator = self.boot_as(True)
        self.assertIn("1 packets received", self.guest_runs(emulator, f"ping -c 1 -W 5 {ELSEWHERE}"))

    @rhea_only("QEMU does not say why")
    def test_ports_of_root(self):
        self.assertEqual(self.refusal(False), "")
        self.assertIn("Permission denied", self.refusal(True))

    def refusal(self, ordinary):
        """What forwarding port 80 is refused with."""
        command = [*(ORDINARY if ordinary else []), guest.PROGRAM, "-M", "vexpress-a9", "-display", "none", "-S",
                   "-serial", "null", "-monitor", "stdio", "-net", "nic", "-net", "user,hostfwd=tcp:127.0.0.1:80-:80"]
        done = subprocess.run(command, input=b"quit\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                              check=False)
        return "" if done.returncode == 0 else done.stderr.decode()


def main():
    reason = host.enter_namespace()
    if not reason and not shutil.which("setpriv"):
        reason = "no setpriv(1)"
    if not reason and os.geteuid() != 0:
        reason = "not root"
    if reason or not os.path.exists(RANGE):
        print(f"SKIP: privilege: {reason or 'no ' + RANGE}", flush=True)
        sys.exit(77)
    try:
        host.add_loopback_address(ELSEWHERE)
        set_ping_range("1 0")
        # A user namespace maps one user only: there is no ordinary one in it.
        subprocess.run([*ORDINARY, "true"], check=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SKIP: privilege: {error}", flush=True)
        sys.exit(77)
    guest.main()


if __name__ == "__main__":
    main()
