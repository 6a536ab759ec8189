# SPDX-License-Identifier: MIT
"""`-netdev lan`: three guests of an ordinary user on one LAN. They know one another by name, ping and talk TCP, are
reached from the host by forwarded ports, and one that is killed and started again is where it was.

Runs in a network namespace of its own, as a user without capabilities where it can change to one.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import guest
import host
import wires
from guest import GuestTest, rhea_only, wait_until

ORDINARY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
TOOL = os.path.join(os.path.dirname(guest.PROGRAM), "rhea")


class LanTest(GuestTest):
    def setUp(self):
        super().setUp()
        self.runtime = self.directory()
        os.chmod(self.runtime, 0o700)
        self.prefix = []
        if host.is_root() and shutil.which("setpriv"):
            os.chown(self.runtime, 65534, 65534)
            self.prefix = ORDINARY
        os.environ["XDG_RUNTIME_DIR"] = self.runtime
        self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
        self.program = self.script("rhea-as-a-user", guest.PROGRAM)

    def script(self, name, program):
        folder = self.directory()
        os.chmod(folder, 0o755)
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nexec {' '.join(self.prefix)} {program} \"$@\"\n")
        os.chmod(path, 0o755)
        return path

    def tool(self, *words):
        done = subprocess.run([*self.prefix, TOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=60 * guest.SCALE)
        return done.returncode, done.stdout + done.stderr

    def machine(self, name, *options):
        return self.start(*guest.machine("-name", name, "-nic", ",".join(("lan,name=lab,model=virtio-net-device",)
                                                                          + options), memory="256M"),
                          program=self.program)

    def is_up(self, emulator):
        emulator.expect(guest.PROMPT, guest.BOOT_TIMEOUT * 3)

    def serve(self, emulator, text):
        """A line for each client of the guest's port 9000."""
        self.guest_runs(emulator, f"(while true; do echo {text} | nc -l -p 9000 > /dev/null; done) > /dev/null 2>&1 & "
                                  "until netstat -tln | grep -q :9000; do sleep 0.2; done")

    def answer_of(self, port):
        """What a client of the host's port is told; '' while nobody answers."""
        try:
            with host.connect(port, 5 * guest.SCALE) as connection:
                return host.read_all(connection).decode().strip()
        except OSError:
            return ""

    def reaches(self, emulator, name, text):
        self.guest_runs(emulator, f"for i in 1 2 3 4 5; do ping -c 1 -W 5 {name} && break; done", 120)
        self.assertIn(text, self.guest_runs(emulator, f"until nc -w 20 {name} 9000 < /dev/null | grep {text}; "
                                                      "do sleep 0.3; done", 120))


@rhea_only("a backend of its own")
class Lan(LanTest):
    def test_three_guests(self):
        ports = {name: host.free_port() for name in ("alice", "bob", "carol")}
        # Alice's command line says who is reached where: her own port, and those of two that are not there yet.
        forwards = [f"hostfwd=tcp:{host.LOOPBACK}:{port}-{name}:9000" for name, port in ports.items()]
        emulators = {"alice": self.machine("alice", *forwards), "bob": self.machine("bob"),
                     "carol": self.machine("carol")}
        for emulator in emulators.values():
            self.is_up(emulator)
        for name, emulator in emulators.items():
            self.serve(emulator, "this-is-" + name)
        addresses = {}
        for name, emulator in emulators.items():
            addresses[name] = re.search(r"inet (10\.0\.2\.\d+)/24", self.guest_runs(emulator, "ip -4 addr"))[1]
            for other in emulators:
                if other != name:
                    self.reaches(emulator, other, "this-is-" + other)
        self.assertEqual(len(set(addresses.values())), 3, addresses)
        self.assertIn("ttl=255", self.guest_runs(emulators["bob"], "ping -c 1 gateway"))
        for name, port in ports.items():
            wait_until(lambda: self.answer_of(port) == "this-is-" + name, f"{name} is reached by port {port}")
        self.check_tool(addresses)

        # Without a chance to say goodbye; the others go on.
        emulators["bob"].process.kill()
        emulators["bob"].process.wait()
        self.reaches(emulators["carol"], "alice", "this-is-alice")
        wait_until(lambda: "bob" not in self.tool("lan", "list")[1], "bob is gone")
        self.assertEqual(self.answer_of(ports["bob"]), "")
        bob = self.machine("bob")
        self.is_up(bob)
        self.serve(bob, "bob-again")
        self.assertIn(addresses["bob"], self.guest_runs(bob, "ip -4 addr"))
        self.reaches(emulators["carol"], "bob", "bob-again")
        wait_until(lambda: self.answer_of(ports["bob"]) == "bob-again", "bob is reached again")

        # The one whose command line has the forwards is killed: theirs go, the LAN stays.
        emulators["alice"].process.kill()
        emulators["alice"].process.wait()
        self.reaches(emulators["carol"], "bob", "bob-again")
        wait_until(lambda: self.answer_of(ports["carol"]) == "", "her forwards are gone")
        self.assertIn("ttl=255", self.guest_runs(emulators["carol"], "ping -c 1 gateway"))

    def check_tool(self, addresses):
        status, text = self.tool("lan", "list")
        self.assertEqual(status, 0, text)
        self.assertEqual(text, "lab: " + ", ".join(sorted((f"{n} {a}" for n, a in addresses.items()),
                                                          key=lambda item: int(item.split(".")[-1]))) + "\n")
        status, text = self.tool("lan", "show", "lab", "--json")
        self.assertEqual(status, 0, text)
        reports = {report["guest"]: report for report in json.loads(text)}
        self.assertEqual({n: r["address"] for n, r in reports.items()}, addresses)
        for name, report in reports.items():
            self.assertEqual({n["guest"] for n in report["neighbours"]}, set(addresses) - {name})
            self.assertTrue(all(n["frames-in"] and n["frames-out"] for n in report["neighbours"]), report)
        self.assertRegex(self.tool("lan", "show", "lab")[1], r"\nbob +10\.0\.2\.\d+ +\d+ +\d+ ")
        status, text = self.tool("lan", "show", "lba")
        self.assertEqual(status, 1)
        self.assertIn("no guest was ever on a LAN 'lba' (did you mean 'lab'?)", text)


@rhea_only("a program of its own")
class Exec(LanTest):
    """Programs of the host inside the LAN: in a network of their own, which the user's namespace lets them have."""

    def inside(self, *command):
        status, text = self.tool("lan", "exec", "lab", *command)
        return status, text

    def test_exec(self):
        reason = host.tun_for_all()
        if reason:
            self.skipTest(reason)
        status, text = self.inside("true")
        if status and "namespace" in text:
            self.skipTest(text)
        self.assertEqual((status, text), (0, ""))
        bob = self.machine("bob")
        self.is_up(bob)
        self.serve(bob, "this-is-bob")
        client = "import socket; s = socket.create_connection(('bob', 9000), 60); s.shutdown(1); print(s.recv(99).decode(), end='')"
        self.assertEqual(self.inside("python3", "-c", client), (0, "this-is-bob\n"))
        status, text = self.inside("sh", "-c", "ping -c 1 -W 20 bob; ping -c 1 -W 20 gateway; ip -4 addr; exit 7")
        self.assertEqual(status, 7, text)
        self.assertEqual(text.count("1 received"), 2, text)
        self.assertNotIn("10.0.2.15/24", text)  # is bob's
        self.assertIn("ttl=255", text)
        # The other way: the guest reaches a program of the host by the name that the LAN has for it.
        server = subprocess.Popen(
            [*self.prefix, TOOL, "lan", "exec", "lab", "python3", "-c",
             "import socket; s = socket.create_server(('', 9001)); print('ready', flush=True); c = s.accept()[0]; "
             "c.sendall(b'the host\\n'); c.close()"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), "ready\n")
        name = re.search(r"(shell-\d+) ", self.tool("lan", "list")[1])[1]
        self.assertEqual(self.guest_runs(bob, f"nc -w 60 {name} 9001 < /dev/null", 90), "the host\n")
        self.assertEqual(server.wait(60 * guest.SCALE), 0, server.stderr.read())
        server.stdout.close()
        server.stderr.close()
        wait_until(lambda: "shell" not in self.tool("lan", "list")[1], "it has left the LAN")

    def test_refusals(self):
        self.assertEqual(self.inside("/nowhere/program")[0], 127)
        self.assertIn("takes the name of a LAN and a command", self.inside()[1])
        self.assertEqual(self.tool("lan", "exec", "a/b", "true")[0], 1)


@rhea_only("a program of its own")
class Proxy(LanTest):
    """Programs of the host reach guests by name through a proxy, without anything that the host must allow."""

    def proxy(self, at):
        daemon = subprocess.Popen([*self.prefix, TOOL, "lan", "proxy", "lab", at], stdout=subprocess.PIPE, text=True)
        self.addCleanup(daemon.stdout.close)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        return daemon, re.fullmatch(r"LAN 'lab' is at (\S+), by SOCKS5 and HTTP\n", daemon.stdout.readline())[1]

    def socks(self, at, name, port):
        """A connection to a guest, or the number of SOCKS5's reply."""
        if at.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(at)
        else:
            connection = socket.create_connection((host.LOOPBACK, int(at.split(":")[1])))
        connection.settimeout(150 * guest.SCALE)
        connection.sendall(b"\5\1\0")
        self.assertEqual(host.read_exactly(connection, 2), b"\5\0")
        connection.sendall(b"\5\1\0\3" + bytes([len(name)]) + name.encode() + port.to_bytes(2, "big"))
        reply = host.read_exactly(connection, 10)
        self.assertEqual((reply[0], len(reply)), (5, 10))
        if reply[1]:
            self.assertEqual(connection.recv(1), b"")
            connection.close()
            return reply[1]
        self.addCleanup(connection.close)
        return connection

    def http(self, at, method, target, headers=""):
        with socket.create_connection((host.LOOPBACK, int(at.split(":")[1]))) as connection:
            connection.settimeout(150 * guest.SCALE)
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
            return host.read_all(connection).decode()

    def test_guests_by_name(self):
        _, at = self.proxy("0")
        _, path = self.proxy("unix:" + os.path.join(self.runtime, "proxy"))
        self.assertEqual(self.socks(at, "bob", 9000), 4)  # nobody is there
        alice, bob = self.machine("alice"), self.machine("bob")
        for emulator in (alice, bob):
            self.is_up(emulator)
        # Copies what it is told, and says what comes back; then a page for each client; then only the digest.
        self.guest_runs(bob, "(while true; do nc -l -p 7 -e cat; done) > /dev/null 2>&1 & "
                             "(while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nthis-is-bob\\n' | nc -l -p 80 >> /tmp/request; "
                             "done) > /dev/null 2>&1 & "
                             "until netstat -tln | grep -q :7 && netstat -tln | grep -q :80; do sleep 0.2; done")
        address = re.search(r"inet (10\.0\.2\.\d+)/24", self.guest_runs(bob, "ip -4 addr"))[1]
        data = host.pattern(300_000)
        for place, name in ((at, "bob"), (path, "BOB."), (at, address)):
            connection = self.socks(place, name, 7)
            self.assertNotIsInstance(connection, int)
            got = []
            reader = threading.Thread(target=lambda: got.append(host.read_all(connection)))
            reader.start()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            reader.join(150 * guest.SCALE)
            self.assertTrue(got and got[0] == data, "what comes back is what was sent")
            wait_until(lambda: "bob" in self.tool("lan", "list")[1], "bob is there")
            self.guest_runs(bob, "until netstat -tln | grep -q :7; do sleep 0.2; done")
        # As a browser asks, and as one asks for https.
        self.assertTrue(self.http(at, "GET", "http://bob/index").endswith("\r\n\r\nthis-is-bob\n"))
        request = self.guest_runs(bob, "until netstat -tln | grep -q :80; do sleep 0.2; done; cat /tmp/request")
        self.assertIn("GET /index HTTP/1.1", request)
        self.assertIn("Connection: close", request)
        text = self.http(at, "CONNECT", "bob:80")
        self.assertTrue(text.startswith("HTTP/1.1 200 Connection established\r\n\r\n"), text)
        self.assertTrue(text.endswith("this-is-bob\n"), text)
        if guest.have("curl"):
            self.guest_runs(bob, "until netstat -tln | grep -q :80; do sleep 0.2; done")
            done = subprocess.run(["curl", "-s", "-x", f"socks5h://{at}", "http://bob/"], stdout=subprocess.PIPE,
                                  text=True, check=True, timeout=150 * guest.SCALE)
            self.assertEqual(done.stdout, "this-is-bob\n")
        self.refusals(at)
        self.reset(at, bob)

        # The machine that a connection leads to is killed: the client sees the end, the others stay.
        self.guest_runs(bob, "until netstat -tln | grep -q :7; do sleep 0.2; done")
        connection = self.socks(at, "bob", 7)
        connection.sendall(b"x")
        self.assertEqual(connection.recv(1), b"x")
        bob.process.kill()
        bob.process.wait()
        try:
            self.assertEqual(connection.recv(1), b"")
        except ConnectionResetError:
            pass
        self.assertEqual(self.socks(at, "bob", 7), 4)
        self.assertEqual(self.socks(at, "alice", 7), 5)

    def reset(self, at, bob):
        """A guest that resets a connection: the client hears it at once, not with the next client."""
        self.guest_runs(bob, "(nc -l -p 11 -e sleep 3) > /dev/null 2>&1 & until netstat -tln | grep -q :11; do sleep 0.2; done")
        connection = self.socks(at, "bob", 11)
        connection.sendall(b"not read")
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)

    def refusals(self, at):
        self.assertEqual(self.socks(at, "bob", 9), 5)
        self.assertEqual(self.socks(at, "carol", 9), 4)
        text = self.http(at, "CONNECT", "bob:9")
        self.assertTrue(text.startswith("HTTP/1.1 502 Bad Gateway\r\n"), text)
        self.assertTrue(text.endswith("rhea: port 9 of 'bob' is closed: the guest refused\n"), text)
        self.assertIn("no guest of LAN 'lab' is 'www.example.com'", self.http(at, "GET", "http://www.example.com/"))
        self.assertTrue(self.http(at, "GET", "/").startswith("HTTP/1.1 400 Bad Request"))

    def test_it_ends(self):
        path = os.path.join(self.runtime, "proxy")
        daemon, at = self.proxy("unix:" + path)
        self.assertEqual(at, path)
        # With a client that says nothing.
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            daemon.terminate()
            self.assertEqual(daemon.wait(60 * guest.SCALE), 0)
        self.assertFalse(os.path.exists(path))
        self.assertIn("'a/b'", self.tool("lan", "proxy", "a/b")[1])
        self.assertIn("'x' is no place to listen", self.tool("lan", "proxy", "lab", "x")[1])
        self.assertIn("takes the name of a LAN", self.tool("lan", "proxy")[1])


if __name__ == "__main__":
    wires.main()
