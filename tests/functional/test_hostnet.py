# SPDX-License-Identifier: MIT
"""`rhea net`: networks of the host made, used, undone, also after the program was killed at any step; and the doctor.

All of it in network namespaces: this one is the host; others play a guest and the world beyond.
"""
import ctypes
import os
import re
import socket
import subprocess
import sys
import threading

import guest
import host
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
        sysctl("net/ipv4/ip_forward", "0")

    def tool(self, *words, status=0, **more):
        done = subprocess.run([TOOL, "net", *words], env=dict(os.environ, **more), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=60 * guest.SCALE)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def state(self):
        """All that `rhea net` may change."""
        links = sorted(re.findall(r"^\d+: ([^:@]+).*?((?:master \S+)?) ", ip("-o", "link"), re.M))
        ports = sorted(re.findall(r"^\d+: ([^:@]+).* master (\S+)", ip("-o", "link"), re.M))
        addresses, routes = [], []
        for family in ("-4", "-6"):
            addresses += [re.sub(r"^\d+: ", "", line) for line in ip("-o", family, "addr").splitlines()]
            routes += [family + " " + line.strip() for line in ip(family, "route", "show", "table", "all").splitlines()
                       if "fe80::" not in line and "multicast" not in line]
        return links, ports, sorted(a for a in addresses if "fe80::" not in a), sorted(routes), sysctl(
            "net/ipv4/ip_forward")

    def is_as_before(self, before):
        wait_until(lambda: self.state() == before, "all is as it was")


@rhea_only("a program of its own")
class Networks(HostTest):
    def setUp(self):
        super().setUp()
        if not host.is_root():
            self.skipTest("dnsmasq and the service of our own change their user, which takes root")

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
        self.assertIn("rhea0: up\n  address 10.9.0.1/24\n  nat 10.9.0.0/24: there\n  dhcp and dns: running\n"
                      "  port tap0: up\n", status)

        self.tool("up", "nat", "rhea1", "net=10.8.0.0/24")
        self.tool("down", "rhea0")
        self.assertEqual(sysctl("net/ipv4/ip_forward"), "1")  # rhea1 needs it
        self.tool("down", "rhea1")
        world.close()
        inside.close()
        self.is_as_before(before)
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
        self.killed_at_each_point("nat", "rhea0", "net=10.9.0.0/24")

    def killed_at_each_point(self, *words):
        """The guardian undoes what was made; with both killed, down does."""
        before = self.state()
        for both in ("", ",both"):
            for point in range(100):
                with self.subTest(point=point, both=both):
                    done = subprocess.run([TOOL, "net", "up", *words], env=dict(os.environ,
                                          RHEA_NET_DIE_AT=f"{point}{both}"), stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, check=False, timeout=60 * guest.SCALE)
                    if done.returncode == 0:
                        break
                    self.assertEqual(done.returncode, -9, done.stdout)
                    if both:
                        # The guardian's death, and so the end of its lock, may come a moment after this one's.
                        wait_until(lambda: "at work" not in self.tool("up", *words, status=1), "both are gone")
                        self.assertIn("half of it", self.tool("up", *words, status=1))
                        self.tool("down", words[1])
                        self.assertEqual(self.state(), before)
                    else:
                        self.is_as_before(before)
                        wait_until(lambda: self.tool("status") == "rhea net has made nothing\n", "the journal is empty")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertGreater(point, 7)
            self.tool("down", words[1])
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
        self.tool("up", "nat", "rhea0", "net=10.9.0.0/24", "dhcp=off")
        os.remove("/run/rhea/net/rhea0")
        ip("link", "del", "rhea0")
        self.assertIn("step 4", self.tool("up", "nat", "rhea0", "net=10.9.0.0/24", status=1))
        self.assertNotIn("rhea0", ip("-o", "link"))
        self.assertEqual(self.tool("status"), "rhea net has made nothing\n")
        sysctl("net/ipv4/ip_forward", "0")
        self.assertEqual(self.state(), before)


@rhea_only("a program of its own")
class Bridged(HostTest):
    """A veth plays the NIC; behind it are a gateway and the world."""

    killed_at_each_point = Networks.killed_at_each_point

    def setUp(self):
        super().setUp()
        self.world = Space(self, "nic0")
        for line in ("addr add 192.0.2.5/24 dev nic0", "addr add 192.0.2.6/32 dev nic0",
                     "route add default via 192.0.2.1 dev nic0 metric 50 src 192.0.2.6",
                     "route add 198.51.100.0/24 via 192.0.2.9 dev nic0 mtu 1400",
                     "addr add 2001:db8::5/64 dev nic0 nodad", "route add 2001:db8:1::/48 via 2001:db8::1 dev nic0"):
            ip(*line.split())
        self.world.run("ip addr add 192.0.2.1/24 dev eth0; ip addr add 203.0.113.7/32 dev lo; "
                       "ip addr add 2001:db8::1/64 dev eth0 nodad")
        wait_until(lambda: "state UP" in ip("link", "show", "nic0"), "the NIC has a carrier")

    def reaches_the_world(self):
        for address in ("192.0.2.1", "203.0.113.7", "2001:db8::1"):
            done = subprocess.run(["ping", "-c", "1", "-W", "10", "-q", address], stdout=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_up_and_down(self):
        before = self.state()
        self.assertIn("over=nic0", self.tool("up", "bridged", "br0", status=1))  # what the default route has
        plan = self.tool("plan", "bridged", "br0", "over=nic0")
        for text in ("2. nic0 becomes a port of br0", "192.0.2.5/24", "the route default via 192.0.2.1",
                     "then the gateway 192.0.2.1 has to answer"):
            self.assertIn(text, plan)
        self.assertEqual(self.state(), before)
        self.tool("up", "bridged", "br0", "over=nic0")
        self.reaches_the_world()
        self.assertEqual(ip("-o", "addr", "show", "dev", "nic0", "scope", "global"), "")
        routes = ip("route") + ip("-6", "route")
        for text in ("default via 192.0.2.1 dev br0 src 192.0.2.6 metric 50", "198.51.100.0/24 via 192.0.2.9 dev br0 mtu 1400",
                     "2001:db8:1::/48 via 2001:db8::1 dev br0"):
            self.assertIn(text, routes)
        self.assertNotIn("dev nic0 ", routes.replace("fe80::/64 dev nic0", ""))
        # A guest on the bridge is reached from a third place.
        inside = Space(self, "tap0")
        ip("link", "set", "tap0", "master", "br0")
        inside.run("ip addr add 192.0.2.77/24 dev eth0")
        self.world.run("ping -c 1 -W 20 -q 192.0.2.77")
        self.assertIn("br0: up\n  has the addresses of nic0\n  port nic0: up\n  port tap0: up\n", self.tool("status"))
        inside.close()
        self.tool("down", "br0")
        self.is_as_before(before)
        self.reaches_the_world()

    def test_killed_at_each_point(self):
        self.killed_at_each_point("bridged", "br0", "over=nic0")
        self.reaches_the_world()

    def test_a_gateway_that_is_lost(self):
        before = self.state()
        # With spanning tree the port lets nothing through at first: time to take the gateway away.
        up = subprocess.Popen([TOOL, "net", "up", "bridged", "br0", "over=nic0", "stp=on", "delay=4"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_until(lambda: "master br0" in ip("-o", "link"), "the port is there")
        self.world.run("ip addr del 192.0.2.1/24 dev eth0")
        text = up.communicate(timeout=120 * guest.SCALE)[0]
        self.assertEqual(up.returncode, 1, text)
        self.assertIn("the gateway 192.0.2.1 answered on nic0, and does not on br0; all is as it was", text)
        self.is_as_before(before)

    def test_confirmation(self):
        before = self.state()
        self.tool("up", "bridged", "br0", "over=nic0", "confirm=1")
        self.is_as_before(before)
        self.tool("up", "bridged", "br0", "over=nic0", "confirm=3000")
        self.assertIn("another rhea net is at work", self.tool("down", "br0", status=1))
        self.assertEqual(self.tool("keep", "br0"), "br0 is kept\n")
        self.reaches_the_world()
        self.assertIn("waits for no confirmation", self.tool("keep", "br0", status=1))
        self.tool("down", "br0")
        self.assertEqual(self.state(), before)

    def test_refusals(self):
        before = self.state()
        for word, text in (("over=nic9", "did you mean 'nic0'"), ("over=lo", "a loopback cannot be"),):
            self.assertIn(text, self.tool("up", "bridged", "br0", word, status=1))
        ip("link", "add", "br7", "type", "bridge")
        self.assertIn("a bridge cannot be", self.tool("up", "bridged", "br0", "over=br7", status=1))
        ip("link", "set", "nic0", "master", "br7")
        self.assertIn("it is a port of br7 already", self.tool("up", "bridged", "br0", "over=nic0", status=1))
        ip("link", "del", "br7")
        ip("link", "set", "nic0", "up")
        self.is_as_before(before)

    def test_forms(self):
        text = self.tool("plan", "bridged", "br0", "over=nic0", "form=netplan")
        for part in ('addresses: ["192.0.2.5/24", "192.0.2.6/32", "2001:db8::5/64"]', 'to: "198.51.100.0/24"'):
            self.assertIn(part, text)
        self.assertIn("gateway 192.0.2.1\n", self.tool("plan", "bridged", "br0", "over=nic0", "form=ifupdown"))
        self.assertIn("gateway=192.0.2.1\n", self.tool("plan", "bridged", "br0", "over=nic0", "form=networkmanager"))
        self.assertIn("did you mean 'netplan'", self.tool("plan", "bridged", "br0", "over=nic0", "form=netpaln", status=1))


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

    def test_doctor_and_firewalls(self):
        """Rules of either iptables: what they drop is named, what they let through is not."""
        ip("link", "add", "br0", "type", "bridge")
        self.addCleanup(subprocess.run, ["ip", "link", "del", "br0"], check=False, stderr=subprocess.DEVNULL)
        ip("link", "set", "br0", "up")
        ip("addr", "add", "10.7.0.1/24", "dev", "br0")
        sysctl("net/ipv4/ip_forward", "1")
        asked = 0
        for program in ("iptables-nft", "iptables-legacy"):
            def rule(*words):
                return subprocess.run([program, *words], check=False, stderr=subprocess.PIPE).returncode == 0
            if program == "iptables-legacy" and not host.is_root():
                continue  # its tables can be looked at by root alone
            if not guest.have(program) or not rule("-A", "FORWARD", "-i", "br+", "-j", "REJECT"):
                continue
            asked += 1
            self.addCleanup(rule, "-F")
            legacy = program == "iptables-legacy"
            name = "(iptables-legacy, chain filter FORWARD)" if legacy else "(chain ip filter FORWARD)"
            with self.subTest(program):
                self.assertIn(f"the firewall drops what comes from br0 {name}", self.tool("doctor"))
                rule("-I", "FORWARD", "-i", "br0", "-j", "ACCEPT")
                self.assertNotIn("the firewall", self.tool("doctor"))
                rule("-F", "FORWARD")
                rule("-N", "guests")
                rule("-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
                rule("-A", "FORWARD", "!", "-o", "lo", "-j", "guests")
                rule("-A", "guests", "-p", "tcp", "-j", "DROP")
                self.assertNotIn("the firewall", self.tool("doctor"))
                rule("-A", "guests", "-i", "br0", "-j", "DROP")
                self.assertIn(name, self.tool("doctor"))
                rule("-F")
                rule("-X")
                rule("-P", "FORWARD", "DROP")
                self.assertIn(name, self.tool("doctor"))
                rule("-P", "FORWARD", "ACCEPT")
                self.assertNotIn("the firewall", self.tool("doctor"))
        if not asked:
            self.skipTest("no iptables that works here")


@rhea_only("a network of rhea net")
class Macvtap(HostTest):
    needs_guest = True

    def test_a_guest_beside_a_nic(self):
        """A guest beside a NIC, as an ordinary user: seen from another host on the NIC's network."""
        if not host.is_root():
            self.skipTest("a macvtap's device file is root's")
        world = Space(self, "up0")
        world.run("ip addr add 10.9.0.254/24 dev eth0")
        before = self.state()
        self.assertIn("a macvtap mv0 beside up0", self.tool("plan", "macvtap", "mv0", "over=up0", "tap=nobody"))
        self.assertIn("macvtap needs over=", self.tool("plan", "macvtap", "mv0", status=1))
        self.assertIn("-nic tap,ifname=mv0", self.tool("up", "macvtap", "mv0", "over=up0", "tap=nobody"))
        number, mac = re.match(r"(\d+): .* link/ether (\S+)", ip("-o", "link", "show", "dev", "mv0")).groups()
        if not os.path.exists(f"/dev/tap{number}"):
            self.skipTest("nobody makes device files here")
        program = os.path.join(self.directory(), "ordinary")
        os.chmod(os.path.dirname(program), 0o755)
        with open(program, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups {guest.PROGRAM} \"$@\"\n")
        os.chmod(program, 0o755)
        emulator = self.start(*guest.machine("-nic", "tap,ifname=mv0,model=virtio-net-device", memory="256M",
                                             append=wires.NO_DHCP), program=program)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT * 2)
        wires.configure(self, emulator, mac, "10.9.0.1/24")
        text = self.guest_runs(emulator, "ping -c 1 -W 20 10.9.0.254 > /dev/null; ping -c 3 -W 20 10.9.0.254", 120)
        self.assertIn("3 packets received", text)
        self.assertIn(" 0% packet loss", world.run("ping -c 3 -W 20 10.9.0.1").stdout)
        world.listen(80, "world")
        self.assertEqual(self.guest_runs(emulator, "nc -w 30 10.9.0.254 80 < /dev/null").strip(), "10.9.0.1 world")
        # One at a time; and a guest's own address would hear nothing.
        for nic, words in (("tap,ifname=mv0", "is in use by another machine"),
                           ("tap,ifname=mv0,queues=2", "queues= of macvtap mv0 is 1")):
            status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-nic", nic)
            self.assertEqual(status, 1)
            self.assertIn(words, errors)
        emulator.process.kill()
        emulator.process.wait()
        status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-nic",
                                       "tap,ifname=mv0,mac=52:54:00:00:00:01")
        self.assertEqual(status, 1)
        self.assertIn(f"takes frames for {mac} only", errors)
        self.tool("down", "mv0")
        self.assertEqual(self.state(), before)


def main(needs=lambda: None):
    """`needs` says inside the namespace why there is something missing, if so."""
    if os.environ.get("RHEA_TEST_NAMESPACE"):
        # The host's own journal is in /run.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        if reason := needs():
            print(f"SKIP: {os.path.basename(sys.argv[0])}: {reason}", flush=True)
            sys.exit(77)
    wires.main()


if __name__ == "__main__":
    main()
