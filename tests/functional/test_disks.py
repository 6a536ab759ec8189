# SPDX-License-Identifier: MIT
"""A Debian system on disks of every kind, U-Boot from flash and SD card, the installer; and what is refused."""
import hashlib
import os
import re
import shutil
import struct
import subprocess
import unittest

import guest
import host
from guest import KERNEL, ROOT_INITRD, GuestTest, guest_file

LOGIN = r"rhea-debian login: "
SHELL = r"-bash-[\d.]+# "
DISK = guest_file("disk.img")
IMG = os.path.join(os.path.dirname(guest.PROGRAM), "rhea-img")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "md5").hexdigest()


def image_tool(*args):
    return subprocess.run([IMG, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)


class DiskTest(GuestTest):
    """Machines with copies of the Debian disk."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(DISK):
            raise unittest.SkipTest(f"no {DISK}: run tools/guest/build-root")

    def disk(self, kind="raw"):
        path = os.path.join(self.directory(), f"sd.{kind}")
        if kind == "raw":
            subprocess.run(["cp", "--sparse=always", DISK, path], check=True)
        else:
            done = image_tool("convert", "-O", "qcow2", DISK, path)
            self.assertEqual(done.returncode, 0, done.stdout)
        return path

    def sound(self, path):
        """Both tools find the qcow2 image sound."""
        for tool in (IMG, "qemu-img"):
            if shutil.which(tool):
                done = subprocess.run([tool, "check", "-f", "qcow2", path], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, check=False, text=True)
                self.assertIn(done.returncode, (0, 3), f"{tool}: {done.stdout}")  # 3: leaks, no corruption

    def debian(self, *extra, root="/dev/mmcblk0p2", more=""):
        return self.start("-M", "vexpress-a9", "-m", "256M", "-kernel", KERNEL, "-initrd", ROOT_INITRD, "-append",
                          f"console=ttyAMA0 root={root} {more}", *extra, "-nographic")

    def log_in(self, emulator):
        emulator.expect(LOGIN, guest.BOOT_TIMEOUT * 2)
        emulator.send("root\n")
        emulator.expect(SHELL, 60)
        return emulator

    def sh(self, emulator, command, timeout=60):
        emulator.send(f"{command}; echo \"@@$?@@\"\n")
        end = emulator.expect(r"@@(\d+)@@\r*\n", timeout)
        emulator.expect(SHELL, timeout)
        self.assertEqual(end[1], "0", f"in the guest: {command}\n{emulator.tail(20)}")
        return guest.plain(emulator.text[:emulator.position])[-20000:]

    def ssh(self, port, command):
        done = subprocess.run(["ssh", "-p", port, "-i", guest_file("ssh-key"), "-o", "StrictHostKeyChecking=no", "-o",
                               "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                               "root@127.0.0.1", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120 * guest.SCALE, check=False, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def power_off(self, emulator):
        emulator.send("poweroff\n")
        self.assertEqual(emulator.wait(180), 0)


class SdCard(DiskTest):
    def test_debian_on_qcow2(self):
        """The line of the tutorials, with a Debian of today: login, ssh, clean at the next boot."""
        path = self.disk("qcow2")
        emulator = self.debian("-drive", f"if=sd,file={path}", "-net", "nic,macaddr=22:33:44:55:66:78", "-net",
                               f"user,hostfwd=tcp:127.0.0.1:{host.free_port()}-:22")
        self.log_in(emulator)
        text = self.sh(emulator, "dmesg | grep -c 'mmc0: new SD card'; ip addr show eth0; dpkg -s bash | grep Status")
        self.assertIn("22:33:44:55:66:78", text)
        self.assertIn("10.0.2.15", text)
        self.assertIn("install ok installed", text)
        port = re.search(r"127\.0\.0\.1:(\d+)-:22", " ".join(emulator.command))[1]
        self.assertEqual(self.ssh(port, "echo from ssh; cat /sys/block/mmcblk0/device/type").split(), ["from", "ssh", "SD"])
        self.sh(emulator, "echo kept > /root/kept; dd if=/dev/urandom of=/root/big bs=64k count=64; md5sum /root/big > /root/sum")
        self.power_off(emulator)
        self.sound(path)
        again = self.log_in(self.debian("-drive", f"if=sd,file={path}", "-net", "none"))
        self.assertRegex(guest.plain(again.text), r"ext4: clean,")
        self.assertIn("kept", self.sh(again, "cat /root/kept; md5sum -c /root/sum"))
        self.power_off(again)

    def test_killed_while_it_writes(self):
        """What was synced is there after kill -9, in a raw and in a qcow2 image."""
        for kind in ("raw", "qcow2"):
            with self.subTest(kind):
                path = self.disk(kind)
                emulator = self.log_in(self.debian("-drive", f"if=sd,file={path},format={kind}", "-net", "none"))
                emulator.send("n=0; while true; do n=$((n+1)); dd if=/dev/urandom of=/root/f$n bs=16k count=8 2>/dev/null; "
                              "md5sum /root/f$n >> /root/sums; sync; echo synced-$n-; done\n")
                for _ in range(12):
                    found = emulator.expect(r"synced-(\d+)-\r*\n", 120)
                emulator.process.kill()
                emulator.process.wait()
                if kind == "qcow2":
                    self.sound(path)
                again = self.log_in(self.debian("-drive", f"if=sd,file={path},format={kind}", "-net", "none"))
                last = int(found[1])
                self.sh(again, f"head -n {last} /root/sums > /root/first; test $(wc -l < /root/first) = {last}; "
                               "md5sum -c --quiet /root/first", 120)
                self.power_off(again)

    def test_write_protected(self):
        path = self.disk()
        before = digest(path)
        emulator = self.debian("-drive", f"if=sd,file={path},format=raw,readonly=on", "-net", "none")
        emulator.expect(r"mmc0:\w+ RHEA1 512 MiB \(ro\)", guest.BOOT_TIMEOUT)
        emulator.close()
        self.assertEqual(digest(path), before)

    def test_snapshot_leaves_the_image(self):
        path = self.disk()
        before = digest(path)
        emulator = self.log_in(self.debian("-snapshot", "-drive", f"if=sd,file={path},format=raw", "-net", "none"))
        self.sh(emulator, "echo x > /root/x; sync")
        self.power_off(emulator)
        self.assertEqual(digest(path), before)


class VirtioBlk(DiskTest):
    def test_debian_on_virtio(self):
        path = self.disk("qcow2")
        emulator = self.log_in(self.debian("-drive", f"if=none,id=d,file={path},format=qcow2,discard=unmap", "-device",
                                           "virtio-blk-device,drive=d,serial=rhea-7,num-queues=2", "-net", "none",
                                           root="/dev/vda2"))
        text = self.sh(emulator, "cat /sys/block/vda/serial; ls /sys/block/vda/mq | wc -l; "
                                 "cat /sys/block/vda/queue/write_cache; fstrim -v /")
        self.assertIn("rhea-7", text)
        self.assertIn("write back", text)
        self.assertRegex(text, r"/: [\d.]+ \S+ \(\d+ bytes\) trimmed")
        self.sh(emulator, "dd if=/dev/urandom of=/root/a bs=1M count=16 conv=fsync; md5sum /root/a > /root/sum; sync; "
                          "echo 3 > /proc/sys/vm/drop_caches; md5sum -c /root/sum")
        self.power_off(emulator)
        self.sound(path)

    def test_if_virtio_and_blockdev(self):
        path = self.disk()
        for line in (["-drive", f"if=virtio,file={path},format=raw"],
                     ["-blockdev", f"driver=raw,node-name=d,file.driver=file,file.filename={path}", "-device",
                      "virtio-blk-device,drive=d"],
                     ["-blockdev", f'{{"driver":"file","node-name":"f","filename":"{path}"}}', "-blockdev",
                      '{"driver":"raw","node-name":"d","file":"f"}', "-device", "virtio-blk-device,drive=d"]):
            with self.subTest(line[0]):
                emulator = self.debian(*line, "-net", "none", root="/dev/vda2", more="init=/bin/sh")
                emulator.expect(r"\n\r*# ", guest.BOOT_TIMEOUT)
                emulator.close()


class UBootTest(DiskTest):
    """U-Boot of Debian's source package, at its prompt."""

    prompt = r"=> "

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not os.path.exists(guest_file("u-boot")):
            raise unittest.SkipTest(f"no u-boot in {guest.GUEST}: run tools/guest/build-uboot")

    def loader(self, *extra, kernel=True):
        image = ["-kernel", guest_file("u-boot")] if kernel else []
        emulator = self.start("-M", "vexpress-a9", "-m", "512M", *image, "-nographic", *extra)
        return self.to_prompt(emulator)

    def to_prompt(self, emulator):
        emulator.expect("Hit any key to stop autoboot", 60)
        emulator.send("\n")
        emulator.expect(self.prompt, 30)
        return emulator

    def does(self, emulator, command, timeout=60):
        emulator.send(command + "\n")
        emulator.expect(re.escape(command) + r"\r*\n", timeout)
        start = emulator.position
        end = emulator.expect(r"(?m)^" + self.prompt, timeout)
        return guest.plain(emulator.text[start:end.start()])


class UBoot(UBootTest):
    """Flash, SD card, network."""

    def flashes(self):
        paths = [os.path.join(self.directory(), f"flash{n}.img") for n in range(2)]
        for path in paths:
            with open(path, "wb") as f:
                f.truncate(64 << 20)
        return paths

    def with_flashes(self, paths):
        return [word for path in paths for word in ("-drive", f"if=pflash,format=raw,file={path}")]

    def test_environment_in_flash(self):
        paths = self.flashes()
        emulator = self.loader(*self.with_flashes(paths), "-net", "none")
        self.assertIn("CFI conformant flash (32 x 16)  Size: 64 MB in 256 Sectors", self.does(emulator, "flinfo", 120))
        self.does(emulator, "setenv greeting 'kept in flash'")
        self.assertNotIn("rror", self.does(emulator, "saveenv", 180))
        emulator.process.kill()
        emulator.process.wait()
        again = self.loader(*self.with_flashes(paths), "-net", "none")
        self.assertIn("greeting=kept in flash", self.does(again, "printenv greeting"))

    def test_network(self):
        directory = self.directory()
        with open(os.path.join(directory, "hello.txt"), "w", encoding="utf-8") as f:
            f.write("hello from the host\n" * 100)
        emulator = self.loader("-net", "nic", "-net", f"user,tftp={directory}")
        self.does(emulator, "setenv autoload no")
        self.assertIn("DHCP client bound to address 10.0.2.15", self.does(emulator, "dhcp", 120))
        self.does(emulator, "setenv serverip 10.0.2.2")
        self.assertIn("Bytes transferred = 2000", self.does(emulator, "tftpboot 0x62000000 hello.txt", 120))
        self.assertIn("hello from the h", self.does(emulator, "md.b 0x62000000 10"))

    def test_boots_debian_from_the_card(self):
        path = self.disk("qcow2")
        emulator = self.loader("-sd", path, "-net", "none")
        self.assertIn("vmlinuz", self.does(emulator, "ls mmc 0:1"))
        for address, name in (("0x62000000", "vmlinuz"), ("0x63800000", "vexpress-v2p-ca9.dtb"), ("0x64000000", "root.gz")):
            self.assertIn("bytes read", self.does(emulator, f"load mmc 0:1 {address} {name}", 180))
        self.does(emulator, "setenv bootargs console=ttyAMA0 root=/dev/mmcblk0p2")
        emulator.send("bootz 0x62000000 0x64000000:${filesize} 0x63800000\n")
        self.log_in(emulator)
        self.power_off(emulator)


class Installer(GuestTest):
    def test_first_screen(self):
        kernel, initrd = guest_file("installer-vmlinuz"), guest_file("installer-initrd.gz")
        if not os.path.exists(initrd):
            self.skipTest("no installer: run tools/guest/fetch-installer")
        emulator = self.start("-M", "vexpress-a9", "-m", "512M", "-kernel", kernel, "-initrd", initrd, "-append",
                              "console=ttyAMA0", "-nographic")
        emulator.expect("Select a language", 600)


class BootFlash(GuestTest):
    """Code that runs from the flash at address 0: it prints a word on the UART."""

    needs_guest = False
    # mov r0, #0x10000000; add r0, #0x9000; then for each letter: mov r1, #letter; str r1, [r0]; at the end: b .
    code = struct.pack("<II", 0xe3a00201, 0xe2800a09) + b"".join(
        struct.pack("<II", 0xe3a01000 | letter, 0xe5801000) for letter in b"from flash\n") + struct.pack("<I", 0xeafffffe)

    def test_firmware_and_image(self):
        path = os.path.join(self.directory(), "flash.img")
        with open(path, "wb") as f:
            f.write(self.code)
        for line in (["-bios", path], ["-pflash", path], ["-drive", f"if=pflash,format=raw,readonly=on,file={path}"]):
            if line[0] != "-bios":
                os.truncate(path, 64 << 20)
            with self.subTest(line[0]):
                emulator = self.start("-M", "vexpress-a9", "-display", "none", "-serial", "stdio", "-net", "none", *line)
                emulator.expect("from flash", 30)
                emulator.close()


class Refused(GuestTest):
    needs_guest = False

    def says(self, *arguments):
        status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-S", *arguments)
        self.assertEqual(status, 1, errors)
        return errors

    def image(self, size):
        path = os.path.join(self.directory(), "x.img")
        with open(path, "wb") as f:
            f.truncate(size)
        return path

    def test_card_sizes(self):
        text = self.says("-drive", f"if=sd,format=raw,file={self.image(63 << 20)}")
        self.assertIn("Invalid SD card size: 63 MiB", text)
        self.assertIn("64M", text)

    def test_places(self):
        path = self.image(1 << 20)
        drive = f"format=raw,file={path}"
        self.assertIn("machine type does not support if=ide,bus=0,unit=0", self.says("-drive", f"if=ide,{drive}"))
        self.assertIn("machine type does not support if=sd,bus=0,unit=1", self.says("-drive", f"if=sd,unit=1,{drive}"))
        self.assertIn("unsupported bus type 'foo'", self.says("-drive", f"if=foo,{drive}"))
        self.assertIn("drive with bus=0, unit=0 (index=0) exists",
                      self.says("-drive", f"if=sd,index=0,{drive}", "-drive", f"if=sd,index=0,{drive}"))
        self.assertIn("machine type does not support if=mtd,bus=0,unit=0", self.says("-mtdblock", path))

    def test_words(self):
        path = self.image(1 << 20)
        for options, message in (("format=foo", "Unknown driver 'foo'"),
                                 ("format=raw,bogus=1", "Block format 'raw' does not support the option 'bogus'"),
                                 ("format=raw,cache=foo", "cache"), ("format=raw,media=foo", "'foo' invalid media"),
                                 ("format=raw,copy-on-read=on", "copy-on-read"),
                                 ("format=raw,throttling.iops-total=5,iops_rd=5", "cannot be used at the same time"),
                                 ("format=qcow2", "Image is not in qcow2 format"),
                                 ("if=sd,format=raw,werror=stop", "werror is not supported by this bus type")):
            self.assertIn(message, self.says("-drive", f"file={path},{options}"), options)
        self.assertIn("Could not open '/nowhere'", self.says("-sd", "/nowhere"))
        self.assertIn("No such file or directory", self.says("-sd", "/nowhere"))

    def test_devices(self):
        path = self.image(1 << 20)
        self.assertIn("drive property not set", self.says("-device", "virtio-blk-device"))
        self.assertIn("can't find value 'x'", self.says("-device", "virtio-blk-device,drive=x"))
        drive = ["-drive", f"if=none,id=d,format=raw,file={path}", "-device", "virtio-blk-device,drive=d"]
        self.assertIn("already in use", self.says(*drive, "-device", "virtio-blk-device,drive=d"))
        self.assertIn("Could not find ROM image 'nope'", self.says("-bios", "nope"))
        text = self.says("-pflash", path)
        self.assertIn("device requires 67108864 bytes, block backend provides 1048576 bytes", text)

    def test_orphans(self):
        path = self.image(1 << 20)
        emulator = self.start("-M", "vexpress-a9", "-display", "none", "-S", "-serial", "null", "-monitor", "stdio", "-hda", path)
        emulator.expect(guest.MONITOR_PROMPT)
        self.assertIn("attached to nothing", emulator.stderr())


if __name__ == "__main__":
    guest.main()
