# SPDX-License-Identifier: MIT
"""What the guest sees of targets that refuse, cannot be reached or are forbidden is what the host sees.

Runs in a network namespace of its own. With RHEA_PEER=PROGRAM the same script runs under that emulator too,
and the results are printed side by side (nothing is asserted of the peer).
"""
import os
import shutil
import socket
import subprocess
import sys
import threading

import guest
import host
from guest import SharedGuestTest

THERE, UNREACHABLE, PROHIBITED, NOWHERE = "192.0.2.7", "198.51.100.8", "198.51.100.9", "203.0.113.5"
CONNECT = r"""perl -MSocket -e 'for (@ARGV) { my ($a,$p)=split /:/; socket(my $s,PF_INET,SOCK_STREAM,0);
print "$_ ", connect($s,sockaddr_in($p,inet_aton($a))) ? "connected" : "$!", "\n" }' """


def connect_errors(emulator, targets):
    status, text = emulator.run(" ".join(CONNECT.split()) + " " + " ".join(targets), 120)
    assert status == 0, text
    return dict(line.split(" ", 1) for line in text.strip().split("\n"))


class Truth(SharedGuestTest):
    how = {"initrd": guest.WORK_INITRD}

    def test_connect(self):
        with host.TcpServer(lambda c: c.recv(1)) as server:
            targets = [f"10.0.2.2:{server.port}", "10.0.2.2:1", f"{THERE}:1", f"{UNREACHABLE}:80", f"{PROHIBITED}:80",
                       f"{NOWHERE}:80"]
            seen = connect_errors(self.guest, targets)
            self.compare("connect", targets, seen, connect_errors)
        self.assertEqual(list(seen.values()), ["connected", "Connection refused", "Connection refused",
                                               "No route to host", "No route to host", "Network is unreachable"])

    def test_half_close(self):
        with host.TcpServer(lambda c: c.sendall(b"%d bytes\n" % len(host.read_all(c)))) as server:
            self.assertEqual(self.sh(f"head -c 100000 /dev/zero | nc 10.0.2.2 {server.port}"), "100000 bytes\n")

    def test_traceroute_shows_the_hops(self):
        text = self.sh(f"traceroute -n -q 1 -m 4 {THERE}")
        self.assertRegex(text, r"(?s) 1  10\.0\.2\.2 .* 2  192\.0\.2\.7 ")
        self.assertRegex(self.sh(f"traceroute -I -n -q 1 -m 4 {THERE}"), r"(?s) 1  10\.0\.2\.2 .* 2  192\.0\.2\.7 ")

    def test_datagrams_to_a_closed_port_are_refused(self):
        text = self.sh("perl -MSocket -e 'socket(my $s,PF_INET,SOCK_DGRAM,0); "
                       f"connect($s,sockaddr_in(9,inet_aton(q({THERE})))); send($s,q(x),0); sleep 1; "
                       "print defined(send($s,q(x),0)) ? q(sent) : $!'")
        self.assertEqual(text.strip(), "Connection refused")

    def test_ports_the_host_sees(self):
        ports = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def accept():
                connection, client = listener.accept()
                ports.append(client)
                connection.close()
            thread = threading.Thread(target=accept, daemon=True)
            thread.start()
            self.sh(f"nc 10.0.2.2 {listener.getsockname()[1]} < /dev/null")
            thread.join(60)
        self.assertEqual(ports[0][0], "127.0.0.1")

    def compare(self, what, targets, seen, function):
        peer = os.environ.get("RHEA_PEER")
        if not peer:
            return
        other = guest.Emulator(guest.machine("-nic", "user", initrd=guest.WORK_INITRD), program=peer)
        self.addCleanup(other.close)
        other.expect(guest.PROMPT, 600)
        theirs = function(other, targets)
        for target in targets:
            print(f"{what} {target}: {seen[target]} | peer: {theirs[target]}", flush=True)


def main():
    reason = host.enter_namespace()
    if not reason and not shutil.which("ip"):
        reason = "no ip(8)"
    try:
        if not reason:
            host.add_loopback_address(THERE)
            for kind, address in (("unreachable", UNREACHABLE), ("prohibit", PROHIBITED)):
                subprocess.run(["ip", "route", "add", kind, address], check=True, stderr=subprocess.PIPE)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(error)
    if reason:
        print(f"SKIP: truth: {reason}", flush=True)
        sys.exit(77)
    guest.main()


if __name__ == "__main__":
    main()
