# SPDX-License-Identifier: MIT
"""Drives and their media while the machine runs: by both monitors, and as a guest sees them."""
import hashlib
import json
import os
import re
import subprocess

import guest
from test_control import BOARD, Control, Qmp
from test_disks import DISK, DiskTest, IMG, image_tool


def make(path, size="4M", kind="raw", *options):
    done = image_tool("create", "-q", "-f", kind, *options, path, size)
    if done.returncode:
        raise AssertionError(done.stdout)
    return path


class Media(Control):
    """No guest: the machine stands still."""

    def setUp(self):
        super().setUp()
        self.folder = self.directory()
        if not os.path.exists(IMG):
            self.skipTest(f"{IMG} is not built")

    def path(self, name):
        return os.path.join(self.folder, name)

    def test_people(self):
        card, base = make(self.path("card.img")), make(self.path("base.qcow2"), "8M", "qcow2")
        top = make(self.path("top.qcow2"), "8M", "qcow2", "-b", base, "-F", "qcow2")
        emulator = self.start_monitor("-drive", f"if=sd,format=raw,file={card}", "-drive", f"if=none,id=d0,format=qcow2,file={top}",
                                      "-device", "virtio-blk-device,drive=d0", "-drive", "if=none,id=empty", kernel=False)
        ask = emulator.monitor
        text = ask("info block")
        self.assertRegex(text, rf"sd0 \(#block\d+\): {card} \(raw\)\n    Attached to:      /machine/unattached/device\[\d+\]\n"
                               r"    Removable device: not locked, tray closed\n    Cache mode:       writeback\n\n"
                               rf"d0 \(#block\d+\): {top} \(qcow2\)\n    Attached to:      /machine/peripheral-anon/device\[0\]\n"
                               rf"    Cache mode:       writeback\n    Backing file:     {base} \(chain depth: 1\)\n\n"
                               r"empty: \[not inserted\]\n    Removable device: not locked, tray closed")
        self.assertRegex(ask("info block -v d0"), r"(?s)Images:\nimage: .*top.qcow2\nfile format: qcow2\n.*image: .*base.qcow2\n")
        self.assertRegex(ask("info block -n"), r"#block\d+\.backing1: .*base.qcow2 \(qcow2, read-only\)\n")
        self.assertRegex(ask("info blockstats"), r"sd0: rd_bytes=0 wr_bytes=0 rd_operations=0 .* idle_time_ns=\d+\n")
        for command, answer in (
                ("info block nope", "Error: Device 'nope' not found"), ("eject d0", "Error: Device 'd0' is not removable"),
                ("eject -f d0", "Error: Device 'd0' is not removable"), ("eject nope", "Error: Device 'nope' not found"),
                ("eject sd0", ""), ("eject sd0", ""), ("change nope x", "Error: Device 'nope' not found"),
                (f"change d0 {card}", "Error: Device 'd0' is not removable"),
                ("change sd0 /nonexistent", "Error: Could not open '/nonexistent': No such file or directory"),
                (f"change sd0 {card} foo", "Error: Unknown driver 'foo': there are raw and qcow2"),
                (f"change sd0 {card} raw foo", "Error: invalid parameter value: foo"),
                ("info block-jobs", "No active jobs"), ("commit sd0", "Device 'sd0' has no medium"), ("commit nope", "Device 'nope' not found"),
                ("block_resize sd0 4M", "Error: Device 'sd0' has no medium"), ("block_resize d0 x", "invalid size"),
                ("block_resize nope 1", "Error: Cannot find device='nope' nor node-name=''"), ("block_resize d0 10", ""),
                ("commit d0", ""), ("commit all", ""), (f"change sd0 {card} raw read-only", ""),
                ("drive_add 0 if=sd", "Error: Can't hot-add drive to type 'sd': drives are added with if=none"),
                (f"drive_add 0 if=none,id=more,file={base},format=qcow2,readonly=on", "OK"), ("drive_del more", ""),
                ("drive_del more", "Error: Device 'more' not found"),
                ("drive_add -n 0 driver=null-co,node-name=nothing,size=1048576", ""),
                ("drive_del nothing", "Error: Deleting device added with blockdev-add is not supported"),
                ("snapshot_blkdev_internal d0 one", ""),
                ("snapshot_blkdev_internal d0 one", "Error: Snapshot with name 'one' already exists on device 'd0'"),
                ("snapshot_delete_blkdev_internal d0 two",
                 "Error: Snapshot with id 'null' and name 'two' does not exist on device 'd0'"),
                ("snapshot_delete_blkdev_internal d0 one", ""), ("snapshot_blkdev_internal sd0 x", "Error: Device 'sd0' is read only")):
            with self.subTest(command=command):
                said = ask(command)
                self.assertTrue(said == answer or (answer and said.startswith(answer)), f"{command}: {said!r}, not {answer!r}")
        self.assertRegex(ask("info block sd0"), rf"{card} \(raw, read-only\)")
        self.assertIn("nothing (nothing): null-co:// (raw)", ask("info block nothing"))
        self.assertEqual(json.loads(image_tool("info", "-U", "--output=json", top).stdout)["virtual-size"], 10 << 20)
        self.assertIn("paused (prelaunch)", ask("info status"))

    def test_programs(self):
        card, disk = make(self.path("card.img")), make(self.path("disk.qcow2"), "8M", "qcow2")
        qmp = self.qmp("-drive", f"if=sd,format=raw,file={card},id=card", "-drive", f"if=none,id=d0,format=qcow2,file={disk}",
                       "-device", "virtio-blk-device,drive=d0,id=vb")
        rows = {row["device"]: row for row in qmp.value("query-block")}
        self.assertEqual((rows["d0"]["qdev"], rows["d0"]["removable"], rows["d0"]["io-status"]), ("vb", False, "ok"))
        inserted = rows["card"]["inserted"]
        self.assertEqual((inserted["file"], inserted["drv"], inserted["ro"], inserted["image"]["virtual-size"]),
                         (card, "raw", False, 4 << 20))
        stats = {row["device"]: row["stats"] for row in qmp.value("query-blockstats")}
        self.assertEqual(stats["d0"]["rd_operations"], 0)
        nodes = qmp.value("query-named-block-nodes", flat=True)
        self.assertEqual({node["file"] for node in nodes}, {card, disk})
        refused = lambda command, **arguments: qmp.ask(command, **arguments)["error"]
        self.assertEqual(refused("eject", device="d0")["desc"], "Device 'd0' is not removable")
        self.assertEqual(refused("eject", device="nope")["class"], "DeviceNotFound")
        self.assertIn("exactly one of", refused("eject")["desc"])
        self.assertEqual(refused("block_resize", device="d0", size=-1)["desc"], "Parameter 'size' expects a >0 size")
        qmp.value("block_resize", device="d0", size=16 << 20)
        qmp.value("eject", device="card")
        self.assertNotIn("inserted", {row["device"]: row for row in qmp.value("query-block")}["card"])
        qmp.value("blockdev-open-tray", device="card")
        qmp.value("blockdev-change-medium", device="card", filename=card, format="raw", read_only_mode="read-only")
        self.assertTrue({row["device"]: row for row in qmp.value("query-block")}["card"]["inserted"]["ro"])

    def test_nodes(self):
        """A format over a protocol by name, in a device and out again, and gone."""
        image = make(self.path("x.qcow2"), "8M", "qcow2")
        qmp = self.qmp("-drive", "if=sd,id=card")
        slot = {row["device"]: row for row in qmp.value("query-block")}["card"]["qdev"]
        refused = lambda command, **arguments: qmp.ask(command, **arguments)["error"]["desc"]
        qmp.value("blockdev-add", driver="file", node_name="protocol", filename=image)
        self.assertIn("Cannot find device='' nor node-name='nope'", refused("blockdev-add", driver="qcow2", node_name="f", file="nope"))
        qmp.value("blockdev-add", driver="qcow2", node_name="format", file="protocol")
        self.assertEqual(refused("blockdev-add", driver="null-co", node_name="format"), "Duplicate nodes with node-name='format'")
        self.assertEqual(refused("blockdev-del", node_name="protocol"), "Node protocol is in use")
        qmp.value("blockdev-insert-medium", id=slot, node_name="format")
        self.assertEqual(refused("blockdev-del", node_name="format"), "Node format is in use")
        self.assertEqual({row["device"]: row for row in qmp.value("query-block")}["card"]["inserted"]["node-name"], "format")
        qmp.value("blockdev-remove-medium", id=slot)
        qmp.value("blockdev-insert-medium", id=slot, node_name="format")
        qmp.value("eject", id=slot)
        qmp.value("blockdev-del", node_name="format")
        self.assertEqual(refused("blockdev-del", node_name="format"), "Failed to find node with node-name='format'")
        qmp.value("blockdev-del", node_name="protocol")
        self.assertEqual(image_tool("check", "-q", image).returncode, 0)
        self.assertIn("'driver'", refused("blockdev-add", driver="vmdk", node_name="v"))

    def test_snapshots_as_jobs(self):
        disk, other = (make(self.path(name), "8M", "qcow2") for name in ("disk.qcow2", "other.qcow2"))
        raw = make(self.path("raw.img"))
        qmp = self.qmp("-drive", f"if=none,id=d0,file={disk},format=qcow2", "-drive", f"if=none,id=d1,file={other},format=qcow2",
                       "-drive", f"if=none,id=r,file={raw},format=raw")

        def job(command, devices=("d0",), vmstate="d0", tag="one", **more):
            arguments = dict(job_id="j", tag=tag, devices=list(devices), **more)
            if command != "snapshot-delete":
                arguments["vmstate"] = vmstate
            qmp.value(command, **arguments)
            while qmp.event("JOB_STATUS_CHANGE")["data"]["status"] != "concluded":
                pass
            row = qmp.value("query-jobs")[0]
            qmp.value("job-dismiss", id="j")
            self.assertEqual(qmp.value("query-jobs"), [])
            return row.get("error")

        self.assertIsNone(job("snapshot-save"))
        self.assertEqual(job("snapshot-save"), "Snapshot 'one' already exists")
        self.assertEqual(job("snapshot-save", ("zz",), "zz"), "No block device node 'zz'")
        self.assertIn("does not support snapshots", job("snapshot-save", ("r",), "r", "two"))
        self.assertIsNone(job("snapshot-load"))
        self.assertEqual(job("snapshot-load", tag="nope"), "Snapshot 'nope' does not exist in one or more devices")
        self.assertIsNone(job("snapshot-save", ("d0", "d1"), "d1", "both"))
        self.assertIn("both", image_tool("snapshot", "-U", "-l", other).stdout)
        self.assertNotIn("one", image_tool("snapshot", "-U", "-l", other).stdout)
        self.assertIsNone(job("snapshot-delete"))
        self.assertIsNone(job("snapshot-delete"))
        self.assertNotIn("one", image_tool("snapshot", "-U", "-l", disk).stdout)
        self.assertEqual(qmp.ask("job-dismiss", id="j")["error"]["desc"], "Job not found")

    def test_migration_hands_disks_over(self):
        """Both machines name the image; one of them has it, with all that the other wrote."""
        disk = make(self.path("disk.qcow2"), "8M", "qcow2")
        options = ("-drive", f"if=none,id=d0,file={disk},format=qcow2", "-device", "virtio-blk-device,drive=d0")
        first = self.start_monitor(*options, kernel=False)
        second = self.start_monitor(*options, "-incoming", f"unix:{self.path('socket')}", kernel=False)
        self.assertRegex(second.monitor("info block d0"), r"\(qcow2, read-only\)")
        self.assertEqual(first.monitor("snapshot_blkdev_internal d0 one"), "")
        self.assertEqual(first.monitor(f"migrate unix:{self.path('socket')}", 120), "")
        guest.wait_until(lambda: second.monitor("info status") == "VM status: paused", "the state has come", 120)
        self.assertRegex(second.monitor("info block d0"), r"\(qcow2\)")
        self.assertIn("already exists", second.monitor("snapshot_blkdev_internal d0 one"))
        self.assertEqual(second.monitor("snapshot_blkdev_internal d0 two"), "")
        first.monitor("cont")
        self.assertEqual(first.monitor("info status"), "VM status: paused (postmigrate)")
        self.assertIn('Failed to get "write" lock', first.stderr())
        second.send("quit\n")
        self.assertEqual(second.wait(), 0)
        self.assertEqual(image_tool("check", "-q", disk).returncode, 0)
        first.monitor("cont")
        self.assertEqual(first.monitor("info status"), "VM status: running")
        self.assertIn("already exists", first.monitor("snapshot_blkdev_internal d0 two"))

    def test_disk_of_nothing(self):
        """-blockdev and -drive of null-co; -device sd-card with a drive."""
        emulator = self.start_monitor("-blockdev", "driver=null-co,node-name=n,size=2097152,read-zeroes=on", "-drive",
                                      "if=none,id=f,file=null-co://,format=raw", "-device", "virtio-blk-device,drive=n",
                                      "-device", "sd-card,drive=f", kernel=False)
        text = emulator.monitor("info block")
        self.assertRegex(text, r"n \(n\): null-co:// \(raw\)\n    Attached to:      /machine/peripheral-anon/device\[0\]")
        self.assertRegex(text, r"f \(#block\d+\): null-co:// \(raw\)\n    Attached to:      /machine/unattached/device\[\d+\]\n    Removable")
        self.assertIn("virtual size: 2 MiB", emulator.monitor("info block -v n"))
        self.assertIn("Bus 'sd-bus' does not support hotplugging", emulator.monitor("device_add sd-card,drive=n"))
        for options, message in ((("-drive", "if=sd,file=null-co://,format=raw", "-drive", "if=none,id=f,file=null-co://,format=raw",
                                   "-device", "sd-card,drive=f"), "there is a card in the slot already"),
                                 (("-blockdev", "driver=null-co,node-name=n,size=x"), "Parameter 'size' expects integer"),
                                 (("-drive", "if=none,format=raw,read-zeroes=on,file=/x"), "'read-zeroes' is an option of null-co"),
                                 (("-device", "sd-card,drive=zz"), "can't find value 'zz'")):
            status, _, errors = guest.call(*BOARD, *options)
            self.assertEqual(status, 1)
            self.assertIn(message, errors)


class Slot(DiskTest):
    """A Debian on a virtio disk: cards come and go in the slot, and its disk grows."""

    def test_card_comes_and_goes(self):
        folder = self.directory()
        card = os.path.join(folder, "card.img")
        content = os.urandom(1 << 20)
        with open(card, "wb") as file:
            file.write(content)
            file.truncate(8 << 20)
        console = os.path.join(folder, "monitor")
        emulator = self.debian("-drive", f"if=none,id=root,file={DISK},format=raw,snapshot=on", "-device",
                               "virtio-blk-device,drive=root", "-drive", "if=sd,id=card", "-net", "none", "-qmp",
                               f"unix:{console},server=on,wait=off", root="/dev/vda2")
        qmp = Qmp(console)
        self.addCleanup(qmp.close)
        self.log_in(emulator)
        self.sh(emulator, "modprobe armmmci; test ! -e /dev/mmcblk0")
        there, gone = ("i=0; while [ $i -lt 200 ] && test {} -e /dev/mmcblk0; do i=$((i+1)); sleep 0.2; done; test {} -e /dev/mmcblk0".format(a, b)
                       for a, b in (("!", ""), ("", "!")))
        for mode, writable in (("read-write", "0"), ("read-only", "1")):
            qmp.value("blockdev-change-medium", device="card", filename=card, format="raw", read_only_mode=mode)
            self.sh(emulator, there, 120)
            text = self.sh(emulator, "head -c 1048576 /dev/mmcblk0 | md5sum; cat /sys/block/mmcblk0/ro")
            self.assertIn(hashlib.md5(content).hexdigest(), text)
            self.assertRegex(text, rf"\n{writable}\n")
            if writable == "0":
                content = b"written" + content[7:]
                self.sh(emulator, "printf written | dd of=/dev/mmcblk0 conv=notrunc,fsync 2>/dev/null")
            qmp.value("eject", device="card")
            self.sh(emulator, gone, 120)
        with open(card, "rb") as file:
            self.assertEqual(file.read(7), b"written")
        qmp.value("block_resize", device="root", size=768 << 20)
        self.sh(emulator, f"i=0; while [ $i -lt 200 ] && [ $(cat /sys/block/vda/size) != {(768 << 20) // 512} ]; do i=$((i+1)); "
                          f"sleep 0.2; done; [ $(cat /sys/block/vda/size) = {(768 << 20) // 512} ]", 120)
        self.power_off(emulator)


class Jobs(DiskTest):
    """A Debian that writes all the while its disk is copied, committed and gone on with elsewhere."""

    def start_on(self, path, *extra):
        console = os.path.join(self.directory(), "monitor")
        emulator = self.debian("-drive", f"if=none,id=root,file={path},format=qcow2", "-device", "virtio-blk-device,drive=root",
                               "-net", "none", "-qmp", f"unix:{console},server=on,wait=off", *extra, root="/dev/vda2")
        qmp = Qmp(console)
        self.addCleanup(qmp.close)
        self.log_in(emulator)
        # A round is a file of a mebibyte, its sum, and a number that says how many there were.
        self.sh(emulator, "(i=0; while :; do dd if=/dev/urandom of=/root/f$((i%4)) bs=64k count=16 conv=fsync 2>/dev/null; "
                          "md5sum /root/f$((i%4)) > /root/s$((i%4)); i=$((i+1)); echo $i > /root/rounds; sync; done) & true")
        return emulator, qmp

    def rounds(self, emulator):
        return int(re.search(r"rounds=(\d+)=", self.sh(emulator, "echo rounds=$(cat /root/rounds 2>/dev/null || echo 0)="))[1])

    def some_rounds(self, emulator, more=2):
        until = self.rounds(emulator) + more
        guest.wait_until(lambda: self.rounds(emulator) >= until, f"{more} more rounds of writing", 240)

    def overlay(self, folder, name, base):
        path = os.path.join(folder, name)
        return make(path, str(os.path.getsize(DISK)), "qcow2", "-b", base, "-F", "qcow2")

    def chain(self, qmp):
        row, names = qmp.value("query-block")[0]["inserted"]["image"], []
        while row:
            names.append(os.path.basename(row["filename"]))
            row = row.get("backing-image")
        return names

    def end(self, qmp, event="BLOCK_JOB_COMPLETED"):
        data = qmp.event(event)["data"]
        self.assertNotIn("error", data)
        self.assertEqual(data["len"], data["offset"])
        guest.wait_until(lambda: not qmp.value("query-block-jobs"), "the job is forgotten", 60)

    def test_mirror(self):
        """The copy of a disk that is written to, cancelled while the machine stands still, is the disk."""
        folder = self.directory()
        top = self.overlay(folder, "top.qcow2", self.disk("qcow2"))
        emulator, qmp = self.start_on(top)
        copies = [os.path.join(folder, "copy.qcow2"), os.path.join(folder, "copy.raw")]
        for copy in copies:
            qmp.value("drive-mirror", device="root", target=copy, sync="full", format=copy.rsplit(".", 1)[1], job_id="copy")
            refused = qmp.ask("block-stream", device="root")["error"]["desc"]
            self.assertEqual(refused, "Node 'root' is busy: block device is in use by block job: mirror")
            qmp.event("BLOCK_JOB_READY")
            self.some_rounds(emulator)
            self.assertEqual([(job["device"], job["ready"]) for job in qmp.value("query-block-jobs")], [("copy", True)])
            if copy != copies[-1]:
                qmp.value("block-job-cancel", device="copy")
                self.end(qmp)
        qmp.value("stop")
        qmp.value("block-job-cancel", device="copy")
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["top.qcow2", "sd.qcow2"])
        qmp.value("quit")
        self.assertEqual(emulator.wait(60), 0)
        self.sound(top)
        self.sound(copies[0])
        done = subprocess.run(["qemu-img", "compare", top, copies[1]], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_layers(self):
        """Commit of a middle layer, a mirror that is gone on with, a stream, a commit of the active layer; and a clean boot."""
        base, folder = self.disk("qcow2"), self.directory()
        top = self.overlay(folder, "top.qcow2", self.overlay(folder, "middle.qcow2", base))
        emulator, qmp = self.start_on(top)
        qmp.value("block-commit", device="root", top=os.path.join(folder, "middle.qcow2"))
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["top.qcow2", "sd.qcow2"])
        self.some_rounds(emulator)
        qmp.value("drive-mirror", device="root", target=os.path.join(folder, "copy.qcow2"), sync="top", format="qcow2")
        qmp.event("BLOCK_JOB_READY")
        self.some_rounds(emulator)
        qmp.value("block-job-complete", device="root")
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["copy.qcow2", "sd.qcow2"])
        self.some_rounds(emulator)
        qmp.value("block-commit", device="root")
        qmp.event("BLOCK_JOB_READY")
        self.some_rounds(emulator)
        qmp.value("block-job-complete", device="root")
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["sd.qcow2"])
        self.some_rounds(emulator)
        self.sh(emulator, "kill %1; wait; cd /root; md5sum f0 f1 f2 f3 > all; sync")
        self.power_off(emulator)
        self.sound(base)
        last = self.overlay(folder, "last.qcow2", base)
        again, qmp = self.start_on(last)
        self.assertRegex(guest.plain(again.text), r"ext4: clean,")
        qmp.value("block-stream", device="root", speed=64 << 20)
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["last.qcow2"])
        self.power_off(again)
        self.sound(last)
        self.assertNotIn("backing", image_tool("info", last).stdout)


if __name__ == "__main__":
    guest.main()
