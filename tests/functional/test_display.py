# SPDX-License-Identifier: MIT
"""Display, keyboard, mouse, sound and the DVI connector's I2C bus, driven by the stock kernel."""
import os
import re
import struct
import time
import wave

import guest
from guest import GuestTest, SharedGuestTest, rhea_only
from pictures import read_png, read_ppm

FRAMEBUFFER = "console=tty0 console=ttyAMA0 rhea.net=off"


class Framebuffer(SharedGuestTest):
    """Linux' driver of the PL111 needs a panel in the device tree: the board's own tree has one."""

    arguments = ("-net", "none")
    how = {"dtb": "", "append": FRAMEBUFFER, "memory": "256M"}

    def dump(self, *words):
        path = os.path.join(self.directory(), "picture")
        self.assertEqual(self.guest.in_monitor(" ".join(("screendump", path, *words))), "")
        return path

    @rhea_only("QEMU gives the kernel no device tree of its own for this board")
    def test_console_shows_text(self):
        self.sh("printf '\\033[2J\\033[HABBA' > /dev/tty0; sleep 1")
        picture = read_ppm(self.dump())
        self.assertEqual((picture.width, picture.height), (1024, 768))
        a, b = picture.cell(0, 0), picture.cell(1, 0)
        self.assertEqual((picture.cell(2, 0), picture.cell(3, 0)), (b, a))
        self.assertNotEqual(a, b)
        self.assertEqual(set(a) | set(b), {(0, 0, 0), (170, 170, 170)})
        self.assertEqual(set(picture.cell(60, 20)), {(0, 0, 0)})

    @rhea_only("QEMU gives the kernel no device tree of its own for this board")
    def test_frame_buffer_pixels(self):
        self.sh("printf '\\033[2J' > /dev/tty0; printf '\\377\\200\\020\\0\\020\\200\\377\\0' > /dev/fb0")
        picture = read_png(self.dump("-f", "png"))
        self.assertEqual(picture.pixel(0, 0), (0x10, 0x80, 0xff))
        self.assertEqual(picture.pixel(1, 0), (0xff, 0x80, 0x10))

    @rhea_only("QEMU's displays have no names here")
    def test_displays_by_name(self):
        self.assertEqual(read_ppm(self.dump("clcd-tile", "0")).width, 1024)
        self.assertEqual(read_ppm(self.dump("clcd")).width, 640)  # off


class Screendump(GuestTest):
    def test_refusals(self):
        monitor = self.start_monitor().monitor
        self.assertEqual(monitor("screendump /nonexistent/x"),
                         "Error: failed to open file '/nonexistent/x': No such file or directory")
        self.assertIn("Error: Device 'foo' not found", monitor("screendump /tmp/x foo"))

    @rhea_only("QEMU's words differ")
    def test_format_is_checked(self):
        monitor = self.start_monitor().monitor
        self.assertIn("it takes ppm or png", monitor("screendump x -f bmp"))
        self.assertIn("-f needs a format", monitor("screendump x -f"))
        self.assertIn("displays: clcd-tile, clcd", monitor("screendump x foo"))

    def test_a_display_that_is_off(self):
        path = os.path.join(self.directory(), "off.ppm")
        self.assertEqual(self.start_monitor().monitor(f"screendump {path}"), "")
        picture = read_ppm(path)
        self.assertEqual((picture.width, picture.height), (640, 480))


def collect(test, emulator, devices, commands):
    """Read the event devices (a shell pattern) in the guest until what the commands make has come."""
    test.guest_runs(emulator, f"for d in /dev/input/{devices}; do cat $d > /tmp/of-${{d##*/}} & done; sleep 1")
    emulator.in_monitor(*commands)
    text = test.guest_runs(
        emulator, "last=-1; while size=$(cat /tmp/of-* | wc -c); [ $size != $last ]; do last=$size; sleep 2; done; "
                  "killall cat; cat /tmp/of-* | hexdump -v -e '16/1 \"%02x\" \"\\n\"'; rm /tmp/of-*", 120)
    rows = [struct.unpack("<IIHHi", bytes.fromhex(line)) for line in re.findall(r"^[0-9a-f]{32}$", text, re.M)]
    return [(kind, code, value) for _, _, kind, code, value in rows if kind not in (0, 4)]


class TextConsole(GuestTest):
    """A serial port on a text console of the display ("vc")."""

    @rhea_only("in QEMU screendump knows no names of text consoles")
    def test_console_of_the_asked_size(self):
        path = os.path.join(self.directory(), "vc.png")
        args = guest.machine("-net", "none", "-serial", "vc:1280x720", "-monitor", "stdio", append=guest.APPEND + " rhea.net=off")
        args[args.index("-nographic"):args.index("-nographic") + 1] = ["-display", "none"]
        emulator = self.start(*args)
        emulator.expect(guest.MONITOR_PROMPT)
        picture, prompt = None, "rhea-guest# "
        for _ in range(int(120 * guest.SCALE)):
            self.assertEqual(emulator.monitor(f"screendump {path} -f png serial0"), "")
            picture = read_png(path)
            if self.row_with(picture, len(prompt)):
                break
            time.sleep(1)
        self.assertEqual((picture.width, picture.height), (1280, 720))
        self.assertTrue(self.row_with(picture, len(prompt)), "no prompt on the console")

    def row_with(self, picture, length):
        """Whether the last row with text is as long as the prompt and the cursor, and its letters repeat as they should."""
        rows = [row for row in range(picture.height // 16)
                if any(picture.pixel(x, y) != (0, 0, 0) for y in range(row * 16, row * 16 + 16) for x in range(0, 300))]
        if not rows:
            return False
        cells = [picture.cell(column, rows[-1]) for column in range(length + 2)]
        blank = picture.cell(100, rows[-1])
        # r h e a - g u e s t # _ cursor: both e alike, blanks behind.
        return (cells[2] == cells[7] != blank and cells[0] != cells[1] and cells[11] == blank and cells[12] != blank
                and cells[13] == blank)

    @rhea_only("QEMU's words differ")
    def test_sizes_are_checked(self):
        for size in ("vc:0x0", "vc:10", "vc:80Cx"):
            status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-serial", size)
            self.assertEqual(status, 1)
            self.assertIn("vc:", errors)


class Input(SharedGuestTest):
    arguments = ("-net", "none")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guest.run("modprobe -a ambakmi psmouse evdev; sleep 3")

    def device(self, pattern):
        """The event device whose name in /proc/bus/input/devices matches."""
        text = self.sh("cat /proc/bus/input/devices")
        for block in text.split("\n\n"):
            name = re.search(r'N: Name="(.*)"', block)
            if name and re.search(pattern, name[1]):
                return re.search(r"\b(event\d+)\b", block)[1]
        self.fail(f"no input device {pattern}:\n{text}")

    def events(self, device, *commands):
        """(type, code, value) of what the commands make, without scan codes and synchronization."""
        return collect(self, self.guest, device, commands)

    def test_keys_arrive(self):
        device = self.device("AT Raw Set 2 keyboard|AT Translated")
        self.assertEqual(self.events(device, "sendkey shift-a 50"), [(1, 42, 1), (1, 30, 1), (1, 30, 0), (1, 42, 0)])
        self.assertEqual(self.events(device, "sendkey f1 10", "sendkey up 10", "sendkey pause 10"),
                         [(1, code, value) for code in (59, 103, 119) for value in (1, 0)])

    @rhea_only("in QEMU the host's keyboard repeats, not this one")
    def test_held_keys_repeat(self):
        device = self.device("AT Raw Set 2 keyboard|AT Translated")
        events = self.events(device, "sendkey x 2000")
        self.assertEqual((events[0], events[-1]), ((1, 45, 1), (1, 45, 0)))
        self.assertIn((1, 45, 2), events)

    def test_leds(self):
        # Caps lock by the console: the driver sets the LED over the wire and waits for the acknowledge.
        device = self.device("AT Raw Set 2 keyboard|AT Translated")
        self.events(device, "sendkey caps_lock 10")
        self.sh("dmesg | grep -i atkbd | grep -ci failed | grep -qx 0")

    def test_mouse_moves(self):
        device = self.device("Mouse")
        self.assertIn("PS/2 Mouse", self.guest.in_monitor("info mice"))
        events = self.events(device, "mouse_move 30 -20", "mouse_button 1", "mouse_button 0")
        self.assertEqual(events, [(2, 0, 30), (2, 1, -20), (1, 272, 1), (1, 272, 0)])

    def test_wheel(self):
        device = self.device("ImEx|ImPS")
        self.assertEqual(self.events(device, "mouse_move 0 0 1", "mouse_move 0 0 -2"), [(2, 8, 1), (2, 8, -2)])

    def test_refusals(self):
        bad_key, bad_chord, bad_mouse = self.guest.in_monitor("sendkey foo", "sendkey ctrl-alt-delet", "mouse_set 7")
        self.assertTrue(bad_key.startswith("invalid parameter: foo"), bad_key)
        self.assertTrue(bad_chord.startswith("invalid parameter: delet"), bad_chord)
        self.assertEqual(bad_mouse, "Mouse at index '7' not found")


class VirtioInput(GuestTest):
    def test_keyboard_and_mouse(self):
        emulator = self.boot("-net", "none", "-global", "virtio-mmio.force-legacy=false",
                             "-device", "virtio-keyboard-device", "-device", "virtio-mouse-device",
                             "-device", "virtio-tablet-device")
        self.guest_runs(emulator, "modprobe -a virtio_input evdev; sleep 1")
        names = self.guest_runs(emulator, "cat /proc/bus/input/devices")
        for name in ("Keyboard", "Mouse", "Tablet"):
            self.assertIn(f"QEMU Virtio {name}", names)
        self.assertIn("(absolute)", emulator.in_monitor("info mice"))
        events = collect(self, emulator, "event*", ("sendkey ret 10", "mouse_move 7 0"))
        self.assertIn((1, 28, 1), events)
        self.assertIn((2, 0, 7), events)


class Sound(GuestTest):
    """Debian's kernel has no driver for the PL041: its registers are written from the shell."""

    @rhea_only("QEMU's default audio needs an option of its own")
    def test_samples_reach_a_wav_file(self):
        path = os.path.join(self.directory(), "out.wav")
        emulator = self.boot("-net", "none", "-audiodev", f"wav,id=a,path={path},out.frequency=48000")
        base = 0x10004000

        def poke(offset, value):
            return f"devmem {base + offset:#x} 32 {value:#x}"

        setup = [poke(0x7c, 1), poke(0x78, 0x79)]
        for register, value in ((0x02, 0), (0x18, 0x0808)):
            setup += [poke(0x5c, value << 4), poke(0x54, register << 12)]
        self.guest_runs(emulator, "; ".join(setup))
        # The codec says who it is: NSC.
        self.guest_runs(emulator, poke(0x54, 0x7c << 12 | 1 << 19))
        self.assertEqual(int(self.guest_runs(emulator, f"devmem {base + 0x58:#x} 32"), 16) >> 4, 0x4e53)
        fill = "i=0; while [ $i -lt 100 ]; do " + "; ".join(
            f"devmem {base + 0x90 + 4 * n:#x} 32 {0x40003000 + n:#x}" for n in range(2)) + "; i=$((i + 1)); done"
        self.guest_runs(emulator, f"{poke(0x04, 0x18018)}; {fill}; {poke(0x04, 0x18019)}; sleep 1", 120)
        emulator.send("poweroff -f\n")
        self.assertEqual(emulator.wait(60), 0)
        with wave.open(path) as sound:
            self.assertEqual(sound.getparams()[:3], (2, 2, 48000))
            frames = struct.unpack(f"<{sound.getnframes() * 2}h", sound.readframes(sound.getnframes()))
        self.assertEqual(sound.getnframes(), 200)
        self.assertEqual(set(frames[4:-4:2]), {0x3000, 0x3001})
        self.assertEqual(set(frames[5:-4:2]), {0x4000})


class I2c(SharedGuestTest):
    arguments = ("-net", "none")

    def bus(self, address):
        """The number of the bus whose registers are at an address."""
        paths = self.sh("for d in /sys/class/i2c-dev/*; do readlink -f $d; done")
        return re.search(rf"{address}\.i2c/.*i2c-(\d+)$", paths, re.M)[1]

    def test_monitor_is_found(self):
        self.sh("modprobe -a i2c-versatile i2c-dev; sleep 1")
        bus = self.bus("10016000")
        found = self.sh(f"i2cdetect -y {bus}")
        self.assertEqual(re.findall(r"(?<= )[0-9a-f]{2}(?= )", found.split("\n", 1)[1]), ["39", "50"])
        edid = [int(self.sh(f"i2cget -y {bus} 0x50 {offset}"), 16) for offset in (0, 1, 7)]
        self.assertEqual(edid, [0, 255, 0])

    def test_the_other_bus_is_empty(self):
        self.sh("modprobe -a i2c-versatile i2c-dev; sleep 1")
        bus = self.bus("10002000")
        self.assertEqual(re.findall(r"(?<= )[0-9a-f]{2}(?= )", self.sh(f"i2cdetect -y {bus}").split("\n", 1)[1]), [])


class AudioOptions(GuestTest):
    needs_guest = False

    def test_refusals(self):
        for argument, message in (("foo,id=a", "Parameter 'driver' does not accept value 'foo'"), ("wav", "Parameter 'id' is missing")):
            status, _, errors = guest.call("-M", "vexpress-a9", "-display", "none", "-audiodev", argument)
            self.assertEqual(status, 1)
            self.assertIn(f"-audiodev {argument}: {message}", errors)

    def test_help(self):
        status, text, _ = guest.call("-audiodev", "help")
        self.assertEqual(status, 0)
        self.assertIn("none\n", text)
        self.assertIn("wav\n", text)


if __name__ == "__main__":
    guest.main()
