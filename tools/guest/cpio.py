# SPDX-License-Identifier: MIT
"""Write newc cpio archives, the kernel's initrd format: no root needed for nodes or owners."""
import os
import stat


class Archive:
    """Collects files by path; every owner is root and every time is 0, so output is repeatable."""

    def __init__(self):
        self.entries = {}

    def add(self, path, mode, data=b"", rdev=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = (mode, data, rdev)

    def directory(self, path, permissions=0o755):
        self.add(path, stat.S_IFDIR | permissions)

    def file(self, path, data, permissions=0o644):
        self.add(path, stat.S_IFREG | permissions, data)

    def symlink(self, path, target):
        self.add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, kind, major, minor, permissions=0o600):
        self.add(path, kind | permissions, rdev=(major, minor))

    def __contains__(self, path):
        return path.strip("/") in self.entries

    def pack(self):
        parts = []
        for inode, path in enumerate(sorted(self.entries), start=1):
            mode, data, rdev = self.entries[path]
            parts.append(_record(path, inode, mode, data, rdev))
        parts.append(_record("TRAILER!!!", 0, 0, b"", (0, 0)))
        return b"".join(parts)


def _pad(data):
    return data + bytes(-len(data) % 4)


def _record(path, inode, mode, data, rdev):
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = [inode, mode, 0, 0, links, 0, len(data), 0, 0, *rdev, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _pad(header + name) + _pad(data)
