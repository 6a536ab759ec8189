# SPDX-License-Identifier: MIT
"""The user network's servers and forwards beyond the plain ones: TFTP, guestfwd, DHCP's options, IPv6 and
unix-socket forwards, ranges, ports that listen only while the guest does."""
import os
import socket
import struct
import subprocess
import time

import guest
import host
from guest import SharedGuestTest, rhea_only
from test_control import Qmp


class Services(SharedGuestTest):
    how = {"initrd": guest.WORK_INITRD}

    @classmethod
    def setUpClass(cls):
        import tempfile
        directory = tempfile.TemporaryDirectory(prefix="rhea-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.folder = os.path.join(directory.name, "tftp")
        os.makedirs(os.path.join(cls.folder, "sub"))
        cls.data = host.pattern(300000)
        cls.direct_port = host.free_port()
        cls.device_path = os.path.join(directory.name, "device")
        cls.listener_path = os.path.join(directory.name, "listener")
        cls.listener = socket.socket(socket.AF_UNIX)
        cls.addClassCleanup(cls.listener.close)
        cls.listener.bind(cls.listener_path)
        cls.listener.listen()
        for name, data in (("tftp/sub/file", cls.data), ("tftp/empty", b""), ("secret", b"secret")):
            with open(os.path.join(directory.name, name), "wb") as f:
                f.write(data)
        os.symlink("../secret", os.path.join(cls.folder, "out"))
        cls.arguments = ("-nic", f"user,tftp={cls.folder},bootfile=/boot.0,mtu=1400,ntp=10.0.2.2,"
                                 "dhcp-lease=52:54:00:12:34:56=10.0.2.77=zebra,"
                                 "guestfwd=tcp:10.0.2.100:80-cmd:tr a-z A-Z,guestfwd=tcp:10.0.2.100:81-cmd:cat,"
                                 f"guestfwd=tcp:10.0.2.101:80-tcp:127.0.0.1:{cls.direct_port},"
                                 f"guestfwd=tcp:10.0.2.102:80-chardev:c0,guestfwd=tcp:10.0.2.102:81-unix:{cls.listener_path}",
                         "-chardev", f"socket,id=c0,path={cls.device_path},server=on,wait=off")
        super().setUpClass()

    def test_tftp(self):
        want = host.sha256(self.data)
        for blocks in ("", "-b 1400", "-b 8192"):
            self.sh(f"cd /tmp; rm -f got; busybox tftp {blocks} -g -r sub/file -l got 10.0.2.2")
            self.assertEqual(self.sh("sha256sum < /tmp/got").split()[0], want)
        self.sh("cd /tmp; busybox tftp -g -r empty -l none 10.0.2.2; test -e none -a ! -s none")

    @rhea_only("QEMU follows links that lead out")
    def test_tftp_has_no_way_out(self):
        for name in ("../secret", "out", "sub/../../secret"):
            status, text = self.guest.run(f"cd /tmp; busybox tftp -g -r {name} -l leak 10.0.2.2; test -s leak")
            self.assertNotEqual(status, 0, text)
        self.assertIn("not found", self.guest.run("busybox tftp -g -r nonesuch 10.0.2.2 2>&1")[1])

    def test_a_program_for_each_connection(self):
        for word in ("one", "two"):
            self.assertEqual(self.sh(f"echo {word} | nc 10.0.2.100 80"), f"{word.upper()}\n")
        self.sh("head -c 500000 /dev/urandom > /tmp/data; nc 10.0.2.100 81 < /tmp/data > /tmp/back; "
                "cmp /tmp/data /tmp/back")
        self.assertNotEqual(self.guest.run("nc -w 5 10.0.2.100 82 < /dev/null")[0], 0)

    @rhea_only("QEMU connects once, at its start")
    def test_a_connection_each_time(self):
        self.assertNotEqual(self.guest.run("nc -w 5 10.0.2.101 80 < /dev/null")[0], 0)
        words = [b"first\n", b"second\n"]
        with host.TcpServer(lambda c: c.sendall(words.pop(0)), port=self.direct_port):
            for word in ("first\n", "second\n"):
                self.assertEqual(self.sh("nc 10.0.2.101 80 < /dev/null"), word)

    @rhea_only("QEMU mixes what connections say")
    def test_a_device_that_connections_share(self):
        device = socket.socket(socket.AF_UNIX)
        self.addCleanup(device.close)
        device.connect(self.device_path)
        made = self.listener.accept()[0]
        self.addCleanup(made.close)
        for port, end in ((80, device), (81, made)):
            end.settimeout(30 * guest.SCALE)
            data = host.pattern(200000)
            for round_ in (b"one", b"two"):
                self.sh(f"cd /tmp; head -c 200000 /dev/urandom > up; rm -f down; "
                        f"(cat up; until [ -s down ]; do sleep 0.2; done; sleep 2) | nc 10.0.2.102 {port} > down & true")
                sent = host.read_exactly(end, 200000)
                end.sendall(data + round_)
                self.assertEqual(self.sh("cd /tmp; sha256sum < up").split()[0], host.sha256(sent))
                self.sh(f"until [ $(stat -c %s /tmp/down) = {len(data + round_)} ]; do sleep 0.2; done; wait")
                self.assertEqual(self.sh("cd /tmp; sha256sum < down").split()[0], host.sha256(data + round_))

    def test_dhcp_says_what_it_was_told(self):
        self.assertIn("inet 10.0.2.77/24", self.sh("ip -4 addr show eth0"))
        self.assertEqual(self.sh("hostname"), "zebra\n")
        self.sh("echo 'set > /tmp/lease' > /tmp/script; sed -i '1i #!/bin/sh' /tmp/script; chmod +x /tmp/script; "
                "udhcpc -i eth0 -n -q -f -O mtu -O ntpsrv -O bootfile -s /tmp/script")
        text = self.sh("cat /tmp/lease")
        self.assertIn("mtu='1400'", text)
        self.assertIn("ntpsrv='10.0.2.2'", text)
        self.assertIn("boot_file='/boot.0'", text)
        self.assertIn("siaddr='10.0.2.2'", text)


class Smb(SharedGuestTest):
    """smb=DIR: Debian's smbd for each of the guest's connections, used by a client behind a relay in the guest."""

    @classmethod
    def setUpClass(cls):
        import tempfile
        for program, package in (("/usr/sbin/smbd", "samba"), ("/usr/bin/smbclient", "smbclient")):
            if not os.access(program, os.X_OK):
                raise guest.unittest.SkipTest(f"no {program}: it is in Debian's package {package}")
        directory = tempfile.TemporaryDirectory(prefix="rhea-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.folder = os.path.join(directory.name, "share")
        cls.place = directory.name
        os.mkdir(cls.folder)
        with open(os.path.join(cls.folder, "file"), "wb") as f:
            f.write(host.pattern(200000))
        cls.port = host.free_port()
        cls.arguments = ("-nic", f"user,smb={cls.folder},hostfwd=tcp:127.0.0.1:{cls.port}-:4450")
        super().setUpClass()
        cls.guest.run("mkfifo /tmp/pipe; (while true; do nc -l -p 4450 < /tmp/pipe | nc 10.0.2.4 445 > /tmp/pipe; done) "
                      "> /dev/null 2>&1 & until netstat -tln | grep -q :4450; do sleep 0.2; done")

    def client(self, *words):
        return subprocess.run(["smbclient", "-N", "-p", str(self.port), "//127.0.0.1/qemu", "-c", "; ".join(words)],
                              cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120 * guest.SCALE, check=False).stdout

    def test_files_go_both_ways(self):
        with open(os.path.join(self.place, "new"), "wb") as f:
            f.write(host.pattern(100001))
        text = self.client("ls", "get file got", "put new put")
        self.assertRegex(text, r"  file +\w* +200000 ", text)
        for ours, theirs in (("file", "../got"), ("put", "../new")):
            with open(os.path.join(self.folder, ours), "rb") as a, open(os.path.join(self.folder, theirs), "rb") as b:
                self.assertEqual(host.sha256(a.read()), host.sha256(b.read()), text)


@rhea_only("QEMU forwards IPv4 ports, one at a time")
class Forwards(SharedGuestTest):
    @classmethod
    def setUpClass(cls):
        import tempfile
        directory = tempfile.TemporaryDirectory(prefix="rhea-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.path = os.path.join(directory.name, "to-the-guest.sock")
        cls.base = host.free_port()
        cls.arguments = ("-nic", f"user,hostfwd=unix:{cls.path}-:9000,hostfwd=tcp:[::1]:{cls.base}-:9000")
        super().setUpClass()
        cls.guest.run("(while true; do echo hello | nc -l -p 9000; done) > /dev/null 2>&1 & "
                      "until netstat -tln | grep -q :9000; do sleep 0.2; done")

    def read(self, family, address):
        for _ in range(50):  # the listener in the guest is a new one for each client
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.settimeout(60)
                try:
                    s.connect(address)
                    if data := host.read_all(s):
                        return data
                except OSError:
                    pass
            time.sleep(0.2)
        return None

    def test_unix_socket(self):
        self.assertEqual(self.read(socket.AF_UNIX, self.path), b"hello\n")

    def test_ipv6_of_the_host(self):
        self.assertEqual(self.read(socket.AF_INET6, ("::1", self.base)), b"hello\n")

    def test_names_and_ranges_live(self):
        port = host.free_port()
        added, listed = self.guest.in_monitor(f"hostfwd_add tcp:localhost:{port}..{port + 2}-:8998..9000", "info usernet")
        if "Address already in use" in added:
            self.skipTest("one of three ports in a row is taken")
        self.assertEqual(added, "")
        self.assertEqual(listed.count(f" {port + 1} "), listed.count(f" {port + 2} "), listed)
        self.assertEqual(self.read(socket.AF_INET, ("127.0.0.1", port + 2)), b"hello\n")
        self.guest.in_monitor(f"hostfwd_remove tcp:localhost:{port}..{port + 2}")
        with self.assertRaises(ConnectionRefusedError):
            host.connect(port + 2)

    def test_a_port_that_is_taken_says_so(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertIn("Address already in use", self.guest.in_monitor(f"hostfwd_add tcp:127.0.0.1:{port}-:22"))


@rhea_only("QEMU accepts whether or not the guest listens")
class Probed(SharedGuestTest):
    @classmethod
    def setUpClass(cls):
        cls.port = host.free_port()
        cls.arguments = ("-nic", f"user,hostfwd=tcp:127.0.0.1:{cls.port}-:9000,hostfwd-listen=probe")
        super().setUpClass()

    def wait_for(self, answers):
        for _ in range(600):
            try:
                with host.connect(self.port) as c:
                    if answers and host.read_all(c):
                        return
            except ConnectionRefusedError:
                if not answers:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.fail(f"the port {'never answers' if answers else 'still listens'}")

    def test_refused_until_the_guest_listens(self):
        with self.assertRaises(ConnectionRefusedError):
            host.connect(self.port)
        self.sh("(while true; do echo hello | nc -l -p 9000; done) > /dev/null 2>&1 & echo $! > /tmp/loop")
        self.wait_for(True)
        self.sh("kill $(cat /tmp/loop); killall nc; true")
        self.wait_for(False)


@rhea_only("QEMU has no such rules")
class Rules(SharedGuestTest):
    """allow= and deny=, what was blocked, the flows, counters on a unix socket, captures as pcapng."""

    @classmethod
    def setUpClass(cls):
        import tempfile
        directory = tempfile.TemporaryDirectory(prefix="rhea-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.metrics = os.path.join(directory.name, "metrics.sock")
        cls.dump = os.path.join(directory.name, "dump.pcapng")
        cls.server = host.TcpServer(lambda c: c.sendall(b"here\n") or c.recv(1))
        cls.addClassCleanup(cls.server.listener.close)
        cls.control = os.path.join(directory.name, "qmp.sock")
        cls.arguments = ("-serial", "mon:stdio", "-qmp", f"unix:{cls.control},server=on,wait=off",
                         "-netdev", f"user,id=n0,metrics={cls.metrics},allow=tcp:host:{cls.server.port},"
                                    "dns-record=box.test=192.0.2.9,domainname=lab.test",
                         "-net", "nic,netdev=n0", "-object", f"filter-dump,id=f0,netdev=n0,file={cls.dump},format=pcapng")
        super().setUpClass()

    def test_what_is_allowed_and_what_is_not(self):
        self.assertEqual(self.sh(f"nc -w 1 10.0.2.2 {self.server.port} < /dev/null"), "here\n")
        other = self.server.port ^ 1
        self.assertNotEqual(self.guest.run(f"nc -w 5 10.0.2.2 {other} < /dev/null")[0], 0)
        text = self.guest.in_monitor("info usernet-blocked")
        self.assertIn(f'tcp 10.0.2.2:{other} times=', text)
        self.assertIn('rule="none allows it"', text)

    def test_flows_and_leases(self):
        self.sh(f"(sleep 30 | nc 10.0.2.2 {self.server.port} > /tmp/out 2>&1) & "
                "until [ -s /tmp/out ]; do sleep 0.2; done")
        text = self.guest.in_monitor("info usernet-flows")
        self.assertRegex(text, r"tcp ESTABLISHED 10\.0\.2\.15:\d+ -> 10\.0\.2\.2:\d+ to-guest=5 to-host=0 ")
        self.assertIn("lease 10.0.2.15 52:54:00:12:34:56", text)

    def test_the_same_by_qmp(self):
        self.sh(f"(sleep 30 | nc 10.0.2.2 {self.server.port} > /tmp/out2 2>&1) & "
                "until [ -s /tmp/out2 ]; do sleep 0.2; done; nc -w 5 10.0.2.2 1 < /dev/null; true")
        client = Qmp(self.control)
        self.addCleanup(client.close)
        flows = [flow for flow in client.value("query-usernet-flows") if flow["protocol"] == "tcp"]
        self.assertTrue(flows)
        for flow in flows:
            self.assertEqual(flow["netdev"], "n0")
            self.assertTrue(flow["guest"].startswith("10.0.2.15:"), flow)
        self.assertIn(5, [flow["bytes-to-guest"] for flow in flows])
        blocked = client.value("query-usernet-blocked")
        self.assertIn("tcp 10.0.2.2:1", [item["what"] for item in blocked])
        port = host.free_port()
        client.value("hostfwd-add", rule=f"tcp:127.0.0.1:{port}-:9000")
        self.assertIn("Address already in use", client.ask("hostfwd-add", rule=f"tcp:127.0.0.1:{port}-:9000")["error"]["desc"])
        client.value("hostfwd-remove", rule=f"tcp:127.0.0.1:{port}")
        self.assertIn("not found", client.ask("hostfwd-remove", rule=f"tcp:127.0.0.1:{port}")["error"]["desc"])

    def test_counters(self):
        self.sh("nslookup box.test > /dev/null; true")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.metrics)
            s.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            text = host.read_all(s).decode()
        self.assertRegex(text, r'\nrhea_usernet_tcp_flows\{netdev="n0"\} \d+\n')
        self.assertRegex(text, r'\nrhea_usernet_dns_answers_own_total\{netdev="n0"\} [1-9]')

    def test_own_names(self):
        self.assertIn("192.0.2.9", self.sh("nslookup box.test"))
        self.assertIn("10.0.2.2", self.sh("nslookup gateway.lab.test"))

    def test_capture(self):
        self.sh("ping -c 1 10.0.2.2")
        with open(self.dump, "rb") as f:
            data = f.read()
        kinds, at, flags = [], 0, set()
        while at + 8 <= len(data):
            kind, size = struct.unpack_from("=II", data, at)
            if size < 12 or at + size > len(data):
                break
            self.assertEqual(struct.unpack_from("=I", data, at + size - 4)[0], size)
            kinds.append(kind)
            if kind == 6:
                flags.add(struct.unpack_from("=I", data, at + size - 12)[0])
            at += size
        self.assertEqual(kinds[:2], [0x0A0D0D0A, 1])
        self.assertEqual(set(kinds[2:]), {6})
        self.assertEqual(flags, {1, 2})
        self.assertIn(b"n0", data[28:80])


class Ipv6(SharedGuestTest):
    """The guest gives itself an address of the prefix, and reaches the host by it."""

    arguments = ("-nic", "user,ipv6-net=fd00:5::/64")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The guest's DHCP script flushes all addresses: IPv6 begins again.
        status, text = cls.guest.run(
            "cd /proc/sys/net/ipv6/conf/eth0; echo 1 > disable_ipv6; echo 0 > disable_ipv6; cd /; "
            "for i in $(seq 60); do ip -6 addr show dev eth0 | grep 'fd00:5:.* scope global' | grep -qv tentative "
            "&& break; sleep 0.5; done; ip -6 addr show dev eth0 | grep fd00:5:", 90)
        assert status == 0, text

    def test_gateway_and_name_server_answer(self):
        for address in ("fd00:5::2", "fd00:5::3"):
            self.assertIn("1 packets received", self.sh(f"ping -6 -c 1 -W 10 {address}"))

    def test_the_hosts_loopback(self):
        try:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError as error:
            self.skipTest(f"no IPv6 on this host: {error}")
        with listener:
            port = listener.getsockname()[1]
            self.guest.send(f"nc fd00:5::2 {port} < /dev/null > /tmp/got; echo @@done@@\n")
            listener.settimeout(60)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(host.pattern(300000))
        self.guest.expect(r"@@done@@\r*\n", 60)
        self.guest.expect(guest.PROMPT)
        self.assertIn(host.sha256(host.pattern(300000)), self.sh("sha256sum < /tmp/got"))


if __name__ == "__main__":
    guest.main()
