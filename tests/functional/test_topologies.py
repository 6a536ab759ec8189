# SPDX-License-Identifier: MIT
"""The tutorials' networks of the host, each end to end with stock guests: first by the commands as they are printed
there, then by one `rhea net`. The host is a network namespace; veth pairs lead to others that play the world.
"""
import os
import subprocess

import guest
import host
import test_hostnet
import wires
from guest import rhea_only
from test_hostnet import Space, ip, sysctl

MACS = ("22:33:44:55:66:71", "22:33:44:55:66:72")


class TopologyTest(wires.WireTest):
    tool = test_hostnet.HostTest.tool
    state = test_hostnet.HostTest.state
    is_as_before = test_hostnet.HostTest.is_as_before

    def setUp(self):
        super().setUp()
        sysctl("net/ipv4/ip_forward", "0")

    def as_printed(self, *lines, needs=()):
        """The tutorial's lines, and what takes it all back."""
        for program in needs:
            if not guest.have(program):
                self.skipTest(f"no {program} on this host")
        for line in lines:
            done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}")

    def undo(self, *lines):
        for line in lines:
            self.addCleanup(subprocess.run, line, shell=True, check=False, stderr=subprocess.DEVNULL)

    def with_dhcp(self, *options):
        """A guest that asks for its address, up to its prompt; the address."""
        emulator = self.start(*guest.machine(*options, memory="256M"))
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT * 2)
        text = self.guest_runs(emulator, "ip -4 addr show eth0; ip route; cat /etc/resolv.conf")
        return emulator, text

    def static(self, *options):
        emulator = self.machine(*options)
        self.answers(emulator)
        return emulator

    def address(self, emulator, address, gateway=None):
        self.guest_runs(emulator, f"ip addr add {address} dev eth0; ip link set eth0 up")
        if gateway:
            self.guest_runs(emulator, f"ip route add default via {gateway}")

    def pings(self, emulator, *addresses):
        for address in addresses:
            self.assertIn("1 packets received", self.guest_runs(
                emulator, f"ping -c 1 -W 10 {address} > /dev/null; ping -c 1 -W 20 {address}"))

    def the_world(self):
        """A namespace behind up0, which knows no way to guests."""
        world = Space(self, "up0")
        ip("addr", "add", "203.0.113.1/24", "dev", "up0")
        world.run("ip addr add 203.0.113.9/24 dev eth0")
        world.listen(80, "world")
        return world

    def fetches(self, emulator, text):
        self.assertEqual(self.guest_runs(emulator, "nc -w 20 203.0.113.9 80 < /dev/null").strip(), text)

    def serves(self, emulator, world, port):
        """A port of the host leads to the guest's port 80."""
        self.guest_runs(emulator, "(while true; do echo inside | nc -l -p 80 > /dev/null; done) > /dev/null 2>&1 & "
                                  "until netstat -tln | grep -q :80; do sleep 0.2; done")
        text = world.run("python3 -c \"import socket; s = socket.create_connection(('203.0.113.1', %d), 20); "
                         "s.shutdown(1); print(s.recv(100).decode(), end='')\"" % port).stdout
        self.assertEqual(text, "inside\n")


class TwoOnABridge(TopologyTest):
    """Static addresses; they ping each other and the host."""

    def check(self):
        one, two = (self.machine("-net", f"nic,model=lan9118,macaddr={mac}", "-net", "bridge,br=br0") for mac in MACS)
        self.answers(one, two)
        self.address(one, "192.168.1.2/24")
        self.address(two, "192.168.1.3/24")
        self.pings(one, "192.168.1.3", "192.168.1.1")
        self.pings(two, "192.168.1.2", "192.168.1.1")
        return one, two

    def test_as_printed(self):
        self.undo("ip link set br0 down; brctl delbr br0")
        self.as_printed("brctl addbr br0", "brctl stp br0 off", "brctl setfd br0 1", "brctl sethello br0 1",
                        "ifconfig br0 192.168.1.1 netmask 255.255.255.0 up", needs=("brctl", "ifconfig"))
        self.check()

    @rhea_only("a program of its own")
    def test_by_rhea_net(self):
        before = self.state()
        self.tool("up", "host-only", "br0", "net=192.168.1.0/24", "dhcp=off", "hello=1")
        self.addCleanup(self.tool, "down", "br0")
        self.check()
        self.doCleanups()
        self.is_as_before(before)

    @rhea_only("a program of its own")
    def test_the_trap(self):
        """bridge-nf-call-iptables, and a firewall that drops."""
        if not os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
            self.skipTest("this kernel has no bridge-nf")
        self.tool("up", "host-only", "br0", "net=192.168.1.0/24", "dhcp=off")
        self.addCleanup(self.tool, "down", "br0")
        sysctl("net/bridge/bridge-nf-call-iptables", "1")
        self.addCleanup(sysctl, "net/bridge/bridge-nf-call-iptables", "0")
        self.as_printed("iptables -P FORWARD DROP", needs=("iptables",))
        self.undo("iptables -P FORWARD ACCEPT")
        text = self.tool("doctor")
        self.assertIn("bridge-nf-call-iptables is 1", text)
        self.assertIn("chain ip filter FORWARD", text)
        one, two = (self.machine("-net", f"nic,macaddr={mac}", "-net", "bridge,br=br0") for mac in MACS)
        self.answers(one, two)
        self.address(one, "192.168.1.2/24")
        self.address(two, "192.168.1.3/24")
        self.assertIn("0 packets received", one.run("ping -c 2 -W 2 192.168.1.3")[1])
        # The fix that it says.
        self.as_printed("sysctl -q -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0")
        self.pings(one, "192.168.1.3")
        self.assertNotIn("bridge-nf-call-iptables is 1", self.tool("doctor"))


class Nat(TopologyTest):
    def test_as_printed(self):
        """A tap with an address, without a bridge."""
        world = self.the_world()
        self.undo("tunctl -d tap0", "iptables -t nat -F; iptables -F")
        self.as_printed("tunctl -u $(whoami) -t tap0", "ip addr add 192.168.0.1/24 dev tap0", "ip link set tap0 up",
                        "echo 1 > /proc/sys/net/ipv4/ip_forward", "iptables -t nat -A POSTROUTING -o up0 -j MASQUERADE",
                        "iptables -A FORWARD -i tap0 -o up0 -j ACCEPT",
                        "iptables -A FORWARD -i up0 -o tap0 -m state --state RELATED,ESTABLISHED -j ACCEPT",
                        "iptables -t nat -A PREROUTING -i up0 -p tcp --dport 8080 -j DNAT --to-destination 192.168.0.2:80",
                        "iptables -A FORWARD -i up0 -o tap0 -p tcp --dport 80 -j ACCEPT",
                        needs=("tunctl", "iptables"))
        emulator = self.static("-net", "nic", "-net", "tap,ifname=tap0,script=no,downscript=no")
        self.address(emulator, "192.168.0.2/24", "192.168.0.1")
        self.pings(emulator, "192.168.0.1", "203.0.113.9")
        self.fetches(emulator, "203.0.113.1 world")
        self.serves(emulator, world, 8080)

    def by_rhea_net(self, nic, *words):
        before = self.state()
        world = self.the_world()
        lease = f"lease={MACS[0]}=192.168.0.2=web"
        self.tool("up", "nat", *words, "net=192.168.0.0/24", "forward=tcp:8080-192.168.0.2:80", lease)
        self.addCleanup(self.tool, "down", words[0])
        emulator, text = self.with_dhcp("-net", f"nic,macaddr={MACS[0]}", "-net", nic)
        for part in ("inet 192.168.0.2/24", "default via 192.168.0.1", "nameserver 192.168.0."):
            self.assertIn(part, text)
        self.pings(emulator, "192.168.0.1", "203.0.113.9")
        self.fetches(emulator, "203.0.113.1 world")
        self.serves(emulator, world, 8080)
        self.assertIn("Address: 192.168.0.1", self.guest_runs(emulator, "busybox nslookup -type=a host").replace(" 1: ", ": "))
        self.assertIn("192.168.0.2", self.guest_runs(emulator, "busybox nslookup -type=a web"))
        self.assertIn("dhcp and dns: running", self.tool("status"))
        emulator.close()
        world.close()
        self.doCleanups()
        self.is_as_before(before)

    @rhea_only("a program of its own")
    def test_by_rhea_net_with_its_own_server(self):
        self.by_rhea_net("bridge,br=rhea0", "rhea0", "dhcp=rhea")

    @rhea_only("a program of its own")
    def test_by_rhea_net_with_dnsmasq(self):
        if not host.is_root():
            self.skipTest("dnsmasq changes to a group that a user namespace does not have")
        if not os.path.exists("/usr/sbin/dnsmasq"):
            self.skipTest("no dnsmasq on this host")
        self.by_rhea_net("bridge,br=rhea0", "rhea0", "dhcp=dnsmasq")

    @rhea_only("a program of its own")
    def test_by_rhea_net_on_a_routed_tap(self):
        self.by_rhea_net("tap,ifname=tap0,script=no,downscript=no", "tap0", "dhcp=rhea", f"tap={os.getuid()}")


class HostOnly(TopologyTest):
    @rhea_only("a program of its own")
    def test_by_rhea_net(self):
        before = self.state()
        self.the_world()
        self.tool("up", "host-only", "only0", "net=192.168.56.0/24", "dhcp=rhea")
        self.addCleanup(self.tool, "down", "only0")
        emulator, text = self.with_dhcp("-net", f"nic,macaddr={MACS[0]}", "-net", "bridge,br=only0")
        self.assertIn("inet 192.168.56.100/24", text)
        self.assertNotIn("default", text)
        self.pings(emulator, "192.168.56.1")
        self.assertNotEqual(emulator.run("ping -c 1 -W 2 203.0.113.9")[0], 0)
        emulator.close()
        ip("link", "del", "up0")
        self.doCleanups()
        self.is_as_before(before)


class Bridged(TopologyTest):
    """Onto a veth that plays the physical NIC; the guest is reached from a third namespace."""

    def nic(self):
        world = Space(self, "enp4s0")
        self.as_printed("ip addr add 192.0.2.5/24 dev enp4s0", "ip route add default via 192.0.2.1")
        world.run("ip addr add 192.0.2.1/24 dev eth0")
        return world

    def check(self, world):
        emulator = self.static("-nic", f"bridge,br=br0,mac={MACS[0]}")
        self.address(emulator, "192.0.2.77/24", "192.0.2.1")
        self.pings(emulator, "192.0.2.5", "192.0.2.1")
        world.run("ping -c 1 -W 20 192.0.2.77; ping -c 1 -W 20 192.0.2.5")
        emulator.close()

    def test_as_printed(self):
        world = self.nic()
        self.undo("ip link set br0 down; brctl delbr br0")
        self.as_printed("brctl addbr br0", "brctl addif br0 enp4s0", "brctl stp br0 off", "ifconfig enp4s0 0.0.0.0 promisc",
                        "ifconfig br0 192.0.2.5 netmask 255.255.255.0 up", "ip route add default via 192.0.2.1 dev br0",
                        needs=("brctl", "ifconfig"))
        self.check(world)

    @rhea_only("a program of its own")
    def test_by_rhea_net(self):
        world = self.nic()
        before = self.state()
        self.tool("up", "bridged", "br0", "over=enp4s0")
        self.check(world)
        self.tool("down", "br0")
        self.is_as_before(before)


if __name__ == "__main__":
    test_hostnet.main(host.tun_for_all)
