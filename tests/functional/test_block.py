# SPDX-License-Identifier: MIT
"""Drives and their media while the machine runs: by both monitors, and as a guest sees them."""
import hashlib
import json
import os
import re
import subprocess

import guest
from test_control import BOARD, Control, Qmp
from test_disks import DISK, DiskTest, IMG, digest, image_tool


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

    def conclude(self, qmp, job, event="BLOCK_JOB_COMPLETED"):
        data = qmp.event(event)["data"]
        self.assertNotIn("error", data)
        self.assertEqual(data["type"], job)
        while qmp.event("JOB_STATUS_CHANGE")["data"]["status"] != "null":
            pass

    def same(self, first, second):
        done = subprocess.run([IMG, "compare", "-U", first, second], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_backups(self):
        base = make(self.path("base.qcow2"), "4M", "qcow2")
        raw = self.path("content.raw")
        with open(raw, "wb") as file:
            file.write(os.urandom(1 << 20))
            file.truncate(4 << 20)
        self.assertEqual(image_tool("convert", "-O", "qcow2", raw, base).returncode, 0)
        top = make(self.path("top.qcow2"), "4M", "qcow2", "-b", base, "-F", "qcow2")
        target, small = make(self.path("target.raw")), make(self.path("small.raw"), "2M")
        node = lambda name, path: f"driver=raw,node-name={name},file.driver=file,file.filename={path}"
        qmp = self.qmp("-drive", f"if=none,id=d0,file={top},format=qcow2,node-name=n0", "-device", "virtio-blk-device,drive=d0",
                       "-drive", "if=sd,id=card", "-blockdev", node("t", target), "-blockdev", node("small", small))
        refused = lambda command, **arguments: qmp.ask(command, **arguments)["error"]["desc"]
        file = self.path("b.qcow2")
        for arguments, message in (
                (dict(device="nope"), "Cannot find device='nope' nor node-name='nope'"), (dict(device="card"), "Device 'card' has no medium"),
                (dict(sync="foo"), "Parameter 'sync' does not accept value 'foo'"),
                (dict(sync="incremental"), "must provide a valid bitmap name for 'incremental' sync mode"),
                (dict(bitmap="x"), "Bitmap 'x' could not be found"), (dict(format="vdx"), "Unknown file format 'vdx'"),
                (dict(speed=-1), "Parameter 'speed' expects a non-negative value"), (dict(job_id="a b"), "Invalid job ID 'a b'"),
                (dict(mode="existing"), f"Could not open '{file}': No such file or directory"),
                (dict(sync="top", format="raw"), "Backing file not supported for file format 'raw'"),
                (dict(filter_node_name="f"), "'filter-node-name' is known to QEMU, but Rhea does not have it")):
            with self.subTest(arguments=arguments):
                self.assertEqual(refused("drive-backup", **{"device": "d0", "target": file, "sync": "full", **arguments}), message)
        for target_node, message in (("nope", "Cannot find device='nope' nor node-name='nope'"),
                                     ("n0", "Source and target cannot be the same"), ("d0", "Source and target cannot be the same"),
                                     ("small", "Source and target image have different sizes")):
            self.assertEqual(refused("blockdev-backup", device="d0", target=target_node, sync="full"), message)
        for name, arguments in (("full.qcow2", {}), ("packed.qcow2", {"compress": True}), ("full.raw", {"format": "raw"}),
                                ("top.qcow2.b", {"sync": "top"})):
            with self.subTest(name):
                qmp.value("drive-backup", **{"device": "d0", "target": self.path(name), "sync": "full", **arguments})
                self.conclude(qmp, "backup")
                self.same(top, self.path(name))
        self.assertIn("base.qcow2", image_tool("info", self.path("top.qcow2.b")).stdout)
        qmp.value("blockdev-backup", device="n0", target="t", sync="full", job_id="z", auto_finalize=False, auto_dismiss=False)
        self.assertEqual(qmp.event("BLOCK_JOB_PENDING")["data"], {"type": "backup", "id": "z"})
        self.assertEqual(refused("blockdev-del", node_name="t"), "Node t is in use")
        self.assertNotIn("t", [row["device"] for row in qmp.value("query-block")])
        qmp.value("block-job-finalize", id="z")
        self.assertEqual(qmp.value("query-jobs")[0]["status"], "concluded")
        qmp.value("job-dismiss", id="z")
        self.assertIn("t", [row["device"] for row in qmp.value("query-block")])
        qmp.value("blockdev-del", node_name="t")
        self.same(top, target)
        qmp.events.clear()
        qmp.value("drive-backup", device="d0", target=self.path("none.qcow2"), sync="none")
        self.assertEqual(refused("drive-backup", device="d0", target=file, sync="full", job_id="k"),
                         "Node 'd0' is busy: block device is in use by block job: backup")
        self.assertIn("Type backup, device d0: Completed 0 of 4194304 bytes",
                      qmp.value("human-monitor-command", command_line="info block-jobs"))
        self.assertIn("cannot accept command verb 'complete'", refused("block-job-complete", device="d0"))
        qmp.value("block-job-cancel", device="d0")
        self.conclude(qmp, "backup", "BLOCK_JOB_CANCELLED")
        self.same(top, self.path("none.qcow2"))
        self.assertEqual(qmp.value("human-monitor-command", command_line=f"drive_backup -f d0 {file}"), "")
        self.conclude(qmp, "backup")
        self.same(top, file)

    def test_a_node_that_is_gone_on_with(self):
        """After a mirror's end the node is the drive's medium, and nowhere else."""
        source, target = make(self.path("source.raw")), make(self.path("target.raw"))
        qmp = self.qmp("-drive", f"if=none,id=d0,file={source},format=raw", "-blockdev",
                       f"driver=raw,node-name=t,file.driver=file,file.filename={target}")
        people = lambda line: qmp.value("human-monitor-command", command_line=line)
        qmp.value("blockdev-mirror", device="d0", target="t", sync="full")
        qmp.event("BLOCK_JOB_READY")
        qmp.value("block-job-complete", device="d0")
        self.conclude(qmp, "mirror")
        self.assertIn(f"d0 (t): {target} (raw)", people("info block"))
        self.assertEqual([row["device"] for row in qmp.value("query-block") if row["device"] in ("d0", "t")], ["d0"])
        self.assertEqual([row["device"] for row in qmp.value("query-blockstats") if row["device"] in ("d0", "t")], ["d0"])
        self.assertNotIn("t: ", people("info block").replace("d0 (t): ", ""))
        self.assertEqual(qmp.ask("blockdev-del", node_name="t")["error"]["desc"], "Node t is in use")
        self.assertIn(f"d0 (t): {target} (raw)", people("info block t"))

    def test_layers_on_top(self):
        """External snapshots, as both monitors take them; and what is left in the files."""
        base = make(self.path("base.qcow2"), "4M", "qcow2")
        names = ("s1.qcow2", "s2.qcow2", "s3.qcow2", "there.qcow2", "node.qcow2", "small.qcow2")
        one, two, three, there, node, small = (self.path(name) for name in names)
        for path, size in ((there, "4M"), (node, "4M"), (small, "2M")):
            make(path, size, "qcow2")
        blockdev = lambda name, path: f"driver=qcow2,node-name={name},file.driver=file,file.filename={path}"
        qmp = self.qmp("-drive", f"if=none,id=d0,file={base},format=qcow2,node-name=n0", "-device", "virtio-blk-device,drive=d0",
                       "-drive", "if=sd,id=card", "-blockdev", blockdev("node", node), "-blockdev", blockdev("small", small),
                       "-drive", f"if=none,id=fleeting,file={make(self.path('x.raw'))},format=raw,snapshot=on")
        refused = lambda command, **arguments: qmp.ask(command, **arguments)["error"]["desc"]
        for arguments, message in (
                (dict(device="nope"), "Cannot find device='nope' nor node-name=''"), (dict(device="card"), "Device 'card' has no medium"),
                (dict(node_name="n0", device=""), "New overlay node-name missing"),
                (dict(snapshot_node_name="node"), "New overlay node-name already in use"),
                (dict(format="foo"), "Unknown file format 'foo'"), (dict(format="raw"), "Backing file not supported for file format 'raw'"),
                (dict(snapshot_file="/nonexistent/x"), "Could not create '/nonexistent/x': No such file or directory"),
                (dict(snapshot_file=base), "Error: Trying to create an image with the same filename as the backing file"),
                (dict(mode="existing"), f"Could not open '{one}': No such file or directory"),
                (dict(device="fleeting"), "'fleeting' is written to a temporary file (snapshot=on): no layer can lie on that")):
            with self.subTest(arguments=arguments):
                self.assertEqual(refused("blockdev-snapshot-sync", **{"device": "d0", "snapshot_file": one, **arguments}), message)
        qmp.value("blockdev-snapshot-sync", node_name="n0", snapshot_file=one, snapshot_node_name="n1")
        self.assertEqual(qmp.value("human-monitor-command", command_line=f"snapshot_blkdev d0 {two}"), "")
        self.assertEqual(qmp.value("human-monitor-command", command_line="snapshot_blkdev d0"),
                         "Error: Parameter 'snapshot-file' is missing\r\n")
        qmp.value("blockdev-snapshot-sync", device="d0", snapshot_file=there, mode="existing", snapshot_node_name="n3")
        for overlay, message in (("nope", "Cannot find device='nope' nor node-name='nope'"), ("n3", "The overlay is already in use"),
                                 ("small", "The overlay is smaller than the disk: 2097152 bytes of 4194304")):
            self.assertEqual(refused("blockdev-snapshot", node="n3", overlay=overlay), message)
        qmp.value("blockdev-snapshot", node="n3", overlay="node")
        rows = {row["device"]: row for row in qmp.value("query-block")}
        self.assertEqual(set(rows), {"d0", "card", "small", "fleeting"})
        self.assertEqual((rows["d0"]["inserted"]["node-name"], rows["d0"]["inserted"]["backing_file_depth"]), ("node", 4))
        self.assertNotIn("[not inserted]\r\n    Removable", qmp.value("human-monitor-command", command_line="info block"))
        self.assertEqual(refused("blockdev-del", node_name="node"), "Node node is in use")
        self.assertEqual(qmp.value("human-monitor-command", command_line="drive_del node"),
                         "Error: Deleting device added with blockdev-add is not supported\r\n")
        qmp.value("quit")
        self.assertEqual(self.emulator.wait(), 0)
        for above, below in ((node, there), (there, two), (two, one), (one, base)):
            info = json.loads(image_tool("info", "--output=json", above).stdout)
            self.assertEqual((info["backing-filename"], info["backing-filename-format"]), (below, "qcow2"))

    def test_limits(self):
        """Groups of limits as objects, for drives and for filter nodes."""
        raw = make(self.path("x.raw"))
        qmp = self.qmp("-object", "throttle-group,id=g,x-iops-total=100,x-iops-total-max=200", "-object",
                       json.dumps({"qom-type": "throttle-group", "id": "h", "limits": {"bps-total": 1048576}}),
                       "-blockdev", f"driver=raw,node-name=f,file.driver=file,file.filename={raw}", "-blockdev",
                       "driver=throttle,node-name=t,throttle-group=g,file=f", "-device", "virtio-blk-device,drive=t,id=vb",
                       "-drive", "if=none,id=d,file=null-co://,format=raw,throttling.group=h,throttling.bps-total=77",
                       "-drive", "if=none,id=e,file=null-co://,format=raw,throttling.group=h")
        refused = lambda command, **arguments: qmp.ask(command, **arguments)["error"]["desc"]
        limits = lambda name: {key: value for key, value in qmp.value("qom-get", path=f"/objects/{name}", property="limits").items()
                               if value and not key.endswith("-length")}
        people = lambda line: qmp.value("human-monitor-command", command_line=line)
        self.assertEqual(limits("g"), {"iops-total": 100, "iops-total-max": 200})
        self.assertEqual(limits("h"), {"bps-total": 77})
        rows = {row["device"]: row["inserted"] for row in qmp.value("query-block") if "inserted" in row}
        self.assertEqual((rows["d"]["bps"], rows["d"]["group"], rows["e"]["bps"], rows["e"]["group"]), (77, "h", 77, "h"))
        self.assertRegex(people("info block t"), r"iops=100 .* iops_max=200 .* group=g")
        self.assertEqual(qmp.value("qom-get", path="/objects/g", property="x-iops-total"), 100)
        self.assertEqual(refused("qom-set", path="/objects/g", property="x-iops-total", value=5),
                         "Property cannot be set after initialization")
        for value, message in (({"foo": 1}, "Parameter 'limits.foo' is unexpected"),
                               ({"bps-total": "1"}, "Invalid parameter type for 'limits.bps-total', expected: integer"),
                               ({"bps-total": 1, "bps-read": 1}, "bps/iops/max total values and read/write values cannot be used at the "
                                                                 "same time")):
            self.assertEqual(refused("qom-set", path="/objects/g", property="limits", value=value), message)
        qmp.value("qom-set", path="/objects/g", property="limits", value={"iops-total": 0, "iops-total-max": 0, "bps-read": 12})
        self.assertEqual(limits("g"), {"bps-read": 12})
        for name in ("g", "h"):
            self.assertEqual(refused("object-del", id=name), f"object '{name}' is in use, can not be deleted")
        for device in ("d", "e"):
            self.assertEqual(people(f"block_set_io_throttle {device} 0 0 0 0 0 0"), "")
        qmp.value("object-del", id="h")
        qmp.value("object-add", qom_type="throttle-group", id="n", limits={"bps-total": 5})
        self.assertEqual(limits("n"), {"bps-total": 5})
        qmp.value("blockdev-add", driver="throttle", node_name="t2", throttle_group="n", file={"driver": "null-co"})
        self.assertEqual(refused("object-del", id="n"), "object 'n' is in use, can not be deleted")
        qmp.value("blockdev-del", node_name="t2")
        qmp.value("object-del", id="n")
        for options, message in (
                (("-object", "throttle-group,id=a,foo=1"), "Property 'throttle-group.foo' not found"),
                (("-object", "throttle-group,id=a,x-bps-total-max=5"), "bps_max/iops_max require corresponding bps/iops values"),
                (("-object", "throttle-group,id=a,x-bps-totl=5"), "did you mean 'x-bps-total'?"),
                (("-blockdev", "driver=throttle,node-name=t,file.driver=null-co"), "Parameter 'throttle-group' is missing"),
                (("-blockdev", "driver=throttle,node-name=t,throttle-group=z,file.driver=null-co"), "Throttle group 'z' does not exist"),
                (("-object", "throttle-group,id=a", "-blockdev", "driver=throttle,node-name=t,throttle-group=a"), "Parameter 'file' is missing"),
                (("-drive", "if=none,id=x,file=null-co://,format=raw,throttling.group=a"), "a group needs a limit")):
            status, _, errors = guest.call(*BOARD, *options)
            self.assertEqual(status, 1)
            self.assertIn(message, errors)

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

    def test_backup(self):
        """Copies of the disk as it was at a moment, which are made while it is written to."""
        folder = self.directory()
        top = self.overlay(folder, "top.qcow2", self.disk("qcow2"))
        emulator, qmp = self.start_on(top)
        path = lambda name: os.path.join(folder, name)
        for sync, kind in (("full", "raw"), ("top", "qcow2"), ("none", "qcow2")):
            qmp.value("stop")
            # A mirror of the machine that stands still is what the backup has to be.
            qmp.value("drive-mirror", device="root", target=path(f"then.{sync}"), sync="full", format="raw")
            qmp.event("BLOCK_JOB_READY")
            qmp.value("block-job-cancel", device="root")
            self.end(qmp)
            qmp.value("drive-backup", device="root", target=path(sync), sync=sync, format=kind, speed=1)
            qmp.value("cont")
            self.some_rounds(emulator, 4)
            if sync != "none":
                qmp.value("block-job-set-speed", device="root", speed=0)
                self.end(qmp)
        qmp.value("stop")
        done = qmp.value("query-block-jobs")[0]
        self.assertTrue(0 < done["offset"] < done["len"], done)
        qmp.value("block-job-cancel", device="root")
        self.assertNotIn("error", qmp.event("BLOCK_JOB_CANCELLED")["data"])
        qmp.value("quit")
        self.assertEqual(emulator.wait(60), 0)
        self.sound(top)
        for sync in ("full", "top", "none"):
            done = subprocess.run(["qemu-img", "compare", path(sync), path(f"then.{sync}")], stdout=subprocess.PIPE, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, f"sync={sync}: {done.stdout}")

    def test_layers_on_top(self):
        """New layers under a guest that writes; what lies below does not change any more; and down again."""
        base, folder = self.disk("qcow2"), self.directory()
        emulator, qmp = self.start_on(base)
        names = ["sd.qcow2"]
        for name in ("one.qcow2", "two.qcow2"):
            self.some_rounds(emulator)
            qmp.value("blockdev-snapshot-sync", device="root", snapshot_file=os.path.join(folder, name))
            names.insert(0, name)
            self.assertEqual(self.chain(qmp), names)
            before = digest(base)
        self.some_rounds(emulator)
        self.assertEqual(digest(base), before)
        qmp.value("block-commit", device="root", base=base)
        qmp.event("BLOCK_JOB_READY")
        self.some_rounds(emulator)
        qmp.value("block-job-complete", device="root")
        self.end(qmp)
        self.assertEqual(self.chain(qmp), ["sd.qcow2"])
        self.some_rounds(emulator)
        self.sh(emulator, "kill %1; wait; cd /root; md5sum f0 f1 f2 f3 > all; sync")
        self.power_off(emulator)
        self.sound(base)
        again, qmp = self.start_on(base)
        self.assertRegex(guest.plain(again.text), r"ext4: clean,")
        self.power_off(again)

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


class Limits(DiskTest):
    """A Debian reads from disks whose limits are so low that it would not come to the end, until they are lifted."""

    def test_lifted(self):
        folder, console = self.directory(), os.path.join(self.directory(), "monitor")
        content = os.urandom(4 << 20)
        paths = [os.path.join(folder, name) for name in ("b.raw", "c.raw")]
        for path in paths:
            with open(path, "wb") as file:
                file.write(content)
        emulator = self.debian("-drive", f"if=sd,file={DISK},format=raw,snapshot=on", "-object", "throttle-group,id=g", "-blockdev",
                               f"driver=throttle,node-name=b,throttle-group=g,file.driver=raw,file.file.driver=file,file.file.filename={paths[0]}",
                               "-device", "virtio-blk-device,drive=b,serial=disk-b", "-drive",
                               f"if=none,id=c,file={paths[1]},format=raw,throttling.group=g", "-device",
                               "virtio-blk-device,drive=c,serial=disk-c", "-net", "none", "-qmp",
                               f"unix:{console},server=on,wait=off")
        qmp = Qmp(console)
        self.addCleanup(qmp.close)
        self.log_in(emulator)
        disks = {name: re.findall(r"\n/sys/block/(vd\w)/serial", self.sh(emulator, f"grep -l disk-{name} /sys/block/vd*/serial"))[-1]
                 for name in "bc"}
        read = lambda: sum(row["stats"]["rd_bytes"] for row in qmp.value("query-blockstats") if row["device"] in "bc")
        ended = lambda *names: " -a ".join(f"-e /root/{name}" for name in names)

        def start_reading():
            for name, disk in disks.items():
                self.sh(emulator, f"rm -f /root/{name}; (dd if=/dev/{disk} bs=256k iflag=direct 2>/dev/null | md5sum > /root/{name}.part; "
                                  f"mv /root/{name}.part /root/{name}) & true")

        def wait_for(*names):
            self.sh(emulator, f"i=0; while [ $i -lt 600 ] && ! test {ended(*names)}; do i=$((i+1)); sleep 0.2; done; test {ended(*names)}", 240)

        # A byte a second for both of the group; the root disk is in none.
        qmp.value("qom-set", path="/objects/g", property="limits", value={"bps-total": 1})
        before = read()
        start_reading()
        self.sh(emulator, "for i in 1 2 3; do dd if=/dev/urandom of=/root/x bs=64k count=32 conv=fsync 2>/dev/null; done; "
                          "! test -e /root/b -o -e /root/c", 240)
        self.assertLess(read() - before, 2 << 20)
        qmp.value("qom-set", path="/objects/g", property="limits", value={"bps-total": 0})
        wait_for("b", "c")
        # The same for one device; the other of the group is free.
        limit = lambda bytes_: qmp.value("human-monitor-command", command_line=f"block_set_io_throttle b 0 {bytes_} 0 0 0 0")
        self.assertEqual(limit(1), "")
        start_reading()
        wait_for("c")
        self.sh(emulator, "! test -e /root/b")
        self.assertEqual(limit(0), "")
        wait_for("b")
        text = self.sh(emulator, "wait; cat /root/b /root/c")
        self.assertEqual(text.count(hashlib.md5(content).hexdigest()), 2)
        self.power_off(emulator)


if __name__ == "__main__":
    guest.main()
