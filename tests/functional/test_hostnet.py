# SPDX-License-Identifier: MIT
"""`rhea net`: networks of the host made, used, undone, also after the program was killed at any step; and the doctor.

All of it in network namespaces: this one is the host; others play a guest and the world beyond.
"""
import ctypes
import os
import re
import socket
import subprocess
import threading

import guest
import wires
from guest import GuestTest, rhea_only, wait_until

TOOL = os.path.join(os.path.dirname(guest.PROGRAM), "rhea")


def run(*words):
    subprocess.run(words, check=True)


def ip(*words):
    return subprocess.run(["ip", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def set_namespace(fd):
    """Of the calling thread; os.setns came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


def sysctl(name, value=None):
    path = "/proc/sys/" + name
    if value is not None:
        with open(path, "w", encoding="ascii") as f:
            f.write(value)
    with open(path, encoding="ascii") as f:
        return f.read().strip()


class Space:
    """Another network namespace, with a veth pair between it and this one."""

    def __init__(self, test, name):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        test.addCleanup(self.close)
        self.near = name
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        ip("link", "set", name, "up")
        self.run("ip link set lo up; ip link set eth0 up")

    def run(self, command, check=True):
        return subprocess.run(["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "sh", "-c", command], check=check,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def close(self):
        # The namespace lives as long as a server's thread does; the veth pair need not.
        subprocess.run(["ip", "link", "del", self.near], stderr=subprocess.DEVNULL, check=False)
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()

    def listen(self, port, answer):
        """A TCP server in there, one answer for each client: the peer's address and `answer`."""
        ready = threading.Event()

        def serve():
            with open(f"/proc/{self.holder.pid}/ns/net", encoding="ascii") as space:
                set_namespace(space.fileno())
            self.listener = socket.create_server(("", port))
            ready.set()
            while True:
                try:
                    client, peer = self.listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(f"{peer[0]} {answer}".encode())

        threading.Thread(target=serve, daemon=True).start()
        if not ready.wait(30 * guest.SCALE):
            raise AssertionError("the server did not start")


class HostTest(GuestTest):
    needs_guest = False

    def setUp(self):
        super().setUp()
        self.runtime = self.directory()
        os.chmod(self.runtime, 0o700)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=self.runtime)
        sysctl("net/ipv4/ip_forward", "0")

    def tool(self, *words, status=0, **more):
        done = subprocess.run([TOOL, "net", *words], env=dict(self.environment, **more), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60 * guest.SCALE)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def state(self):
        """All that `rhea net` may change."""
        links = sorted(re.findall(r"^\d+: ([^:@]+)", ip("-o", "link"), re.M))
        return links, ip("-o", "-4", "addr"), sysctl("net/ipv4/ip_forward")


@rhea_only("a program of its own")
class Networks(HostTest):
    def test_nat(self):
        before = self.state()
        world = Space(self, "up0")
        ip("addr", "add", "203.0.113.1/24", "dev", "up0")
        world.run("ip addr add 203.0.113.9/24 dev eth0")
        plan = self.tool("plan", "nat", "rhea0", "net=10.9.0.0/24", "forward=tcp:8080-10.9.0.5:80")
        self.assertIn("1. a bridge rhea0, spanning tree off\n2. the address 10.9.0.1/24 on rhea0", plan)
        self.assertIn("net.ipv4.ip_forward = 1", plan)
        self.assertNotIn("rhea0", ip("-o", "link"))
        text = self.tool("up", "nat", "rhea0", "net=10.9.0.0/24", "forward=tcp:8080-10.9.0.5:80")
        self.assertIn("-nic bridge,br=rhea0", text)
        self.assertIn("is up already", self.tool("up", "nat", "rhea0", status=1))
        self.assertIn("this host has 10.9.0.1/24 already", self.tool("up", "nat", "rhea1", "net=10.9.0.0/16", status=1))

        inside = Space(self, "tap0")
        ip("link", "set", "tap0", "master", "rhea0")
        inside.run("ip addr add 10.9.0.5/24 dev eth0; ip route add default via 10.9.0.1")
        inside.listen(80, "inside")
        world.listen(80, "world")
        wait_until(lambda: "state UP" in ip("link", "show", "rhea0"), "the bridge has a carrier")
        fetch = ("python3 -c \"import socket; s = socket.create_connection(('%s', %d), 20); "
                 "print(s.recv(100).decode(), end='')\"")
        # Out with the host's address; in by the forwarded port.
        self.assertEqual(inside.run(fetch % ("203.0.113.9", 80)).stdout, "203.0.113.1 world")
        self.assertEqual(world.run(fetch % ("203.0.113.1", 8080)).stdout, "203.0.113.9 inside")
        status = self.tool("status")
        self.assertIn("rhea0: up\n  address 10.9.0.1/24\n  nat 10.9.0.0/24: there\n  port tap0: up\n", status)

        self.tool("up", "nat", "rhea1", "net=10.8.0.0/24")
        self.tool("down", "rhea0")
        self.assertEqual(sysctl("net/ipv4/ip_forward"), "1")  # rhea1 needs it
        self.tool("down", "rhea1")
        world.close()
        inside.close()
        wait_until(lambda: self.state() == before, f"all is as it was: {before}, {self.state()}")
        self.assertEqual(self.tool("status"), "rhea net has made nothing\n")
        self.assertIn("there is no network rhea0", self.tool("down", "rhea0", status=1))

    def test_host_only(self):
        before = self.state()
        self.tool("up", "host-only", "only0", "stp=on", "delay=2", "mac=52:54:00:00:00:77")
        self.assertIn("52:54:00:00:00:77", ip("link", "show", "only0"))
        self.assertIn("192.168.177.1/24", ip("addr", "show", "only0"))
        self.assertEqual(sysctl("net/ipv4/ip_forward"), "0")
        self.tool("down", "only0")
        self.assertEqual(self.state(), before)

    def test_killed_at_each_point(self):
        before = self.state()
        for point in range(8):
            with self.subTest(point):
                self.tool("up", "nat", "rhea0", "net=10.9.0.0/24", status=137, RHEA_NET_DIE_AT=str(point))
                self.assertIn("half of it", self.tool("up", "nat", "rhea0", status=1))
                self.tool("down", "rhea0")
                self.assertEqual(self.state(), before)
                self.tool("up", "nat", "rhea0", "net=10.9.0.0/24")
                self.tool("down", "rhea0")
                self.assertEqual(self.state(), before)

    def test_what_is_not_ours_stays(self):
        ip("link", "add", "rhea0", "type", "bridge")
        self.assertIn("there is an interface rhea0 already", self.tool("up", "nat", "rhea0", status=1))
        ip("link", "del", "rhea0")
        self.tool("up", "host-only", "rhea0")
        ip("link", "del", "rhea0")
        ip("link", "add", "rhea0", "type", "bridge")
        self.assertIn("rhea0 is left: it is not the one that was made", self.tool("down", "rhea0"))
        ip("link", "del", "rhea0")

    def test_a_step_that_fails_undoes_the_others(self):
        before = self.state()
        # The table's name is taken.
        self.tool("up", "nat", "rhea0", "net=10.9.0.0/24")
        os.rename(os.path.join(self.runtime, "rhea/net/rhea0"), os.path.join(self.runtime, "kept"))
        ip("link", "del", "rhea0")
        self.assertIn("step 4", self.tool("up", "nat", "rhea0", "net=10.9.0.0/24", status=1))
        self.assertNotIn("rhea0", ip("-o", "link"))
        self.assertEqual(self.tool("status"), "rhea net has made nothing\n")
        sysctl("net/ipv4/ip_forward", "0")
        self.assertEqual(self.state(), before)


@rhea_only("a program of its own")
class Doctor(HostTest):
    def test_traps(self):
        self.assertEqual(self.tool("doctor"), "nothing found that guests would trip over\n")
        ip("link", "add", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "1500")
        self.addCleanup(subprocess.run, ["ip", "link", "del", "br0"], check=False, stderr=subprocess.DEVNULL)
        ip("link", "set", "br0", "up")
        ip("addr", "add", "10.7.0.1/24", "dev", "br0")
        for name in ("p0", "p1"):
            ip("link", "add", name, "address", "52:54:00:12:34:56", "type", "veth", "peer", "name", name + "x")
            self.addCleanup(subprocess.run, ["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)
            ip("link", "set", name, "master", "br0")
        if os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
            sysctl("net/bridge/bridge-nf-call-iptables", "1")
        text = self.tool("doctor")
        for words in ("for the first 30 seconds", "stp_state 0", "net.ipv4.ip_forward is 0", "p0 and p1 on bridge br0",
                      "only root can use bridge br0"):
            self.assertIn(words, text)
        if os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
            self.assertIn("bridge-nf-call-iptables is 1", text)
        sysctl("net/ipv4/ip_forward", "1")
        self.addCleanup(sysctl, "net/ipv4/conf/all/rp_filter", sysctl("net/ipv4/conf/all/rp_filter"))
        sysctl("net/ipv4/conf/all/rp_filter", "1")
        text = self.tool("doctor")
        self.assertNotIn("ip_forward is 0", text)
        self.assertIn("rp_filter is strict for br0", text)


if __name__ == "__main__":
    wires.main()
