# SPDX-License-Identifier: MIT
"""What the guest sees of the network is what the host sees.

One script of questions is asked in the guest: what connect() says of targets that refuse, cannot be reached or are
forbidden, what comes back after a half close, the hops of a route, records of all types, too large datagrams, the ports
that the host sees. The answers are asserted of Rhea. With RHEA_PEER=PROGRAM the same script runs under that emulator
too, and the answers are printed side by side (nothing is asserted of the peer).

Runs in network and mount namespaces of its own.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

import guest
import host
from guest import SharedGuestTest

THERE, UNREACHABLE, PROHIBITED, NOWHERE = "192.0.2.7", "198.51.100.8", "198.51.100.9", "203.0.113.5"
NARROW, LATER = "192.0.2.130", "192.0.2.8"
RESOLVER = "127.0.0.1"
CONNECT = r"""perl -MSocket -e 'for (@ARGV) { my ($a,$p)=split /:/; socket(my $s,PF_INET,SOCK_STREAM,0);
print "$_ ", connect($s,sockaddr_in($p,inet_aton($a))) ? "connected" : "$!", "\n" }' """
# One query each; the first record's type and data, or the code.
RECORDS = r"""perl -MSocket -e 'for my $t (@ARGV) { socket(my $s,PF_INET,SOCK_DGRAM,0);
my $q=pack("nnnnnn",7,256,1,0,0,0)."\4some\4test\0".pack("nn",$t,1);
send($s,$q,0,sockaddr_in(53,inet_aton("10.0.2.3"))); my $b=""; vec(my $r="",fileno($s),1)=1;
select($r,undef,undef,20) ? recv($s,$b,4096,0) : print "$t silence\n"; next unless length $b;
my ($id,$f,$qd,$an)=unpack("nnnn",$b); print "$t ", $an ? unpack("H*",substr($b,length($q)+12)) : "code ".($f&15), "\n" }' """
TYPES = {1: b"\xc0\0\2\1", 28: bytes(15) + b"\1", 16: b"\4text", 15: b"\0\n\4mail\0", 33: b"\0\1\0\2\0\x50\3srv\0",
         65: b"\0\1\0", 65280: b"any bytes"}
# A datagram that must not be fragmented, twice: the first learns the path.
TOO_LARGE = r"""perl -MSocket -e 'socket(my $s,PF_INET,SOCK_DGRAM,0); setsockopt($s,0,10,pack("i",2));
connect($s,sockaddr_in(9,inet_aton($ARGV[0]))); send($s,"x"x1400,0); select(undef,undef,undef,1);
print defined(send($s,"x"x1400,0)) ? "sent" : "$!"' """


# Reads to the end, and sends then.
ANSWERS_THE_END = r"""perl -MSocket -e 'socket(my $s,PF_INET,SOCK_STREAM,0);
connect($s,sockaddr_in($ARGV[0],inet_aton("10.0.2.2"))); my $t=""; 1 while sysread($s,$t,99,length $t); chomp $t;
my $n=0; while ($n<70000) { my $w=syswrite($s,"x"x(70000-$n)); last unless $w; $n+=$w } print "$t, sent $n"' """


class Resolver:
    """Answers a question of each type with data of its own, and knows nothing of others."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            kind = int.from_bytes(query[-4:-2], "big")
            data = TYPES.get(kind)
            header = query[:2] + (b"\x81\x80" if data else b"\x81\x83") + b"\0\1" + (b"\0\1" if data else b"\0\0")
            record = b"\xc0\x0c" + query[-4:] + b"\0\0\0\x3c" + len(data).to_bytes(2, "big") + data if data else b""
            self.socket.sendto(header + bytes(4) + query[12:] + record, client)


def lines_of(emulator, script, words):
    status, text = emulator.run(" ".join(script.split()) + " " + " ".join(words), 240)
    assert status == 0, text
    return dict(line.split(" ", 1) for line in text.strip().split("\n"))


class Truth(SharedGuestTest):
    how = {"initrd": guest.WORK_INITRD}
    arguments = ("-nic", "user")

    def ask(self, what, question):
        """What the guest answers; the peer's answer is shown beside it."""
        answer = question(self.guest)
        peer = os.environ.get("RHEA_PEER")
        if peer:
            other = guest.Emulator(guest.machine(*self.arguments, initrd=guest.WORK_INITRD), program=peer)
            try:
                other.expect(guest.PROMPT, 600)
                theirs = question(other)
            finally:
                other.close()
            if not isinstance(answer, dict):
                answer_rows, their_rows = {"": answer}, {"": theirs}
            else:
                answer_rows, their_rows = answer, theirs
            for row, value in answer_rows.items():
                print(f"| {what} {row} | {value!s:.100} | {their_rows.get(row)!s:.100} |", flush=True)
        return answer

    def test_connect(self):
        with host.TcpServer(lambda c: c.recv(1)) as server:
            targets = [f"10.0.2.2:{server.port}", "10.0.2.2:1", f"{THERE}:1", f"{UNREACHABLE}:80", f"{PROHIBITED}:80",
                       f"{NOWHERE}:80"]
            seen = self.ask("connect", lambda emulator: lines_of(emulator, CONNECT, targets))
        self.assertEqual(list(seen.values()), ["connected", "Connection refused", "Connection refused",
                                               "No route to host", "No route to host", "Network is unreachable"])

    def test_half_close(self):
        with host.TcpServer(lambda c: c.sendall(b"%d bytes\n" % len(host.read_all(c)))) as server:
            text = self.ask("half close", lambda emulator: emulator.run(
                f"head -c 100000 /dev/zero | nc 10.0.2.2 {server.port}", 120)[1].strip())
        self.assertEqual(text, "100000 bytes")

    def test_the_hosts_end_leaves_the_guests_open(self):
        def serve(connection):
            connection.sendall(b"over\n")
            connection.shutdown(socket.SHUT_WR)
            return len(host.read_all(connection))
        with host.TcpServer(serve) as server:
            text = self.ask("the host's half close", lambda emulator: emulator.run(
                " ".join(ANSWERS_THE_END.split()) + f" {server.port}", 120)[1].strip())
            self.assertEqual(text, "over, sent 70000")
            self.assertEqual(server.wait(), [70000])

    def test_traceroute_shows_the_hops(self):
        for kind in ("", "-I "):
            text = self.ask(f"traceroute {kind}", lambda emulator, kind=kind: emulator.run(
                f"traceroute {kind}-n -q 1 -m 4 {THERE}", 240)[1].strip().replace("\n", "; "))
            self.assertRegex(text, r" 1  10\.0\.2\.2 .* 2  192\.0\.2\.7 ")

    def test_datagrams_to_a_closed_port_are_refused(self):
        text = self.ask("datagrams to a closed port", lambda emulator: emulator.run(
            "perl -MSocket -e 'socket(my $s,PF_INET,SOCK_DGRAM,0); "
            f"connect($s,sockaddr_in(9,inet_aton(q({THERE})))); send($s,q(x),0); sleep 1; "
            "print defined(send($s,q(x),0)) ? q(sent) : $!'", 120)[1].strip())
        self.assertEqual(text, "Connection refused")

    def test_records_of_all_types(self):
        kinds = [str(kind) for kind in [*TYPES, 99]]
        seen = self.ask("record", lambda emulator: lines_of(emulator, RECORDS, kinds))
        wanted = {str(kind): data.hex() for kind, data in TYPES.items()}
        self.assertEqual(seen, {**wanted, "99": "code 3"})

    def test_a_path_that_is_too_narrow_is_told(self):
        text = self.ask("datagram of 1400 over a path of 1280", lambda emulator: emulator.run(
            " ".join(TOO_LARGE.split()) + " " + NARROW, 120)[1].strip())
        self.assertEqual(text, "Message too long")

    def test_ports_the_host_sees(self):
        def question(emulator):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.settimeout(60)
                emulator.send(f"nc 10.0.2.2 {listener.getsockname()[1]} < /dev/null; echo @@$((1+1))@\n")
                connection, client = listener.accept()
                connection.close()
                emulator.expect(r"@@2@\r*\n", 60)
                emulator.expect(guest.PROMPT, 60)
            return client[0]
        self.assertEqual(self.ask("address the host sees", question), "127.0.0.1")


class AddressChange(SharedGuestTest):
    """The host's address goes and another comes: what does not need it goes on, and what does when it is back."""

    how = {"initrd": guest.WORK_INITRD}
    arguments = ("-nic", "user")

    def test_connections_outlive_a_change(self):
        with socket.create_server((THERE, 0)) as listener, \
                host.TcpServer(lambda c: c.sendall(b"gateway\n") or len(host.read_all(c))) as other:
            listener.settimeout(60)
            port = listener.getsockname()[1]
            self.guest.send(f"(cat; sleep 600) < /dev/null | nc {THERE} {port} > /tmp/got & "
                            f"sleep 600 | nc 10.0.2.2 {other.port} > /tmp/other & echo started\n")
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"before\n")
                self.sh("until grep -q before /tmp/got && grep -q gateway /tmp/other; do sleep 0.2; done")
                change("del", THERE)
                change("add", LATER)
                self.addCleanup(change, "add", THERE)
                seen = lines_of(self.guest, CONNECT, [f"{LATER}:1", f"{THERE}:{port}", f"10.0.2.2:{other.port}"])
                self.assertEqual(list(seen.values()), ["Connection refused", "Network is unreachable", "connected"])
                change("add", THERE)
                connection.sendall(host.pattern(200000))
                connection.shutdown(socket.SHUT_WR)
                want = host.sha256(b"before\n" + host.pattern(200000))
                self.sh(f"until sha256sum /tmp/got | grep -q {want}; do sleep 0.2; done", 240)
        self.sh("killall nc sleep; true")


def change(what, address):
    subprocess.run(["ip", "address", what, f"{address}/32", "dev", "lo"], check=False, stderr=subprocess.DEVNULL)


def prepare():
    """Addresses, routes and a resolver of the namespace."""
    def ip(*words):
        subprocess.run(["ip", *words], check=True, stderr=subprocess.PIPE)
    change("add", THERE)
    for kind, address in (("unreachable", UNREACHABLE), ("prohibit", PROHIBITED)):
        ip("route", "add", kind, address)
    ip("route", "add", NARROW, "dev", "lo", "mtu", "1280")
    with tempfile.NamedTemporaryFile("w", prefix="rhea-resolv-") as file:
        file.write(f"nameserver {RESOLVER}\n")
        file.flush()
        host.bind_mount(file.name, "/etc/resolv.conf")
    Resolver()


def main():
    reason = host.enter_namespace()
    if not reason and not shutil.which("ip"):
        reason = "no ip(8)"
    try:
        if not reason:
            prepare()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(error)
    if reason:
        print(f"SKIP: truth: {reason}", flush=True)
        sys.exit(77)
    guest.main()


if __name__ == "__main__":
    main()
