# SPDX-License-Identifier: MIT
"""Builds programs/kernels.c for the guest and for this host, and reads what it prints."""
import os
import re
import subprocess

import guest

SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "programs/kernels.c")
OPTIONS = ("-ffp-contract=off", "-fno-tree-vectorize")


def build_for_guest(folder):
    program = os.path.join(folder, "kernels")
    guest.build_program(SOURCE, program, "-mfpu=neon", *OPTIONS)
    return program


def run_here(folder):
    program = os.path.join(folder, "native")
    subprocess.run(["gcc", "-O2", *OPTIONS, "-o", program, SOURCE], check=True)
    return figures(subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout)


def figures(text):
    """{kernel: ns of a round}"""
    return {found[1]: float(found[2]) for found in re.finditer(r"^(.+): ([\d.]+)\r?$", text, re.M)}
