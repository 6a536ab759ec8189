# SPDX-License-Identifier: MIT
"""Options of the user backend, forwards from the host, filter-dump, and several NICs."""
import os
import re
import struct
import subprocess
import urllib.request

import guest
import host
from guest import GuestTest, SharedGuestTest, rhea_only


def packets(path):
    """(original length, bytes) of each packet in a classic pcap file of this machine's byte order."""
    with open(path, "rb") as f:
        magic, major, minor, zone, sigfigs, snaplen, linktype = struct.unpack("=IHHiIII", f.read(24))
        assert (magic, major, minor, zone, sigfigs, linktype) == (0xA1B2C3D4, 2, 4, 0, 0, 1)
        last = (0, 0)
        while header := f.read(16):
            seconds, micros, kept, length = struct.unpack("=IIII", header)
            assert micros < 1_000_000 and kept == min(length, snaplen)
            assert (seconds, micros) >= last, "time runs backwards"
            last = (seconds, micros)
            yield length, f.read(kept)


class OwnNetwork(SharedGuestTest):
    """net= and dhcpstart= move every address; filter-dump sees the traffic."""

    @classmethod
    def setUpClass(cls):
        import tempfile
        directory = tempfile.TemporaryDirectory(prefix="rhea-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.dump = os.path.join(directory.name, "dump.dat")
        cls.arguments = ("-netdev", "user,id=u1,net=192.168.76.0/24,dhcpstart=192.168.76.9",
                         "-net", "nic,netdev=u1,macaddr=22:33:44:55:66:78",
                         "-object", f"filter-dump,id=f1,netdev=u1,file={cls.dump}")
        super().setUpClass()

    def test_addresses(self):
        text = self.sh("ip addr show eth0; ip route; cat /etc/resolv.conf")
        self.assertIn("link/ether 22:33:44:55:66:78", text)
        self.assertIn("inet 192.168.76.9/24", text)
        self.assertIn("default via 192.168.76.2 dev eth0", text)
        self.assertIn("nameserver 192.168.76.3", text)

    def test_gateway_is_the_host(self):
        self.assertIn("ttl=255", self.sh("ping -c 1 192.168.76.2"))
        with host.TcpServer(lambda c: c.sendall(b"here\n")) as server:
            self.assertEqual(self.sh(f"nc 192.168.76.2 {server.port} < /dev/null"), "here\n")

    def test_info_network_names_backend_nic_and_filter(self):
        text = self.guest.in_monitor("info network")
        self.assertIn("lan9118.0: index=0,type=nic,model=lan9118,macaddr=22:33:44:55:66:78", text)
        self.assertIn(r" \ u1: index=0,type=user,net=192.168.76.0,restrict=off", text)
        self.assertIn("filters:\n", text)
        self.assertRegex(text, rf"  - f1: type=filter-dump,.*file={re.escape(self.dump)}")

    def test_dump_holds_the_conversation(self):
        self.sh("ping -c 2 -s 100 192.168.76.2")
        frames = list(packets(self.dump))
        self.assertTrue(all(length >= 42 for length, _ in frames))
        ours, kinds = bytes.fromhex("223344556678"), {frame[12:14] for _, frame in frames}
        self.assertTrue(kinds >= {b"\x08\x06", b"\x08\x00"}, kinds)
        dhcp = [frame for _, frame in frames if frame[12:14] == b"\x08\x00" and frame[23] == 17
                and struct.unpack(">HH", frame[34:38]) in ((68, 67), (67, 68))]
        self.assertGreaterEqual(len(dhcp), 4)
        echoes = [frame for _, frame in frames if frame[12:14] == b"\x08\x00" and frame[23] == 1]
        self.assertGreaterEqual(len([f for f in echoes if f[34] == 8 and f[6:12] == ours]), 2)
        replies = [f for f in echoes if f[34] == 0 and f[:6] == ours]
        self.assertGreaterEqual(len(replies), 2)
        self.assertEqual(replies[0][6:12], bytes.fromhex("5255c0a84c02"))
        self.assertEqual(replies[0][22], 255)


class NamedHosts(SharedGuestTest):
    """host=, dns= and hostname=, over virtio-net and -net's spelling."""

    arguments = ("-netdev", "user,id=n0,host=10.0.2.9,dns=10.0.2.10,hostname=zebra,domainname=example.org",
                 "-device", "virtio-net-device,netdev=n0,mac=52:54:98:76:54:32")

    def test_all_of_them(self):
        text = self.sh("ip addr show eth0; ip route; cat /etc/resolv.conf; hostname")
        self.assertIn("link/ether 52:54:98:76:54:32", text)
        self.assertIn("inet 10.0.2.15/24", text)
        self.assertIn("default via 10.0.2.9 dev eth0", text)
        self.assertIn("nameserver 10.0.2.10", text)
        self.assertIn("search example.org", text)
        self.assertEqual(text.split("\n")[-2], "zebra")
        for address in ("10.0.2.9", "10.0.2.10"):
            self.assertIn("ttl=255", self.sh(f"ping -c 1 {address}"))
        self.assertNotEqual(self.guest.run("ping -c 1 -W 2 10.0.2.2")[0], 0)

    def test_host_address_reaches_the_host(self):
        with host.TcpServer(lambda c: c.sendall(b"here\n")) as server:
            self.assertEqual(self.sh(f"nc 10.0.2.9 {server.port} < /dev/null"), "here\n")


class HostForward(SharedGuestTest):
    """Connections from the host into the guest."""

    @classmethod
    def setUpClass(cls):
        cls.ssh, cls.web, cls.raw, cls.silent = (host.free_port() for _ in range(4))
        cls.arguments = ("-nic", f"user,hostfwd=tcp::{cls.ssh}-:22,hostfwd=tcp:127.0.0.1:{cls.web}-:8080,"
                                 f"hostfwd=tcp:127.0.0.1:{cls.raw}-10.0.2.15:9000,"
                                 f"hostfwd=tcp:127.0.0.1:{cls.silent}-:9001")
        super().setUpClass()

    def run_ssh(self, command, stdin=b""):
        if not guest.have("ssh"):
            self.skipTest("no ssh client on this host")
        key = os.path.join(self.directory(), "key")
        with open(guest.guest_file("ssh-key"), "rb") as source, open(key, "wb") as copy:
            copy.write(source.read())
        os.chmod(key, 0o600)
        done = subprocess.run(
            ["ssh", "-F", "none", "-p", str(self.ssh), "-i", key, "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
             "-o", "ConnectTimeout=60", "root@127.0.0.1", command],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=180 * guest.SCALE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def test_ssh(self):
        self.assertEqual(self.run_ssh("uname -m; hostname"), b"armv7l\nrhea-guest\n")

    def test_ssh_carries_data_both_ways(self):
        data = host.pattern(1 << 20)
        self.assertEqual(self.run_ssh("cat", data), data)

    def test_guest_web_server(self):
        self.sh("mkdir -p /www; head -c 200000 /dev/urandom > /www/file; httpd -p 8080 -h /www")
        want = self.sh("sha256sum < /www/file").split()[0]
        for _ in range(10):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/file", timeout=60) as answer:
                self.assertEqual(host.sha256(answer.read()), want)
        self.sh("killall httpd")

    def test_upload_into_the_guest(self):
        data = host.pattern(2 << 20)
        self.sh("rm -f /tmp/sum; (nc -l -p 9000 < /dev/null | sha256sum > /tmp/sum) & "
                "until netstat -tln | grep -q :9000; do sleep 0.2; done")
        with host.connect(self.raw) as c:
            c.sendall(data)
        self.assertIn(host.sha256(data), self.sh("until [ -s /tmp/sum ]; do sleep 0.2; done; cat /tmp/sum"))

    def test_guest_sees_the_gateway_as_peer(self):
        self.sh("nc -l -p 9000 > /dev/null & sleep 1")
        with host.connect(self.raw):
            text = self.sh("sleep 1; netstat -tn | grep :9000")
        self.assertRegex(text, r"10\.0\.2\.15:9000\s+(::ffff:)?10\.0\.2\.2:\d+\s+ESTABLISHED")
        self.sh("killall nc; true")

    def test_nothing_listens_in_the_guest(self):
        try:
            with host.connect(self.silent) as c:
                self.assertEqual(c.recv(1), b"")
        except (ConnectionResetError, ConnectionRefusedError):
            pass

    def test_add_and_remove_while_it_runs(self):
        port = host.free_port()
        self.sh("(while true; do echo hello | nc -l -p 9002; done) > /dev/null 2>&1 & sleep 1")
        self.assertEqual(self.guest.in_monitor(f"hostfwd_add tcp:127.0.0.1:{port}-:9002"), "")
        with host.connect(port) as c:
            self.assertEqual(host.read_all(c), b"hello\n")
        self.assertIn("removed", self.guest.in_monitor(f"hostfwd_remove tcp:127.0.0.1:{port}"))
        with self.assertRaises(ConnectionRefusedError):
            host.connect(port)


class HostForwardUdp(SharedGuestTest):
    how = {"initrd": guest.WORK_INITRD}

    @classmethod
    def setUpClass(cls):
        cls.port = host.free_port(host.socket.SOCK_DGRAM)
        cls.arguments = ("-nic", f"user,hostfwd=udp:127.0.0.1:{cls.port}-:7")
        super().setUpClass()

    def test_datagrams_go_in_and_answers_come_back(self):
        self.sh("perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalPort=>7,Proto=>q(udp)) or die; "
                "while($f=$s->recv($d,65536)){$s->send(uc $d)}' > /dev/null 2>&1 & "
                "until netstat -uln | grep -q ':7 '; do sleep 0.2; done")
        with host.socket.socket(host.socket.AF_INET, host.socket.SOCK_DGRAM) as s:
            s.settimeout(3)
            s.connect((host.LOOPBACK, self.port))
            for size in (1, 100, 1400, 4000):
                self.assertEqual(self.echo(s, b"a" * size), b"A" * size)

    def echo(self, s, data):
        """A datagram may be lost: try a few times."""
        for _ in range(10):
            s.send(data)
            try:
                while len(answer := s.recv(65536)) != len(data):
                    pass
                return answer
            except TimeoutError:
                continue
        return None


class SeveralNics(GuestTest):
    def test_board_nic_and_virtio_each_on_its_own_network(self):
        emulator = self.boot("-netdev", "user,id=a", "-net", "nic,netdev=a", "-netdev", "user,id=b,net=10.0.3.0/24",
                             "-device", "virtio-net-device,netdev=b")
        text = self.guest_runs(emulator, "ip -4 addr; ping -c 1 10.0.2.2; ping -c 1 10.0.3.2")
        self.assertIn("inet 10.0.2.15/24", text)
        self.assertIn("inet 10.0.3.15/24", text)
        links = self.guest_runs(emulator, "ip link")
        self.assertIn("52:54:00:12:34:56", links)
        self.assertIn("52:54:00:12:34:57", links)

    @rhea_only("QEMU starts without the second NIC")
    def test_second_nic_option_becomes_virtio_and_says_so(self):
        emulator = self.boot("-nic", "user", "-nic", "user,net=10.0.3.0/24")
        self.assertRegex(emulator.stderr(), r"virtio-net")
        text = self.guest_runs(emulator, "ip -4 addr; ping -c 1 10.0.2.2; ping -c 1 10.0.3.2")
        self.assertIn("inet 10.0.3.15/24", text)

    def test_no_nic(self):
        emulator = self.boot("-nic", "none")
        self.assertNotIn("eth0", self.guest_runs(emulator, "ip link"))


class HostForwardSpelling(GuestTest):
    @rhea_only("QEMU refuses a forward without a protocol")
    def test_without_protocol_means_tcp(self):
        port = host.free_port()
        emulator = self.start_monitor("-net", "nic", "-net", f"user,hostfwd=127.0.0.1:{port}-10.0.2.15:22")
        self.assertRegex(emulator.monitor("info usernet"),
                         rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+{port}\s+10\.0\.2\.15\s+22 ")


if __name__ == "__main__":
    guest.main()
