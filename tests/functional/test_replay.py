# SPDX-License-Identifier: MIT
"""A run with input from outside is recorded; its replay is the same to the instruction."""
import os
import re

import guest
from guest import GuestTest, PROMPT, call, machine, rhea_only


@rhea_only("the recording is Rhea's own")
class Replay(GuestTest):
    def icount(self, mode, path, shift=3):
        return ("-icount", f"shift={shift},rr={mode},rrfile={path}")

    def traced(self, name):
        return ("-accel", f"tcg,trace={self.folder}/{name}:2000000")

    def setUp(self):
        super().setUp()
        self.folder = self.directory()

    def lines(self, name):
        with open(os.path.join(self.folder, name), encoding="ascii") as file:
            return file.read().splitlines()

    def assertSameRun(self, first, second):
        recorded, replayed = self.lines(first), self.lines(second)
        self.assertGreater(len(replayed), 100)
        for number, (one, other) in enumerate(zip(recorded, replayed)):
            self.assertEqual(one, other, f"line {number}")
        self.assertGreaterEqual(len(replayed), len(recorded) - 2)

    def test_serial_and_network_input(self):
        log = os.path.join(self.folder, "rr")
        recording = self.start(*machine(*self.icount("record", log), *self.traced("first"), "-nic", "user"))
        recording.expect(PROMPT, 300)
        for command in ("uname -r", "ip addr show eth0", "ping -c 2 10.0.2.2", "cat /proc/interrupts"):
            self.guest_runs(recording, command, 120)
        self.guest_runs(recording, "echo rec''orded")
        recording.send("\x01cinfo replay\nquit\n")
        recording.expect(r"Recording execution '.*rr': instruction count = \d+")
        self.assertEqual(recording.wait(), 0)

        replaying = self.start(*machine(*self.icount("replay", log), *self.traced("second"), "-nic", "user"))
        replaying.expect("recorded", 400)
        replaying.send("\x01c")
        replaying.expect(guest.MONITOR_PROMPT)
        guest.wait_until(lambda: "the recording ends here" in replaying.stderr(),
                         "the replay comes to its end", 60)
        self.assertIn("the recording ends here", replaying.stderr())
        self.assertNotIn("differs", replaying.stderr())
        self.assertIn("VM status: paused", replaying.monitor("info status"))
        self.assertIn("Replaying execution", replaying.monitor("info replay"))
        replaying.send("quit\n")
        self.assertEqual(replaying.wait(), 0)
        self.assertEqual(guest.plain(recording.text).split("recorded")[0].splitlines()[:200],
                         guest.plain(replaying.text).split("recorded")[0].splitlines()[:200])
        self.assertSameRun("first", "second")

    def test_keys_mouse_and_cable(self):
        """What a person does in the monitor: the replay shows the guest the same, without the person."""
        log = os.path.join(self.folder, "rr")
        recording = self.start(*machine(*self.icount("record", log), *self.traced("first"), "-net", "nic", "-net", "user"))
        recording.expect(PROMPT, 300)
        self.guest_runs(recording, "modprobe -a ambakmi psmouse evdev; "
                                   "until grep -q event1 /proc/bus/input/devices; do sleep 0.1; done", 120)
        self.guest_runs(recording, "(cat /dev/input/event0 > /tmp/keys &); (cat /dev/input/event1 > /tmp/mouse &); for n in 0 1; do "
                                   "until ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q input/event$n; do sleep 0.1; done; done", 120)
        recording.open_monitor()
        for command in ("sendkey shift-a 50", "mouse_move 5 -7", "mouse_button 1", "mouse_button 0", "set_link lan9118.0 off"):
            self.assertEqual(recording.monitor(command), "")
        recording.send("\x01c\n")
        recording.expect(PROMPT)
        for name in ("keys", "mouse"):
            self.guest_runs(recording, f"until [ -s /tmp/{name} ]; do sleep 0.1; done", 120)
        self.guest_runs(recording, "until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done", 120)
        self.assertEqual(recording.in_monitor("set_link lan9118.0 on"), "")
        self.guest_runs(recording, "until [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done", 120)
        self.guest_runs(recording, "hexdump -C /tmp/keys; hexdump -C /tmp/mouse; echo rec''orded")
        shown = guest.plain(recording.text)
        self.assertEqual(recording.stderr(), "")
        recording.send("\x01cquit\n")
        self.assertEqual(recording.wait(), 0)

        replaying = self.start(*machine(*self.icount("replay", log), *self.traced("second"), "-net", "nic", "-net", "user"))
        replaying.expect("recorded", 400)
        replaying.open_monitor()
        guest.wait_until(lambda: "the recording ends here" in replaying.stderr(), "the replay comes to its end", 60)
        self.assertNotIn("differs", replaying.stderr())
        dump = re.compile(r"(?m)^000000[0-9a-f]0 .*$")
        self.assertTrue(dump.findall(shown))
        self.assertEqual(dump.findall(shown), dump.findall(guest.plain(replaying.text)))
        replaying.send("quit\n")
        self.assertEqual(replaying.wait(), 0)
        self.assertSameRun("first", "second")

    def test_what_does_not_fit_is_refused(self):
        log = os.path.join(self.folder, "rr")
        for words, message in ((("shift=3,rr=record",), "File name not specified for replay"),
                               ((f"shift=3,rr=recrod,rrfile={log}",), "Invalid icount rr option: recrod (did you mean 'record'?)"),
                               ((f"shift=3,rrfile={log}",), "'rrfile' needs rr=record or rr=replay"),
                               ((f"shift=3,rr=replay,rrfile={log}",), "No such file or directory")):
            status, _, errors = call("-M", "vexpress-a9", "-icount", *words, "-display", "none", "-S")
            self.assertEqual(status, 1)
            self.assertIn(message, errors)
        with open(log, "wb") as file:
            file.write(b"no recording" * 100)
        status, _, errors = call("-M", "vexpress-a9", *self.icount("replay", log), "-display", "none", "-S")
        self.assertEqual(status, 1)
        self.assertIn("it is no recording", errors)

    def test_breaks_and_seeks(self):
        log = os.path.join(self.folder, "rr")
        first = self.start_monitor(*self.icount("record", log))
        first.monitor("cont")
        guest.wait_until(lambda: int(first.monitor("info replay").rsplit(" ", 1)[1]) >= 30_000_000,
                         "30 million instructions are recorded", 60)
        first.send("quit\n")
        self.assertEqual(first.wait(), 0)
        replay = self.start_monitor(*self.icount("replay", log))
        self.assertIn("instruction count = 0", replay.monitor("info replay"))
        self.assertEqual(replay.monitor("replay_break 12345678"), "")
        replay.monitor("cont")
        guest.wait_until(lambda: "paused" in replay.monitor("info status"), "the replay stops at its break", 60)
        self.assertIn("instruction count = 12345678", replay.monitor("info replay"))
        registers = replay.monitor("info registers")
        self.assertEqual(replay.monitor("replay_seek 20000001"), "")
        guest.wait_until(lambda: "= 20000001" in replay.monitor("info replay"), "the replay comes there", 60)
        self.assertIn("Error: instruction 5 is over", replay.monitor("replay_break 5"))
        self.assertIn("Error: no break is set", replay.monitor("replay_delete_break"))
        self.assertNotEqual(registers, replay.monitor("info registers"))


if __name__ == "__main__":
    guest.main()
