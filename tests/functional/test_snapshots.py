# SPDX-License-Identifier: MIT
"""savevm, loadvm and migrate, on a stock guest that works meanwhile."""
import os
import re
import socket
import unittest

import guest
import host
from guest import GuestTest, PROMPT, call, machine, rhea_only

# In the background: what the guest computes shows whether memory came back whole.
LOAD = "(while :; do md5sum /bin/busybox /proc/version; done >/tmp/sums 2>&1 &)"
# The last line may be half written.
SUMS_AGREE = "sleep 1; sed '$d' /tmp/sums | awk '{print $1}' | sort -u | wc -l"


class SnapshotTest(GuestTest):
    def setUp(self):
        super().setUp()
        self.folder = self.directory()

    def snapshots(self):
        return ("-M", f"snapshots={self.folder}")

    def boot_here(self, *extra, **how):
        return self.boot(*self.snapshots(), *extra, **how)

    def assertWorks(self, emulator):
        """The guest's memory is what it was: files in it are whole, and no process has failed."""
        self.assertEqual(self.guest_runs(emulator, "md5sum /tmp/data | cut -c1-32 | diff - /tmp/data.sum && echo whole").strip(), "whole")
        self.assertRegex(self.guest_runs(emulator, "dmesg | grep -ciE 'oops|bug:|unable to handle' || true").strip(), r"^0$")

    def fill(self, emulator, megabytes=16):
        self.guest_runs(emulator, f"dd if=/dev/urandom of=/tmp/data bs=1M count={megabytes} 2>/dev/null; md5sum /tmp/data | cut -c1-32 > /tmp/data.sum")


@rhea_only("snapshots without a disk")
class Short(SnapshotTest):
    def test_back_and_on_under_load(self):
        emulator = self.boot_here("-smp", "2")
        self.fill(emulator)
        self.guest_runs(emulator, LOAD)
        self.guest_runs(emulator, "echo before > /tmp/state")
        self.assertEqual(emulator.in_monitor("savevm first"), "")
        self.guest_runs(emulator, "echo after > /tmp/state; rm /tmp/data")
        for _ in range(3):
            self.assertEqual(emulator.in_monitor("loadvm first"), "")
            self.assertEqual(self.guest_runs(emulator, "cat /tmp/state").strip(), "before")
            self.assertWorks(emulator)
            self.guest_runs(emulator, "echo after > /tmp/state")
        self.assertEqual(self.guest_runs(emulator, SUMS_AGREE).strip(), "2")

    def test_names(self):
        emulator = self.boot_here()
        texts = emulator.in_monitor("info snapshots", "savevm one", "savevm two", "savevm one", "info snapshots", "delvm two",
                                    "delvm two", "loadvm nope", "savevm a/b", "info status")
        self.assertEqual(texts[0], "There is no snapshot available.")
        self.assertEqual(texts[1:4], ["", "", ""])
        self.assertRegex(texts[4], r"List of snapshots present on all disks:\nID +TAG +VM SIZE +DATE +VM CLOCK +ICOUNT\n")
        # By date: `one` was taken again behind `two`, perhaps within the same second.
        self.assertEqual(sorted(re.findall(r"(?m)^-- +(\w+) ", texts[4])), ["one", "two"])
        self.assertEqual(texts[5], "")
        self.assertEqual(texts[6], "Error: Snapshot 'two' does not exist in one or more devices")
        self.assertEqual(texts[7], "Error: Snapshot 'nope' does not exist in one or more devices")
        self.assertIn("cannot be the name of a snapshot", texts[8])
        self.assertEqual(texts[9], "VM status: running", "a load that failed changes nothing")
        self.guest_runs(emulator, "true")

    def test_a_damaged_snapshot_changes_nothing(self):
        emulator = self.boot_here()
        self.fill(emulator, 4)
        self.assertEqual(emulator.in_monitor("savevm good"), "")
        path = os.path.join(self.folder, "good.state")
        with open(path, "rb") as file:
            whole = file.read()
        for name, damaged in (("cut", whole[:len(whole) // 2]), ("flipped", whole[:-5000] + bytes([whole[-5000] ^ 1]) + whole[-4999:]),
                              ("empty", b""), ("other", b"hello world, this is no state at all" * 10)):
            with open(os.path.join(self.folder, f"{name}.state"), "wb") as file:
                file.write(damaged)
            text, status = emulator.in_monitor(f"loadvm {name}", "info status")
            self.assertRegex(text, rf"Error: Snapshot '{name}': ")
            self.assertEqual(status, "VM status: running")
            self.assertWorks(emulator)

    def test_no_place_for_snapshots(self):
        monitor = self.start_monitor()
        for command in ("savevm x", "loadvm x", "delvm x", "info snapshots"):
            self.assertEqual(monitor.monitor(command), "Error: no block device can store vmstate for snapshot")

    def test_starts_from_a_snapshot(self):
        emulator = self.boot_here()
        self.guest_runs(emulator, "echo kept > /tmp/state")
        emulator.in_monitor("savevm here")
        other = self.start(*machine(*self.snapshots(), "-loadvm", "here"))
        other.send("\n")
        other.expect(PROMPT)
        self.assertEqual(self.guest_runs(other, "cat /tmp/state").strip(), "kept")
        status, _, errors = call(*machine(*self.snapshots(), "-loadvm", "nowhere"))
        self.assertEqual(status, 1)
        self.assertIn("Snapshot 'nowhere' does not exist", errors)
        status, _, errors = call(*machine(*self.snapshots(), "-loadvm", "here", memory="256M"))
        self.assertEqual(status, 1)
        self.assertIn("its memory 'vexpress.highmem' has 524288 KiB, this machine's has 262144 (-m)", errors)


@rhea_only("the stream is Rhea's own")
class Migration(SnapshotTest):
    def migrate(self, uri, incoming, *more, source=(), options=()):
        emulator = self.boot("-smp", "2", *source)
        self.fill(emulator)
        self.guest_runs(emulator, LOAD)
        emulator.open_monitor()
        self.assertEqual(emulator.monitor(f"migrate {uri}"), "")
        self.assertRegex(emulator.monitor("info migrate"), r"(?s)Migration status: completed\n.*total ram: \d+ kbytes")
        self.assertEqual(emulator.monitor("info status"), "VM status: paused (postmigrate)")
        other = self.start(*machine("-smp", "2", "-incoming", incoming, *options))
        other.send("\n")
        other.expect(PROMPT)
        self.assertWorks(other)
        self.assertEqual(self.guest_runs(other, SUMS_AGREE).strip(), "2")

    def test_through_a_file(self):
        self.migrate(f"file:{self.folder}/state", f"file:{self.folder}/state")

    def test_through_commands(self):
        self.migrate(f'"exec:gzip -1 > {self.folder}/state.gz"', f"exec:gzip -dc {self.folder}/state.gz")

    def test_to_another_engine_and_another_cpu(self):
        self.migrate(f"file:{self.folder}/state", f"file:{self.folder}/state", source=("-accel", "tcg,host-features=none"),
                     options=("-accel", "tcg,host-features=all,inline-fp=off"))

    def test_over_connections(self):
        """Both kinds, one after the other: through a second process into a third one. Each answers while it waits."""
        emulator = self.boot("-smp", "2")
        self.fill(emulator, 8)
        self.guest_runs(emulator, LOAD)
        for uri in (f"tcp:127.0.0.1:{host.free_port()}", f"unix:{self.folder}/socket"):
            other = self.start(*machine("-smp", "2", "-incoming", uri))
            other.open_monitor()
            self.assertEqual(other.monitor("info status"), "VM status: paused (inmigrate)")
            emulator.open_monitor()
            self.assertEqual(emulator.monitor(f"migrate {uri}", 120), "")
            self.assertRegex(emulator.monitor("info migrate"), r"(?s)Migration status: completed\n.*total ram: \d+ kbytes")
            self.assertEqual(emulator.monitor("info status"), "VM status: paused (postmigrate)")
            guest.wait_until(lambda: other.monitor("info status") == "VM status: running", "the state has come", 60)
            other.send("\x01c\n")
            other.expect(PROMPT)
            self.assertWorks(other)
            emulator.send("quit\n")
            self.assertEqual(emulator.wait(), 0)
            emulator = other
        self.assertEqual(self.guest_runs(emulator, SUMS_AGREE).strip(), "2")
        self.assertFalse(os.path.exists(f"{self.folder}/socket"))

    def test_nobody_there(self):
        """The machine goes on; the monitor answers while a sender says nothing, and rubbish ends the receiver."""
        emulator = self.boot()
        port = host.free_port()
        errors = emulator.in_monitor(f"migrate tcp:127.0.0.1:{port}", "info status", f"migrate unix:{self.folder}/nobody",
                                     "migrate -d -b exec:cat", "migrate tcp:nowhere", "info status")
        self.assertEqual(errors[0], f"Error: Failed to connect to '127.0.0.1:{port}': Connection refused")
        self.assertEqual(errors[1], "VM status: running")
        self.assertIn("No such file or directory", errors[2])
        self.assertIn("disks are not sent along", errors[3])
        self.assertRegex(errors[4], "^Error: ")
        self.assertEqual(errors[5], "VM status: running")
        self.guest_runs(emulator, "true")
        other = self.start(*machine("-incoming", f"tcp:127.0.0.1:{port}"))
        other.open_monitor()
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(b"rubbish" * 1000)
            guest.wait_until(lambda: "transferred ram: 6 kbytes" in other.monitor("info migrate"), "it has come")
            self.assertEqual(other.monitor("info status"), "VM status: paused (inmigrate)")
        self.assertEqual(other.wait(), 1)
        self.assertIn("load of migration failed: ", other.stderr())

    def test_what_can_go_wrong(self):
        emulator = self.boot()
        errors = emulator.in_monitor("migrate foo:bar", "migrate file:/nowhere/x", "migrate exec:false", "info migrate", "info status")
        self.assertIn("unknown migration protocol: foo:bar", errors[0])
        self.assertIn("Could not open '/nowhere/x': No such file or directory", errors[1])
        self.assertRegex(errors[2], "Error: the command takes no more|Error: it exited with status 1")
        self.assertIn("Migration status: failed", errors[3])
        self.assertEqual(errors[4], "VM status: running")
        self.guest_runs(emulator, "true")
        path = os.path.join(self.folder, "state")
        for content in (b"", b"x" * 100):
            with open(path, "wb") as file:
                file.write(content)
            status, _, text = call(*machine("-incoming", f"file:{path}"))
            self.assertEqual(status, 1)
            self.assertIn("load of migration failed: ", text)
        self.disks_after_a_failure(path)
        status, _, text = call(*machine("-incoming", "smoke:signals"))
        self.assertEqual(status, 1)
        self.assertIn("unknown migration protocol: smoke:signals", text)

    def disks_after_a_failure(self, rubbish):
        """With -incoming defer a state that is none leaves the disk to others, and a good one may come after it."""
        disk, good = os.path.join(self.folder, "disk"), os.path.join(self.folder, "good")
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        drive = ("-drive", f"if=sd,format=raw,file={disk}")
        waiting = self.start_monitor("-incoming", "defer", *drive)
        self.assertRegex(waiting.monitor(f"migrate_incoming file:{rubbish}"), "^Error: ")
        self.assertEqual(waiting.monitor("info status"), "VM status: paused (inmigrate)")
        sender = self.start_monitor(*drive)
        self.assertEqual(sender.monitor(f"migrate file:{good}"), "")
        self.assertEqual(waiting.monitor(f"migrate_incoming file:{good}"), "")
        self.assertEqual(waiting.monitor("info status"), "VM status: paused")
        third = self.start("-M", "vexpress-a9", "-display", "none", "-S", *drive)
        self.assertEqual(third.wait(), 1)
        self.assertIn("lock", third.stderr())


@rhea_only("snapshots without a disk")
class Long(SnapshotTest):
    def test_twenty_times(self):
        emulator = self.boot_here("-smp", "4")
        self.fill(emulator)
        self.guest_runs(emulator, LOAD)
        for round_number in range(20):
            self.guest_runs(emulator, f"echo {round_number} > /tmp/round")
            self.assertEqual(emulator.in_monitor("savevm again"), "")
            self.guest_runs(emulator, "echo lost > /tmp/round")
            self.assertEqual(emulator.in_monitor("loadvm again"), "")
            self.assertEqual(self.guest_runs(emulator, "cat /tmp/round").strip(), str(round_number))
            self.assertWorks(emulator)
        self.assertEqual(self.guest_runs(emulator, SUMS_AGREE).strip(), "2")


if __name__ == "__main__":
    guest.main()
