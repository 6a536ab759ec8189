# SPDX-License-Identifier: MIT
"""The user-mode stack alone, by a synthetic guest (rhea-net-bench), beside libslirp and passt on the same harness."""
import json
import statistics
import subprocess

# Columns: what is measured, and how rhea-net-bench is asked for it.
STACKS = {
    "Rhea": ["rhea"],
    "Rhea, offload": ["rhea", "--offload"],
    "libslirp": ["libslirp"],
    "passt": ["passt"],
    "passt, MTU 65520": ["passt", "--mtu", "65520"],
    "sockets alone": ["sockets"],  # no stack: what any stack pays at least
}
PER_CPU, P50 = "gbit_per_cpu_second", "p50_us"
# Rows: name, job, which of its numbers, its unit.
JOBS = [
    ("host to guest", ["to-guest"], PER_CPU, "Gbit"),
    ("guest to host", ["to-host"], PER_CPU, "Gbit"),
    ("host to guest, 1,000 flows", ["to-guest", "--flows", "1000"], PER_CPU, "Gbit"),
    ("guest to host, 1,000 flows", ["to-host", "--flows", "1000"], PER_CPU, "Gbit"),
    ("request and answer, p50", ["request"], P50, "µs"),
    ("connect, request, answer, p50", ["connect"], P50, "µs"),
]
# What the project asks of itself: a stack against another, at least so many times the throughput, both ways.
RATIOS = [
    ("Rhea", "libslirp", 3), ("Rhea", "passt", 1.5),
    ("Rhea, offload", "libslirp", 20), ("Rhea, offload", "passt", 5), ("Rhea, offload", "passt, MTU 65520", 1.2),
]
LEAST_OF_ONE = 0.85  # 1,000 flows against one


def run(program, stack, job, seconds):
    """The numbers of one run; None: this host has not got that stack."""
    done = subprocess.run([program, STACKS[stack][0], job[0], *STACKS[stack][1:], *job[1:], "--seconds", str(seconds)],
                          stdout=subprocess.PIPE, text=True, timeout=600, check=False)
    if done.returncode == 77:
        return None
    found = json.loads(done.stdout)
    if found["failed"]:
        raise RuntimeError(f"{stack}, {job}: {found['failed']}")
    return found


class Samples:
    """(row, stack) -> the number of each round."""

    def __init__(self):
        self.values = {}
        self.fairness = {}

    def measure(self, program, rounds, seconds, only=()):
        for number in range(rounds):
            for name, job, key, unit in JOBS:
                if only and not any(word in name for word in only):
                    continue
                for stack in list(STACKS)[::1 if number % 2 == 0 else -1]:
                    found = run(program, stack, job, seconds)
                    if not found:
                        continue
                    self.values.setdefault((name, stack), []).append(found[key])
                    if "fairness" in found:
                        self.fairness.setdefault((name, stack), []).append(found["fairness"])
                    print(f"  {stack}: {name}: {found[key]:.2f} {unit}", flush=True)

    def median(self, name, stack):
        values = self.values.get((name, stack))
        return statistics.median(values) if values else None

    def ratio(self, name, stack, other_name, other):
        """The median of the rounds' own ratios."""
        pairs = list(zip(self.values.get((name, stack), []), self.values.get((other_name, other), [])))
        return statistics.median(a / b for a, b in pairs) if pairs else None


def _shown(value, unit=""):
    if value is None:
        return "-"
    return (f"{value:.0f}" if value >= 100 else f"{value:.3g}") + (f" {unit}" if unit else "")


def _verdict(ratio, least):
    return f"{least:g}x: {'yes' if ratio >= least else 'no'}"


def tables(samples):
    """Markdown: every number, then what was asked."""
    lines = ["| the stack alone, for a CPU-second | " + " | ".join(STACKS) + " |", "|---" * (len(STACKS) + 1) + "|"]
    for name, _, _, unit in JOBS:
        medians = [samples.median(name, stack) for stack in STACKS]
        if any(medians):
            lines.append(f"| {name} | " + " | ".join(_shown(value, unit) for value in medians) + " |")
    lines += ["", "| ratio | host to guest | guest to host | asked |", "|---|---|---|---|"]
    for stack, other, least in RATIOS:
        ratios = [samples.ratio(name, stack, name, other) for name in ("host to guest", "guest to host")]
        if all(ratios):
            lines.append(f"| {stack} / {other} | {ratios[0]:.2f}x | {ratios[1]:.2f}x | {_verdict(min(ratios), least)} |")
    for stack in STACKS:
        ratios = [samples.ratio(f"{name}, 1,000 flows", stack, name, stack) for name in ("host to guest", "guest to host")]
        if all(ratios):
            asked = _verdict(min(ratios), LEAST_OF_ONE) if stack.startswith("Rhea") else ""
            even = [statistics.median(found) for name in ("host to guest", "guest to host")
                    if (found := samples.fairness.get((f"{name}, 1,000 flows", stack)))]
            fairness = f" (fairness {min(even):.2f})" if even else ""
            lines.append(f"| {stack}: 1,000 flows / one{fairness} | {ratios[0]:.2f}x | {ratios[1]:.2f}x | {asked} |")
    bounds = [samples.ratio(name, "sockets alone", name, "libslirp") for name in ("host to guest", "guest to host")]
    if all(bounds):
        lines.append(f"| sockets alone / libslirp: no stack can have more | {bounds[0]:.2f}x | {bounds[1]:.2f}x | |")
    return "\n".join(lines)
