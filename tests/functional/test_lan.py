# SPDX-License-Identifier: MIT
"""`-netdev lan`: three guests of an ordinary user on one LAN. They know one another by name, ping and talk TCP, are
reached from the host by forwarded ports, and one that is killed and started again is where it was.

Runs in a network namespace of its own, as a user without capabilities where it can change to one.
"""
import json
import os
import re
import shutil
import subprocess

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
        if os.geteuid() == 0 and shutil.which("setpriv"):
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


if __name__ == "__main__":
    wires.main()
