# SPDX-License-Identifier: MIT
"""Controlling the machine from outside: QMP, character devices, the process itself, and the qtest protocol."""
import base64
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
import unittest

import guest
from guest import SCALE, GuestTest, rhea_only

BOARD = ("-M", "vexpress-a9", "-display", "none", "-S")


class Client:
    """A client of a stream socket that reads lines, or bytes, with a bound on the wait."""

    def __init__(self, address, family=socket.AF_UNIX, timeout=20):
        deadline = time.monotonic() + timeout * SCALE
        while True:
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.settimeout(timeout * SCALE)
            try:
                self.socket.connect(address)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.data = b""

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def until(self, end):
        end = end.encode() if isinstance(end, str) else end
        while end not in self.data:
            more = self.socket.recv(65536)
            if not more:
                raise AssertionError(f"the connection ended before {end!r}; got {self.data[-400:]!r}")
            self.data += more
        part, _, self.data = self.data.partition(end)
        return part

    def line(self):
        return self.until(b"\n").decode().rstrip("\r")

    def close(self):
        self.socket.close()


class Qmp(Client):
    def __init__(self, address, family=socket.AF_UNIX, negotiate=True):
        super().__init__(address, family)
        self.greeting = json.loads(self.line())
        self.events = []
        if negotiate:
            self.ask("qmp_capabilities")

    def answer(self):
        while True:
            message = json.loads(self.line())
            if "event" not in message:
                return message
            self.events.append(message)

    def ask(self, command, **arguments):
        self.send(json.dumps({"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}) + "\n")
        return self.answer()

    def value(self, command, **arguments):
        answer = self.ask(command, **arguments)
        if "return" not in answer:
            raise AssertionError(f"{command}: {answer}")
        return answer["return"]

    def event(self, name):
        for at, event in enumerate(self.events):
            if event["event"] == name:
                return self.events.pop(at)
        while True:
            message = json.loads(self.line())
            if message.get("event") == name:
                return message


class Control(GuestTest):
    needs_guest = False

    def qmp(self, *extra, board=BOARD, clients=1):
        folder = self.directory()
        paths = [os.path.join(folder, f"q{i}") for i in range(clients)]
        for path in paths:
            extra += ("-qmp", f"unix:{path},server=on,wait=off")
        self.emulator = self.start(*board, "-monitor", "none", *extra)
        found = []
        for path in paths:
            found.append(Qmp(path))
            self.addCleanup(found[-1].close)
        return found[0] if clients == 1 else found


class Protocol(Control):
    def test_greeting_and_negotiation(self):
        folder = self.directory()
        self.start(*BOARD, "-qmp", f"unix:{folder}/q,server=on,wait=off")
        client = Qmp(f"{folder}/q", negotiate=False)
        self.addCleanup(client.close)
        self.assertEqual(client.greeting["QMP"]["capabilities"], ["oob"])
        self.assertEqual(sorted(client.greeting["QMP"]["version"]["qemu"]), ["major", "micro", "minor"])
        self.assertEqual(client.ask("query-status")["error"], {
            "class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"})
        self.assertIn("does not accept value 'foo'", client.ask("qmp_capabilities", enable=["foo"])["error"]["desc"])
        self.assertEqual(client.ask("qmp_capabilities"), {"return": {}})
        self.assertEqual(client.ask("qmp_capabilities")["error"]["class"], "CommandNotFound")

    def test_errors_have_qemus_words(self):
        client = self.qmp()
        for line, error in (
                ('{"execute":"foo"}', ("CommandNotFound", "The command foo has not been found")),
                ('{"execute":"set_link"}', ("GenericError", "Parameter 'name' is missing")),
                ('{"execute":"set_link","arguments":{"name":"x","up":1}}',
                 ("GenericError", "Invalid parameter type for 'up', expected: boolean")),
                ('{"execute":"set_link","arguments":{"name":"x","up":true,"z":1}}',
                 ("GenericError", "Parameter 'z' is unexpected")),
                ('{"execute":"set_link","arguments":[1]}', ("GenericError", "QMP input member 'arguments' must be an object")),
                ('{"execute":"set_link","arguments":{"name":"x","up":true}}', ("DeviceNotFound", "Device 'x' not found")),
                ('{"execute":1}', ("GenericError", "QMP input member 'execute' must be a string")),
                ('{"exec":1}', ("GenericError", "QMP input member 'exec' is unexpected")),
                ('[1]', ("GenericError", "QMP input must be a JSON object")),
                ('{}', ("GenericError", "QMP input lacks member 'execute'")),
                ('{"execute":"chardev-remove","arguments":{"id":"a"}}', ("GenericError", "Chardev 'a' not found")),
                ('{"execute":"device_add","arguments":{"driver":"virtio-net-device"}}',
                 ("GenericError", "Bus 'virtio-mmio-bus.3' does not support hotplugging")),
                ('{"execute":"device_del","arguments":{"id":"n"}}', ("DeviceNotFound", "Device 'n' not found")),
                ('{"execute":"object-del","arguments":{"id":"n"}}', ("GenericError", "object 'n' not found")),
                ('{"execute":"qom-get","arguments":{"path":"/machine","property":"zz"}}',
                 ("GenericError", "Property 'vexpress-a9-machine.zz' not found")),
                ('{"execute":"qom-list","arguments":{"path":"/zz"}}', ("DeviceNotFound", "Device '/zz' not found"))):
            client.send(line + "\n")
            self.assertEqual(tuple(client.answer()["error"].values()), error, line)

    def test_ids_come_back(self):
        client = self.qmp()
        for identity in (5, "a", None, [1, {"b": 2}], {"x": 1.5}):
            client.send(json.dumps({"execute": "query-status", "id": identity}))
            self.assertEqual(client.answer()["id"], identity)
            client.send(json.dumps({"execute": "foo", "id": identity}))
            self.assertEqual(client.answer()["id"], identity)

    @rhea_only("QEMU swallows all that follows")
    def test_an_unbalanced_brace_swallows_nothing(self):
        client = self.qmp()
        for broken in ('{"execute":"query-status"', '{', '{"execute":"query-status","arguments":{', '{"a":[1,2', "{'a': 'b",
                       '{]', '{"execute": bad}', '{"a" 1}'):
            client.send(broken + "\n" + '{"execute":"query-name","id":7}' + "\n")
            self.assertIn("JSON parse error", client.answer()["error"]["desc"], broken)
            self.assertEqual(client.answer(), {"return": {}, "id": 7}, broken)

    def test_several_clients_have_their_own_handshake_and_events(self):
        one, two = self.qmp(clients=2)
        one.value("cont")
        one.event("RESUME")
        two.event("RESUME")
        two.value("stop")
        self.assertIn("timestamp", one.event("STOP"))
        one.value("system_reset")
        self.assertEqual(two.event("RESET")["data"], {"guest": False, "reason": "host-qmp-system-reset"})
        two.value("system_powerdown")
        one.event("POWERDOWN")

    def test_a_client_that_dies_harms_nobody(self):
        folder = self.directory()
        self.start(*BOARD, "-qmp", f"unix:{folder}/q,server=on,wait=off")
        for text in ('{"execute":', '{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}' * 20, ""):
            client = Qmp(f"{folder}/q", negotiate=False)
            client.send(text)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        client = Qmp(f"{folder}/q")
        self.assertEqual(client.value("query-status")["status"], "prelaunch")
        client.close()

    def test_quit(self):
        client = self.qmp()
        client.send('{"execute":"quit"}')
        self.assertEqual(client.event("SHUTDOWN")["data"], {"guest": False, "reason": "host-qmp-quit"})
        self.assertEqual(self.emulator.wait(), 0)

    def test_pretty(self):
        folder = self.directory()
        self.start(*BOARD, "-qmp-pretty", f"unix:{folder}/q,server=on,wait=off")
        client = Client(f"{folder}/q")
        self.addCleanup(client.close)
        self.assertEqual(client.until("\n}").decode().split("\r\n")[0].split("\n")[:2], ["{", '    "QMP": {'])


class Commands(Control):
    def setUp(self):
        super().setUp()
        self.client = self.qmp("-name", "box", "-smp", "2", "-chardev", "ringbuf,id=r,size=1k", "-uuid",
                               "00112233-4455-6677-8899-aabbccddeeff", "-device", "virtio-rng-device,id=rng0", "-m", "64M")

    def test_queries(self):
        ask = self.client.value
        self.assertEqual(ask("query-name"), {"name": "box"})
        self.assertEqual(ask("query-uuid"), {"UUID": "00112233-4455-6677-8899-aabbccddeeff"})
        self.assertEqual(ask("query-status"), {"status": "prelaunch", "singlestep": False, "running": False})
        self.assertEqual([cpu["qom-path"] for cpu in ask("query-cpus-fast")],
                         ["/machine/unattached/device[0]", "/machine/unattached/device[1]"])
        self.assertIn("vexpress-a9", [machine["name"] for machine in ask("query-machines")])
        self.assertEqual(ask("query-memory-size-summary")["base-memory"], 64 << 20)
        self.assertEqual(ask("query-kvm"), {"enabled": False, "present": False})

    def test_schema_and_lists_agree(self):
        commands = {row["name"] for row in self.client.value("query-commands")}
        schema = self.client.value("query-qmp-schema")
        self.assertEqual({row["name"] for row in schema if row["meta-type"] == "command"}, commands)
        names = [row["name"] for row in schema]
        self.assertEqual(len(names), len(set(names)))
        for row in schema:
            for key in ("arg-type", "ret-type", "element-type"):
                self.assertIn(row.get(key, names[0]), names)
            for member in row.get("members", []):
                self.assertIn(member.get("type", names[0]), names)

    def test_every_query_without_arguments_answers(self):
        for row in self.client.value("query-commands"):
            if row["name"].startswith("query-"):
                answer = self.client.ask(row["name"])
                self.assertTrue("return" in answer or "desc" in answer["error"], row)

    def test_object_tree(self):
        ask = self.client.value
        self.assertEqual({row["name"] for row in ask("qom-list", path="/")}, {"type", "backend", "objects", "machine", "chardevs"})
        self.assertEqual(ask("qom-get", path="/machine", property="type"), "vexpress-a9-machine")
        self.assertEqual(ask("qom-get", path="/machine/peripheral/rng0", property="type"), "virtio-rng-device")
        self.assertEqual(ask("qom-get", path="/machine/unattached/device[0]", property="type"), "cortex-a9-arm-cpu")
        self.assertEqual(ask("qom-get", path="/chardevs/r", property="type"), "chardev-ringbuf")
        types = {row["name"] for row in ask("qom-list-types", implements="device")}
        self.assertTrue({"pl011", "virtio-net-device"} <= types)
        names = {row["name"] for row in ask("device-list-properties", typename="virtio-net-device")}
        self.assertTrue({"mac", "netdev"} - names <= {"netdev"})
        for row in ask("qom-list", path="/machine/unattached"):
            if row["type"].startswith("child<"):
                ask("qom-list", path="/machine/unattached/" + row["name"])

    def test_objects(self):
        self.assertEqual(self.client.value("object-add", **{"qom-type": "rng-builtin", "id": "x"}), {})
        self.assertIn({"name": "x", "type": "child<rng-builtin>"}, self.client.value("qom-list", path="/objects"))
        self.assertIn("duplicate", self.client.ask("object-add", **{"qom-type": "rng-builtin", "id": "x"})["error"]["desc"])
        self.client.value("object-del", id="x")

    def test_human_commands(self):
        ask = self.client.value
        self.assertEqual(ask("human-monitor-command", command_line="info status"), "VM status: paused (prelaunch)\r\n")
        self.assertIn("CPU#1", ask("human-monitor-command", command_line="info registers", cpu_index=1))
        self.assertIn("error", self.client.ask("human-monitor-command", command_line="x", cpu_index=9))

    def test_memory_into_a_file(self):
        path = os.path.join(self.directory(), "dump")
        self.client.value("pmemsave", val=0x60000000, size=4096, filename=path)
        self.assertEqual(os.path.getsize(path), 4096)
        self.assertIn("Invalid addr", self.client.ask("pmemsave", val=0x50000000, size=16, filename=path)["error"]["desc"])
        self.assertIn("Could not open", self.client.ask("pmemsave", val=0x60000000, size=16, filename="/nonexistent/x")["error"]["desc"])

    def test_chardevs(self):
        ask = self.client.value
        self.assertIn("r", [row["label"] for row in ask("query-chardev")])
        ask("ringbuf-write", device="r", data="hello")
        self.assertEqual(ask("ringbuf-read", device="r", size=100), "hello")
        ask("ringbuf-write", device="r", data=base64.b64encode(b"\x00\xff").decode(), format="base64")
        self.assertEqual(base64.b64decode(ask("ringbuf-read", device="r", size=9, format="base64")), b"\x00\xff")
        self.assertRegex(ask("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"], "^/dev/pts/")
        path = os.path.join(self.directory(), "s")
        ask("chardev-add", id="s", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": False}})
        self.assertTrue(os.path.exists(path))
        ask("chardev-remove", id="s")
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.client.ask("chardev-add", id="p", backend={"type": "null", "data": {}})["error"]["desc"],
                         "Chardev with id 'p' already exists")
        self.assertIn("busy", self.client.ask("chardev-remove", id="compat_monitor0")["error"]["desc"])


def read_core(path):
    """The notes of an ELF core file (name, type, content), and its loadable segments (virtual, physical, size, offset)."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:7] != b"\x7fELF\x01\x01\x01" or struct.unpack_from("<HH", data, 16) != (4, 40):
        raise AssertionError(f"{path} is no core file of an Arm: {data[:20]!r}")
    at, size, count = struct.unpack_from("<I", data, 28)[0], *struct.unpack_from("<HH", data, 42)
    notes, loads = [], []
    for i in range(count):
        kind, offset, virtual, physical, in_file, in_memory, _, _ = struct.unpack_from("<8I", data, at + i * size)
        if kind == 1:
            loads.append((virtual, physical, in_memory, data[offset:offset + in_file]))
        place = offset
        while kind == 4 and place < offset + in_file:
            name, content, number = struct.unpack_from("<3I", data, place)
            start = place + 12 + (name + 3) // 4 * 4
            notes.append((data[place + 12:place + 12 + name - 1].decode(), number, data[start:start + content]))
            place = start + (content + 3) // 4 * 4
    return notes, loads


class Told(GuestTest):
    """What a control connection hears of a guest, and takes of it."""

    def boot_with(self, *arguments):
        path = os.path.join(self.directory(), "qmp")
        emulator = self.boot("-net", "none", "-qmp", f"unix:{path},server=on,wait=off", *arguments)
        qmp = Qmp(path)
        self.addCleanup(qmp.close)
        return emulator, qmp

    def test_events_of_devices(self):
        emulator, qmp = self.boot_with("-device", "virtio-balloon-device", "-device", "virtio-serial-device", "-chardev",
                                       "null,id=c", "-device", "virtserialport,chardev=c,name=org.rhea.test,id=p0")
        self.guest_runs(emulator, "date -s 2030-01-01; busybox hwclock -w -u")
        change = qmp.event("RTC_CHANGE")["data"]
        self.assertAlmostEqual(change["offset"] + time.time(), 1893456000, delta=600)
        self.assertEqual(qmp.value("qom-get", path=change["qom-path"], property="type"), "pl031")
        self.guest_runs(emulator, "modprobe virtio_console; until grep -qsx org.rhea.test /sys/class/virtio-ports/*/name; do sleep 0.1; "
                                  "done; d=/dev/$(grep -lx org.rhea.test /sys/class/virtio-ports/*/name | cut -d/ -f5); echo x > $d")
        for open_now in (True, False):
            self.assertEqual(qmp.event("VSERPORT_CHANGE")["data"], {"open": open_now, "id": "p0"})
        self.guest_runs(emulator, "modprobe virtio_balloon")
        qmp.value("balloon", value=400 << 20)
        while qmp.event("BALLOON_CHANGE")["data"]["actual"] != 400 << 20:
            pass
        self.assertEqual(qmp.value("query-balloon")["actual"], 400 << 20)

    def test_core_file(self):
        """RAM where it lies and where the kernel's tables map it, and the CPUs' registers; the real gdb reads it."""
        emulator, qmp = self.boot_with("-smp", "2", "-m", "64M")
        qmp.value("stop")
        folder = self.directory()
        core, mapped, memory = (os.path.join(folder, name) for name in ("core", "mapped", "memory"))
        qmp.value("dump-guest-memory", paging=False, protocol=f"file:{core}")
        done = qmp.event("DUMP_COMPLETED")["data"]
        self.assertEqual((done["result"]["status"], done["result"]["completed"]), ("completed", done["result"]["total"]))
        self.assertEqual(qmp.value("query-dump"), done["result"])
        qmp.value("pmemsave", val=0x60000000, size=64 << 20, filename=memory)
        with open(memory, "rb") as file:
            ram = file.read()
        notes, loads = read_core(core)
        self.assertEqual([(name, kind) for name, kind, _ in notes], [("CORE", 1), ("LINUX", 0x400)] * 2)
        self.assertEqual([content for virtual, physical, size, content in loads if (virtual, physical) == (0x60000000, 0x60000000)], [ram])
        registers = qmp.value("human-monitor-command", command_line="info registers", cpu_index=1)
        self.assertEqual(struct.unpack_from("<I", notes[2][2], 72 + 60)[0], int(re.search(r"R15=([0-9a-f]{8})", registers)[1], 16))
        # By the tables: the kernel's own mapping of RAM begins at 3 GiB.
        qmp.value("dump-guest-memory", paging=True, protocol=f"file:{mapped}", detach=True)
        self.assertEqual(qmp.event("DUMP_COMPLETED")["data"]["result"]["status"], "completed")
        kernel = [(physical, content) for virtual, physical, size, content in read_core(mapped)[1]
                  if virtual <= 0xc0100000 < virtual + size]
        self.assertEqual(len(kernel), 1)
        start = kernel[0][0] - 0x60000000
        self.assertEqual(kernel[0][1], ram[start:start + len(kernel[0][1])])
        if guest.have("gdb-multiarch"):
            text = subprocess.run(["gdb-multiarch", "-nx", "-batch", "-ex", "set architecture armv7", "-ex", f"core-file {core}", "-ex",
                                   "info threads", "-ex", "x/2wx 0x60000000"], capture_output=True, text=True, check=False).stdout
            self.assertEqual(len(re.findall(r"(?m)^[* ] +\d+ +", text)), 2, text)
            self.assertIn("0x60000000:\t0x%08x\t0x%08x" % struct.unpack_from("<II", ram), text)
        # A part; and what cannot be.
        qmp.value("dump-guest-memory", paging=False, protocol=f"file:{core}", begin=0x60001000, length=8192, detach=True)
        self.assertEqual(qmp.event("DUMP_COMPLETED")["data"]["result"], {"status": "completed", "completed": 8192, "total": 8192})
        self.assertEqual([load[3] for load in read_core(core)[1]], [ram[4096:12288]])
        refused = lambda **arguments: qmp.ask("dump-guest-memory", paging=False, **arguments)["error"]["desc"]
        self.assertIn("'protocol'", refused(protocol=core))
        self.assertIn("'length' is missing", refused(protocol=f"file:{core}", begin=0))
        self.assertIn("no RAM", refused(protocol=f"file:{core}", begin=0x10000000, length=4096))
        self.assertIn("there is elf", refused(protocol=f"file:{core}", format="kdump-zlib"))
        self.assertIn("failed to open", refused(protocol="file:/nonexistent/x"))
        self.assertIn("No space left", refused(protocol="file:/dev/full"))
        self.assertEqual(qmp.value("query-dump")["status"], "failed")
        qmp.value("cont")
        self.guest_runs(emulator, "true")


class Serial(GuestTest):
    """The guest's console over each kind of character device."""

    def boot_on(self, *serial, monitor="none"):
        return self.start("-M", "vexpress-a9", "-m", "256M", "-kernel", guest.KERNEL, "-initrd", guest.INITRD, "-dtb", guest.DTB,
                          "-append", guest.APPEND, "-display", "none", "-net", "none", "-monitor", monitor, *serial)

    def talk(self, client, newline="\n"):
        client.until(guest.PROMPT)
        client.send("echo me-$((40+2))" + newline)
        client.until("me-42")

    def test_tcp_client_comes_goes_and_comes_back(self):
        folder = self.directory()
        self.boot_on("-serial", f"unix:{folder}/s,server=on,wait=off")
        client = Client(f"{folder}/s", timeout=guest.BOOT_TIMEOUT)
        self.talk(client)
        client.close()
        client = Client(f"{folder}/s", timeout=guest.BOOT_TIMEOUT)
        client.send("\n")
        self.talk(client)
        client.close()

    def test_telnet(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.boot_on("--serial", f"telnet:127.0.0.1:{port},server,nowait")
        client = Client(("127.0.0.1", port), socket.AF_INET, timeout=guest.BOOT_TIMEOUT)
        self.assertEqual(client.until(b"\xff\xfd\x00"), b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00")
        client.send(b"\xff\xfd\x01\xff\xfd\x03")  # the client agrees, as telnet does
        self.talk(client, "\r")
        client.close()

    def test_websocket(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.boot_on("-serial", f"websocket:127.0.0.1:{port},server=on,wait=off")
        client = Client(("127.0.0.1", port), socket.AF_INET, timeout=guest.BOOT_TIMEOUT)
        client.send("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", client.until("\r\n\r\n"))
        text = b""
        while guest.PROMPT.encode() not in text:
            text += self.frame(client)
        client.send(b"\x82\x85\x00\x00\x00\x00exit\n")
        while b"exit" not in text[text.index(guest.PROMPT.encode()):]:
            text += self.frame(client)
        client.close()

    def frame(self, client):
        def take(count):
            while len(client.data) < count:
                more = client.socket.recv(65536)
                self.assertTrue(more)
                client.data += more
            part, client.data = client.data[:count], client.data[count:]
            return part
        head = take(2)
        length = head[1]
        if length == 126:
            length = struct.unpack(">H", take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", take(8))[0]
        return take(length)

    def test_pty(self):
        emulator = self.boot_on("-serial", "pty")
        name = emulator.expect(r"char device redirected to (\S+) \(label serial0\)")[1]
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
        self.addCleanup(os.close, terminal)
        text = b""
        while guest.PROMPT.encode() not in text:
            text += os.read(terminal, 65536)
        self.assertIn(b"Booting Linux", text)

    def test_chardev_by_id_shared_with_a_monitor_and_logged(self):
        folder = self.directory()
        self.boot_on("-chardev", f"socket,id=c,path={folder}/s,server=on,wait=off,mux=on,logfile={folder}/log", "-serial",
                     "chardev:c", "-mon", "chardev=c")
        client = Client(f"{folder}/s", timeout=guest.BOOT_TIMEOUT)
        self.talk(client)
        client.send("\x01c")
        client.until("monitor - type 'help'")
        client.send("info chardev\n")
        self.assertIn(b"c-base: filename=unix:", client.until("(qemu) \x1b[K"[:7]) + client.until("(qemu)"))
        with open(f"{folder}/log", "rb") as log:
            self.assertIn(b"me-42", log.read())
        client.close()


class Process(GuestTest):
    needs_guest = False

    def test_waits_for_its_client(self):
        folder = self.directory()
        emulator = self.start(*BOARD, "-monitor", f"unix:{folder}/m,server=on")
        client = Client(f"{folder}/m")
        client.until("(qemu) ")
        self.assertIn("info: QEMU waiting for connection on: disconnected:unix:", emulator.stderr())
        client.send("quit\n")
        self.assertEqual(emulator.wait(), 0)
        client.close()

    def test_chardev_refusals(self):
        for arguments, message in (
                (("-chardev", "null"), "-chardev null: chardev: no id specified"),
                (("-chardev", "foo,id=a"), "-chardev foo,id=a: 'foo' is not a valid char driver name"),
                (("-chardev", "null,id=a", "-chardev", "null,id=a"), "-chardev null,id=a: Duplicate ID 'a' for chardev"),
                (("-mon", "chardev=zz"), '-mon chardev=zz: chardev "zz" not found'),
                (("-mon", "mode=readline"), "-mon mode=readline: Parameter 'chardev' is missing"),
                (("-chardev", "null,id=a", "-mon", "chardev=a,mode=foo"), "Parameter 'mode' does not accept value 'foo'"),
                (("-qmp", "foo"), "-qmp foo: 'foo' is not a valid char driver"),
                (("-serial", "tcp:localhost:1"), "could not connect serial device to character backend 'tcp:localhost:1'"),
                (("-chardev", "stdio,id=a", "-chardev", "stdio,id=b"), "cannot use stdio by multiple character devices"),
                (("-chardev", "null,id=a", "-serial", "chardev:a", "-serial", "chardev:a"), "Device 'a' is in use")):
            status, _, errors = guest.call(*BOARD, "-monitor", "none", *arguments)
            if guest.PEER and "in use" in message:
                continue
            self.assertEqual(status, 1, arguments)
            self.assertIn(message, errors)

    def test_daemon_and_pid_file(self):
        folder = self.directory()
        line = (*BOARD, "-serial", "null", "-monitor", f"unix:{folder}/m,server=on,wait=off", "-daemonize", "-pidfile", f"{folder}/pid")
        status, text, errors = guest.call(*line)
        self.assertEqual((status, text), (0, ""), errors)
        with open(f"{folder}/pid", encoding="ascii") as file:
            pid = int(file.read())
        try:
            client = Client(f"{folder}/m")
            client.until("(qemu) ")
            status, _, errors = guest.call(*BOARD, "-serial", "null", "-monitor", "none", "-daemonize", "-pidfile", f"{folder}/pid")
            self.assertEqual(status, 1)
            self.assertIn("cannot create PID file: Cannot lock pid file: Resource temporarily unavailable", errors)
            client.send("quit\n")
            client.close()
            guest.wait_until(lambda: not os.path.exists(f"{folder}/pid"), "the pid file is gone", 20)
        finally:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_a_daemon_that_cannot_start_says_so_on_the_terminal(self):
        status, _, errors = guest.call(*BOARD, "-daemonize", "-serial", "unix:/nonexistent/x,server=on,wait=off")
        self.assertEqual(status, 1)
        self.assertIn("Failed to bind socket to /nonexistent/x", errors)
        status, _, errors = guest.call("-M", "vexpress-a9", "-nographic", "-daemonize")
        self.assertEqual(status, 1)
        self.assertIn("-nographic cannot be used with -daemonize", errors)

    def test_readconfig(self):
        path = os.path.join(self.directory(), "config")
        with open(path, "w", encoding="ascii") as file:
            file.write('# made by a test\n[machine]\ntype = "vexpress-a9"\n[name]\nguest = "from file"\n'
                       '[chardev "r"]\nbackend = "ringbuf"\n')
        emulator = self.start("-readconfig", path, "-display", "none", "-S", "-serial", "null", "-monitor", "stdio")
        emulator.expect(guest.MONITOR_PROMPT)
        self.assertEqual(emulator.monitor("info name"), "from file")
        self.assertIn("r: filename=ringbuf", emulator.monitor("info chardev"))

    def test_message_time(self):
        status, _, errors = guest.call("-msg", "timestamp=on", *BOARD, "-serial", "tcp:127.0.0.1:1", "-monitor", "none")
        self.assertEqual(status, 1)
        self.assertRegex(errors, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ")


class Rtc(GuestTest):
    def test_date(self):
        emulator = self.boot("-rtc", "base=2011-11-11T11:11:00,clock=vm", "-net", "none")
        self.assertIn("2011-11-11 11:1", self.guest_runs(emulator, "cat /sys/class/rtc/rtc0/date /sys/class/rtc/rtc0/time | tr '\\n' ' '"))


class NoShutdown(GuestTest):
    def test_stays(self):
        folder = self.directory()
        emulator = self.boot("-no-shutdown", "-net", "none", "-qmp", f"unix:{folder}/q,server=on,wait=off", "-monitor", "none",
                             "-serial", "stdio")
        client = Qmp(f"{folder}/q")
        emulator.send("poweroff -f\n")
        self.assertEqual(client.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-shutdown"})
        client.event("STOP")
        self.assertEqual(client.value("query-status")["status"], "shutdown")
        client.send('{"execute":"quit"}')
        self.assertEqual(emulator.wait(), 0)
        client.close()


class Qtest(GuestTest):
    """The protocol of QEMU's qtest programs."""

    needs_guest = False

    def open(self, *extra, machine="vexpress-a9"):
        folder = self.directory()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(f"{folder}/t")
        listener.listen(1)
        listener.settimeout(20 * SCALE)
        self.emulator = self.start("-M", machine, "-display", "none", "-accel", "qtest", "-qtest", f"unix:{folder}/t", "-qtest-log",
                                   f"{folder}/log", "-monitor", "none", "-serial", "null", *extra)
        self.log = f"{folder}/log"
        client = Client.__new__(Client)
        client.socket, _ = listener.accept()
        client.socket.settimeout(20 * SCALE)
        client.data = b""
        self.addCleanup(client.close)
        return client

    def ask(self, client, line):
        client.send(line + "\n")
        return client.line()

    def test_memory(self):
        client = self.open()
        for line, answer in (("endianness", "OK little"), ("writel 0x60000000 0x12345678", "OK"),
                             ("readb 0x60000001", "OK 0x0000000000000056"), ("readq 0x60000000", "OK 0x0000000012345678"),
                             ("read 0x60000000 4", "OK 0x78563412"), ("b64read 0x60000000 4", "OK eFY0Eg=="),
                             ("write 0x60000010 3 0x010203", "OK"), ("b64write 0x60000020 3 AAEC", "OK"),
                             ("memset 0x60000030 4 0xaa", "OK"), ("readl 0x60000030", "OK 0x00000000aaaaaaaa"),
                             ("read 0x60000010 3", "OK 0x010203"), ("readl 0x10000000", "OK 0x000000001190f500")):
            self.assertEqual(self.ask(client, line), answer, line)
        for line in ("foo", "readl", "readl x", "read 0 0", "write 0 1", "clock_set", ""):
            self.assertEqual(self.ask(client, line)[:5], "FAIL ", line)
        with open(self.log, encoding="ascii") as log:
            self.assertIn("] endianness\n", log.read())

    def test_time_is_stepped_and_timers_fire(self):
        client = self.open()
        self.assertEqual(self.ask(client, "clock_step 1000"), "OK 1000")
        self.assertEqual(self.ask(client, "clock_set 5000"), "OK 5000")
        self.assertEqual(self.ask(client, "irq_intercept_in /machine/unattached/device[1]"), "OK")
        self.ask(client, "writel 0x10011000 1000")  # SP804: load 1 ms, then one shot with interrupt
        self.ask(client, "writel 0x10011008 0xa3")
        client.send("clock_step 2000000\n")
        self.assertEqual(client.line(), "IRQ raise 2")
        self.assertEqual(client.line(), "OK 2005000")
        client.send("writel 0x1001100c 1\n")
        self.assertEqual(client.line(), "IRQ lower 2")
        self.assertEqual(client.line(), "OK")

    def test_no_machine(self):
        client = self.open(machine="none")
        self.assertEqual(self.ask(client, "endianness"), "OK little")
        self.emulator.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.emulator.wait(), 0)

    def test_every_human_command_on_both_machines(self):
        for machine in ("none", "vexpress-a9"):
            folder = self.directory()
            self.open("-qmp", f"unix:{folder}/q,server=on,wait=off", machine=machine)
            client = Qmp(f"{folder}/q")
            text = client.value("human-monitor-command", command_line="info")
            names = re.findall(r"(?m)^info (\S+)  ?", text)
            self.assertGreater(len(names), 20)
            for name in names:
                answer = client.value("human-monitor-command", command_line=f"info {name}")
                self.assertNotIn("unknown command", answer, name)
            for command in ("cpu 0", "print 1+1", "x /4x 0", "xp /4i 0x60000000", "info registers -a", "p $r0", "sum 0 512", "gpa2hva 0",
                            "help", "system_reset", "stop", "cont", "info mtree -f", "qom-list /", "info qom-tree", "pmemsave 0 4096 \"/dev/null\""):
                client.value("human-monitor-command", command_line=command)
            self.assertEqual(client.value("query-status")["status"], "running")
            client.close()


if __name__ == "__main__":
    guest.main()
