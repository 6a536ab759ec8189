# SPDX-License-Identifier: MIT
"""User-mode network from inside the guest, over LAN9118 and over virtio-net."""
import os
import tempfile
import threading

import guest
import host
from guest import SharedGuestTest


class Cases:
    """One guest, one NIC; the classes below say which."""

    driver = ""
    transfer = 4 << 20

    def test_address_comes_from_dhcp(self):
        self.assertRegex(self.sh("ip addr show eth0"), r"inet 10\.0\.2\.15/24 ")
        self.assertIn("default via 10.0.2.2 dev eth0", self.sh("ip route"))
        self.assertEqual(self.sh("cat /etc/resolv.conf").split(), ["nameserver", "10.0.2.3"])
        self.assertIn("link/ether 52:54:00:12:34:56", self.sh("ip link show eth0"))
        lease = self.sh("cat /run/dhcp.eth0")
        self.assertIn("serverid='10.0.2.2'", lease)
        self.assertIn("lease='86400'", lease)

    def test_driver(self):
        self.assertEqual(self.sh("basename $(readlink /sys/class/net/eth0/device/driver)").strip(), self.driver)

    def test_ping_gateway_and_dns(self):
        for address in ("10.0.2.2", "10.0.2.3"):
            text = self.sh(f"ping -c 3 -i 0.2 {address}")
            self.assertIn("3 packets received", text)
            self.assertIn("ttl=255", text)

    def test_ping_sizes(self):
        for size in (0, 1, 63, 1472, 4000):
            self.assertIn("1 packets received", self.sh(f"ping -c 1 -s {size} 10.0.2.2"))

    def test_nobody_answers_for_a_free_address(self):
        self.assertNotEqual(self.guest.run("ping -c 1 -W 2 10.0.2.77")[0], 0)

    def test_web_page(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "page"), "w", encoding="utf-8") as f:
                f.write("from the host\n")
            with host.web_server(directory) as port:
                self.assertEqual(self.sh(f"wget -q -O - http://10.0.2.2:{port}/page"), "from the host\n")

    def test_big_download(self):
        data = host.pattern(self.transfer)
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "big"), "wb") as f:
                f.write(data)
            with host.web_server(directory) as port:
                text = self.sh(f"wget -q -O - http://10.0.2.2:{port}/big | sha256sum", 300)
        self.assertEqual(text.split()[0], host.sha256(data))

    def test_big_upload(self):
        with host.TcpServer(host.digest_of_all) as server:
            text = self.sh(f"head -c {self.transfer} /dev/urandom > /tmp/up; sha256sum < /tmp/up; "
                           f"nc 10.0.2.2 {server.port} < /tmp/up; rm /tmp/up", 300)
            self.assertEqual(server.wait(), [(self.transfer, text.split()[0])])

    def test_both_ways_at_once(self):
        data = host.pattern(self.transfer // 4)

        def swap(connection):
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            got = host.digest_of_all(connection)
            sender.join()
            return got

        with host.TcpServer(swap) as server:
            text = self.sh(f"head -c {len(data)} /dev/urandom > /tmp/up; sha256sum < /tmp/up; "
                           f"nc 10.0.2.2 {server.port} < /tmp/up | head -c {len(data)} | sha256sum; rm /tmp/up", 300)
            sent, received = (line.split()[0] for line in text.splitlines())
            self.assertEqual(received, host.sha256(data))
            self.assertEqual(server.wait(), [(len(data), sent)])

    def test_refused_connection(self):
        status, text = self.guest.run(f"nc 10.0.2.2 {host.free_port()} < /dev/null")
        self.assertNotEqual(status, 0)
        self.assertIn("Connection refused", text)

    def test_many_short_connections(self):
        with host.TcpServer(lambda c: c.sendall(b"hello\n")) as server:
            text = self.sh(f"i=0; while [ $i -lt 40 ]; do nc 10.0.2.2 {server.port} < /dev/null; i=$((i+1)); done", 120)
        self.assertEqual(text, "hello\n" * 40)

    def test_server_sees_a_half_close(self):
        def answer(connection):
            data = host.read_all(connection)
            connection.sendall(b"got %d\n" % len(data))

        with host.TcpServer(answer) as server:
            self.assertEqual(self.sh(f"head -c 5000 /dev/zero | nc 10.0.2.2 {server.port}"), "got 5000\n")

    def test_udp_by_tftp(self):
        data = host.pattern(100_000)
        with host.tftp_server({"file": data}) as port:
            text = self.sh(f"cd /tmp; tftp -g -r file 10.0.2.2 {port}; cd; sha256sum < /tmp/file; rm /tmp/file", 120)
        self.assertEqual(text.split()[0], host.sha256(data))

    def test_link_down_and_up(self):
        self.sh("ip link set eth0 down; sleep 1; ip link set eth0 up; "
                "ip route add default via 10.0.2.2 dev eth0; sleep 2; ping -c 1 -W 5 10.0.2.2")

    def test_lease_again(self):
        self.assertIn("lease of 10.0.2.15 obtained",
                      self.sh("udhcpc -i eth0 -n -q -t 10 -T 1 -s /etc/udhcpc.script 2>&1"))


class Lan9118(Cases, SharedGuestTest):
    driver = "smsc911x"
    arguments = ("-nic", "user")


class VirtioNet(Cases, SharedGuestTest):
    driver = "virtio_net"
    transfer = 32 << 20
    arguments = ("-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0", "-smp", "2")


class DefaultNic(SharedGuestTest):
    """Without any network option the board's NIC is there, on user mode; counters show no losses."""

    def test_interface_counts_no_errors(self):
        data = host.pattern(1 << 20)
        with host.TcpServer(lambda c: c.sendall(data)) as server:
            self.sh(f"nc 10.0.2.2 {server.port} < /dev/null | sha256sum", 120)
        self.assertIn("inet 10.0.2.15/24", self.sh("ip addr show eth0"))
        for counter in ("rx_errors", "tx_errors", "tx_dropped"):
            self.assertEqual(self.sh(f"cat /sys/class/net/eth0/statistics/{counter}").strip(), "0", counter)


if __name__ == "__main__":
    guest.main()
