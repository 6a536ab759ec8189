# SPDX-License-Identifier: MIT
"""Options: help texts, refusals as QEMU words them, and Rhea's suggestions."""
import os

import guest
from guest import GuestTest, rhea_only

BOARD = ("-M", "vexpress-a9", "-display", "none")
NAME = os.path.basename(guest.PROGRAM)

# (arguments after the board, what stderr says); each ends with status 1. From the reference's tables.
REFUSALS = [
    (("-netdev", "foo,id=n0"), "Parameter 'type' does not accept value 'foo'"),
    (("-nic", "foo"), "Parameter 'type' does not accept value 'foo'"),
    (("-net", "foo"), "Parameter 'type' does not accept value 'foo'"),
    (("-netdev", "user"), "Parameter 'id' is missing"),
    (("-netdev", "user,id=1bad"), "Parameter 'id' expects an identifier"),
    (("-netdev", "user,id=n0", "-netdev", "user,id=n0"), "Duplicate ID 'n0' for netdev"),
    (("-netdev", "user,id=n0,bogus=1"), "Invalid parameter 'bogus'"),
    (("-netdev", "user,id=n0,restrict=maybe"), "Parameter 'restrict' expects 'on' or 'off'"),
    (("-netdev", "user,id=n0,net=300.1.1.0/24"), "Failed to parse netmask"),
    (("-netdev", "user,id=n0,net=10.0.2.0/33"), "Invalid netmask provided (must be in range 4-32)"),
    (("-netdev", "user,id=n0,net=10.0.2.0/24x"), "Failed to parse netmask (trailing chars)"),
    (("-netdev", "user,id=n0,host=1.2.3.4"), "Host doesn't belong to network"),
    (("-netdev", "user,id=n0,host=10.0.2.3"), "DNS must be different from host"),
    (("-netdev", "user,id=n0,dhcpstart=1.2.3.4"), "DHCP doesn't belong to network"),
    (("-netdev", "user,id=n0,dhcpstart=10.0.2.2"), "DHCP must be different from host and DNS"),
    (("-netdev", "user,id=n0,ipv4=off,ipv6=off"), "IPv4 and IPv6 disabled"),
    (("-netdev", "user,id=n0,hostname=" + "x" * 256), "'vhostname' parameter cannot exceed 255 bytes"),
    (("-netdev", "user,id=n0,domainname="), "'domainname' parameter cannot be empty"),
    (("-nic", "user,hostfwd=foo"), "Invalid host forwarding rule 'foo' (No : separators)"),
    (("-nic", "user,hostfwd=sctp::1-:2"), "(Bad protocol name)"),
    (("-nic", "user,hostfwd=tcp:nobody:1-:2"), "no address of 'nobody' is known"),
    (("-nic", "user,hostfwd=tcp::99999-:2"), "(Bad host port)"),
    (("-nic", "user,hostfwd=tcp::1-nobody:2"), "(Bad guest address)"),
    (("-nic", "user,hostfwd=tcp::1-:0"), "(Bad guest port)"),
    (("-nic", "user,model=foo"), "Unsupported NIC model: foo"),
    (("-net", "nic,model=foo"), "Unsupported NIC model: foo"),
    (("-net", "nic,netdev=zz"), "netdev 'zz' not found"),
    (("-nic", "user,mac=zz"), "invalid syntax for ethernet address"),
    (("-nic", "user,mac=01:00:00:00:00:00"), "NIC cannot have multicast MAC address"),
    (("-device", "foo"), "'foo' is not a valid device model name"),
    (("-device", "virtio-net-device,foo=1"), "Property 'virtio-net-device.foo' not found"),
    (("-device", "virtio-net-device,netdev=zz"), "Property 'virtio-net-device.netdev' can't find value 'zz'"),
    (("-device", "lan9118"), "Parameter 'driver' expects a pluggable device type"),
    (("-device", "e1000"), "No 'PCI' bus found for device 'e1000'"),
    (("-object", "filter-dump,id=f0,netdev=zz,file=/tmp/x"), "Parameter 'netdev' expects a network backend id"),
    (("-object", "foo,id=f0"), "Parameter 'qom-type' does not accept value 'foo'"),
    (("-m", "1Z"), "Parameter 'size' expects a non-negative number below 2^64"),
    (("-m", "2G"), "vexpress-a9: cannot model more than 1GB RAM"),
    (("-smp", "8"), "Invalid SMP CPUs 8. The max CPUs supported by machine 'vexpress-a9' is 4"),
    (("-cpu", "foo"), "unable to find CPU model 'foo'"),
    (("-cpu", "cortex-a15"), "can only use Cortex-A9 CPU"),
    (("-accel", "foo"), "invalid accelerator foo"),
    (("-icount", "foo"), "Invalid shift value"),
    (("-serial", "foo"), "'foo' is not a valid char driver"),
    (("-monitor", "foo"), "'foo' is not a valid char driver"),
    (("-kernel", "/nonexistent"), "could not load kernel '/nonexistent'"),
    (("-kernel", guest.KERNEL, "-initrd", "/nonexistent"), "could not load initrd '/nonexistent'"),
    (("-kernel", guest.KERNEL, "-dtb", "/nonexistent"), "open dtb file /nonexistent"),
]

# (arguments, what the message suggests): Rhea's own.
SUGGESTIONS = [
    (("-devide", "?"), "-device"),
    (("-nodefaultss",), "-nodefaults"),
    (("-kernal", "x"), "-kernel"),
    (("-M", "vexpress-a8"), "vexpress-a9"),
    ((*BOARD, "-device", "rtl8129"), "rtl8139"),
    ((*BOARD, "-device", "virtio-net-devise"), "virtio-net-device"),
    ((*BOARD, "-nic", "user,model=lan9181"), "lan9118"),
    ((*BOARD, "-nic", "usr"), "user"),
    ((*BOARD, "-netdev", "user,id=n0,hostfw=tcp::1-:2"), "hostfwd"),
    ((*BOARD, "-cpu", "cortex-a99"), "cortex-a9"),
    ((*BOARD, "-accel", "tgc"), "tcg"),
    ((*BOARD, "-serial", "stdoi"), "stdio"),
    (("-M", "vexpress-a9,kernal=x"), "kernel"),
]


class Refusals(GuestTest):
    needs_guest = False

    def test_messages(self):
        for arguments, message in REFUSALS:
            with self.subTest(" ".join(arguments)[:80]):
                status, _, errors = guest.call(*BOARD, *arguments)
                self.assertEqual(status, 1, errors)
                self.assertIn(message, errors)

    def test_a_line_names_program_and_option(self):
        _, _, errors = guest.call(*BOARD, "-netdev", "user,id=n0,restrict=maybe")
        self.assertIn(f"{NAME}: -netdev user,id=n0,restrict=maybe: Parameter 'restrict' expects", errors)

    def test_no_machine(self):
        status, _, errors = guest.call("-display", "none")
        self.assertEqual(status, 1)
        self.assertIn("No machine specified, and there is no default", errors)
        self.assertIn("-machine help", errors)

    def test_unknown_option(self):
        status, _, errors = guest.call("-foo")
        self.assertEqual(status, 1)
        self.assertIn(f"{NAME}: -foo: invalid option", errors)

    def test_option_without_its_argument(self):
        status, _, errors = guest.call(*BOARD, "-kernel")
        self.assertEqual(status, 1)
        self.assertIn("requires an argument", errors)

    def test_port_that_is_taken(self):
        import host
        with host.socket.create_server((host.LOOPBACK, 0)) as taken:
            rule = f"tcp:127.0.0.1:{taken.getsockname()[1]}-:22"
            status, _, errors = guest.call(*BOARD, "-nic", f"user,hostfwd={rule}")
        self.assertEqual(status, 1)
        self.assertIn(f"Could not set up host forwarding rule '{rule}'", errors)

    @rhea_only("QEMU suggests nothing")
    def test_suggestions(self):
        for arguments, suggestion in SUGGESTIONS:
            with self.subTest(" ".join(arguments)[:80]):
                status, _, errors = guest.call(*arguments)
                self.assertEqual(status, 1, errors)
                self.assertIn(suggestion, errors.replace(" ".join(arguments), ""))

    @rhea_only("QEMU has these")
    def test_what_is_not_there_yet_is_refused_in_words(self):
        for arguments in (("-spice", "port=1"), ("-smbios", "type=0")):
            with self.subTest(arguments[0]):
                status, _, errors = guest.call(*BOARD, *arguments)
                self.assertEqual(status, 1)
                self.assertIn(arguments[0], errors)
                self.assertNotIn("invalid option", errors)

    @rhea_only("QEMU runs whatever it is given")
    def test_a_file_that_is_no_kernel_is_named(self):
        _, _, errors = guest.call(*BOARD, "-S", "-kernel", guest.__file__, "-monitor", "stdio",
                                  stdin=None, input=b"quit\n")
        self.assertIn("guest.py", errors)

    @rhea_only("QEMU boots the kernel into silence")
    def test_a_device_tree_of_another_board_is_named(self):
        if not os.path.exists(guest.KERNEL):
            self.skipTest("no guest fetched")
        other = guest.guest_file("bcm2836-rpi-2-b.dtb")
        _, _, errors = guest.call(*BOARD, "-S", "-kernel", guest.KERNEL, "-dtb", other, "-monitor", "stdio",
                                  stdin=None, input=b"quit\n")
        self.assertRegex(errors, "raspberrypi|Raspberry Pi")


class Help(GuestTest):
    needs_guest = False

    def lists(self, *arguments, status=0):
        done, text, errors = guest.call(*arguments)
        self.assertEqual(done, status, errors)
        return text + errors

    def test_version(self):
        for option in ("-version", "--version"):
            self.assertRegex(self.lists(option), r"^(Rhea|QEMU) emulator version \d+\.\d+")

    def test_help(self):
        for option in ("-help", "--help", "-h"):
            text = self.lists(option)
            self.assertRegex(text, r"(?m)^usage: \S+ \[options\]")
            for word in ("-kernel", "-append", "-initrd", "-dtb", "-nographic", "-serial", "-monitor", "-nic", "-netdev",
                         "-device", "-global", "-nodefaults", "-smp", "-accel", "-icount", "-no-reboot", "-name"):
                self.assertRegex(text, rf"(?m)^{word}\b")

    def test_machines(self):
        for option in ("-M", "-machine"):
            text = self.lists(option, "help")
            self.assertTrue(text.startswith("Supported machines are:\n"))
            self.assertRegex(text, r"(?m)^vexpress-a9 +ARM Versatile Express for Cortex-A9$")
        self.assertEqual(self.lists("-M", "help"), self.lists("-M", "?"))

    def test_machine_properties(self):
        text = self.lists("-M", "vexpress-a9,help")
        self.assertTrue(text.startswith("vexpress-a9-machine options:\n"))
        for name in ("append=<string>", "boot=<BootConfiguration>", "confidential-guest-support=", "dt-compatible=<string>",
                     "dtb=<string>", "dump-guest-core=<bool>", "dumpdtb=<string>", "firmware=<string>",
                     "graphics=<bool>", "initrd=<string>", "kernel=<string>", "mem-merge=<bool>", "memory-backend=",
                     "memory-encryption=<string>", "memory=<MemorySizeConfiguration>", "phandle-start=<int>",
                     "secure=<bool>", "smp=<SMPConfiguration>", "suppress-vmdesc=<bool>", "usb=<bool>"):
            self.assertIn(f"\n  {name}", text)

    def test_cpus(self):
        self.assertRegex(self.lists("-M", "vexpress-a9", "-cpu", "help"), r"(?m)^ +cortex-a9$")

    def test_smp(self):
        self.assertEqual(self.lists("-smp", "help").split("\n")[:8],
                         ["smp-opts options:", *(f"  {word}=<num>" for word in (
                             "clusters", "cores", "cpus", "dies", "maxcpus", "sockets", "threads"))])

    def test_device_list(self):
        for spelling in (("-device", "help"), ("-device", "?"), (*BOARD, "-device", "help")):
            text = self.lists(*spelling)
            self.assertRegex(text, r"(?m)^Network devices:$")
            self.assertRegex(text, r'(?m)^name "virtio-net-device", bus virtio-bus$')
            self.assertRegex(text, r'(?m)^name "virtio-rng-device", bus virtio-bus$')

    def test_device_properties(self):
        text = self.lists("-device", "virtio-net-device,help")
        self.assertTrue(text.startswith("virtio-net-device options:\n"))
        for row in ("  csum=<bool>            - on/off (default: true)", "  mac=<str>              - Ethernet 6-byte MAC",
                    "  netdev=<str>           - ID of a netdev to use as a backend", "  rx_queue_size=<uint16>"):
            self.assertIn(row, text)

    def test_nic_models(self):
        text = self.lists("-M", "vexpress-a9", "-nic", "model=help", *(("-display", "none") if guest.PEER else ()))
        self.assertIn("Supported NIC models:\nlan9118\n", text)

    def test_netdev_types(self):
        text = self.lists(*BOARD, "-netdev", "help")
        self.assertIn("Available netdev backend types:\n", text)
        self.assertIn("\nuser\n", text)

    def test_accelerators(self):
        self.assertRegex(self.lists("-accel", "help"), r"(?m)^tcg$")

    def test_log_items(self):
        for item in ("in_asm", "int", "exec", "cpu", "mmu", "cpu_reset", "unimp", "guest_errors"):
            self.assertRegex(self.lists("-d", "help", status=1), rf"(?m)^{item} ")


class Accepted(GuestTest):
    """Every spelling of the slice's options starts a machine (stopped, quit at once)."""

    def accepts(self, *arguments):
        status, _, errors = guest.call("-display", "none", "-S", "-monitor", "stdio", "-serial", "null", *arguments,
                                       stdin=None, input=b"quit\n")
        self.assertEqual(status, 0, errors)
        return errors

    def test_spellings(self):
        kernel = ("-kernel", guest.KERNEL)
        for arguments in (
                ("-M", "vexpress-a9"), ("-machine", "vexpress-a9"), ("--machine", "type=vexpress-a9"),
                ("-M", f"vexpress-a9,kernel={guest.KERNEL},initrd={guest.INITRD},append=console=ttyAMA0,dtb={guest.DTB}"),
                ("-M", "vexpress-a9,memory.size=256M"), ("-M", "vexpress-a9,smp.cpus=2"), ("-M", "vexpress-a9", "-m", "size=64M"),
                ("-M", "vexpress-a9", "-m", "256"), ("-M", "vexpress-a9", "-m", "262144k"),
                ("-M", "vexpress-a9", "-smp", "cpus=2"), ("-M", "vexpress-a9", "-smp", "4,sockets=1,cores=4,threads=1"),
                ("-M", "vexpress-a9", "-cpu", "cortex-a9"), ("-M", "vexpress-a9", "-name", "box"),
                ("-M", "vexpress-a9", "-global", "virtio-mmio.force-legacy=false"),
                ("-M", "vexpress-a9", "-accel", "tcg"), ("-M", "vexpress-a9", "-icount", "shift=3"),
                ("-M", "vexpress-a9", "-icount", "auto"), ("-M", "vexpress-a9", "-no-reboot"),
                ("-M", "vexpress-a9", "-net", "none"), ("-M", "vexpress-a9", "-nic", "none"),
                ("-M", "vexpress-a9", "-net", "nic", "-net", "user"), ("-M", "vexpress-a9", *kernel, "-append", "a,b=c d"),
                ("-M", "vexpress-a9", "-nic", "user,model=lan9118,mac=52:54:98:76:54:32"),
                ("-M", "vexpress-a9", "-net", "nic,model=lan9118,macaddr=22:33:44:55:66:71", "-net", "user"),
                ("-M", "vexpress-a9", "-device", "virtio-net-device,netdev=n", "-netdev", "user,id=n")):
            with self.subTest(" ".join(arguments)[:100]):
                self.accepts(*arguments)

    def test_warnings(self):
        for arguments, warning in (
                (("-netdev", "user,id=n0"), "warning: netdev n0 has no peer"),
                (("-net", "nic"), "warning: hub 0 is not connected to host network"),
                (("-net", "user"), "warning: hub 0 with no nics"),
                (("-global", "foo.bar=1"), "warning: global foo.bar has invalid class name")):
            with self.subTest(arguments):
                self.assertIn(warning, self.accepts("-M", "vexpress-a9", *arguments))


if __name__ == "__main__":
    guest.main()
