# SPDX-License-Identifier: MIT
"""The user network's servers and forwards beyond the plain ones: TFTP, guestfwd, DHCP's options, IPv6 and
unix-socket forwards, ranges, ports that listen only while the guest does."""
import os
import socket
import time

import guest
import host
from guest import SharedGuestTest, rhea_only


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
        for name, data in (("tftp/sub/file", cls.data), ("tftp/empty", b""), ("secret", b"secret")):
            with open(os.path.join(directory.name, name), "wb") as f:
                f.write(data)
        os.symlink("../secret", os.path.join(cls.folder, "out"))
        cls.arguments = ("-nic", f"user,tftp={cls.folder},bootfile=/boot.0,mtu=1400,ntp=10.0.2.2,"
                                 "dhcp-lease=52:54:00:12:34:56=10.0.2.77=zebra,"
                                 "guestfwd=tcp:10.0.2.100:80-cmd:tr a-z A-Z,guestfwd=tcp:10.0.2.100:81-cmd:cat")
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


if __name__ == "__main__":
    guest.main()
