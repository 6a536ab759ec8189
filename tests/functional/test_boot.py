# SPDX-License-Identifier: MIT
"""A stock Debian kernel boots on vexpress-a9: each way to give a device tree, SMP, and each way to end."""
import os
import subprocess
import time

import guest
from guest import DTB, KERNEL, GuestTest, SharedGuestTest, rhea_only


class DeviceTree(GuestTest):
    def check(self, emulator, model="V2P-CA9"):
        self.assertIn(model, self.guest_runs(emulator, "cat /proc/device-tree/model; echo"))
        self.assertIn("ttyAMA0", self.guest_runs(emulator, "cat /proc/consoles"))
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(), 0)

    def test_given(self):
        self.check(self.boot("-net", "none"))

    def test_appended(self):
        path = os.path.join(self.directory(), "zImage-dtb")
        with open(path, "wb") as out:
            for part in (KERNEL, DTB):
                with open(part, "rb") as f:
                    out.write(f.read())
        self.check(self.boot("-net", "none", kernel=path, dtb=""))

    @rhea_only("the peer lets a kernel that needs a device tree hang")
    def test_none_gets_the_boards_own(self):
        self.check(self.boot("-nic", "user", dtb=""), model="V2P-CA9")

    def test_dumpdtb_writes_what_the_guest_would_get(self):
        path = os.path.join(self.directory(), "out.dtb")
        status, _, errors = guest.call("-M", f"vexpress-a9,dumpdtb={path}", "-m", "256M", "-kernel", KERNEL,
                                       "-dtb", DTB, "-append", "console=ttyAMA0 word", "-display", "none",
                                       "-net", "none")
        self.assertEqual(status, 0, errors)
        with open(path, "rb") as f:
            self.assertEqual(f.read(4), b"\xd0\x0d\xfe\xed")

    @rhea_only("the peer makes no device tree of its own for this board")
    def test_dumpdtb_of_the_boards_own_boots(self):
        path = os.path.join(self.directory(), "own.dtb")
        status, _, errors = guest.call("-M", f"vexpress-a9,dumpdtb={path}", "-m", "512M", "-display", "none")
        self.assertEqual(status, 0, errors)
        text = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", path], check=True, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout \
            if guest.have("dtc") else "arm,pl011"
        self.assertIn("arm,pl011", text)
        self.check(self.boot("-nic", "user", dtb=path))


class Smp(GuestTest):
    def test_one(self):
        emulator = self.boot("-net", "none", "-smp", "1")
        self.assertEqual(self.guest_runs(emulator, "nproc").strip(), "1")

    def test_four(self):
        emulator = self.boot("-net", "none", "-smp", "4")
        self.assertEqual(self.guest_runs(emulator, "nproc").strip(), "4")
        self.assertEqual(self.guest_runs(emulator, "cat /sys/devices/system/cpu/online").strip(), "0-3")
        text = self.guest_runs(emulator, "for c in 0 1 2 3; do taskset $((1<<c)) cat /proc/self/stat; done "
                                         "| awk '{print \"on\", $39}'")
        self.assertEqual(text.split(), ["on", "0", "on", "1", "on", "2", "on", "3"])
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(), 0)


class Ends(GuestTest):
    def test_poweroff_ends_with_status_0(self):
        emulator = self.boot("-net", "none")
        emulator.send("poweroff\n")
        emulator.expect("reboot: Power down", 60)
        self.assertEqual(emulator.wait(), 0)

    def test_reboot_boots_again(self):
        emulator = self.boot("-net", "none", "-smp", "2")
        self.guest_runs(emulator, "touch /tmp/first-life")
        emulator.send("reboot\n")
        emulator.expect("Booting Linux on physical CPU", 60)
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT)
        self.assertNotEqual(emulator.run("test -e /tmp/first-life")[0], 0)
        self.assertEqual(self.guest_runs(emulator, "nproc").strip(), "2")

    def test_no_reboot_ends_instead(self):
        emulator = self.boot("-net", "none", "-no-reboot")
        emulator.send("reboot -f\n")
        self.assertEqual(emulator.wait(), 0)

    def test_panic_reboots_after_its_time(self):
        emulator = self.boot("-net", "none", "-no-reboot", append="console=ttyAMA0 panic=1")
        emulator.send("echo c > /proc/sysrq-trigger\n")
        emulator.expect("Kernel panic - not syncing")
        self.assertEqual(emulator.wait(), 0)


class Hardware(SharedGuestTest):
    """What the stock kernel finds on the board."""

    arguments = ("-nic", "user", "-smp", "2", "-device", "virtio-rng-device")

    def test_devices_bind(self):
        drivers = self.sh("cd /sys/bus/amba/devices; for d in *; do "
                          "[ -e $d/driver ] && echo $d $(basename $(readlink $d/driver)); done; cd")
        for row in ("10009000.uart uart-pl011", "1000c000.uart uart-pl011", "10017000.rtc rtc-pl031"):
            self.assertIn(row, drivers)
        self.assertIn("smsc911x", self.sh("basename $(readlink /sys/class/net/eth0/device/driver)"))
        interrupts = self.sh("cat /proc/interrupts")
        for word in ("twd", "uart-pl011", "GIC-0"):
            self.assertIn(word, interrupts)
        self.assertRegex(self.sh("cat /proc/cpuinfo"), r"CPU part\s*: 0xc09")

    def test_clock_is_the_hosts(self):
        self.assertLess(abs(int(self.sh("date +%s")) - time.time()), 120)

    def test_time_passes_and_sleep_sleeps(self):
        text = self.sh("cut -d. -f1 /proc/uptime; sleep 3; cut -d. -f1 /proc/uptime")
        before, after = (int(word) for word in text.split())
        self.assertGreaterEqual(after - before, 2)

    def test_memory_is_what_was_asked(self):
        total = int(self.sh("awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"))
        self.assertGreater(total, 450)
        self.assertLessEqual(total, 512)

    def test_virtio_rng(self):
        self.assertIn("virtio_rng", self.sh("cat /sys/class/misc/hw_random/rng_available"))
        self.assertEqual(self.sh("dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c").strip(), "1024")

    def test_two_cpus_share_a_lock(self):
        script = ("x=0; while [ $x -lt 200 ]; do mkdir /tmp/lock 2>/dev/null && { read n < /tmp/n; "
                  "echo $((n+1)) > /tmp/n; rmdir /tmp/lock; x=$((x+1)); }; done")
        self.sh(f"echo 0 > /tmp/n; echo '{script}' > /tmp/s; sh /tmp/s & sh /tmp/s; wait", 180)
        self.assertEqual(self.sh("cat /tmp/n").strip(), "400")


class Memory(GuestTest):
    def test_one_gigabyte_is_the_most(self):
        emulator = self.boot("-net", "none", memory="1G")
        total = int(self.guest_runs(emulator, "awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"))
        self.assertGreater(total, 950)


if __name__ == "__main__":
    guest.main()
