# SPDX-License-Identifier: MIT
"""Turns samples into ratios and the table of docs/benchmarks.md."""
import datetime
import math
import re
import statistics

# What the project asks of itself: (class, figure) -> (comparison, number).
TARGETS = {
    "boot": ("at least", 2.0), "second boot": ("at least", 3.0), "integer": ("at least", 2.5), "control": ("at least", 3.0),
    "memory": ("at least", 3.0), "floating point": ("at least", 6.0), "SIMD": ("at least", 6.0),
    "system": ("at least", 2.5), "SMP": ("at least", 1.5), "host to guest, LAN9118": ("at least", 20.0),
    "guest to host, LAN9118": ("at least", 2.0), "resident after boot": ("at least", 1.0),
    "idle guest": ("below", 1.0), "start to the guest's first letter": ("below", 20.0),
}
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NET_BEGIN, NET_END = "<!-- bench-net:begin -->", "<!-- bench-net:end -->"
WIRES_BEGIN, WIRES_END = "<!-- bench-wires:begin -->", "<!-- bench-wires:end -->"


class Figures:
    """Samples by (class, name, unit): one pair (Rhea, QEMU) a round; `better` says which way is good."""

    def __init__(self):
        self.samples = {}
        self.native = {}  # what the host itself takes, best of the rounds

    def add(self, who, kind, name, unit, value, more_is_better=False):
        row = self.samples.setdefault((kind, name, unit), {"rhea": [], "qemu": [], "more": more_is_better})
        row[who].append(value)

    def note_native(self, kind, name, unit, value):
        key = (kind, name, unit)
        self.native[key] = min(value, self.native.get(key, value))

    def ratio(self, key):
        """How many times better Rhea is: the median of the rounds' own ratios."""
        row = self.samples[key]
        pairs = [(r, q) for r, q in zip(row["rhea"], row["qemu"]) if r > 0 and q > 0]
        if not pairs:
            return None
        return statistics.median(r / q if row["more"] else q / r for r, q in pairs)

    def medians(self, key):
        return tuple(statistics.median(self.samples[key][who]) if self.samples[key][who] else float("nan")
                     for who in ("rhea", "qemu"))

    def classes(self, wanted_unit):
        """Geometric mean of the ratios, by that unit, of each class of workloads."""
        by_class = {}
        for key in self.samples:
            kind, _, unit = key
            if unit == wanted_unit and (ratio := self.ratio(key)):
                by_class.setdefault(kind, []).append(ratio)
        return {kind: math.exp(statistics.fmean(map(math.log, ratios))) for kind, ratios in by_class.items()}


def _number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _verdict(name, ratio, value=None, unit="%"):
    if name not in TARGETS:
        return ""
    word, number = TARGETS[name]
    if word == "below":
        return f"below {number:g} {unit.split()[0]}: {'yes' if value < number else 'no'}"
    return f"{number:g}x: {'yes' if ratio is not None and ratio >= number else 'no'}"


def table(figures):
    """Markdown: classes first, then every figure."""
    lines = ["| class | ratio | by CPU time | asked |", "|---|---|---|---|"]
    by_cpu = figures.classes("s CPU")
    for kind, ratio in figures.classes("s").items():
        lines.append(f"| {kind} | {ratio:.2f}x | {by_cpu.get(kind, float('nan')):.2f}x | {_verdict(kind, ratio)} |")
    lines += ["", "| class | figure | Rhea | QEMU | ratio | asked |", "|---|---|---|---|---|---|"]
    for key in figures.samples:
        if key in figures.native:
            continue
        kind, name, unit = key
        rhea, qemu = figures.medians(key)
        ratio = figures.ratio(key)
        shown = f"{ratio:.2f}x" if ratio is not None else "-"
        lines.append(f"| {kind} | {name} | {_number(rhea)} {unit} | {_number(qemu)} {unit} | {shown} "
                     f"| {_verdict(name, ratio, rhea, unit)} |")
    if figures.native:
        lines += ["", "| round of | Rhea | QEMU | this host itself | QEMU / Rhea | Rhea / host |", "|---|---|---|---|---|---|"]
    for key, native in figures.native.items():
        rhea, qemu = figures.medians(key)
        lines.append(f"| {key[1]} | {rhea:.2f} {key[2]} | {qemu:.2f} {key[2]} | {native:.2f} {key[2]} "
                     f"| {qemu / rhea:.1f}x | {rhea / native:.1f}x |")
    return "\n".join(lines)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        found = re.search(r"^model name\s*:\s*(.*)$", f.read(), re.M)
    return found[1] if found else "an unknown processor"


def _replace(path, begin, end, text):
    """Put a text between two marks of the page."""
    with open(path, encoding="utf-8") as f:
        page = f.read()
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{begin}\n{text}\n{end}{after}")


def write(path, figures, command, rounds, versions):
    """Put the table between the marks of the page."""
    _replace(path, BEGIN, END,
             f"Measured {datetime.date.today()} on {processor()}, {rounds} rounds, "
             f"{versions['rhea']} against {versions['qemu']}. Again: `{command}`.\n\n{table(figures)}")


def write_network(path, tables, command, rounds, wires=False):
    begin, end = (WIRES_BEGIN, WIRES_END) if wires else (NET_BEGIN, NET_END)
    _replace(path, begin, end, f"Measured {datetime.date.today()} on {processor()}, {rounds} rounds. "
                               f"Again: `{command}`.\n\n{tables}")
