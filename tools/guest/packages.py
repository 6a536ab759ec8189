# SPDX-License-Identifier: MIT
"""Which Debian packages make the guest, and which of the kernel's modules it loads."""

# A metapackage: fetch follows it to the kernel package of the day.
KERNEL = "linux-image-armmp"

# Everything the small image needs: busybox, and an ssh server with its libraries.
BASE = [
    "busybox-static",
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libgcc-s1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
]

# The programs of the benchmarks and stress tests, and the closure of their libraries.
# (stress-ng is linked with EGL and GBM, hence the row of graphics libraries.)
WORK = [
    "iperf3",
    "libapparmor1",
    "libbsd0",
    "libdrm2",
    "libegl1",
    "libexpat1",
    "libffi8",
    "libgbm1",
    "libgles2",
    "libglvnd0",
    "libiperf0",
    "libjpeg62-turbo",
    "libjudydebian1",
    "libkmod2",
    "libluajit-5.1-2",
    "libluajit-5.1-common",
    "liblzma5",
    "libmd0",
    "libreadline8",
    "libsctp1",
    "libssl3",
    "libtinfo6",
    "libwayland-server0",
    "libxxhash0",
    "libzstd1",
    "lua5.4",
    "luajit",
    "openssl",
    "perl-base",
    "stress-ng",
    "xz-utils",
]

# Files taken out of the kernel package: name in build/guest -> where in the package.
# The trailing part is matched, because the directories carry the kernel's version.
KERNEL_FILES = {
    "vmlinuz": "boot/vmlinuz-",
    "vexpress-v2p-ca9.dtb": "/vexpress-v2p-ca9.dtb",
    "bcm2836-rpi-2-b.dtb": "/bcm2836-rpi-2-b.dtb",
}

# Loaded by /etc/rc in this order, each after what it depends on.
MODULES = ["smsc911x", "virtio_mmio", "virtio-rng", "virtio_net"]

# What root.gz loads before it goes on to the root file system.
ROOT_MODULES = ["crc32c_generic", "ext4", "armmmci", "virtio_mmio", "virtio_blk", "smsc911x", "virtio_net", "virtio-rng"]

# The system of disk.img; apt adds what these depend on.
ROOT = [
    "apt",
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "busybox-static",
    "coreutils",
    "dash",
    "debconf",
    "diffutils",
    "dpkg",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "ifupdown",
    "initscripts",
    "iproute2",
    "libc-bin",
    "login",
    "ncurses-base",
    "ncurses-bin",
    "openssh-server",
    "perl-base",
    "procps",
    "sed",
    "sysv-rc",
    "sysvinit-core",
    "tar",
    "udhcpc",
    "util-linux",
    "usr-is-merged",
]

# The programs of programs.img, too large for an initrd: what generates code, compiles, compresses, computes. apt adds
# what they depend on.
PROGRAMS = [
    "base-files",
    "busybox-static",
    "bzip2",
    "coreutils",
    "dash",
    "gcc",
    "libc6-dev",
    "libjpeg-turbo-progs",
    "make",
    "nodejs",
    "pbzip2",
    "python3-minimal",
    "sqlite3",
    "usr-is-merged",
    "zstd",
]

# There for modprobe.
MODULES_ON_DEMAND = ["9p", "9pnet_virtio", "ambakmi", "evdev", "i2c-dev", "i2c-versatile", "psmouse", "virtio_balloon",
                     "virtio_console", "virtio_input"]
