# SPDX-License-Identifier: MIT
"""Filters on a running guest's link, and what the monitor changes there: backends that come and go, announcements,
counters."""
import os
import re
import socket
import struct
import threading

import guest
import host
from guest import GuestTest, SharedGuestTest, rhea_only, wait_until

MAC = "52:54:00:aa:bb:01"


class Frames:
    """The frames that a mirror or redirector sends to a unix socket."""

    def __init__(self, path):
        self.frames, self.lock = [], threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        stream = self.socket.makefile("rb")
        while head := stream.read(4):
            frame = stream.read(struct.unpack(">I", head)[0])
            with self.lock:
                self.frames.append(frame)

    def send(self, frame):
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)

    def any(self, condition):
        with self.lock:
            return any(map(condition, self.frames))

    def close(self):
        self.socket.close()


@rhea_only("filter-shape and counters are its own")
class Filters(SharedGuestTest):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = guest.tempfile.TemporaryDirectory(prefix="rhea-filters-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.paths = [os.path.join(cls.folder.name, name) for name in ("m0", "m1", "m2")]
        chardevs = [word for i, path in enumerate(cls.paths)
                    for word in ("-chardev", f"socket,id=c{i},path={path},server=on,wait=off")]
        cls.arguments = ("-netdev", "user,id=n0", "-device", f"virtio-net-device,id=nic0,netdev=n0,mac={MAC}", *chardevs)
        super().setUpClass()

    def monitor(self, *commands):
        return self.guest.in_monitor(*commands)

    def quiet(self, *commands):
        """Commands that succeed, which say nothing."""
        for command in commands:
            self.assertEqual(self.monitor(command), "", command)

    def pings(self, count=1, timeout=5):
        return self.guest.run(f"ping -c {count} -W {timeout} -i 0.2 10.0.2.2")

    def test_shape(self):
        self.quiet("object_add filter-shape,id=s0,netdev=n0,loss=100")
        self.addCleanup(lambda: self.monitor("object_del s0"))
        self.assertNotEqual(self.pings(timeout=1)[0], 0)
        self.quiet("qom-set /objects/s0 loss 0", "qom-set /objects/s0 duplicate 100%")
        # The neighbour's entry may still be looked for; then each packet comes four times: doubled each way.
        wait_until(lambda: self.pings()[0] == 0, "packets pass again")
        text = self.pings(count=3)[1]
        self.assertIn("DUP!", text)
        self.quiet("qom-set /objects/s0 status off")
        self.assertNotIn("DUP!", self.pings(count=3)[1])
        self.quiet("qom-set /objects/s0 duplicate 0", "qom-set /objects/s0 delay 30ms", "qom-set /objects/s0 jitter 5ms",
                   "qom-set /objects/s0 rate 20M", "qom-set /objects/s0 status on")
        data = host.pattern(1 << 20)
        with host.TcpServer(lambda c: c.sendall(data)) as server:
            text = self.sh(f"nc 10.0.2.2 {server.port} < /dev/null | sha256sum", 300)
        self.assertEqual(text.split()[0], host.sha256(data))
        # Lost packets are sent again: the data is whole.
        self.quiet("qom-set /objects/s0 loss 2%", "qom-set /objects/s0 delay 1ms", "qom-set /objects/s0 reorder 10")
        with host.TcpServer(lambda c: c.sendall(data[:300_000])) as server:
            text = self.sh(f"nc 10.0.2.2 {server.port} < /dev/null | sha256sum", 300)
        self.assertEqual(text.split()[0], host.sha256(data[:300_000]))
        text = self.monitor("info network")
        self.assertRegex(text, r"  - s0: type=filter-shape,rate=20000000,delay=1ms,jitter=5ms,loss=2%,.*status=on")
        self.assertIn("takes a percentage", self.monitor("qom-set /objects/s0 loss many"))
        self.assertIn("did you mean 'filter-shape'", self.monitor("object_add filter-shap,id=s1,netdev=n0"))

    def test_mirror_and_announcement(self):
        frames = Frames(self.paths[0])
        self.addCleanup(frames.close)
        self.quiet("object_add filter-mirror,id=m0,netdev=n0,outdev=c0")
        self.addCleanup(lambda: self.monitor("object_del m0"))
        self.assertEqual(self.pings()[0], 0)
        own = bytes.fromhex(MAC.replace(":", ""))
        wait_until(lambda: frames.any(lambda f: f[23:24] == b"\1" and f[6:12] == own) and
                   frames.any(lambda f: f[23:24] == b"\1" and f[:6] == own), "the echo and its answer are mirrored")
        self.quiet("announce_self nic0")
        wait_until(lambda: frames.any(lambda f: f[12:14] == b"\x80\x35" and f[22:28] == own), "the NIC says where it is")
        wait_until(lambda: frames.any(lambda f: f[12:14] == b"\x08\x06" and f[28:32] == f[38:42] == bytes([10, 0, 2, 15])),
                   "the guest's driver does too")
        self.assertIn("'zz' is no NIC of this machine", self.monitor("announce_self zz"))

    def test_redirectors_carry_the_link_elsewhere(self):
        """What the guest sends goes out on one line and comes back on another."""
        out, back = Frames(self.paths[1]), Frames(self.paths[2])
        self.addCleanup(out.close)
        self.addCleanup(back.close)
        self.quiet("object_add filter-redirector,id=r0,netdev=n0,queue=rx,outdev=c1",
                   "object_add filter-redirector,id=r1,netdev=n0,queue=rx,indev=c2,position=head")
        self.addCleanup(lambda: self.monitor("object_del r0", "object_del r1"))
        self.assertNotEqual(self.pings(timeout=1)[0], 0)
        stop = threading.Event()

        def carry():
            done = 0
            while not stop.is_set():
                with out.lock:
                    fresh = out.frames[done:]
                done += len(fresh)
                for frame in fresh:
                    back.send(frame)
                stop.wait(0.01)

        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        wait_until(lambda: self.pings()[0] == 0, "packets go the long way")
        self.assertIn("in use", self.monitor("object_add filter-mirror,id=m9,netdev=n0,outdev=c1"))

    def test_a_backend_goes_and_another_comes(self):
        carrier = "cat /sys/class/net/eth0/carrier"
        self.assertEqual(self.sh(carrier).strip(), "1")
        self.quiet("object_add filter-buffer,id=b0,netdev=n0,interval=1000", "netdev_del n0")
        wait_until(lambda: self.sh(carrier).strip() == "0", "the guest sees that its link is gone")
        self.assertIn("object 'b0' not found", self.monitor("object_del b0"))
        self.assertIn("Device 'n0' not found", self.monitor("netdev_del n0"))
        self.quiet("netdev_add user,id=n0,net=10.0.2.0/24")
        wait_until(lambda: self.sh(carrier).strip() == "1", "and that there is one again")
        wait_until(lambda: self.pings()[0] == 0, "packets pass again")

    def test_links(self):
        for name in ("nic0", "n0"):
            self.quiet(f"set_link {name} off")
            wait_until(lambda: self.sh("cat /sys/class/net/eth0/carrier").strip() == "0", "carrier lost")
            self.assertRegex(self.monitor("info network"), rf"  {name}: link=down")
            self.quiet(f"set_link {name} on")
            wait_until(lambda: self.pings()[0] == 0, "packets pass again")
        text = self.monitor("info network")
        counts = [int(found) for found in re.findall(r"(?:in|out)=(\d+) frames", text)]
        self.assertEqual(len(counts), 4, text)
        self.assertTrue(all(counts[:3]), text)


@rhea_only("filter-shape is its own")
class Shape(GuestTest):
    """A shaped line between two sockets, on this host's clock: what becomes of many frames."""
    needs_guest = False

    def setUp(self):
        super().setUp()
        folder = self.directory()
        ends = [os.path.join(folder, name) for name in "ab"]
        self.machine = self.start_monitor(
            "-nodefaults", "-netdev", f"stream,id=a,server=on,addr.type=unix,addr.path={ends[0]}",
            "-netdev", "hubport,id=ha,hubid=1,netdev=a",
            "-netdev", f"stream,id=b,server=on,addr.type=unix,addr.path={ends[1]}",
            "-netdev", "hubport,id=hb,hubid=1,netdev=b")
        self.near, self.far = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        for end, path in zip((self.near, self.far), ends):
            self.addCleanup(end.close)
            wait_until(lambda: os.path.exists(path), "the machine listens")
            end.connect(path)
        wait_until(lambda: self.machine.monitor("info network").count("type=stream,unix:") == 2, "both are connected")
        self.got = self.small = self.last = 0
        threading.Thread(target=self.count, daemon=True).start()

    def count(self):
        stream = self.far.makefile("rb")
        while head := stream.read(4):
            self.last = len(stream.read(struct.unpack(">I", head)[0]))
            self.got += 1
            self.small += self.last == 60

    def send(self, count, size):
        frame = bytes.fromhex("525400000001525400000002" "88b5").ljust(size, b"x")
        for _ in range(count):
            self.near.sendall(struct.pack(">I", size) + frame)

    def shape(self, rules):
        self.assertEqual(self.machine.monitor(f"object_add filter-shape,id=s,netdev=a,{rules}"), "")
        self.got = 0

    def test_all_come_through_a_rate(self):
        for rate, count in (("20M", 2000), ("400M", 5000)):
            self.shape(f"rate={rate},limit=16M")
            self.send(count, 1000)
            wait_until(lambda: self.got == count, f"{count} frames at {rate}")
            self.assertEqual(self.machine.monitor("object_del s"), "")

    def test_loss(self):
        """Within five per cent over 10,000: five times what chance does."""
        self.shape("loss=50%")
        self.send(10_000, 60)
        # One of these comes through, behind all others.
        self.send(100, 61)
        wait_until(lambda: self.last == 61, "the last one")
        self.assertAlmostEqual(self.small, 5000, delta=250)


if __name__ == "__main__":
    guest.main()
