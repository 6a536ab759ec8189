# SPDX-License-Identifier: MIT
"""Two or more stock guests on one network: what the tests of wires between machines have in common.

Runs in a network namespace of its own (host.enter_namespace), so that ports and interfaces are free.
"""
import os
import re
import shutil

import guest
import host
from guest import APPEND, GuestTest

QEMU = shutil.which("qemu-system-arm")
NO_DHCP = APPEND + " rhea.net=off"


def interface(test, emulator, mac):
    """The guest's name for the NIC with this address."""
    text = test.guest_runs(emulator, "grep -il %s /sys/class/net/*/address" % mac)
    return re.search(r"/net/([^/]+)/address", text)[1]


def configure(test, emulator, mac, address):
    """An address on the NIC with this MAC, and its link up."""
    nic = interface(test, emulator, mac)
    test.guest_runs(emulator, f"ip addr add {address} dev {nic}; ip link set {nic} up")
    return nic


class WireTest(GuestTest):
    """Machines whose NICs get addresses by hand, as in the tutorials."""

    def machine(self, *options, program=None, **how):
        """A machine that boots; `answers` waits for it."""
        return self.start(*guest.machine(*options, append=NO_DHCP, memory="256M", **how), program=program)

    def answers(self, *emulators):
        for emulator in emulators:
            emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT * 2)

    def ping(self, emulator, address, size=56, count=3):
        # The first packet may wait for the other side's address.
        text = self.guest_runs(emulator, f"ping -c 1 -W 10 {address} > /dev/null; "
                                         f"ping -c {count} -i 0.2 -W 10 -s {size} {address}", 90)
        self.assertIn(f"{count} packets received", text)

    def transfer(self, sender, receiver, address, size=1 << 20, port=7000):
        """TCP from one guest to the other, compared by digest."""
        receiver.send(f"nc -l -p {port} | sha256sum > /tmp/digest; echo received-$((1+1))\n")
        self.guest_runs(sender, f"head -c {size} /dev/urandom > /tmp/data; "
                                f"until nc -w 60 {address} {port} < /tmp/data; do sleep 0.3; done", 300)
        receiver.expect(r"received-2\r*\n", 300)
        receiver.expect(guest.PROMPT)
        sent = self.guest_runs(sender, "sha256sum < /tmp/data; rm /tmp/data").split()[0]
        self.assertEqual(self.guest_runs(receiver, "cat /tmp/digest").split()[0], sent)


def main():
    """Inside a namespace, or skipped with the reason."""
    reason = host.enter_namespace()
    if reason:
        print(f"SKIP: {os.path.basename(__file__)}: {reason}", flush=True)
        raise SystemExit(77)
    guest.main()
