# SPDX-License-Identifier: MIT
"""Names asked of 10.0.2.3 are answered by the host's resolver.

Runs in network and mount namespaces of its own, where resolv.conf names a server of ours on loopback.
"""
import os
import socket
import struct
import sys
import tempfile
import threading
import time

import guest
import host
from guest import SharedGuestTest

NAMES = {"web.rhea.test": "192.0.2.7", "second.rhea.test": "192.0.2.8"}


def answer(query, names):
    """A DNS reply to the query: an address, many addresses, or no such name."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12:at + 5]
    kind = struct.unpack(">H", query[at + 1:at + 3])[0]
    name = ".".join(labels).lower()
    addresses = [names[name]] if name in names else []
    if name == "many.rhea.test":
        addresses = [f"192.0.2.{n}" for n in range(1, 21)]
    if kind != 1:
        records, code = [], 0 if addresses else 3
    else:
        records, code = addresses, 0 if addresses else 3
    header = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(a) for a in records)
    return header + question + body


class DnsServer:
    """Port 53 of one loopback address, UDP and TCP."""

    def __init__(self, address, names):
        self.queries = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.names = names
        self.listener = socket.create_server((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(60)
                self._serve_stream(connection)

    def _serve_stream(self, connection):
        data = b""
        try:
            while part := connection.recv(4096):
                data += part
                while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
                    end = 2 + int.from_bytes(data[:2], "big")
                    reply = answer(data[2:end], self.names)
                    connection.sendall(len(reply).to_bytes(2, "big") + reply)
                    data = data[end:]
        except OSError:
            pass

    def _serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(4096)
                self.queries += 1
                self.socket.sendto(answer(query, self.names), client)
            except OSError:
                return

    def close(self):
        self.socket.close()
        self.listener.close()


# A query over TCP, and the addresses in the answer: perl's sockets are in every Debian.
OVER_TCP = r"""perl -MSocket -e 'my $name=shift; socket(my $s,PF_INET,SOCK_STREAM,0);
connect($s,sockaddr_in(53,inet_aton("10.0.2.3"))) or die $!;
my $q=pack("nnnnnn",7,256,1,0,0,0).join("",map{chr(length).$_}split(/\./,$name))."\0".pack("nn",1,1);
syswrite $s,pack("n",length $q).$q; my $b="";
while (length $b<2 || length $b<2+unpack("n",$b)) { sysread($s,$b,65536,length $b) or last }
my ($l,$id,$f,$qd,$an)=unpack("nnnnn",$b); print "id $id code ",$f&15,"\n";
print join(".",unpack("C4",substr($b,2+length($q)+16*$_+12,4))),"\n" for 0..$an-1' """


class Names(SharedGuestTest):
    arguments = ("-nic", "user")
    how = {"initrd": guest.WORK_INITRD}

    @classmethod
    def setUpClass(cls):
        if UNAVAILABLE:
            raise guest.unittest.SkipTest(UNAVAILABLE)
        cls.file = tempfile.NamedTemporaryFile("w", prefix="rhea-resolv-")
        cls.use("127.0.0.1")
        host.bind_mount(cls.file.name, "/etc/resolv.conf")
        cls.server = DnsServer("127.0.0.1", NAMES)
        cls.addClassCleanup(cls.server.close)
        super().setUpClass()

    @classmethod
    def use(cls, address):
        cls.file.seek(0)
        cls.file.write(f"nameserver {address}\n")
        cls.file.truncate()
        cls.file.flush()

    def test_name_has_its_address(self):
        for name, address in NAMES.items():
            self.assertRegex(self.sh(f"nslookup -type=a {name}"), rf"Server:\s+10\.0\.2\.3[^@]*Address: {address}\n")

    def test_programs_resolve_too(self):
        status, text = self.guest.run("ping -c 1 -W 1 web.rhea.test")
        self.assertIn("PING web.rhea.test (192.0.2.7)", text, status)

    def test_no_such_name(self):
        status, text = self.guest.run("nslookup -type=a nothing.rhea.test")
        self.assertNotEqual(status, 0)
        self.assertIn("NXDOMAIN", text)

    def test_answer_with_many_addresses(self):
        text = self.sh("nslookup -type=a many.rhea.test")
        self.assertEqual(text.count("Address: 192.0.2."), 20)

    @guest.rhea_only("QEMU has no names of its own, and relays UDP only")
    def test_over_tcp(self):
        script = " ".join(OVER_TCP.split("\n"))
        self.assertEqual(self.sh(script + " gateway"), "id 7 code 0\n10.0.2.2\n")
        self.assertEqual(self.sh(script + " second.rhea.test"), "id 7 code 0\n192.0.2.8\n")
        many = self.sh(script + " many.rhea.test").split()
        self.assertEqual(many[4:], [f"192.0.2.{n}" for n in range(1, 21)])
        self.assertEqual(self.sh(script + " none.rhea.test"), "id 7 code 3\n")

    def test_many_queries(self):
        before = self.server.queries
        self.sh("i=0; while [ $i -lt 50 ]; do nslookup -type=a web.rhea.test > /dev/null || exit 1; i=$((i+1)); done")
        self.assertGreaterEqual(self.server.queries - before, 50)

    def test_zz_changed_resolver_is_followed(self):
        other = DnsServer("127.0.0.2", {"web.rhea.test": "198.51.100.1"})
        self.addCleanup(other.close)
        time.sleep(2)
        self.use("127.0.0.2")
        time.sleep(2)
        self.assertIn("Address: 198.51.100.1\n", self.sh("nslookup -type=a web.rhea.test"))


if __name__ == "__main__":
    if not os.path.exists("/etc/resolv.conf"):
        UNAVAILABLE = "this host has no /etc/resolv.conf to put ours over"
    else:
        UNAVAILABLE = host.enter_namespace()
    guest.main()
