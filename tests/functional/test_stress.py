# SPDX-License-Identifier: MIT
"""stress-ng --verify on four CPUs, programs that check their own results, and litmus tests of the memory model."""
import os
import unittest

import guest
from guest import GuestTest, SharedGuestTest

# Bogo operations in all, over four workers. The long run does more of each.
SHORT = {"cpu": 80, "vm": 400, "fork": 100, "switch": 2000, "futex": 2000, "atomic": 8}
LONG = {"cpu": 4000, "vm": 20_000, "fork": 4000, "switch": 100_000, "futex": 100_000, "atomic": 200}
ALSO_LONG = {"matrix": 400, "vecmath": 200, "malloc": 20_000, "mmap": 100, "pipe": 100_000, "sigsegv": 2000,
             "vfork": 1000, "mutex": 5000, "memcpy": 200, "qsort": 20, "zlib": 20, "tlb-shootdown": 200}
EXTRA = {"vm": "--vm-bytes 16M", "mmap": "--mmap-bytes 16M"}


class FourCpus(SharedGuestTest):
    arguments = ("-net", "none", "-smp", "4")
    how = {"initrd": guest.WORK_INITRD, "memory": "1G"}

    def stress(self, name, operations, timeout):
        # 7 is "the counters may be wrong", said when a worker is ended while it counts: no verification failed.
        text = self.sh(f"stress-ng --verify --oomable --temp-path /tmp --{name} 4 --{name}-ops {operations} "
                       f"{EXTRA.get(name, '')} 2>&1 || [ $? = 7 ]", timeout)
        self.assertIn("successful run completed", text)


class Short(FourCpus):
    def test_stressors(self):
        for name, operations in SHORT.items():
            with self.subTest(f"{name}, {operations} operations"):
                self.stress(name, operations, 300)


class Long(FourCpus):
    def test_stressors(self):
        for name, operations in {**LONG, **ALSO_LONG}.items():
            with self.subTest(f"{name}, {operations} operations"):
                self.stress(name, operations, 1800)


# Results that ARM allows (ARM DDI 0406C A3.8) and a host of total store order shows: a load overtakes a store.
SEEN = ("SB", "R")
# Those that ARM allows and such a host has no reason to show, or hardly (the first).
ALLOWED = ("SB+dmb+po", "MP", "LB", "S", "2+2W", "WRC", "IRIW")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", "litmus.c")


class Litmus(GuestTest):
    """Two and four CPUs and the order in which each sees the others' accesses."""

    trials = 40_000

    def outcomes(self, cpus):
        folder = self.directory()
        guest.build_program(SOURCE, f"{folder}/litmus", "-pthread")
        initrd = guest.initrd_with(f"{folder}/initrd.gz", {"litmus": f"{folder}/litmus"})
        emulator = self.boot("-net", "none", "-smp", str(cpus), initrd=initrd)
        text = self.guest_runs(emulator, f"/litmus {self.trials}", 3600)
        rows = [line.split() for line in text.splitlines() if " of " in line]
        return {row[0]: int(row[1]) for row in rows}

    def check(self, outcomes):
        self.assertEqual(len(outcomes), 22, outcomes)
        for name, times in outcomes.items():
            if name not in SEEN + ALLOWED:
                self.assertEqual(times, 0, f"{name}: a result that the architecture forbids came {times} times")

    def test_what_is_forbidden_never_comes(self):
        if not guest.have(guest.COMPILER):
            raise unittest.SkipTest(f"no {guest.COMPILER}")
        for cpus in (2, 4):
            with self.subTest(f"{cpus} CPUs"):
                self.check(self.outcomes(cpus))


class LitmusLong(Litmus):
    trials = 10_000_000

    def test_what_the_host_shows_is_seen(self):
        if not guest.have(guest.COMPILER) or os.cpu_count() < 2:
            raise unittest.SkipTest(f"needs {guest.COMPILER} and two CPUs of the host")
        outcomes = self.outcomes(2)
        self.check(outcomes)
        for name in SEEN:
            self.assertGreater(outcomes[name], 0, f"{name}: {outcomes}")


class Programs(SharedGuestTest):
    """Known answers from stock programs: integer, floating point, NEON, big numbers, compression."""

    arguments = ("-net", "none", "-smp", "2")
    how = {"initrd": guest.WORK_INITRD}

    def test_openssl_knows_its_vectors(self):
        self.assertIn("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                      self.sh("printf abc | openssl dgst -sha256"))
        self.assertIn("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feeb"
                      "bd454d4423643ce80e2a9ac94fa54ca49f", self.sh("printf abc | openssl dgst -sha512"))
        self.sh("head -c 300000 /dev/urandom > /tmp/d; openssl enc -aes-256-ctr -pbkdf2 -k x -in /tmp/d | "
                "openssl enc -d -aes-256-ctr -pbkdf2 -k x | cmp - /tmp/d", 120)
        self.sh("openssl ecparam -name prime256v1 -genkey -noout -out /tmp/k; openssl dgst -sha256 -sign /tmp/k "
                "-out /tmp/s /tmp/d; openssl ec -in /tmp/k -pubout -out /tmp/p 2>/dev/null; "
                "openssl dgst -sha256 -verify /tmp/p -signature /tmp/s /tmp/d", 120)

    def test_luajit_runs_the_code_that_it_makes(self):
        script = ("local s=0 for k=1,200 do local t={} for i=1,2000 do t[i]=(i*k)%1009+1/i end table.sort(t) "
                  "for i=1,#t do s=(s*31+t[i])%1000003 end end print(string.format(\"%.6f\",s))")
        made = self.sh(f"luajit -e '{script}'", 300)
        self.assertEqual(made, self.sh(f"luajit -joff -e '{script}'", 300))
        self.assertEqual(made, self.sh(f"lua5.4 -e '{script}'", 300))
        traces = self.sh(f"luajit -e '{script} local n=0 while require(\"jit.util\").traceinfo(n+1) do n=n+1 end "
                         "print(n)'", 300).split()
        self.assertGreater(int(traces[-1]), 3)

    def test_xz_gives_back_what_it_took(self):
        self.sh("/bin/xz -1 -k -c /bin/busybox > /tmp/b.xz; /bin/xz -d -c /tmp/b.xz | cmp - /bin/busybox", 120)

    def test_lua_computes_in_doubles(self):
        script = "local s=0; for i=1,20000 do s=s+math.sin(i)*math.sqrt(i)/math.exp(1/i) end; print(string.format(\"%.9f\",s))"
        want = self.reference()
        self.assertAlmostEqual(float(self.sh(f"lua5.4 -e '{script}'", 120)), want, places=6)

    @staticmethod
    def reference():
        import math
        total = 0.0
        for i in range(1, 20001):
            total += math.sin(i) * math.sqrt(i) / math.exp(1 / i)
        return total

    def test_perl_counts_words(self):
        text = self.sh("perl -e '%h=(); $h{$_ % 97}++ for 1..50000; print join(q(,), map {$h{$_}} sort {$a<=>$b} keys %h)'")
        self.assertEqual(text, ",".join(str(sum(1 for i in range(1, 50001) if i % 97 == k)) for k in range(97)))

    def test_same_digest_as_the_host(self):
        import host
        data = host.pattern(1 << 20)
        text = self.sh("lua5.4 -e 'local t={} for n=0,262143 do t[#t+1]=string.pack(\"<I4\",(n%65521)*2654435761 & 0xffffffff)"
                       " end io.write(table.concat(t))' | sha256sum", 120)
        self.assertEqual(text.split()[0], host.sha256(data))


if __name__ == "__main__":
    guest.main()
