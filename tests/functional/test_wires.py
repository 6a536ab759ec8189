# SPDX-License-Identifier: MIT
"""Guests wired to each other by sockets: every form, between two Rheas and between Rhea and QEMU; hostile and dead
peers; the events of control connections."""
import json
import os
import socket
import struct
import subprocess
import unittest

import guest
import wires
from guest import rhea_only, wait_until
from wires import QEMU, WireTest, configure

HOST = "127.0.0.1"


def listening(port):
    """Whether a TCP port of this namespace has a listener."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in f.readlines()[1:])


class Kind:
    """One way to wire two machines: what each says, and in which order they may start."""

    def __init__(self, name, left, right):
        self.name, self.left, self.right = name, left, right


def kinds(directory, first):
    """Five kinds of wires; ports from `first` on."""
    a, b, s = (os.path.join(directory, name) for name in ("a", "b", "s"))
    return [
        Kind("socket", f"socket,id=n0,listen={HOST}:{first}", f"socket,id=n0,connect={HOST}:{first}"),
        Kind("stream", f"stream,id=n1,server=on,addr.type=unix,addr.path={s}",
             f"stream,id=n1,addr.type=unix,addr.path={s}"),
        Kind("mcast", *[f"socket,id=n2,mcast=230.0.0.1:{first},localaddr={HOST}"] * 2),
        Kind("dgram", f"dgram,id=n3,local.type=unix,local.path={a},remote.type=unix,remote.path={b}",
             f"dgram,id=n3,local.type=unix,local.path={b},remote.type=unix,remote.path={a}"),
        Kind("udp", f"socket,id=n4,udp={HOST}:{first + 1},localaddr={HOST}:{first + 2}",
             f"dgram,id=n4,local.type=inet,local.host={HOST},local.port={first + 1},"
             f"remote.type=inet,remote.host={HOST},remote.port={first + 2}"),
    ]


def mac(side, index):
    return f"52:54:00:00:0{side}:0{index}"


def options(wires_, side):
    """The first wire at the board's NIC, the others at virtio ones."""
    args = []
    for index, kind in enumerate(wires_):
        args += ["-netdev", (kind.left, kind.right)[side]]
        if index == 0:
            args += ["-net", f"nic,netdev=n0,macaddr={mac(side, 0)}"]
        else:
            args += ["-device", f"virtio-net-device,netdev=n{index},mac={mac(side, index)}"]
    return args


class Pairs(WireTest):
    """All kinds at once: the left machine serves, the right one connects."""

    def check(self, left_program, right_program, transfers):
        wires_ = kinds(self.directory(), 7001)
        left = self.machine(*options(wires_, 0), program=left_program)
        wait_until(lambda: listening(7001), "the left machine listens")
        right = self.machine(*options(wires_, 1), program=right_program)
        self.answers(left, right)
        for index, kind in enumerate(wires_):
            with self.subTest(kind.name):
                configure(self, left, mac(0, index), f"10.9.{index}.1/24")
                configure(self, right, mac(1, index), f"10.9.{index}.2/24")
                self.ping(left, f"10.9.{index}.2", size=1400)
                self.ping(right, f"10.9.{index}.1")
                if kind.name in transfers:
                    self.transfer(left, right, f"10.9.{index}.2")
                    self.transfer(right, left, f"10.9.{index}.1")
        return left, right

    @rhea_only("its info network differs")
    def test_rhea_with_rhea(self):
        left, right = self.check(None, None, ("socket", "stream", "dgram"))
        text = left.in_monitor("info network")
        self.assertRegex(text, r"n0: index=0,type=socket,socket: connection from 127\.0\.0\.1:\d+")
        self.assertIn("n2: index=0,type=socket,socket: mcast=230.0.0.1:7001", text)
        self.assertRegex(right.in_monitor("info network"), r"n1: index=0,type=stream,unix:/")

    @unittest.skipUnless(QEMU, "no qemu-system-arm on this host")
    def test_rhea_serves_qemu(self):
        self.check(None, QEMU, ("stream",))

    @unittest.skipUnless(QEMU, "no qemu-system-arm on this host")
    def test_qemu_serves_rhea(self):
        self.check(QEMU, None, ("socket",))


class Segment(WireTest):
    """Three on a hub of one machine, and legacy spellings as the tutorials have them."""

    def test_net_socket_on_hubs(self):
        left = self.machine("-net", f"nic,macaddr={mac(0, 0)}", "-net", f"socket,listen={HOST}:7011")
        wait_until(lambda: listening(7011), "the left machine listens")
        right = self.machine("-nic", f"socket,connect={HOST}:7011,mac={mac(1, 0)}")
        self.answers(left, right)
        configure(self, left, mac(0, 0), "10.9.0.1/24")
        configure(self, right, mac(1, 0), "10.9.0.2/24")
        self.ping(left, "10.9.0.2")
        # The listener's end may come and go: the connection is made again.
        text = left.in_monitor("info network")
        self.assertRegex(text, r"hub 0\n[^$]*type=socket,socket: connection from 127")

    def test_a_hub_joins_two_wires(self):
        """left - middle's hub - right: hubport and netdev= of it."""
        directory = self.directory()
        path = [os.path.join(directory, name) for name in ("one", "two")]
        middle = self.machine(
            "-netdev", f"stream,id=s1,server=on,addr.type=unix,addr.path={path[0]}",
            "-netdev", f"stream,id=s2,server=on,addr.type=unix,addr.path={path[1]}",
            "-netdev", "hubport,id=h1,hubid=3,netdev=s1", "-netdev", "hubport,id=h2,hubid=3,netdev=s2",
            "-netdev", "hubport,id=h3,hubid=3", "-device", f"virtio-net-device,netdev=h3,mac={mac(0, 1)}")
        wait_until(lambda: all(map(os.path.exists, path)), "the middle machine listens")
        ends = [self.machine("-nic", f"stream,addr.type=unix,addr.path={path[i]},mac={mac(1, i)}") for i in range(2)]
        self.answers(middle, *ends)
        configure(self, middle, mac(0, 1), "10.9.0.1/24")
        for i, end in enumerate(ends):
            configure(self, end, mac(1, i), f"10.9.0.{2 + i}/24")
        for end in ends:
            self.ping(end, "10.9.0.1")
        self.ping(ends[0], "10.9.0.3")


class Others(WireTest):
    """A VDE switch, and tunnels: over UDP with all that a header can have, and over IP."""

    def options(self, side, switch):
        """The arguments of one end; the ends' addresses are 127.0.0.1 and 127.0.0.2."""
        here, there = f"127.0.0.{side + 1}", f"127.0.0.{2 - side}"
        cookies = ("a1b2c3d4e5f60718", "1122334455667788")
        return [
            "-netdev", f"vde,id=n0,sock={switch}", "-net", f"nic,netdev=n0,macaddr={mac(side, 0)}",
            "-netdev", f"l2tpv3,id=n1,src={here},dst={there},udp=on,srcport=1701,dstport=1701,cookie64=on,"
                       f"txcookie=0x{cookies[side]},rxcookie=0x{cookies[1 - side]},counter=on,offset=4,"
                       f"txsession={7 + side},rxsession={8 - side}",
            "-device", f"virtio-net-device,netdev=n1,mac={mac(side, 1)}",
            "-netdev", f"l2tpv3,id=n2,src={here},dst={there},txsession=0x100",
            "-device", f"virtio-net-device,netdev=n2,mac={mac(side, 2)}"]

    def check(self, left_program, right_program):
        if not guest.have("vde_switch"):
            self.skipTest("no vde_switch(1)")
        if os.geteuid() != 0:
            self.skipTest("raw IP packets take root")
        switch = os.path.join(self.directory(), "switch")
        daemon = subprocess.Popen(["vde_switch", "-s", switch], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (daemon.stdin.close(), daemon.kill(), daemon.wait()))
        wait_until(lambda: os.path.exists(os.path.join(switch, "ctl")), "the switch is there")
        ends = [self.machine(*self.options(side, switch), program=program)
                for side, program in enumerate((left_program, right_program))]
        self.answers(*ends)
        for index in range(3):
            for side in range(2):
                configure(self, ends[side], mac(side, index), f"10.9.{index}.{side + 1}/24")
            with self.subTest(("vde", "udp tunnel", "ip tunnel")[index]):
                self.ping(ends[0], f"10.9.{index}.2", size=1400)
                self.ping(ends[1], f"10.9.{index}.1")
                self.transfer(ends[0], ends[1], f"10.9.{index}.2", 300_000)

    def test_rhea_with_rhea(self):
        self.check(None, None)

    @unittest.skipUnless(QEMU, "no qemu-system-arm on this host")
    def test_rhea_with_qemu(self):
        self.check(None, QEMU)


@rhea_only("messages and events of its own")
class Peers(WireTest):
    """What the other side of a stream may do."""

    def qmp(self, path):
        wait_until(lambda: os.path.exists(path), "the control socket")
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        client.settimeout(60 * guest.SCALE)
        file = client.makefile("rw", encoding="utf-8")
        file.readline()
        file.write('{"execute": "qmp_capabilities"}\n')
        file.flush()
        file.readline()
        return file

    def event(self, control, name):
        while True:
            message = json.loads(control.readline())
            if message.get("event") == name:
                return message["data"]

    def test_events_and_hostile_peers(self):
        directory = self.directory()
        path, control = os.path.join(directory, "wire"), os.path.join(directory, "qmp")
        emulator = self.machine("-nic", f"stream,id=n0,server=on,addr.type=unix,addr.path={path},mac={mac(0, 0)}",
                                "-qmp", f"unix:{control},server=on,wait=off")
        self.answers(emulator)
        configure(self, emulator, mac(0, 0), "10.9.0.1/24")
        events = self.qmp(control)
        request = (b"\xff" * 6 + bytes.fromhex("525400000101") + b"\x08\x06" +
                   bytes.fromhex("0001080006040001525400000101") + bytes([10, 9, 0, 2]) + bytes(6) +
                   bytes([10, 9, 0, 1])).ljust(60, b"\0")
        for bad in (b"\xff\xff\xff\xff", b"\0\0\0\x3c" + b"x" * 20, b"GET / HTTP/1.1\r\n\r\n", b""):
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            self.assertEqual(self.event(events, "NETDEV_STREAM_CONNECTED"),
                             {"netdev-id": "n0", "addr": {"path": path, "type": "unix"}})
            client.sendall(bad)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(self.event(events, "NETDEV_STREAM_DISCONNECTED"), {"netdev-id": "n0"})
            client.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.settimeout(60 * guest.SCALE)
            for byte in struct.pack(">I", len(request)) + request:
                client.sendall(bytes([byte]))
            stream = client.makefile("rb")
            while True:
                frame = stream.read(struct.unpack(">I", stream.read(4))[0])
                if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
                    break
            self.assertEqual(frame[22:28].hex(), mac(0, 0).replace(":", ""))
        self.assertIn("a frame of 4294967295 bytes was announced", emulator.stderr() + emulator.text)

    def test_a_client_waits_for_its_server(self):
        emulator = self.start_monitor("-netdev", f"socket,id=n0,connect={HOST}:7021", "-net", "nic,netdev=n0")
        wait_until(lambda: "trying again until somebody answers" in emulator.stderr(), "it says that it waits")
        with socket.create_server((HOST, 7021)) as server:
            server.settimeout(60 * guest.SCALE)
            for _ in range(2):
                server.accept()[0].close()

    def test_refusals(self):
        for netdev, message in (
                ("socket,id=n0", "exactly one of listen=, connect=, mcast= or udp= is required"),
                ("socket,id=n0,listen=abc", "host address 'abc' doesn't contain ':' separating host from port"),
                ("socket,id=n0,mcast=10.0.0.1:1234",
                 "specified mcastaddr 10.0.0.1 (0x0a000001) does not contain a multicast address"),
                ("socket,id=n0,udp=127.0.0.1:1", "localaddr= is mandatory with udp="),
                ("stream,id=n0", "Parameter 'addr' is missing"),
                ("stream,id=n0,addr.type=inet", "Parameter 'addr.host' is missing"),
                ("stream,id=n0,addr.type=foo", "Parameter 'type' does not accept value 'foo'"),
                ("dgram,id=n0", "dgram requires local= parameter"),
                ("hubport,id=n0", "Parameter 'hubid' is missing"),
                ("l2tpv3,id=n0,dst=127.0.0.1", "Parameter 'src' is missing"),
                ("l2tpv3,id=n0,src=127.0.0.1,dst=127.0.0.1,txsession=1,udp=on", "need both src and dst port for udp"),
                ("vde,id=n0,sock=/nowhere", "Could not open vde: No such file or directory"),
                ('{"type":"stream","id":"n0","addr":{"type":"unix"}}', "Parameter 'addr.path' is missing")):
            status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-netdev", netdev)
            self.assertEqual(status, 1)
            self.assertIn(message, errors)


if __name__ == "__main__":
    wires.main()
