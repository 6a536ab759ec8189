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
import host
import test_hostnet
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


class OpenVSwitch(WireTest):
    """A bridge of Open vSwitch with its userspace datapath: a Rhea guest and another on taps, and the host."""

    SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

    def daemon(self, *words):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=self.environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        return process

    def control(self, *words):
        done = subprocess.run(["ovs-vsctl", f"--db=unix:{self.folder}/db.sock", f"--timeout={int(60 * guest.SCALE)}",
                               *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def switch(self):
        # What the switch made may outlive it.
        self.addCleanup(subprocess.run, ["ip", "link", "del", "br0"], check=False, stderr=subprocess.DEVNULL)
        self.folder = self.directory()
        self.environment = dict(os.environ, OVS_RUNDIR=self.folder, OVS_LOGDIR=self.folder, OVS_DBDIR=self.folder)
        database = os.path.join(self.folder, "conf.db")
        subprocess.run(["ovsdb-tool", "create", database, self.SCHEMA], env=self.environment, check=True)
        self.daemon("ovsdb-server", database, f"--remote=punix:{self.folder}/db.sock",
                    f"--unixctl={self.folder}/database.ctl")
        wait_until(lambda: os.path.exists(f"{self.folder}/db.sock"), "the database is there")
        self.control("--no-wait", "init")
        self.daemon("ovs-vswitchd", f"unix:{self.folder}/db.sock", f"--unixctl={self.folder}/switch.ctl",
                    "--disable-system")
        self.control("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for port in ("tap0", "tap1"):
            test_hostnet.ip("tuntap", "add", "dev", port, "mode", "tap")
            self.addCleanup(test_hostnet.ip, "link", "del", port)
            test_hostnet.ip("link", "set", port, "up")
            self.control("add-port", "br0", port)
        test_hostnet.ip("addr", "add", "10.9.0.254/24", "dev", "br0")
        test_hostnet.ip("link", "set", "br0", "up")

    def check(self, program):
        for needed in ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"):
            if not guest.have(needed):
                self.skipTest(f"no {needed}(8): Debian's openvswitch-switch has it")
        if not host.is_root():
            self.skipTest("taps take root")
        self.switch()
        # It reads taps as they are: nobody finishes checksums, or cuts segments, that a guest left to others.
        ends = [self.machine("-netdev", f"tap,id=n0,ifname=tap{side},script=no,downscript=no,vnet_hdr=off",
                             "-device", f"virtio-net-device,netdev=n0,mac={mac(side, 0)}", program=which)
                for side, which in enumerate((None, program))]
        self.answers(*ends)
        for side, end in enumerate(ends):
            configure(self, end, mac(side, 0), f"10.9.0.{side + 1}/24")
        self.ping(ends[0], "10.9.0.2", size=1400)
        for end in ends:
            self.ping(end, "10.9.0.254")
        self.transfer(ends[0], ends[1], "10.9.0.2", 300_000)
        self.transfer(ends[1], ends[0], "10.9.0.1", 300_000)

    def test_rhea_with_rhea(self):
        self.check(None)

    @unittest.skipUnless(QEMU, "no qemu-system-arm on this host")
    def test_rhea_with_qemu(self):
        self.check(QEMU)


class Passt(WireTest):
    """passt(1) serves a stream: its guest has this host's address, and the world by the host's sockets.

    The client in the guest does not end its side first: the passt of Debian 12 then never passes on the other side's
    end (to QEMU's guests neither). Nor does it get through to servers in guests (-t), which is not asked here.
    """

    def check(self, program):
        if not guest.have("passt"):
            self.skipTest("no passt(1)")
        if os.geteuid() != 0:
            self.skipTest("a network for passt to share takes root")
        world = test_hostnet.Space(self, "up0")
        for line in ("addr add 203.0.113.1/24 dev up0", "route add default via 203.0.113.9"):
            test_hostnet.ip(*line.split())
        # The gateway is how passt shows this host itself.
        world.run("ip addr add 203.0.113.9/24 dev eth0; ip addr add 203.0.113.7/24 dev eth0")
        world.listen(80, "world")
        directory = self.directory()
        os.chmod(directory, 0o777)  # passt gives up root
        path = os.path.join(directory, "passt")
        daemon = subprocess.Popen(["passt", "-f", "-4", "-s", path], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        wait_until(lambda: os.path.exists(path) or daemon.poll() is not None, "passt listens")
        self.assertIsNone(daemon.poll())
        emulator = self.start(*guest.machine("-netdev", f"stream,id=n0,addr.type=unix,addr.path={path}",
                                             "-device", f"virtio-net-device,netdev=n0,mac={mac(0, 0)}",
                                             memory="256M"), program=program)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT * 2)
        self.assertIn("inet 203.0.113.1/24", self.guest_runs(emulator, "ip -4 addr"))
        self.guest_runs(emulator, "mkfifo /tmp/open; sleep 100000 > /tmp/open & true")
        self.assertEqual(self.guest_runs(emulator, "nc 203.0.113.7 80 < /tmp/open"), "203.0.113.1 world")

    def test_rhea(self):
        self.check(None)


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
