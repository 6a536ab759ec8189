# SPDX-License-Identifier: MIT
"""Reads what screendump writes: PPM and PNG files, as rows of (red, green, blue)."""
import struct
import zlib


class Picture:
    def __init__(self, width, height, data):
        self.width, self.height, self.data = width, height, data

    def pixel(self, x, y):
        at = (y * self.width + x) * 3
        return tuple(self.data[at:at + 3])

    def cell(self, column, row, width=8, height=16):
        """The pixels of a character on a text console."""
        return tuple(self.pixel(column * width + x, row * height + y) for y in range(height) for x in range(width))

    def colours(self):
        return {self.data[at:at + 3] for at in range(0, len(self.data), 3)}


def read_ppm(path):
    with open(path, "rb") as f:
        raw = f.read()
    magic, size, depth, data = raw.split(b"\n", 3)
    if magic != b"P6" or depth != b"255":
        raise ValueError(f"{path} is no binary PPM")
    width, height = map(int, size.split())
    if len(data) != width * height * 3:
        raise ValueError(f"{path}: {len(data)} bytes for {width}x{height}")
    return Picture(width, height, data)


def read_png(path):
    with open(path, "rb") as f:
        raw = f.read()
    if raw[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG")
    packed, at, size = b"", 8, (0, 0)
    while at < len(raw):
        length, kind = struct.unpack(">I4s", raw[at:at + 8])
        body = raw[at + 8:at + 8 + length]
        if zlib.crc32(kind + body) != struct.unpack(">I", raw[at + 8 + length:at + 12 + length])[0]:
            raise ValueError(f"{path}: bad sum of a {kind.decode()}")
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
            if body[8:] != b"\x08\x02\0\0\0":
                raise ValueError(f"{path}: not 8-bit RGB")
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    lines = zlib.decompress(packed)
    width, height = size
    step = width * 3 + 1
    if len(lines) != step * height or any(lines[y * step] for y in range(height)):
        raise ValueError(f"{path}: unexpected lines")
    return Picture(width, height, b"".join(lines[y * step + 1:(y + 1) * step] for y in range(height)))
