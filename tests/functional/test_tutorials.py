# SPDX-License-Identifier: MIT
"""The command lines people paste from tutorials, one case each, run through a link named qemu-system-arm.

Only the lines that what is built so far covers; the others join with their features.
"""
import os
import socket
import subprocess
import sys
import tempfile
import time

import guest
import host
import test_disks
from guest import APPEND, DTB, INITRD, KERNEL, GuestTest, rhea_only

PROPERTIES = ("append boot confidential-guest-support dt-compatible dtb dump-guest-core dumpdtb firmware graphics "
              "initrd kernel mem-merge memory memory-backend memory-encryption phandle-start smp suppress-vmdesc "
              "usb").split()
IMAGES = ["-kernel", KERNEL, "-initrd", INITRD]
CONSOLE = ["-append", APPEND, "-nographic"]


class Tutorial(GuestTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.TemporaryDirectory(prefix="rhea-link-")
        cls.addClassCleanup(directory.cleanup)
        cls.link = os.path.join(directory.name, "qemu-system-arm")
        os.symlink(os.path.realpath(guest.PROGRAM), cls.link)

    def says(self, *arguments, status=0):
        done, text, errors = guest.call(*arguments, program=self.link)
        self.assertEqual(done, status, text + errors)
        return text + errors

    def shell(self, *arguments, **how):
        """The line as pasted, to the guest's prompt."""
        emulator = self.start(*arguments, program=self.link, **how)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT)
        return emulator

    def monitor(self, *arguments):
        emulator = self.start("-M", "vexpress-a9", "-display", "none", "-S", "-serial", "null", "-monitor", "stdio",
                              *arguments, program=self.link)
        emulator.expect(guest.MONITOR_PROMPT)
        return emulator


class Help(Tutorial):
    needs_guest = False

    def test_machine_properties(self):
        text = self.says("-M", "vexpress-a9,help")
        for name in PROPERTIES:
            self.assertRegex(text, rf"(?m)^  {name}=<")

    def test_memory_is_no_machine(self):
        text = self.says("-m", "raspi2b,help", status=1)
        self.assertEqual(text.split("\n")[:3], [
            "qemu-system-arm: -m raspi2b,help: Parameter 'size' expects a non-negative number below 2^64",
            "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-",
            "and exabytes, respectively."])

    def test_smp_options(self):
        self.assertEqual(self.says("-smp", "raspi2b,help"), "smp-opts options:\n" + "".join(
            f"  {word}=<num>\n" for word in ("clusters", "cores", "cpus", "dies", "maxcpus", "sockets", "threads")))

    def test_nic_models(self):
        text = self.says("-M", "vexpress-a9", "-nic", "model=help")
        self.assertEqual(text[text.index("Supported NIC models:"):].split("\n")[1], "lan9118")

    def test_devices(self):
        for line in (["-M", "vexpress-a9", "-device", "help"], ["-device", "help"], ["-device", "?"]):
            self.assertIn('name "virtio-net-device", bus virtio-bus', self.says(*line))

    @rhea_only("QEMU suggests nothing")
    def test_misspelt_options(self):
        for line, word in ((["-devide", "?"], "-device"), (["-nodefaultss"], "-nodefaults"),
                           (["-M", "vexpress-a9", "-display", "none", "-device", "rtl8129"], "rtl8139")):
            text = self.says(*line, status=1)
            self.assertIn(word, text.replace(" ".join(line), ""))
            self.assertTrue(text.startswith("qemu-system-arm: "), text)

    @rhea_only("QEMU suggests nothing")
    def test_misspelt_command(self):
        self.assertIn("info network", self.monitor().monitor("info netword"))

    def test_log_items(self):
        self.assertIn("guest_errors", self.says("-d", "help", status=1))

    def test_stopped_at_start(self):
        self.assertEqual(self.monitor().monitor("info status"), "VM status: paused (prelaunch)")


class Booting(Tutorial):
    @rhea_only("QEMU's kernel hangs without -dtb")
    def test_without_a_device_tree(self):
        emulator = self.shell("-M", "vexpress-a9", *IMAGES, "-append", f"{APPEND} root=/dev/mmcblk0p2",
                              "-net", "nic,macaddr=22:33:44:55:66:78", "-net", "user", "-nographic")
        text = self.guest_runs(emulator, "ip addr")
        self.assertIn("22:33:44:55:66:78", text)
        self.assertIn("inet 10.0.2.15/24", text)

    def test_everything_as_machine_properties(self):
        emulator = self.shell("-M", f"vexpress-a9,kernel={KERNEL},initrd={INITRD},dtb={DTB},append={APPEND},smp.cpus=2,"
                                    "memory.size=256M", "-nographic")
        self.assertEqual(self.guest_runs(emulator, "nproc").strip(), "2")
        total = int(self.guest_runs(emulator, "awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"))
        self.assertTrue(200 < total <= 256, total)

    def test_serial_stdio(self):
        emulator = self.shell("-M", "vexpress-a9", *IMAGES, "-dtb", DTB, "-append", APPEND, "--serial", "stdio",
                              "-display", "none")
        self.guest_runs(emulator, "true")


class Network(Tutorial):
    def vexpress(self, *arguments):
        return self.shell("-M", "vexpress-a9", *IMAGES, "-dtb", DTB, *CONSOLE, *arguments)

    def test_nothing_given(self):
        emulator = self.vexpress()
        text = self.guest_runs(emulator, "ip -4 addr; ip route; cat /etc/resolv.conf")
        for word in ("inet 10.0.2.15/24", "default via 10.0.2.2", "nameserver 10.0.2.3"):
            self.assertIn(word, text)
        for address in ("10.0.2.2", "10.0.2.3"):
            self.assertIn("ttl=255", self.guest_runs(emulator, f"ping -c 1 {address}"))
        with host.TcpServer(lambda c: c.sendall(b"SSH-2.0-host\r\n")) as server:
            self.assertEqual(self.guest_runs(emulator, f"nc 10.0.2.2 {server.port} < /dev/null"), "SSH-2.0-host\n")
        network, usernet = emulator.in_monitor("info network", "info usernet")
        self.assertIn(r" \ hub0port0: lan9118.0: index=0,type=nic,model=lan9118,macaddr=52:54:00:12:34:56", network)
        self.assertIn("Hub 0 (", usernet)

    def test_device_before_its_netdev_then_ssh(self):
        if not guest.have("ssh"):
            self.skipTest("no ssh client on this host")
        port = host.free_port()
        self.vexpress("-device", "virtio-net-device,netdev=net0", "-netdev", f"user,id=net0,hostfwd=tcp::{port}-:22")
        key = os.path.join(self.directory(), "key")
        with open(guest.guest_file("ssh-key"), "rb") as source, open(key, "wb") as copy:
            copy.write(source.read())
        os.chmod(key, 0o600)
        text = subprocess.run(
            ["ssh", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "BatchMode=yes", "root@localhost", "-p", str(port), "uname", "-m"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120 * guest.SCALE, check=True).stdout
        self.assertEqual(text, b"armv7l\n")

    def test_own_network(self):
        emulator = self.vexpress("-netdev", "user,id=mynet0,net=192.168.76.0/24,dhcpstart=192.168.76.9",
                                 "-net", "nic,netdev=mynet0")
        text = self.guest_runs(emulator, "ip -4 addr; ip route; cat /etc/resolv.conf")
        for word in ("inet 192.168.76.9/24", "default via 192.168.76.2", "nameserver 192.168.76.3"):
            self.assertIn(word, text)

    def test_nic_and_netdev_spellings(self):
        for line in (("-nic", "user,model=lan9118,mac=52:54:98:76:54:32"),
                     ("-netdev", "user,id=mynic0", "-net", "nic,netdev=mynic0,macaddr=52:54:98:76:54:32"),
                     ("-net", "nic,model=lan9118,macaddr=52:54:98:76:54:32", "-net", "user")):
            with self.subTest(" ".join(line)):
                text = self.monitor(*line).monitor("info network")
                self.assertIn("model=lan9118,macaddr=52:54:98:76:54:32", text)
                self.assertIn("type=user,net=10.0.2.0,restrict=off", text)

    def test_virtio_takes_the_mac(self):
        text = self.monitor("-netdev", "user,id=mynic0", "-device",
                            "virtio-net-device,netdev=mynic0,mac=52:54:98:76:54:32").monitor("info network")
        self.assertRegex(text, r"type=nic,model=virtio-net-device,macaddr=52:54:98:76:54:32\n \\ mynic0: ")

    def test_no_network(self):
        for line in (("-net", "none"), ("-nic", "none"), ("-nodefaults",)):
            with self.subTest(line[0]):
                self.assertEqual(self.monitor(*line).monitor("info network"), "")

    @rhea_only("QEMU refuses a forward without a protocol")
    def test_forward_without_protocol(self):
        port = host.free_port()
        text = self.monitor("-netdev", f"user,id=n0,hostfwd=127.0.0.1:{port}-10.0.2.15:22",
                            "-net", "nic,netdev=n0").monitor("info usernet")
        self.assertRegex(text, rf"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+{port}\s+10\.0\.2\.15\s+22 ")

    def test_names_for_host_and_guest(self):
        text = self.monitor("-netdev", "user,id=n0,host=10.0.2.9,hostname=name,dns=10.0.2.10",
                            "-net", "nic,netdev=n0").monitor("info network")
        self.assertIn("n0: index=0,type=user,net=10.0.2.0,restrict=off", text)

    def test_tftp_and_a_net_that_is_not_host_only(self):
        directory = self.directory()
        with open(os.path.join(directory, "yyy"), "wb") as f:
            f.write(b"boot me\n")
        emulator = self.vexpress("-netdev", f"user,id=net0,net=192.168.100.0/24,tftp={directory},bootfile=yyy",
                                 "-net", "nic,netdev=net0")
        self.assertIn("inet 192.168.100.15/24", self.guest_runs(emulator, "ip -4 addr"))
        self.assertEqual(self.guest_runs(emulator, "busybox tftp -g -r yyy -l /tmp/yyy 192.168.100.2; cat /tmp/yyy"),
                         "boot me\n")
        with host.TcpServer(lambda c: c.sendall(b"the host\n")) as server:
            self.assertEqual(self.guest_runs(emulator, f"nc 192.168.100.2 {server.port} < /dev/null"), "the host\n")

    def test_restrict_with_its_exceptions(self):
        port = host.free_port()
        emulator = self.vexpress("-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:9000,"
                                            "guestfwd=tcp:10.0.2.100:80-cmd:echo hello", "-net", "nic,netdev=n0")
        with host.TcpServer(lambda c: c.sendall(b"the host\n")) as server:
            self.assertNotEqual(emulator.run(f"nc -w 5 10.0.2.2 {server.port} < /dev/null")[0], 0)
        self.assertEqual(self.guest_runs(emulator, "nc 10.0.2.100 80 < /dev/null"), "hello\n")
        self.assertNotIn("default", self.guest_runs(emulator, "ip route"))
        self.guest_runs(emulator, "(echo in | nc -l -p 9000 > /dev/null) > /dev/null 2>&1 & "
                                  "until netstat -tln | grep -q :9000; do sleep 0.2; done")
        with host.connect(port) as c:
            self.assertEqual(host.read_all(c), b"in\n")

    def test_smb_without_samba_says_so(self):
        if os.path.exists("/usr/sbin/smbd"):
            self.skipTest("Samba is here")
        text = self.says("-M", "vexpress-a9", "-display", "none", "-netdev", "user,id=n0,smb=/tmp,smbserver=10.0.2.9",
                         status=1)
        self.assertIn("Could not find '/usr/sbin/smbd', please install it", text)

    def test_capture(self):
        path = os.path.join(self.directory(), "dump.dat")
        text = self.monitor("-netdev", "user,id=u1", "-net", "nic,netdev=u1", "-object",
                            f"filter-dump,id=f1,netdev=u1,file={path}").monitor("info network")
        self.assertIn("  - f1: type=filter-dump", text)
        with open(path, "rb") as f:
            self.assertEqual(f.read(24)[:4], (0xA1B2C3D4).to_bytes(4, "little"))



class Consoles(Tutorial):
    """The lines on serial ports and monitors that lie elsewhere."""

    def free_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def connect(self, port):
        deadline = time.monotonic() + 30 * guest.SCALE
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", port), 30 * guest.SCALE)
                self.addCleanup(client.close)
                return client
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def until(self, client, text):
        got = b""
        client.settimeout(guest.BOOT_TIMEOUT * guest.SCALE)
        while text.encode() not in got:
            more = client.recv(65536)
            self.assertTrue(more, got[-400:])
            got += more
        return got

    def test_serial_on_telnet(self):
        port = self.free_port()  # the tutorial's is 3441
        self.start("-M", "vexpress-a9", "-m", "256M", *IMAGES, "-dtb", DTB, "-append", APPEND, "-display", "none",
                   "--serial", f"telnet:127.0.0.1:{port},server,nowait", "-monitor", "none", program=self.link)
        client = self.connect(port)
        self.until(client, guest.PROMPT)
        client.sendall(b"uname -m\r")
        self.until(client, "armv7l")

    def test_serial_on_stdio(self):
        emulator = self.start("-M", "vexpress-a9", "-m", "256M", *IMAGES, "-dtb", DTB, "-append", APPEND, "-display", "none",
                              "--serial", "stdio", "-monitor", "none", program=self.link)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT)

    def test_daemon_with_a_monitor_on_telnet(self):
        port = self.free_port()
        pid_file = os.path.join(self.directory(), "vm.pid")
        text = self.says("-M", "vexpress-a9", "-monitor", f"telnet:127.0.0.1:{port},server,nowait", "-display", "none", "-serial",
                         "null", "-daemonize", "-pidfile", pid_file)
        self.assertEqual([line for line in text.split("\n") if line and "warning" not in line], [])
        client = self.connect(port)
        self.until(client, "(qemu) ")
        client.sendall(b"info status\r")
        self.until(client, "VM status: running")
        client.sendall(b"quit\r")
        guest.wait_until(lambda: not os.path.exists(pid_file), "the pid file is gone", 40)

    def test_qmp_on_a_unix_socket(self):
        path = os.path.join(self.directory(), "qmp")
        self.start("-M", "vexpress-a9", "-display", "none", "-serial", "null", "-monitor", "none", "-qmp",
                   f"unix:{path},server,nowait", program=self.link)
        guest.wait_until(lambda: os.path.exists(path), "the socket is there")
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        self.until(client, '"QMP"')
        client.sendall(b'{"execute":"qmp_capabilities"}{"execute":"query-status"}')
        self.until(client, '"status": "running"')


class SdCard(Tutorial, test_disks.DiskTest):
    def test_debian_from_a_qcow2_card(self):
        """The most pasted line of all, with a Debian of today: no -dtb, no console=, the image's format probed."""
        path = self.disk("qcow2")
        emulator = self.start("-M", "vexpress-a9", "-kernel", KERNEL, "-initrd", test_disks.ROOT_INITRD, "-drive",
                              f"if=sd,file={path}", "-append", "root=/dev/mmcblk0p2", "-net", "nic,macaddr=22:33:44:55:66:78",
                              "-net", "user", "-nographic", program=self.link)
        self.log_in(emulator)
        text = self.sh(emulator, "findmnt -no SOURCE / || grep ' / ' /proc/mounts; ip addr show eth0")
        self.assertIn("/dev/mmcblk0p2", text)
        self.assertIn("22:33:44:55:66:78", text)
        self.assertIn("inet 10.0.2.15/24", text)
        self.power_off(emulator)
        self.sound(path)


class Debugging(Tutorial):
    def test_drive_without_a_device(self):
        """For a -device usb-storage,drive=usb0 on boards that have USB."""
        path = os.path.join(self.directory(), "usb.img")
        with open(path, "wb") as f:
            f.truncate(1 << 20)
        drive = ("-drive", f"if=none,format=raw,file={path},id=usb0")
        self.assertEqual(self.monitor(*drive).monitor("info status"), "VM status: paused (prelaunch)")
        self.assertIn("usb0", self.says("-M", "vexpress-a9", "-display", "none", *drive, *drive, status=1))

    def test_gdb_server_and_stopped(self):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 1234)) == 0:
                self.skipTest("somebody listens on port 1234 of this host")
        self.monitor("-s")
        with socket.create_connection(("127.0.0.1", 1234), 30 * guest.SCALE) as client:
            client.settimeout(30 * guest.SCALE)
            client.sendall(b"$?#3f")
            got = b""
            while b"#" not in got:
                more = client.recv(4096)
                self.assertTrue(more, got)
                got += more
        self.assertRegex(got, rb"^\+\$[ST]\d\d")


class UBoot(Tutorial, test_disks.UBootTest):
    def test_prompt(self):
        emulator = self.start("-M", "vexpress-a9", "-m", "512M", "-kernel", guest.guest_file("u-boot"), "-nographic", "-net", "nic",
                              "-net", "user", program=self.link)
        self.to_prompt(emulator)
        self.assertIn("U-Boot 20", self.does(emulator, "version"))
        self.does(emulator, "setenv autoload no")
        self.assertIn("DHCP client bound to address 10.0.2.15", self.does(emulator, "dhcp", 120))


class HostNetworks(Tutorial):
    """Bridges, taps and sockets: the host's commands first, as printed, then the guests'. In a namespace of their own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.environ.get("RHEA_TEST_NAMESPACE"):
            raise guest.unittest.SkipTest("they change the host's network: only in a namespace (see main)")
        if not guest.have("ip"):
            raise guest.unittest.SkipTest("no ip(8)")

    def on_host(self, *lines):
        for line in lines:
            subprocess.run(line, shell=True, check=True)

    def undo(self, *lines):
        for line in lines:
            self.addCleanup(lambda line=line: subprocess.run(line, shell=True, check=False, stderr=subprocess.DEVNULL))

    def vexpress(self, *arguments):
        append = APPEND + " rhea.net=off"
        return self.shell("-M", "vexpress-a9", *IMAGES, "-dtb", DTB, "-append", append, "-nographic", *arguments)

    def address(self, emulator, address):
        self.guest_runs(emulator, f"ip addr add {address} dev eth0; ip link set eth0 up")

    def pings(self, emulator, address):
        self.assertIn("1 packets received", self.guest_runs(
            emulator, f"ping -c 1 -W 10 {address} > /dev/null; ping -c 1 -W 10 {address}"))

    def mac(self, emulator):
        return self.guest_runs(emulator, "cat /sys/class/net/eth0/address").strip()

    def test_two_guests_on_a_bridge(self):
        self.undo("ip link del br0")
        self.on_host("ip link add br0 type bridge", "ip addr add 192.168.1.1/24 dev br0", "ip link set br0 up")
        one = self.vexpress("-net", "nic,model=lan9118,macaddr=22:33:44:55:66:71", "-net", "bridge,br=br0")
        two = self.vexpress("-net", "nic,model=lan9118,macaddr=22:33:44:55:66:72", "-net", "bridge,br=br0")
        self.address(one, "192.168.1.2/24")
        self.address(two, "192.168.1.3/24")
        self.pings(one, "192.168.1.3")
        self.pings(two, "192.168.1.1")

    @rhea_only("QEMU gives both the same")
    def test_two_guests_without_macaddr(self):
        """They differ, and come again with the same when they are started again."""
        self.undo("ip link del br0")
        self.on_host("ip link add br0 type bridge", "ip link set br0 up")
        with tempfile.TemporaryDirectory() as runtime:
            os.environ["XDG_RUNTIME_DIR"] = runtime
            self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
            one = self.vexpress("-nic", "bridge,br=br0")
            two = self.vexpress("-nic", "bridge,br=br0")
            macs = [self.mac(emulator) for emulator in (one, two)]
            self.assertNotEqual(*macs)
            self.assertTrue(all(mac.startswith("52:54:00:") for mac in macs), macs)
            self.address(one, "192.168.1.2/24")
            self.address(two, "192.168.1.3/24")
            self.pings(one, "192.168.1.3")
            one.close()
            self.assertEqual(self.mac(self.vexpress("-nic", "bridge,br=br0")), macs[0])

    def test_tap_with_an_address_on_the_host(self):
        self.undo("ip link del tap0")
        self.on_host("ip tuntap add dev tap0 mode tap", "ip addr add 192.168.0.1/24 dev tap0", "ip link set tap0 up")
        emulator = self.vexpress("-net", "nic", "-net", "tap,ifname=tap0,script=no,downscript=no")
        self.address(emulator, "192.168.0.2/24")
        self.pings(emulator, "192.168.0.1")

    def test_qemu_ifup_and_ifdown(self):
        self.undo("ip link del br0")
        self.on_host("ip link add name br0 type bridge", "ip addr add 192.168.1.1/24 dev br0", "ip link set br0 up")
        directory = self.directory()
        for name, lines in (("qemu-ifup", "ip link set $1 up\nip link set dev $1 master br0\n"),
                            ("qemu-ifdown", "ip link set dev $1 nomaster\nip link set $1 down\n")):
            with open(os.path.join(directory, name), "w", encoding="ascii") as f:
                f.write("#!/bin/sh\n" + lines)
            os.chmod(os.path.join(directory, name), 0o755)
        emulator = self.vexpress("-netdev", f"tap,id=mynet0,ifname=tap0,script={directory}/qemu-ifup,"
                                            f"downscript={directory}/qemu-ifdown", "-net", "nic,netdev=mynet0")
        self.address(emulator, "192.168.1.2/24")
        self.pings(emulator, "192.168.1.1")

    @rhea_only("QEMU fails where its helper is not")
    def test_a_helper_of_another_distribution(self):
        self.undo("ip link del virbr0")
        self.on_host("ip link add virbr0 type bridge", "ip link set virbr0 up")
        emulator = self.monitor("-net", "nic", "-net", "bridge,id=net0,helper=/usr/lib/qemu-bridge-helper,br=virbr0")
        self.assertIn("the helper /usr/lib/qemu-bridge-helper is not there", emulator.stderr())
        self.assertIn("type=tap,helper=/usr/lib/qemu-bridge-helper,br=virbr0", emulator.monitor("info network"))
        self.assertIn("master virbr0", subprocess.run(["ip", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout)

    def test_socket_wires_two_guests(self):
        one = self.vexpress("-netdev", "socket,id=mynet0,listen=:1234", "-net", "nic,netdev=mynet0,macaddr=52:54:00:00:00:01")
        two = self.vexpress("-netdev", "socket,id=mynet0,connect=:1234", "-net", "nic,netdev=mynet0,macaddr=52:54:00:00:00:02")
        self.address(one, "10.1.1.1/24")
        self.address(two, "10.1.1.2/24")
        self.pings(one, "10.1.1.2")

    def test_uboot_over_tap(self):
        image = guest.guest_file("u-boot")
        if not os.path.exists(image):
            self.skipTest(f"no {image}: run tools/guest/build-uboot")
        self.undo("ip link del tap0")
        self.on_host("ip tuntap add dev tap0 mode tap", "ip addr add 192.168.0.1/24 dev tap0", "ip link set tap0 up")
        emulator = self.start("-M", "vexpress-a9", "-m", "512M", "-kernel", image, "-nographic", "-net", "nic",
                              "-net", "tap,ifname=tap0,script=no", program=self.link)
        emulator.expect("Hit any key to stop autoboot", 60)
        emulator.send("\n")
        emulator.expect("=> ")
        emulator.send("setenv ipaddr 192.168.0.2; setenv netmask 255.255.255.0; ping 192.168.0.1\n")
        emulator.expect("host 192.168.0.1 is alive", 60)


def main():
    if any("HostNetworks" in word for word in sys.argv):
        reason = host.enter_namespace()
        if reason:
            print(f"SKIP: tutorials: {reason}", flush=True)
            sys.exit(77)
    guest.main()


if __name__ == "__main__":
    main()
