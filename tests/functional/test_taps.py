# SPDX-License-Identifier: MIT
"""Taps and bridges of the host, in a namespace of the test's own: two guests and the host on a bridge, offloads,
scripts, descriptors, taps of ordinary users, the helper."""
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

import guest
import host
from guest import rhea_only, wait_until
from wires import QEMU, WireTest, configure

ORDINARY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
HELPER = os.path.join(os.path.dirname(guest.PROGRAM), "rhea-bridge-helper")
TUN = "/dev/net/tun"
MACS = ("52:54:00:00:01:01", "52:54:00:00:01:02")


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def has_interface(name):
    return ip("link", "show", "dev", name, check=False).returncode == 0


def ports_of(bridge):
    return [line.split(":")[1].strip() for line in ip("-o", "link", "show", "master", bridge).stdout.splitlines()]


def add_bridge(test, name="br0", address="10.9.0.254/24"):
    ip("link", "add", name, "type", "bridge", "forward_delay", "0")
    test.addCleanup(lambda: ip("link", "del", name, check=False))
    ip("addr", "add", address, "dev", name)
    ip("link", "set", name, "up")


class Sizes:
    """Lengths of the frames that cross an interface (packet(7))."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.socket.settimeout(0.2)
        self.largest = {True: 0, False: 0}  # the interface sends it (towards the guest)
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.running:
            try:
                data, where = self.socket.recvfrom(1 << 17)
            except OSError:
                continue
            outgoing = where[2] == 4  # PACKET_OUTGOING
            self.largest[outgoing] = max(self.largest[outgoing], len(data))

    def close(self):
        self.running = False
        self.thread.join()
        self.socket.close()


class TapTest(WireTest):
    def script(self, text, name="script"):
        path = os.path.join(self.directory(), name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        os.chmod(os.path.dirname(path), 0o755)
        return path

    def as_ordinary(self):
        """The program under test, run by a user without any right."""
        if not host.is_root():
            self.skipTest("this namespace of an ordinary user's has no second user")
        return self.script(f"#!/bin/sh\nexec {' '.join(ORDINARY)} {guest.PROGRAM} \"$@\"\n", "ordinary")

    def with_host(self, emulator, address, size=4 << 20):
        """TCP between guest and host, both ways, compared by digest."""
        data = host.pattern(size)
        results = []
        with socket.create_server((address, 0)) as server:
            def serve():
                for handle in (lambda c: c.sendall(data), host.digest_of_all):
                    connection, _ = server.accept()
                    with connection:
                        results.append(handle(connection))

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            port = server.getsockname()[1]
            text = self.guest_runs(emulator, f"nc {address} {port} < /dev/null | sha256sum", 300)
            self.assertEqual(text.split()[0], host.sha256(data))
            text = self.guest_runs(emulator, f"head -c {size} /dev/urandom > /tmp/up; sha256sum < /tmp/up; "
                                             f"nc {address} {port} < /tmp/up; rm /tmp/up", 300)
            thread.join(60 * guest.SCALE)
        self.assertEqual(results[1:], [(size, text.split()[0])])

    def refused(self, *arguments, program=None):
        status, text, errors = guest.call("-M", "vexpress-a9", "-display", "none", *arguments, program=program)
        self.assertEqual(status, 1, text + errors)
        return errors


class Bridge(TapTest):
    """As root, without helper: both spellings on one bridge, with the host, and QEMU beside."""

    def test_two_guests_and_the_host(self):
        add_bridge(self)
        left = self.machine("-nic", f"bridge,br=br0,mac={MACS[0]}")
        right = self.machine("-netdev", "bridge,id=net0", "-device", f"virtio-net-device,netdev=net0,mac={MACS[1]}")
        self.answers(left, right)
        self.assertEqual(len(ports_of("br0")), 2)
        configure(self, left, MACS[0], "10.9.0.1/24")
        configure(self, right, MACS[1], "10.9.0.2/24")
        self.ping(left, "10.9.0.2")
        for emulator in (left, right):
            self.ping(emulator, "10.9.0.254", size=1400)
        self.transfer(left, right, "10.9.0.2")
        self.transfer(right, left, "10.9.0.1")
        self.with_host(right, "10.9.0.254")
        with self.subTest("taps go with their machines"):
            left.process.send_signal(signal.SIGKILL)
            left.wait()
            wait_until(lambda: len(ports_of("br0")) == 1, "its tap is gone")

    @rhea_only("text of its own")
    def test_a_bridge_that_is_not_there(self):
        errors = self.refused("-nic", "bridge,br=br7")
        self.assertIn("there is no bridge 'br7'", errors)
        self.assertIn("ip link add br7 type bridge", errors)
        self.assertIn("'lo' is no bridge", self.refused("-nic", "bridge,br=lo"))
        add_bridge(self, "virbr0")
        self.assertIn("did you mean 'virbr0'", self.refused("-nic", "bridge,br=vibr0"))

    def test_beside_qemu(self):
        if not QEMU:
            self.skipTest("no qemu-system-arm on this host")
        add_bridge(self)
        ip("tuntap", "add", "dev", "tapq", "mode", "tap")
        self.addCleanup(lambda: ip("link", "del", "tapq", check=False))
        ip("link", "set", "tapq", "master", "br0", "up")
        ours = self.machine("-nic", f"bridge,br=br0,mac={MACS[0]}")
        theirs = self.machine("-nic", f"tap,ifname=tapq,script=no,downscript=no,mac={MACS[1]}", program=QEMU)
        self.answers(ours, theirs)
        configure(self, ours, MACS[0], "10.9.0.1/24")
        configure(self, theirs, MACS[1], "10.9.0.2/24")
        self.ping(ours, "10.9.0.2")
        self.transfer(theirs, ours, "10.9.0.1")


class Tap(TapTest):
    def add_tap(self, name="tap0", owner=None):
        ip("tuntap", "add", "dev", name, "mode", "tap", *(["user", str(owner)] if owner else []))
        self.addCleanup(lambda: ip("link", "del", name, check=False))

    def test_offloads_cross_it(self):
        """NAT without a bridge, as the tutorials have it: addresses on the tap itself."""
        for header in ("on", "off"):
            with self.subTest(vnet_hdr=header):
                self.add_tap()
                ip("addr", "add", "192.168.0.1/24", "dev", "tap0")
                ip("link", "set", "tap0", "up")
                emulator = self.machine(
                    "-netdev", f"tap,id=n0,ifname=tap0,script=no,downscript=no,vnet_hdr={header}",
                    "-device", f"virtio-net-device,netdev=n0,mac={MACS[0]}")
                self.answers(emulator)
                configure(self, emulator, MACS[0], "192.168.0.2/24")
                self.ping(emulator, "192.168.0.1")
                sizes = Sizes("tap0")
                self.addCleanup(sizes.close)
                self.with_host(emulator, "192.168.0.1")
                for towards_guest in (True, False):
                    if header == "on":
                        self.assertGreater(sizes.largest[towards_guest], 3000, f"{towards_guest}: no large segments")
                    else:
                        self.assertLessEqual(sizes.largest[towards_guest], 1514, str(towards_guest))
                if header == "on":
                    text = emulator.in_monitor("info network")
                    self.assertIn("n0: index=0,type=tap,ifname=tap0,script=no,downscript=no", text)
                emulator.close()
                self.assertTrue(has_interface("tap0"), "a persistent tap stays")
                ip("link", "del", "tap0")

    def test_the_boards_nic_gets_what_is_cut(self):
        self.add_tap()
        ip("addr", "add", "192.168.0.1/24", "dev", "tap0")
        ip("link", "set", "tap0", "up")
        emulator = self.machine("-net", f"nic,macaddr={MACS[0]}", "-net", "tap,ifname=tap0,script=no,downscript=no")
        self.answers(emulator)
        configure(self, emulator, MACS[0], "192.168.0.2/24")
        self.ping(emulator, "192.168.0.1")
        self.with_host(emulator, "192.168.0.1", 1 << 20)

    def test_several_queues(self):
        emulator = self.machine("-netdev", "tap,id=n0,ifname=tapm,queues=4,script=no,downscript=no,sndbuf=1M",
                                "-device", f"virtio-net-device,netdev=n0,mac={MACS[0]}")
        self.answers(emulator)
        ip("addr", "add", "192.168.0.1/24", "dev", "tapm")
        ip("link", "set", "tapm", "up")
        configure(self, emulator, MACS[0], "192.168.0.2/24")
        # Flows spread over the queues; every one of them is served.
        for port in range(8):
            self.ping(emulator, "192.168.0.1", count=1)
            self.with_host(emulator, "192.168.0.1", 100_000)
        emulator.process.send_signal(signal.SIGKILL)
        emulator.wait()
        self.assertFalse(has_interface("tapm"), "a tap that the machine made goes with it")

    def test_scripts(self):
        directory = self.directory()
        up = self.script(f"#!/bin/sh\necho up $1 >> {directory}/log\nip addr add 10.9.0.254/24 dev $1\nip link set $1 up\n", "up")
        down = self.script(f"#!/bin/sh\necho down $1 >> {directory}/log\n", "down")
        emulator = self.machine("-nic", f"tap,ifname=tap5,script={up},downscript={down},mac={MACS[0]}")
        self.answers(emulator)
        configure(self, emulator, MACS[0], "10.9.0.1/24")
        self.ping(emulator, "10.9.0.254")
        emulator.open_monitor()
        emulator.send("quit\n")
        self.assertEqual(emulator.wait(), 0)
        with open(os.path.join(directory, "log"), encoding="ascii") as f:
            self.assertEqual(f.read(), "up tap5\ndown tap5\n")
        self.assertFalse(has_interface("tap5"))
        bad = self.script("#!/bin/sh\nexit 1\n", "bad")
        self.assertIn(f"network script {bad} failed with status 256", self.refused("-nic", f"tap,script={bad}"))
        self.assertIn("could not launch network script", self.refused("-nic", "tap,script=/nowhere/x"))

    @rhea_only("QEMU has no script built in")
    def test_without_a_script_the_tap_is_put_up_all_the_same(self):
        if os.path.exists("/etc/qemu-ifup"):
            self.skipTest("there is an /etc/qemu-ifup")
        add_bridge(self)
        emulator = self.start_monitor("-nic", "tap,ifname=tap6", kernel=False)
        self.assertEqual(ports_of("br0"), ["tap6"])
        self.assertIn("ifname=tap6,script=no,downscript=no", emulator.monitor("info network"))

    def test_inherited_descriptors(self):
        """fd= and fds= of taps that another program opened."""
        for count, option in ((1, "fd=%d"), (2, "fds=%d:%d")):
            with self.subTest(option):
                flags = 0x0002 | 0x1000 | 0x4000 | (0x0100 if count > 1 else 0)  # TAP NO_PI VNET_HDR MULTI_QUEUE
                fds = []
                for _ in range(count):
                    fd = os.open(TUN, os.O_RDWR)
                    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"tapf", flags))
                    os.set_inheritable(fd, True)
                    fds.append(fd)
                numbers = option % tuple(fds)
                emulator = self.start_with(fds, "-netdev", f"tap,id=n0,{numbers}", "-device",
                                           f"virtio-net-device,netdev=n0,mac={MACS[0]}")
                for fd in fds:
                    os.close(fd)
                self.answers(emulator)
                ip("addr", "add", "192.168.0.1/24", "dev", "tapf")
                ip("link", "set", "tapf", "up")
                configure(self, emulator, MACS[0], "192.168.0.2/24")
                self.ping(emulator, "192.168.0.1")
                emulator.close()
                self.assertFalse(has_interface("tapf"))

    def start_with(self, fds, *options):
        """A machine that inherits descriptors."""
        before = subprocess.Popen

        def popen(*args, **how):
            return before(*args, pass_fds=fds, **how)

        guest.subprocess.Popen = popen
        try:
            return self.machine(*options)
        finally:
            guest.subprocess.Popen = before

    def test_a_users_own_tap_needs_no_root(self):
        if not shutil.which("setpriv"):
            self.skipTest("no setpriv(1)")
        program = self.as_ordinary()
        self.add_tap("tapu", owner=65534)
        ip("addr", "add", "192.168.0.1/24", "dev", "tapu")
        ip("link", "set", "tapu", "up")
        emulator = self.machine("-nic", f"tap,ifname=tapu,mac={MACS[0]}", program=program)
        self.answers(emulator)
        configure(self, emulator, MACS[0], "192.168.0.2/24")
        self.ping(emulator, "192.168.0.1")

    def test_refusals(self):
        for option, message in (
                ("fd=3,script=no", "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= "
                                   "are invalid with fd="),
                ("helper=/x,ifname=t", "ifname=, script=, downscript=, vnet_hdr=, queues=, and vhostfds= are invalid "
                                       "with helper="),
                ("fd=33", "Can't use file descriptor 33: Bad file descriptor")):
            self.assertIn(message, self.refused("-netdev", f"tap,id=t0,{option}"))
        if not guest.PEER and not os.path.exists("/dev/vhost-net"):
            self.assertIn("tap: open vhost char device failed: No such file or directory",
                          self.refused("-netdev", "tap,id=t0,vhost=on"))

    @rhea_only("with what would help")
    def test_without_the_right(self):
        if not shutil.which("setpriv"):
            self.skipTest("no setpriv(1)")
        errors = self.refused("-netdev", "tap,id=t0,ifname=tap9,script=no", program=self.as_ordinary())
        self.assertIn("could not configure /dev/net/tun (tap9): Operation not permitted", errors)
        self.assertIn("ip tuntap add dev tap9 mode tap user", errors)
        self.add_tap("tap9")
        first = self.start_monitor("-nic", "tap,ifname=tap9,script=no", kernel=False)
        self.assertIn("(tap9): Device or resource busy", self.refused("-netdev", "tap,id=t0,ifname=tap9,script=no"))
        first.close()


@rhea_only("its own helper")
class Helper(TapTest):
    """An ordinary user and rhea-bridge-helper, setuid root, with a list of what is allowed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(HELPER):
            raise guest.unittest.SkipTest(f"{HELPER} is not built")
        if not shutil.which("setpriv"):
            raise guest.unittest.SkipTest("no setpriv(1)")

    def install(self, rules):
        """The helper, setuid, in a folder that allows it; its list in this namespace's /etc."""
        folder = self.directory()
        os.chmod(folder, 0o755)
        etc = os.path.join(folder, "etc")
        os.makedirs(os.path.join(etc, "work"))
        os.makedirs(os.path.join(etc, "upper", "rhea"))
        with open(os.path.join(etc, "upper", "rhea", "bridge.conf"), "w", encoding="ascii") as f:
            f.write(rules)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir=/etc,upperdir={etc}/upper,workdir={etc}/work", "/etc"], check=True)
        self.addCleanup(lambda: subprocess.run(["umount", "/etc"], check=True))
        helper = os.path.join(folder, "helper")
        shutil.copy(HELPER, helper)
        os.chmod(helper, 0o4755)
        return helper

    def test_allowed(self):
        add_bridge(self)
        helper = self.install("deny br1\nallow br0\n")
        emulator = self.machine("-net", f"nic,macaddr={MACS[0]}", "-net", f"bridge,id=net0,helper={helper},br=br0",
                                program=self.as_ordinary())
        self.answers(emulator)
        configure(self, emulator, MACS[0], "10.9.0.1/24")
        self.ping(emulator, "10.9.0.254")
        self.assertIn(f"type=tap,helper={helper},br=br0", emulator.in_monitor("info network"))
        second = self.start_monitor("-netdev", f"tap,id=n0,helper={helper}", "-net", "nic,netdev=n0", kernel=False,
                                    program=self.as_ordinary())
        self.assertEqual(len(ports_of("br0")), 2)
        second.close()

    def test_denied(self):
        add_bridge(self, "br1")
        helper = self.install("deny br1\nallow all\n")
        errors = self.refused("-nic", f"bridge,br=br1,helper={helper}", program=self.as_ordinary())
        self.assertIn("access denied by acl file", errors)
        self.assertIn("bridge helper failed", errors)
        self.assertEqual(ports_of("br1"), [])
        # What the caller may not change: the list, the identity, the environment.
        for words in (["--br=br1"], ["--br=br1", "--fd=0"], ["--br=br1", "--fd=9", "--acl=/tmp/x"]):
            done = subprocess.run([*ORDINARY, helper, *words], stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 1)
        os.chmod("/etc/rhea/bridge.conf", 0o666)
        self.assertIn("is not safe: only root may own and write it",
                      self.refused("-nic", f"bridge,br=br1,helper={helper}", program=self.as_ordinary()))

    def test_a_helper_that_is_not_there(self):
        """The tutorials' path is another distribution's; as root Rhea does without."""
        add_bridge(self, "virbr0")
        emulator = self.start_monitor("-net", "nic", "-net",
                                      "bridge,id=net0,helper=/usr/lib/no-such-helper,br=virbr0", kernel=False)
        self.assertIn("the helper /usr/lib/no-such-helper is not there", emulator.stderr())
        self.assertEqual(len(ports_of("virbr0")), 1)


def main():
    reason = host.enter_namespace()
    if not reason and not shutil.which("ip"):
        reason = "no ip(8)"
    reason = reason or host.tun_for_all()
    if reason:
        print(f"SKIP: taps: {reason}", flush=True)
        sys.exit(77)
    guest.main()


if __name__ == "__main__":
    main()
