# SPDX-License-Identifier: MIT
"""What is measured: one row a workload, with its class and how its figures are compared."""
import os
import threading
import time
from dataclasses import dataclass

NBODY = r"""
local sqrt=math.sqrt
local b={{0,0,0,0,0,0,39.47},{4.84,-1.16,-0.10,0.60,2.81,-0.02,0.037},{8.34,4.12,-0.4,-1.01,1.82,0.008,0.011},
{12.89,-15.11,-0.22,1.08,0.86,-0.01,0.0017},{15.37,-25.91,0.17,0.97,0.59,-0.03,0.002}}
for step=1,STEPS do for i=1,5 do local p=b[i] for j=i+1,5 do local q=b[j]
local x,y,z=p[1]-q[1],p[2]-q[2],p[3]-q[3] local d=x*x+y*y+z*z local m=0.001/(d*sqrt(d))
p[4]=p[4]-x*q[7]*m p[5]=p[5]-y*q[7]*m p[6]=p[6]-z*q[7]*m
q[4]=q[4]+x*p[7]*m q[5]=q[5]+y*p[7]*m q[6]=q[6]+z*p[7]*m end end
for i=1,5 do local p=b[i] p[1]=p[1]+0.001*p[4] p[2]=p[2]+0.001*p[5] p[3]=p[3]+0.001*p[6] end end
print(b[1][1])
"""
MANDELBROT = r"""
local n,c=SIZE,0
for y=0,n-1 do for x=0,n-1 do local a,b,i,j=2*x/n-1.5,2*y/n-1,0,0
for k=1,50 do local t=i*i-j*j+a j=2*i*j+b i=t if i*i+j*j>4 then c=c+1 break end end end end
print(c)
"""




@dataclass(frozen=True)
class Workload:
    kind: str      # the class it counts for
    name: str
    command: str   # in the guest's shell


def _lua(script, **numbers):
    for name, value in numbers.items():
        script = script.replace(name, str(value))
    return f"lua5.4 -e '{' '.join(script.split())}'"


def _stress(method, operations):
    return f"stress-ng --temp-path /tmp --cpu 1 --cpu-method {method} --cpu-ops {operations}"


def _stressor(name, operations, options=""):
    return f"stress-ng --temp-path /tmp --{name} 1 --{name}-ops {operations} {options}".rstrip()


def _openssl(mebibytes, how):
    return _zeros(mebibytes, f"openssl {how} > /dev/null")


def _repeat(times, command):
    return f"i=0; while [ $i -lt {times} ]; do {command} > /dev/null; i=$((i+1)); done"


def _at_once(command):
    return " ".join(f"{command} &" for _ in range(CPUS)) + " wait"


CPUS = 4  # of the guest that runs the class SMP
_KEY = "-K " + "07" * 32 + " -iv " + "09" * 16
_AES_KEY = "-K " + "07" * 16 + " -iv " + "09" * 16


def _zeros(mebibytes, program):
    return f"dd if=/dev/zero bs=1048576 count={mebibytes} 2>/dev/null | {program}"


# Ends when the kernel's random number generator is ready: it collects for seconds of the guest's time without a source
# of its own, and the first program that asks for random bytes waits for it.
SETTLE = "head -c 1 /dev/random > /dev/null"

# Sized for two to five seconds each on QEMU.
COMPUTE = [
    Workload("integer", "xz -1", "/bin/xz -1 -c /bin/perl > /dev/null"),
    Workload("integer", "gzip", "/bin/busybox gzip -c /bin/perl /bin/perl > /dev/null"),
    Workload("integer", "sha256sum", _zeros(24, "busybox sha256sum")),
    Workload("integer", "md5sum", _zeros(64, "busybox md5sum")),
    Workload("control", "lua fib", "lua5.4 -e 'local function f(n) if n<2 then return n end "
                                   "return f(n-1)+f(n-2) end print(f(32))'"),
    Workload("control", "lua tables", "lua5.4 -e 'local t={} for i=1,150000 do t[i]=tostring(i*7919%100003) end "
                                      "table.sort(t) print(t[1])'"),
    Workload("control", "perl regex", "perl -e '$s=join(q( ),map{$_*7919%10007}1..30000);$n=0;"
                                      "for(1..20){$n++ while $s=~/\\b(\\d)\\d*\\1\\b/g}print $n'"),
    Workload("control", "awk", "awk 'BEGIN{for(i=0;i<150000;i++)a[i%997]+=length(i \"x\"); print a[5]}'"),
    Workload("control", "shell loop", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"),
    Workload("generated code", "luajit n-body", _lua(NBODY, STEPS=600000).replace("lua5.4", "luajit")),
    Workload("floating point", "lua n-body", _lua(NBODY, STEPS=80000)),
    Workload("floating point", "lua mandelbrot", _lua(MANDELBROT, SIZE=360)),
    Workload("floating point", "stress-ng fft", _stress("fft", 150)),
    Workload("floating point", "stress-ng matrixprod", _stress("matrixprod", 600)),
    Workload("floating point", "stress-ng double", _stress("double", 200)),
    Workload("memory", "stress-ng stream", _stressor("stream", 12, "--stream-l3-size 4m")),
    Workload("memory", "stress-ng hsearch", _stressor("hsearch", 300)),
    Workload("memory", "stress-ng tree", _stressor("tree", 6, "--tree-size 50000")),
    Workload("memory", "stress-ng skiplist", _stressor("skiplist", 200, "--skiplist-size 4096")),
    Workload("SIMD", "openssl chacha20", _openssl(80, f"enc -chacha20 {_KEY}")),
    Workload("SIMD", "openssl sha256", _openssl(80, "dgst -sha256")),
    Workload("SIMD", "openssl sha512", _openssl(64, "dgst -sha512")),
    Workload("SIMD", "openssl aes-128-ctr", _openssl(48, f"enc -aes-128-ctr {_AES_KEY}")),
    Workload("SIMD", "stress-ng jpeg", _stressor("jpeg", 40)),
    Workload("SIMD", "stress-ng vecmath", _stressor("vecmath", 200)),
    Workload("system", "stress-ng fork", _stressor("fork", 1500)),
    Workload("system", "exec of a dynamic program", _repeat(60, "lua5.4 -v")),
    Workload("system", "stress-ng pipe", _stressor("pipe", 60000)),
    Workload("system", "stress-ng switch", _stressor("switch", 40000)),
    Workload("system", "stress-ng mmap", _stressor("mmap", 4, "--mmap-bytes 4m")),
    Workload("system", "stress-ng fault", _stressor("fault", 6000)),
]

# In a guest with CPUS processors, by wall-clock time.
PARALLEL = [
    Workload("SMP", "xz -1, four at once", _at_once("/bin/xz -1 -c /bin/perl > /dev/null")),
    Workload("SMP", "md5sum, four at once", _at_once(f"({_zeros(32, 'busybox md5sum > /dev/null')})")),
    Workload("SMP", "stress-ng futex", _stressor("futex", 40000)),
    Workload("SMP", "stress-ng switch, four at once",
             f"stress-ng --temp-path /tmp --switch {CPUS} --switch-ops 60000"),
]

# Of programs.img: /tmp has the files of FILES and what PREPARE makes. One CPU.
PROGRAMS = [
    Workload("integer", "zstd", "zstd -q -3 -c /usr/lib/gcc/arm-linux-gnueabihf/12/cc1 > /dev/null"),
    Workload("integer", "bzip2", "head -c 4000000 /usr/bin/python3.11 | bzip2 > /dev/null"),
    Workload("integer", "gcc -O2", "gcc -O2 -mfpu=neon -c -o kernels.o kernels.c"),
    Workload("integer", "sqlite3", "sqlite3 :memory: < tables.sql"),
    Workload("control", "python3", "python3 trees.py 60000"),
    Workload("generated code", "node", "node bodies.js 12000"),
    Workload("floating point", "whetstone", "./whetstone 15000"),
    Workload("SIMD", "djpeg", _repeat(25, "djpeg picture.jpg")),
]
# The same on CPUS processors.
PROGRAMS_PARALLEL = [
    Workload("SMP", "pbzip2", f"pbzip2 -p{CPUS} -c /usr/bin/python3.11 > /dev/null"),
    Workload("SMP", "make -j4", f"make -s -j{CPUS} && rm *.o"),
]
# What make compiles in the guests of programs.img, and their other files: name in the guest -> file of this repository.
SOURCES = {"disk.c": "bench/programs/disk.c", "whetstone.c": "bench/programs/whetstone.c",
           "litmus.c": "tests/functional/programs/litmus.c", "debuggee.c": "tests/functional/programs/debuggee.c"}
OTHERS = {name: f"bench/programs/{name}" for name in ("kernels.c", "bodies.js", "tables.sql", "trees.py")}
MAKEFILE = f"all: {' '.join(name[:-2] + '.o' for name in SOURCES)}\n%.o: %.c\n\tgcc -O2 -marm -c -o $@ $<\n"
# The second line brings what is run into the guest's page cache.
PREPARE = ("tar xf /dev/mmcblk0 && cjpeg -quality 90 picture.ppm > picture.jpg && "
           "cat /usr/bin/* /usr/lib/gcc/arm-linux-gnueabihf/12/* /usr/lib/arm-linux-gnueabihf/*.so.* 2> /dev/null | wc -c")


def picture(width=1024, height=768):
    """A PPM of smooth colours and sharp edges."""
    rows = bytearray(f"P6 {width} {height} 255\n".encode())
    for y in range(height):
        for x in range(width):
            edge = 80 if (x // 37 + y // 29) % 3 == 0 else 0
            rows += bytes(((x * 255 // width + edge) & 255, (y * 255 // height) ^ edge, (x * y >> 9) & 255))
    return bytes(rows)


def files(folder, build):
    """{name in the guest: file} for programs.img; build(source, output, *options) compiles for the guest."""
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    made = {name: os.path.join(root, path) for name, path in {**SOURCES, **OTHERS}.items()}
    for name, data in (("picture.ppm", picture()), ("Makefile", MAKEFILE.encode())):
        made[name] = os.path.join(folder, name)
        with open(made[name], "wb") as f:
            f.write(data)
    made["whetstone"] = os.path.join(folder, "whetstone")
    build(made["whetstone.c"], made["whetstone"], "-lm")
    return made


class HostToGuest:
    """Sends for some seconds; the guest counts. Throughput counts until the guest has it all."""

    kind, name = "network", "host to guest, LAN9118"

    def __init__(self, host, seconds):
        self.seconds = seconds
        self.server = host.TcpServer(self._send)

    def _send(self, connection):
        import socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        block, end = bytes(1 << 16), time.monotonic() + self.seconds
        while time.monotonic() < end:
            connection.sendall(block)

    @property
    def command(self):
        return f"nc 10.0.2.2 {self.server.port} < /dev/null | wc -c"

    def megabits(self, text, wall):
        return int(text.split()[0]) * 8 / wall / 1e6


class GuestToHost:
    """The guest sends for some seconds; the host counts."""

    kind, name = "network", "guest to host, LAN9118"

    def __init__(self, host, seconds):
        self.seconds = seconds
        self.server = host.TcpServer(self._count)
        self.got = 0
        self.done = threading.Event()

    def _count(self, connection):
        self.got = 0
        while data := connection.recv(1 << 18):
            self.got += len(data)
        self.done.set()

    @property
    def command(self):
        return f"timeout {self.seconds} cat /dev/zero | nc 10.0.2.2 {self.server.port}"

    def megabits(self, _, wall):
        self.done.wait(30)
        self.done.clear()
        return self.got * 8 / wall / 1e6
