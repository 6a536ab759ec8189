# SPDX-License-Identifier: MIT
"""The host's side of the network tests: small servers on loopback only, each with a bounded life."""
import contextlib
import ctypes
import fcntl
import functools
import hashlib
import http.server
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

LOOPBACK = "127.0.0.1"


def free_port(kind=socket.SOCK_STREAM):
    """A port nobody listens on just now."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((LOOPBACK, 0))
        return s.getsockname()[1]


def pattern(size):
    """Bytes that never repeat at a packet's or buffer's size."""
    block = b"".join(struct.pack("<I", n * 2654435761 & 0xFFFFFFFF) for n in range(65521))
    return (block * (size // len(block) + 1))[:size]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def web_server(directory):
    """An HTTP server on loopback; gives its port."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), functools.partial(Quiet, directory=directory))
    server.daemon_threads = True
    with _serving(server):
        yield server.server_address[1]


@contextlib.contextmanager
def _serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class TcpServer:
    """Calls handle(connection) for each client, in a thread of its own; `results` has what it returned."""

    def __init__(self, handle, port=0):
        self.handle = handle
        self.results = []
        self.done = threading.Condition()
        self.listener = socket.create_server((LOOPBACK, port), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(120)
        with connection:
            try:
                result = self.handle(connection)
            except OSError as error:
                result = error
        with self.done:
            self.results.append(result)
            self.done.notify_all()

    def wait(self, count=1, timeout=60):
        """What the first `count` clients brought."""
        with self.done:
            self.done.wait_for(lambda: len(self.results) >= count, timeout)
            return self.results[:count]


def read_all(connection):
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def read_exactly(connection, size):
    parts = []
    while size and (data := connection.recv(min(size, 1 << 16))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def digest_of_all(connection):
    """For TcpServer: (bytes, sha256) of everything the client sends before it closes."""
    digest, size = hashlib.sha256(), 0
    while data := connection.recv(1 << 18):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


@contextlib.contextmanager
def tftp_server(files):
    """Serves {name: bytes} by TFTP, one client at a time; gives the port. For UDP without more tools."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((LOOPBACK, 0))
        stop = threading.Event()
        s.settimeout(0.2)

        def loop():
            while not stop.is_set():
                try:
                    request, client = s.recvfrom(2048)
                except OSError:
                    continue
                if request[:2] == b"\0\1":
                    _tftp_send(client, files[request[2:].split(b"\0")[0].decode()])

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield s.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _tftp_send(client, data):
    """Blocks of 512 bytes from a port of their own, each until acknowledged."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((LOOPBACK, 0))
        s.settimeout(2)
        for number, start in enumerate(range(0, len(data) + 1, 512), start=1):
            for _ in range(5):
                s.sendto(struct.pack(">HH", 3, number) + data[start:start + 512], client)
                try:
                    if s.recvfrom(2048)[0] == struct.pack(">HH", 4, number):
                        break
                except OSError:
                    continue


def connect(port, timeout=30):
    return socket.create_connection((LOOPBACK, port), timeout=timeout)


def loopback_up():
    """Bring lo up in a network namespace of our own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, 0x8913, request))[1]
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def add_loopback_address(address):
    """One more address on lo, in a network namespace of our own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        where = struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, socket.inet_aton(address))
        fcntl.ioctl(s, 0x8916, where)  # SIOCSIFADDR


def enter_namespace():
    """Run this script again inside its own user, network and mount namespaces.

    Returns None inside; outside it does not return, or gives the reason why there can be none.
    """
    if os.environ.get("RHEA_TEST_NAMESPACE"):
        loopback_up()
        return None
    if not shutil.which("unshare"):
        return "no unshare(1)"
    spaces = ["--net", "--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net", "--mount"]
    tried = subprocess.run(["unshare", *spaces, "true"], stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode:
        return f"no namespaces here: {tried.stderr.strip()}"
    os.environ["RHEA_TEST_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", *spaces, "--kill-child", sys.executable, *sys.argv])


def is_root():
    """Whether this is root for all of the host, not just in a user namespace of an ordinary user."""
    with open("/proc/self/uid_map", encoding="ascii") as f:
        return os.geteuid() == 0 and f.read().split()[:2] == ["0", "0"]


def bind_mount(source, target):
    """mount --bind, without the mount(8) program."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), os.path.realpath(target).encode(), None, 4096, None) != 0:
        raise OSError(ctypes.get_errno(), f"bind mount on {target}")


def tun_for_all():
    """Everybody may open /dev/net/tun in this mount namespace, as on a host where udev made it. The reason if not."""
    tun, node = "/dev/net/tun", "/dev/shm/rhea-test-tun"
    try:
        os.close(os.open(tun, os.O_RDWR))
        if os.geteuid() == 0 and os.stat(tun).st_mode & 0o666 != 0o666:
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
            os.mknod(node, 0o20666, os.makedev(10, 200))
            os.chmod(node, 0o666)
            bind_mount(node, tun)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"{tun}: {error}"
    return None
