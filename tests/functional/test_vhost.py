# SPDX-License-Identifier: MIT
"""vhost-user: a guest's rings served by another process. Stock guests of Rhea and of QEMU with `rhea vhost-user serve`,
and Rhea's with QEMU's vhost-user-bridge (`./dev test --external vhost-user-bridge`); streams that go on while the rings
are taken back and lent again; back ends and front ends that are hostile, silent, or dead.

Runs in a network namespace of its own, so that ports are free.
"""
import array
import json
import os
import socket
import struct
import subprocess
import threading
import time
import unittest

import guest
import host
import wires
from guest import PROMPT, rhea_only, wait_until
from wires import QEMU, WireTest, configure

TOOL = os.path.join(os.path.dirname(guest.PROGRAM), "rhea")
BRIDGE = os.environ.get("RHEA_VHOST_USER_BRIDGE")
MAC = "52:54:00:00:0a:01"
OTHER_MAC = "52:54:00:00:0b:01"
MEMORY = ("-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-machine", "memory-backend=mem")


def nic(path, *more, mac=MAC):
    """A NIC whose rings the back end at this socket serves."""
    return ("-chardev", ",".join((f"socket,id=c0,path={path}", *more)), "-netdev", "vhost-user,id=n0,chardev=c0",
            "-device", f"virtio-net-device,netdev=n0,mac={mac}")


class Server:
    """`rhea vhost-user serve`, ended with the test."""

    def __init__(self, test, path, netdev, how="--socket"):
        self.said = open(os.path.join(test.directory(), "said"), "w+", encoding="utf-8")
        test.addCleanup(self.said.close)
        self.process = subprocess.Popen([TOOL, "vhost-user", "serve", how, path, "--netdev", netdev],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.said, text=True)
        test.addCleanup(self.end)
        self.first = self.process.stdout.readline()

    def end(self, kill=False):
        if self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
        self.process.wait(20)
        self.process.stdout.close()

    def text(self):
        self.said.seek(0)
        return self.said.read()


class VhostTest(WireTest):
    def setUp(self):
        super().setUp()
        self.folder = self.directory()
        self.path = os.path.join(self.folder, "vhost.sock")

    def serve(self, netdev, **how):
        server = Server(self, self.path, netdev, **how)
        self.assertIn("is served at", server.first, server.text())
        return server

    def take_stream(self, emulator):
        """In the background; a side that ends its own direction first would end the other's too."""
        emulator.run("(tail -f /dev/null | nc -l -p 5001 | sha256sum > /tmp/digest) & "
                     "until netstat -tln | grep -q :5001; do sleep 0.2; done")

    def start_stream(self, emulator, megabytes, port):
        """The guest takes a stream in the background; what the host sends it, slowly enough to be going on for a while."""
        self.take_stream(emulator)
        data = host.pattern(1 << 20)

        def send():
            with host.connect(port, 60 * guest.SCALE) as connection:
                for _ in range(megabytes):
                    connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(300 * guest.SCALE)
                connection.recv(1)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        return sender, host.sha256(data * megabytes)

    def end_stream(self, emulator, sender, digest):
        text = self.guest_runs(emulator, "until grep -q . /tmp/digest; do sleep 0.3; done; cat /tmp/digest", 300)
        self.assertIn(digest, text)
        sender.join(60 * guest.SCALE)
        self.assertFalse(sender.is_alive())


class Served(VhostTest):
    """The user network of another process, with a guest of Rhea."""

    def check_network(self, emulator):
        self.assertIn("10.0.2.15", self.guest_runs(emulator, "ip addr show eth0"))
        self.guest_runs(emulator, "ping -c 3 -i 0.2 -W 10 10.0.2.2", 60)
        data = host.pattern(8 << 20)
        with host.TcpServer(lambda c: c.sendall(data)) as server:
            text = self.guest_runs(emulator, f"nc 10.0.2.2 {server.port} < /dev/null | sha256sum", 180)
        self.assertIn(host.sha256(data), text)
        with host.TcpServer(host.digest_of_all) as server:
            sent = self.guest_runs(emulator, "head -c 8388608 /dev/urandom > /tmp/data; sha256sum < /tmp/data; "
                                             f"nc 10.0.2.2 {server.port} < /tmp/data", 180).split()[0]
            self.assertEqual(server.wait(), [(8 << 20, sent)])

    def features(self, emulator):
        """Offered feature bits of the guest's device, by number."""
        text = self.guest_runs(emulator, "cat /sys/bus/virtio/devices/virtio0/features").strip()
        return {bit for bit, value in enumerate(text) if value == "1"}

    @rhea_only("QEMU has a case of its own")
    def test_a_guest_of_rhea(self):
        server = self.serve("user")
        emulator = self.boot(*nic(self.path), *MEMORY, memory="256M")
        self.check_network(emulator)
        # Checksums and segments of both versions are left to the server; mergeable buffers.
        self.assertLessEqual({0, 1, 7, 8, 11, 12, 15}, self.features(emulator))
        text = emulator.in_monitor("info network")
        self.assertIn("n0: index=0,type=vhost-user,vhost-user0 to c0", text)
        self.assertIn("macaddr=" + MAC, text)
        self.assertEqual(server.text(), "")

    @rhea_only("its RAM is one file in any case")
    def test_without_a_memory_backend_and_two_cpus(self):
        self.serve("user")
        emulator = self.boot(*nic(self.path), "-smp", "2", memory="256M")
        self.check_network(emulator)

    @rhea_only("a machine option of Rhea's own makes the registers new")
    def test_version_two_registers_and_a_memory_file(self):
        self.serve("user")
        file = os.path.join(self.folder, "ram")
        emulator = self.boot(*nic(self.path), "-global", "virtio-mmio.force-legacy=off", "-object",
                             f"memory-backend-file,id=mem,size=256M,mem-path={file},share=on", "-machine",
                             "memory-backend=mem", memory="256M")
        self.check_network(emulator)
        self.assertIn(32, self.features(emulator))
        self.assertEqual(os.path.getsize(file), 256 << 20)

    @rhea_only("-nic takes it with a model")
    def test_a_server_that_connects(self):
        """server=on: the machine waits for the back end."""
        emulator = self.start(*guest.machine("-chardev", f"socket,id=c0,path={self.path},server=on", "-nic",
                                             "vhost-user,model=virtio-net-device,chardev=c0", memory="256M"))
        wait_until(lambda: "waiting for connection" in emulator.stderr(), "the machine waits")
        self.serve("user", how="--connect")
        emulator.expect(PROMPT, guest.BOOT_TIMEOUT)
        self.check_network(emulator)

    @unittest.skipUnless(QEMU, "no qemu-system-arm on this host")
    def test_a_guest_of_qemu(self):
        server = self.serve("user")
        emulator = self.boot(*nic(self.path), *MEMORY, memory="256M", program=QEMU, timeout=guest.BOOT_TIMEOUT * 2)
        self.check_network(emulator)
        # Its rings are taken back and lent again.
        for _ in range(3):
            emulator.in_monitor("stop", "cont")
        self.check_network(emulator)
        self.guest_runs(emulator, "ip link set eth0 down; ip link set eth0 up; udhcpc -i eth0 -n -q -t 10 -T 1 -s /etc/udhcpc.script", 60)
        self.check_network(emulator)
        self.assertEqual(server.text(), "")


@rhea_only("QEMU refuses to save a machine with such a NIC")
class LentAgain(VhostTest):
    """Nothing stalls and nothing is lost when rings are taken back and lent again."""

    def test_a_stream_across_stops_and_saved_states(self):
        port = host.free_port()
        self.serve(f"user,hostfwd=tcp:{host.LOOPBACK}:{port}-:5001")
        states = os.path.join(self.folder, "states")
        os.mkdir(states)
        emulator = self.boot(*nic(self.path), "-M", f"snapshots={states}", memory="256M")
        sender, digest = self.start_stream(emulator, 96, port)
        for number in range(4):
            emulator.in_monitor("stop", "cont")
            emulator.in_monitor("set_link n0 off", "set_link n0 on")
            self.assertEqual(emulator.in_monitor(f"savevm s{number % 2}"), "")
            time.sleep(0.2)
        self.end_stream(emulator, sender, digest)
        # And one that begins afterwards.
        sender, digest = self.start_stream(emulator, 8, port)
        self.end_stream(emulator, sender, digest)

    def test_a_state_is_loaded(self):
        self.serve("user")
        states = os.path.join(self.folder, "states")
        os.mkdir(states)
        emulator = self.boot(*nic(self.path), "-M", f"snapshots={states}", memory="256M")
        self.guest_runs(emulator, "ping -c 2 -i 0.2 -W 10 10.0.2.2")
        self.assertEqual(emulator.in_monitor("savevm one"), "")
        for _ in range(3):
            self.guest_runs(emulator, "ping -c 5 -i 0.2 -W 10 10.0.2.2")
            self.assertEqual(emulator.in_monitor("loadvm one"), "")
        self.guest_runs(emulator, "ping -c 2 -i 0.2 -W 10 10.0.2.2")

    def test_reset_and_driver(self):
        server = self.serve("user")
        emulator = self.boot(*nic(self.path), memory="256M")
        for _ in range(3):
            self.guest_runs(emulator, "echo virtio0 > /sys/bus/virtio/drivers/virtio_net/unbind; "
                                      "echo virtio0 > /sys/bus/virtio/drivers/virtio_net/bind; "
                                      "ip link set eth0 up; udhcpc -i eth0 -n -q -t 10 -T 1 -s /etc/udhcpc.script", 60)
            self.guest_runs(emulator, "ping -c 2 -i 0.2 -W 10 10.0.2.2")
        emulator.open_monitor()
        emulator.monitor("system_reset")
        emulator.send("\x01c\n")
        emulator.expect(PROMPT, guest.BOOT_TIMEOUT)
        self.guest_runs(emulator, "ping -c 2 -i 0.2 -W 10 10.0.2.2", 60)
        self.assertEqual(server.text(), "")

    def test_a_server_that_is_killed(self):
        """A stream between two guests, whose wire has no memory: the server in between is killed and started again."""
        a, b = (os.path.join(self.folder, name) for name in "ab")
        wire = "dgram,local.type=unix,local.path={},remote.type=unix,remote.path={}"
        server = self.serve(wire.format(a, b))
        control = os.path.join(self.folder, "qmp")
        left = self.machine(*nic(self.path, "reconnect=1"), "-qmp", f"unix:{control},server=on,wait=off")
        right = self.machine("-nic", wire.format(b, a) + f",model=virtio-net-device,mac={OTHER_MAC}")
        self.answers(left, right)
        configure(self, left, MAC, "10.9.0.1/24")
        configure(self, right, OTHER_MAC, "10.9.0.2/24")
        events = Events(self, control)
        self.ping(right, "10.9.0.1")
        self.take_stream(left)
        self.guest_runs(right, "head -c 1048576 /dev/urandom > /tmp/part; for i in $(seq 96); do cat /tmp/part; done | "
                               "sha256sum > /tmp/sent")
        right.run("for i in $(seq 96); do cat /tmp/part; done | nc 10.9.0.1 5001 & true")
        for _ in range(3):
            time.sleep(0.5)
            server.end(kill=True)
            events.wait_for("NETDEV_VHOST_USER_DISCONNECTED", {"netdev-id": "n0"})
            self.assertEqual(self.guest_runs(left, "cat /sys/class/net/eth0/carrier").strip(), "0")
            server = self.serve(wire.format(a, b))
            events.wait_for("NETDEV_VHOST_USER_CONNECTED", {"netdev-id": "n0", "chardev-id": "c0"})
            self.guest_runs(left, "until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done")
        sent = self.guest_runs(right, "cat /tmp/sent").split()[0]
        got = self.guest_runs(left, "until grep -q . /tmp/digest; do sleep 0.3; done; cat /tmp/digest", 400)
        self.assertIn(sent, got)


class Events:
    """What a control connection is told."""

    def __init__(self, test, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(60 * guest.SCALE)
        test.addCleanup(self.socket.close)
        self.file = self.socket.makefile("rw", encoding="utf-8")
        test.addCleanup(self.file.close)
        self.file.readline()
        self.file.write('{"execute": "qmp_capabilities"}\n')
        self.file.flush()

    def wait_for(self, name, data):
        while True:
            message = json.loads(self.file.readline())
            if message.get("event") == name:
                assert message["data"] == data, message
                return


class FakeBackEnd:
    """A back end in a thread, that knows the protocol and serves no ring. `answers` replaces what it says."""

    NAMES = {1: "GET_FEATURES", 11: "GET_VRING_BASE", 15: "GET_PROTOCOL_FEATURES", 5: "SET_MEM_TABLE"}

    def __init__(self, test, path, answers):
        self.answers, self.got = answers, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        test.addCleanup(self.listener.close)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    while self.message(connection):
                        pass
                except OSError:
                    pass

    def message(self, connection):
        head, ancillary, _, _ = connection.recvmsg(12, socket.CMSG_LEN(64))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for number in array.array("i", data):
                    os.close(number)
        if len(head) < 12:
            return False
        request, _, size = struct.unpack("=III", head)
        payload = connection.recv(size) if size else b""
        self.got.append(request)
        name = self.NAMES.get(request)
        usual = {"GET_FEATURES": struct.pack("=Q", 1 << 30 | 1 << 15 | 1 << 32 | 1 << 29 | 1 << 28 | 1 << 27 | 1 << 24),
                 "GET_PROTOCOL_FEATURES": struct.pack("=Q", 0), "GET_VRING_BASE": payload}.get(name)
        answer = self.answers.get(name, usual)
        if answer is not None:
            connection.sendall(struct.pack("=III", request, 5, len(answer)) + answer)
        return True


@rhea_only("its messages and its patience")
class Hostile(VhostTest):
    needs_guest = False

    def fails(self, *options):
        status, _, text = guest.call("-M", "vexpress-a9", "-display", "none", "-serial", "null", "-monitor", "null",
                                   *options)
        self.assertNotEqual(status, 0)
        return text

    def test_messages(self):
        listening = ("-chardev", f"socket,id=c0,path={self.path},server=on,wait=off")
        vhost = ("-netdev", "vhost-user,id=n0,chardev=c0")
        for options, expected in (
                (vhost, 'chardev "c0" not found'),
                (("-netdev", "vhost-user,id=n0"), "Parameter 'chardev' is missing"),
                (("-chardev", f"file,id=c0,path={self.folder}/x", *vhost), 'chardev "c0" is not reconnectable'),
                (("-chardev", "socket,id=c0,host=127.0.0.1,port=7000,server=on,wait=off", *vhost),
                 'chardev "c0" does not support FD passing'),
                ((*listening, "-netdev", "vhost-user,id=n0,chardev=c0,queues=0"),
                 "vhost-user number of queues must be in range [1, 1024]"),
                ((*listening, "-netdev", "vhost-user,id=n0,chardev=c0,bla=2"), "Invalid parameter 'bla'"),
                (("-object", "memory-backend-memfd,id=mem,size=64M", "-m", "128M", "-machine", "memory-backend=mem"),
                 "Machine memory size does not match the size of the memory backend"),
                (("-machine", "memory-backend=mem"), "Memory backend 'mem' not found"),
                (("-object", "memory-backend-memfd,id=mem"), "Parameter 'size' is missing"),
                (("-object", "memory-backend-file,id=mem,size=64M"), "Parameter 'mem-path' is missing"),
                (("-object", "memory-backend-file,id=mem,size=64M,mem-path=/nonexist/x,share=on", "-machine",
                  "memory-backend=mem"),
                 "can't open backing store /nonexist/x for guest RAM: No such file or directory"),
                (("-object", "memory-backend-file,id=mem,size=64M,mem-path=/dev/shm"), "share=on"),
                (("-net", "vhost-user,chardev=c0", "-net", "nic"), "there are no frames for a hub")):
            with self.subTest(" ".join(options)):
                self.assertIn(expected, self.fails(*options))

    def test_the_wrong_nic_and_filters(self):
        FakeBackEnd(self, self.path, {})
        vhost = nic(self.path)[:4]
        self.assertIn("vhost-user requires frontend driver virtio-net-*", self.fails(*vhost, "-net", "nic,netdev=n0"))
        self.assertIn("Vhost is not supported",
                      self.fails(*vhost, "-object", f"filter-dump,id=f0,netdev=n0,file={self.folder}/x"))
        self.assertIn("queues=3 asks for more than the back end has: 1",
                      self.fails(*vhost[:3], "vhost-user,id=n0,chardev=c0,queues=3"))

    def test_back_ends_that_begin_badly(self):
        for answers, expected in (({"GET_FEATURES": b"short"}, "said GET_FEATURES with 5 bytes"),
                                  ({"GET_FEATURES": b"x" * 4000}, "no vhost-user message"),
                                  ({"GET_PROTOCOL_FEATURES": b""}, "said GET_PROTOCOL_FEATURES with 0 bytes")):
            with self.subTest(expected):
                path = os.path.join(self.directory(), "s")
                FakeBackEnd(self, path, answers)
                self.assertIn(expected, self.fails(*nic(path)))

    def test_front_ends_that_make_no_sense(self):
        server = self.serve("user")

        def say(data):
            with socket.socket(socket.AF_UNIX) as front:
                front.connect(self.path)
                front.settimeout(30 * guest.SCALE)
                front.sendall(data)
                try:
                    while front.recv(4096):
                        pass
                except ConnectionResetError:  # closed before all of it was read
                    pass

        say(b"\xff" * 64)
        say(struct.pack("=III", 99, 1, 0))
        say(struct.pack("=IIIQ", 2, 1, 8, (1 << 64) - 1))
        say(struct.pack("=IIIII", 8, 1, 8, 0, 3))
        wait_until(lambda: server.text().count("it is cut off") == 4, "it said so")
        self.assertIsNone(server.process.poll())


@rhea_only("its patience")
class Silent(VhostTest):
    def test_a_back_end_that_gives_nothing_back(self):
        """The machine stops and goes on all the same; the link is down, and the reason is said."""
        back_end = FakeBackEnd(self, self.path, {"GET_VRING_BASE": None})
        emulator = self.start(*guest.machine(*nic(self.path), append=wires.NO_DHCP, memory="256M"))
        emulator.expect(PROMPT, guest.BOOT_TIMEOUT)
        self.guest_runs(emulator, "ip link set eth0 up")
        wait_until(lambda: 12 in back_end.got, "the rings are lent")
        self.assertEqual(self.guest_runs(emulator, "cat /sys/class/net/eth0/carrier").strip(), "1")
        emulator.in_monitor("stop", "cont")
        self.guest_runs(emulator, "until grep -q 0 /sys/class/net/eth0/carrier; do sleep 0.1; done")
        self.assertIn("did not answer to GET_VRING_BASE", emulator.stderr())
        self.guest_runs(emulator, "ip link set eth0 down; ip link set eth0 up")


@rhea_only("QEMU's own program is for QEMU's own tests")
@unittest.skipUnless(BRIDGE, "./dev test --external vhost-user-bridge builds it")
class QemuBridge(VhostTest):
    """vhost-user-bridge of QEMU's source, whose other side is UDP: another guest."""

    def test_two_guests(self):
        said = open(os.path.join(self.folder, "said"), "w", encoding="utf-8")
        self.addCleanup(said.close)
        bridge = subprocess.Popen([BRIDGE, "-u", self.path, "-l", "127.0.0.1:4444", "-r", "127.0.0.1:5555"],
                                  stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        self.addCleanup(bridge.wait)
        self.addCleanup(bridge.kill)
        wait_until(lambda: os.path.exists(self.path), "the bridge listens")
        # Its library has no legacy drivers.
        left = self.machine(*nic(self.path), "-global", "virtio-mmio.force-legacy=off")
        right = self.machine("-nic", "socket,udp=127.0.0.1:4444,localaddr=127.0.0.1:5555,model=virtio-net-device,"
                                     f"mac={OTHER_MAC}")
        self.answers(left, right)
        configure(self, left, MAC, "10.9.0.1/24")
        configure(self, right, OTHER_MAC, "10.9.0.2/24")
        self.ping(left, "10.9.0.2")
        self.ping(right, "10.9.0.1", size=1400)
        self.transfer(left, right, "10.9.0.2")
        self.transfer(right, left, "10.9.0.1")
        for _ in range(3):
            left.in_monitor("stop", "cont")
        self.ping(left, "10.9.0.2")
        self.transfer(right, left, "10.9.0.1")


if __name__ == "__main__":
    wires.main()
