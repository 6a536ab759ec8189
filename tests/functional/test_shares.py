# SPDX-License-Identifier: MIT
"""A folder of the host in the guest (9p), the balloon, and virtio's serial ports, driven by the stock kernel."""
import hashlib
import os
import re
import socket
import stat
import threading
import time
import unittest

import guest
from guest import GuestTest, SharedGuestTest, rhea_only


class Share(GuestTest):
    def mount(self, model, *more):
        self.folder = os.path.join(self.directory(), "share")
        os.mkdir(self.folder)
        emulator = self.boot("-net", "none", "-virtfs",
                             ",".join((f"local,path={self.folder},mount_tag=host,security_model={model}", *more)))
        self.guest_runs(emulator, "modprobe -a 9pnet_virtio 9p")
        return emulator

    def attach(self, emulator, options="trans=virtio,version=9p2000.L"):
        self.guest_runs(emulator, f"mount -t 9p -o {options} host /mnt")

    def test_files_both_ways(self):
        emulator = self.mount("none")
        data = os.urandom(3 << 20)
        with open(os.path.join(self.folder, "from-host"), "wb") as f:
            f.write(data)
        os.symlink("../../../../etc/passwd", os.path.join(self.folder, "out"))
        self.attach(emulator, "trans=virtio,version=9p2000.L,msize=262144")
        self.assertIn(hashlib.md5(data).hexdigest(), self.guest_runs(emulator, "md5sum /mnt/from-host"))
        # The guest follows a link within itself: its own /etc/passwd, which is not the host's.
        self.assertIn("root:*:0:0:root:/root:/bin/sh", self.guest_runs(emulator, "cat /mnt/out"))
        self.guest_runs(emulator, "cp /mnt/from-host /mnt/copy && sync && cmp /mnt/from-host /mnt/copy")
        with open(os.path.join(self.folder, "copy"), "rb") as f:
            self.assertEqual(f.read(), data)
        self.guest_runs(emulator, "mkdir -p /mnt/a/b && echo one > /mnt/a/b/f && mv /mnt/a /mnt/c && "
                                  "ln -s f /mnt/c/b/l && ln /mnt/c/b/f /mnt/c/b/h && echo two >> /mnt/c/b/l")
        with open(os.path.join(self.folder, "c/b/h"), encoding="ascii") as f:
            self.assertEqual(f.read(), "one\ntwo\n")
        self.assertEqual(os.readlink(os.path.join(self.folder, "c/b/l")), "f")
        self.guest_runs(emulator, "truncate -s 100 /mnt/copy && chmod 640 /mnt/copy && touch -d '2001-02-03 04:05:06' /mnt/copy")
        status = os.stat(os.path.join(self.folder, "copy"))
        self.assertEqual((status.st_size, status.st_mode & 0o777), (100, 0o640))
        self.guest_runs(emulator, "cd /mnt/c && i=0; while [ $i -lt 300 ]; do : > file-$i; i=$((i+1)); done; "
                                  "[ $(ls | wc -l) = 301 ] && rm file-* && cd / && rm -r /mnt/c && [ ! -e /mnt/c ]", 120)
        self.assertEqual(sorted(os.listdir(self.folder)), ["copy", "from-host", "out"])
        # A file that is open and has no name any more.
        self.guest_runs(emulator, "exec 5<>/mnt/t && rm /mnt/t && echo unnamed >&5 && exec 5>&-")
        self.guest_runs(emulator, "df /mnt | grep -q host && umount /mnt")

    def test_mapped_xattr_keeps_owners(self):
        emulator = self.mount("mapped-xattr")
        self.attach(emulator)
        status, text = emulator.run("echo x > /mnt/f && chown 12:34 /mnt/f && chmod 4751 /mnt/f")
        if status and "not supported" in text:
            self.skipTest("no extended attributes where temporary files are")
        self.assertEqual(status, 0, text)
        self.guest_runs(emulator, "mknod /mnt/d b 7 9 && ln -s nowhere /mnt/l && umount /mnt")
        self.attach(emulator)
        listing = self.guest_runs(emulator, "stat -c '%n %a %u %g %F %t,%T' /mnt/f /mnt/d; readlink /mnt/l")
        self.assertIn("/mnt/f 4751 12 34 regular file", listing)
        self.assertRegex(listing, r"/mnt/d \d+ 0 0 block special file 7,9\n")
        self.assertIn("nowhere", listing)
        for name in ("f", "d", "l"):
            self.assertTrue(os.path.isfile(os.path.join(self.folder, name)))
            self.assertEqual(os.stat(os.path.join(self.folder, name)).st_mode & 0o7777, 0o600)

    def test_mapped_file_keeps_owners(self):
        emulator = self.mount("mapped-file")
        self.attach(emulator)
        self.guest_runs(emulator, "echo x > /mnt/f && chown 12:34 /mnt/f && chmod 4751 /mnt/f && mkdir /mnt/e && "
                                  "mv /mnt/f /mnt/e/g && umount /mnt")
        self.attach(emulator)
        self.assertIn("4751 12 34", self.guest_runs(emulator, "stat -c '%a %u %g' /mnt/e/g"))
        self.assertEqual(self.guest_runs(emulator, "ls -A /mnt /mnt/e").split(), ["/mnt:", "e", "/mnt/e:", "g"])
        self.guest_runs(emulator, "rm -r /mnt/e")

    @unittest.skipIf(os.geteuid() != 0, "only root gives files away, as passthrough does")
    def test_passthrough_is_the_hosts_own(self):
        emulator = self.mount("passthrough")
        self.attach(emulator)
        self.guest_runs(emulator, "echo x > /mnt/f && chown 12:34 /mnt/f && chmod 4751 /mnt/f && ln -s nowhere /mnt/l && "
                                  "mknod /mnt/p p && mkdir -m 1770 /mnt/d")
        here = {name: os.lstat(os.path.join(self.folder, name)) for name in "flpd"}
        self.assertEqual((here["f"].st_uid, here["f"].st_gid, here["f"].st_mode), (12, 34, stat.S_IFREG | 0o4751))
        self.assertTrue(stat.S_ISLNK(here["l"].st_mode))
        self.assertTrue(stat.S_ISFIFO(here["p"].st_mode))
        self.assertEqual(here["d"].st_mode, stat.S_IFDIR | 0o1770)
        os.chown(os.path.join(self.folder, "f"), 56, 78)
        self.assertIn("56 78", self.guest_runs(emulator, "umount /mnt; mount -t 9p -o trans=virtio,version=9p2000.L host /mnt; "
                                                         "stat -c '%u %g' /mnt/f"))

    def test_read_only(self):
        emulator = self.mount("none", "readonly=on")
        with open(os.path.join(self.folder, "f"), "w", encoding="ascii") as f:
            f.write("text")
        self.attach(emulator)
        self.assertEqual(self.guest_runs(emulator, "cat /mnt/f").strip(), "text")
        status, text = emulator.run("echo x > /mnt/f; touch /mnt/g")
        self.assertNotEqual(status, 0)
        self.assertIn("Read-only file system", text)


class ShareOptions(GuestTest):
    needs_guest = False

    def refused(self, *arguments):
        status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-net", "none", *arguments)
        self.assertEqual(status, 1, errors)
        return errors

    def test_refusals(self):
        models = "Valid options are: security_model=[passthrough|mapped-xattr|mapped-file|none]"
        for arguments, message in (
                (("-virtfs", "local"), "Usage: -virtfs fsdriver,mount_tag=tag"),
                (("-virtfs", "foo,mount_tag=x"), "fsdev: fsdriver foo not found"),
                (("-virtfs", "local,path=/tmp,mount_tag=a"), "security_model property not set"),
                (("-fsdev", "local,path=/tmp"), "fsdev: No id specified"),
                (("-fsdev", "local,id=f,security_model=none"), "path property not set")):
            self.assertIn(message, self.refused(*arguments))
        self.assertIn(models, self.refused("-fsdev", "local,id=f,path=/tmp,security_model=zz"))

    @rhea_only("QEMU sets up its sound before it comes to this")
    def test_what_is_not_there(self):
        self.assertIn("No such file or directory", self.refused("-virtfs", "local,path=/nonexistent,mount_tag=a,security_model=none"))
        self.assertIn("couldn't find fsdev with the id = zz", self.refused("-device", "virtio-9p-device,fsdev=zz,mount_tag=a"))
        self.assertIn("No 'virtio-serial-bus' bus found for device 'virtconsole'", self.refused("-device", "virtconsole"))


class Balloon(SharedGuestTest):
    arguments = ("-net", "none", "-device", "virtio-balloon-device")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest.run("modprobe virtio_balloon; sleep 1")

    def free(self):
        return int(re.search(r"MemFree:\s+(\d+)", self.sh("cat /proc/meminfo"))[1]) >> 10

    def wait_actual(self, megabytes):
        for _ in range(200):
            if self.guest.in_monitor("info balloon") == f"balloon: actual={megabytes}":
                return
            time.sleep(0.1)
        self.fail(self.guest.in_monitor("info balloon"))

    def resident(self):
        with open(f"/proc/{self.guest.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssShmem:\s+(\d+)", f.read())[1]) >> 10

    def test_memory_goes_and_comes_back(self):
        self.wait_actual(512)
        self.sh("dd if=/dev/zero of=/dev/shm/big bs=1M count=200 && rm /dev/shm/big", 120)
        before, resident = self.free(), self.resident()
        self.assertEqual(self.guest.in_monitor("balloon 200"), "")
        self.wait_actual(200)
        self.assertLess(self.free(), before - 250)
        self.assertLess(self.resident(), resident - 100)
        self.guest.in_monitor("balloon 512")
        self.wait_actual(512)
        self.assertGreater(self.free(), before - 100)
        self.sh("dd if=/dev/zero of=/dev/shm/big bs=1M count=100 && rm /dev/shm/big", 120)


class SerialPorts(GuestTest):
    """virtconsole and virtserialport, with unix sockets behind them."""

    def connect(self, path):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(client.close)
        client.connect(path)
        client.settimeout(60 * guest.SCALE)
        return client

    def receive(self, client, text):
        """Read until the text has come."""
        got = b""
        while text not in got:
            part = client.recv(4096)
            self.assertTrue(part, got)
            got += part
        return got

    def test_console_and_port(self):
        folder = self.directory()
        paths = [os.path.join(folder, name) for name in ("console", "port")]
        emulator = self.boot("-net", "none", "-device", "virtio-serial-device",
                             "-chardev", f"socket,id=c0,path={paths[0]},server=on,wait=off", "-device", "virtconsole,chardev=c0",
                             "-chardev", f"socket,id=c1,path={paths[1]},server=on,wait=off",
                             "-device", "virtserialport,chardev=c1,name=org.rhea.test")
        console = self.connect(paths[0])
        self.guest_runs(emulator, "modprobe virtio_console; "
                                  "until [ -c /dev/hvc0 ] && grep -qsx org.rhea.test /sys/class/virtio-ports/*/name; do sleep 0.1; done")
        self.guest_runs(emulator, "echo from the guest > /dev/hvc0")
        self.receive(console, b"from the guest")
        # The terminal forgets its mode when it is closed: one process sets it and reads.
        self.guest_runs(emulator, "(stty raw -echo; : > /tmp/open; head -c 9 > /tmp/in; : > /tmp/done) < /dev/hvc0 & "
                                  "until [ -e /tmp/open ]; do sleep 0.1; done")
        console.sendall(b"from host")
        self.guest_runs(emulator, "until [ -e /tmp/done ]; do sleep 0.1; done; grep -qx 'from host' /tmp/in")
        # A shell on the console.
        self.guest_runs(emulator, "(setsid sh -c 'echo ready; exec sh -i' < /dev/hvc0 > /dev/hvc0 2>&1 &)")
        self.receive(console, b"ready")
        console.sendall(b"echo $((6*7)) is it\n")
        self.receive(console, b"42 is it")
        # The port: a megabyte both ways, unharmed.
        port = self.connect(paths[1])
        data = os.urandom(1 << 20)
        self.guest_runs(emulator, "d=/dev/$(grep -lx org.rhea.test /sys/class/virtio-ports/*/name | cut -d/ -f5); "
                                  "((exec 3<>$d; head -c 1048576 <&3 > /tmp/blob; cat /tmp/blob >&3) &)")
        sender = threading.Thread(target=port.sendall, args=(data,), daemon=True)
        sender.start()
        back = b""
        while len(back) < len(data):
            part = port.recv(65536)
            self.assertTrue(part)
            back += part
        self.assertEqual(hashlib.md5(back).hexdigest(), hashlib.md5(data).hexdigest())


class NoBalloon(GuestTest):
    def test_refusal(self):
        monitor = self.start_monitor().monitor
        for command in ("balloon 100", "info balloon"):
            self.assertEqual(monitor(command), "Error: No balloon device has been activated")


if __name__ == "__main__":
    guest.main()
