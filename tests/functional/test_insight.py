# SPDX-License-Identifier: MIT
"""What monitors tell of interrupts, virtio devices and filters of a guest; ports that come and go; descriptors handed over."""
import json
import os
import re
import socket

import guest
from test_control import Control, Qmp


class Insight(guest.GuestTest):
    """A stock guest with virtio devices, looked at from outside."""

    def test_interrupts_queues_and_filters(self):
        path = os.path.join(self.directory(), "qmp")
        emulator = self.boot("-nic", "none", "-netdev", "user,id=u", "-device", "virtio-net-device,netdev=u,id=vn,mac=52:54:00:00:00:77",
                             "-device", "virtio-rng-device,id=r", "-device", "virtio-balloon-device,id=idle", "-qmp",
                             f"unix:{path},server=on,wait=off")
        qmp = Qmp(path)
        self.addCleanup(qmp.close)
        self.guest_runs(emulator, "grep -qx 52:54:00:00:00:77 /sys/class/net/eth0/address && ping -c 1 10.0.2.2")

        def interrupts():
            text = qmp.value("x-query-irq")["human-readable-text"]
            self.assertTrue(text.startswith("IRQ statistics for "), text)
            return {int(irq): int(times) for irq, times in re.findall(r"^ *(\d+): (\d+)$", text, re.M)}

        before = interrupts()
        self.assertGreater(before.get(29, 0) + before.get(34, 0), 0, "no timer interrupt")
        self.guest_runs(emulator, "ping -c 3 10.0.2.2")
        after = interrupts()
        self.assertTrue(all(after[irq] >= times for irq, times in before.items()))
        self.assertGreater(sum(after.values()), sum(before.values()))

        self.assertEqual([row["name"] for row in qmp.value("x-query-virtio")], ["virtio-balloon", "virtio-rng", "virtio-net"])
        place = "/machine/peripheral/vn"
        status = qmp.value("x-query-virtio-status", path=place)
        self.assertEqual((status["name"], status["device-id"], status["started"], status["broken"], status["num-vqs"]),
                         ("virtio-net", 1, True, False, 3))
        self.assertEqual([text.split(":")[0] for text in status["status"]["statuses"]],
                         ["VIRTIO_CONFIG_S_ACKNOWLEDGE", "VIRTIO_CONFIG_S_DRIVER", "VIRTIO_CONFIG_S_DRIVER_OK"])
        taken = {text.split(":")[0] for text in status["guest-features"]["dev-features"]}
        offered = {text.split(":")[0] for text in status["host-features"]["dev-features"]}
        self.assertIn("VIRTIO_NET_F_MAC", taken)
        self.assertLessEqual(taken, offered)
        idle = qmp.value("x-query-virtio-status", path="/machine/peripheral/idle")
        self.assertEqual((idle["started"], idle["guest-features"]["dev-features"]), (False, []))
        queue = qmp.value("x-query-virtio-queue-status", path=place, queue=0)
        self.assertTrue(0x60000000 <= queue["vring-desc"] < 0x80000000, queue)
        self.assertGreaterEqual(queue["used-idx"], 4)
        element = qmp.value("x-query-virtio-queue-element", path=place, queue=0)
        self.assertEqual(element["avail"]["ring"], element["index"])
        self.assertTrue(all("write" in piece["flags"] and piece["len"] for piece in element["descs"]), element)
        refused = [qmp.ask(f"x-query-virtio-{what}", path=where, queue=number)["error"]["desc"] for what, where, number in (
            ("queue-status", "/machine", 0), ("queue-status", place, 3), ("queue-element", "/machine/peripheral/idle", 0),
            ("queue-status", place, -1))]
        self.assertEqual(refused, ["Path /machine is not a VirtIODevice", "Invalid virtqueue number 3",
                                   "Region caches not initialized", f"Invalid virtqueue number {2 ** 64 - 1}"])
        text = qmp.value("human-monitor-command", command_line=f"info virtio-status {place}").replace("\r", "")
        self.assertRegex(text, r"  started: +true\n")
        text = qmp.value("human-monitor-command", command_line=f"info virtio-queue-element {place} 0").replace("\r", "")
        self.assertRegex(text, r"        addr 0x[0-9a-f]+ len \d+ \(write\)\n")

        row, = qmp.value("query-rx-filter", name="vn")
        self.assertEqual((row["promiscuous"], row["main-mac"]), (False, "52:54:00:00:00:77"))
        qmp.events.clear()
        self.guest_runs(emulator, "ip link set eth0 promisc on")
        self.assertEqual(qmp.event("NIC_RX_FILTER_CHANGED")["data"], {"path": place})
        self.assertTrue(qmp.value("query-rx-filter")[0]["promiscuous"])
        self.assertEqual(qmp.ask("query-rx-filter", name="u")["error"]["desc"], "net client(u) isn't a NIC")

    def test_ports_come_and_go(self):
        path = os.path.join(self.directory(), "qmp")
        emulator = self.boot("-net", "none", "-device", "virtio-serial-device,id=vs", "-chardev", "ringbuf,id=ring,size=4096",
                             "-qmp", f"unix:{path},server=on,wait=off")
        qmp = Qmp(path)
        self.addCleanup(qmp.close)
        self.guest_runs(emulator, "modprobe virtio_console")
        for _ in range(2):
            qmp.value("device_add", driver="virtserialport", id="port", bus="vs.0", chardev="ring", name="org.rhea.late")
            self.guest_runs(emulator, "until grep -qsx org.rhea.late /sys/class/virtio-ports/*/name; do sleep 0.1; done; "
                                      "echo late > /dev/$(grep -lx org.rhea.late /sys/class/virtio-ports/*/name | cut -d/ -f5)", 120)
            guest.wait_until(lambda: "late" in qmp.value("ringbuf-read", device="ring", size=100), "what the guest wrote")
            self.assertIn('dev: virtserialport, id "port"', qmp.value("human-monitor-command", command_line="info qtree"))
            self.assertEqual(qmp.ask("device_add", driver="virtserialport", id="port")["error"]["desc"],
                             "Duplicate ID 'port' for device")
            qmp.value("device_del", id="port")
            self.assertEqual(qmp.event("DEVICE_DELETED")["data"], {"device": "port", "path": "/machine/peripheral/port"})
            self.guest_runs(emulator, "while grep -qsx org.rhea.late /sys/class/virtio-ports/*/name; do sleep 0.1; done", 120)
        self.assertEqual(qmp.ask("device_del", id="port")["error"]["class"], "DeviceNotFound")
        self.assertEqual(qmp.ask("device_del", id="vs")["error"]["desc"], "Bus 'virtio-mmio-bus.3' does not support hotplugging")


class Refused(Control):
    """The board's buses, and descriptors, without a guest."""

    def test_words_for_devices(self):
        qmp = self.qmp("-device", "virtio-rng-device,id=r")
        for driver, more, words in (("sd-card", {"id": "x"}, "Bus 'sd-bus' does not support hotplugging"),
                                    ("sd-card", {"bus": "foo"}, "Bus 'foo' not found"),
                                    ("virtio-rng-device", {}, "Bus 'virtio-mmio-bus.3' does not support hotplugging"),
                                    ("virtserialport", {}, "No 'virtio-serial-bus' bus found for device 'virtserialport'"),
                                    ("nonsense", {}, "'nonsense' is not a valid device model name")):
            self.assertEqual(qmp.ask("device_add", driver=driver, **more)["error"]["desc"], words)
        text = qmp.value("human-monitor-command", command_line="info qtree").replace("\r", "")
        self.assertRegex(text, r"  dev: pl181, id \"\"\n(    .*\n)*    bus: sd-bus\n      type pl181-bus\n")

    def send_with(self, qmp, command, descriptor, **arguments):
        """A QMP command with a descriptor beside it."""
        text = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        socket.send_fds(qmp.socket, [text.encode()], [descriptor])
        return qmp.answer()

    def test_descriptors(self):
        qmp = self.qmp()
        self.assertEqual(qmp.ask("getfd", fdname="x")["error"]["desc"], "No file descriptor supplied via SCM_RIGHTS")
        self.assertEqual(qmp.ask("closefd", fdname="x")["error"]["desc"], "File descriptor named 'x' not found")
        reading, writing = os.pipe()
        self.assertIn("digit", self.send_with(qmp, "getfd", writing, fdname="7up")["error"]["desc"])
        self.assertIn("return", self.send_with(qmp, "getfd", writing, fdname="away"))
        self.assertIn("return", self.send_with(qmp, "getfd", writing, fdname="back"))
        qmp.value("closefd", fdname="back")
        os.close(writing)
        self.assertEqual(qmp.ask("migrate", uri="fd:awy")["error"]["desc"],
                         "File descriptor named 'awy' has not been found (did you mean 'away'?)")
        # The state goes through the pipe.
        qmp.value("migrate", uri="fd:away")
        state = b""
        with os.fdopen(reading, "rb") as pipe:
            state = pipe.read()
        guest.wait_until(lambda: qmp.value("query-migrate")["status"] == "completed", "the state is away")
        self.assertGreater(len(state), 1000)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(ours.close)
        self.assertIn("return", self.send_with(qmp, "getfd", its.fileno(), fdname="wire"))
        its.close()
        qmp.value("netdev_add", type="socket", id="n", fd="wire")
        self.assertEqual(qmp.ask("netdev_add", type="socket", id="m", fd="wire")["error"]["desc"],
                         "File descriptor named 'wire' has not been found")


if __name__ == "__main__":
    guest.main()
