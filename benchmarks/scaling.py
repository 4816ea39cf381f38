#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The computed table of docs/distributed.md: the share of a step that a rank's experts compute, by the
formulas there. Nothing is measured.

usage: scaling.py
"""
import sys

ROWS, EXPERTS, K = 512, 8, 2  # of a rank; experts a row
FLOPS, LATENCY, SCALAR = 100e9, 2e-6, 4
EXCHANGES = 10  # of a step: eight of the layer, two to reduce


def share(ranks, dim, hidden, gigabits):
    """Experts' arithmetic over that and all that travels, one after the other."""
    pairs = ROWS * K
    away = pairs * (ranks - 1) / ranks
    computing = pairs * 3 * hidden * 2 * dim * 2 / FLOPS
    experts = EXPERTS * ranks
    layer = (9 * (ranks - 1) + 8 * experts * (ranks - 1) / ranks
             + away * (4 + 2 * dim * SCALAR) + away * 2 * dim * SCALAR)
    gate = 2 * (ranks - 1) / ranks * dim * experts * SCALAR
    travelling = (layer + gate) / (gigabits * 1e9 / 8) + EXCHANGES * (ranks - 1) * LATENCY
    return computing / (computing + travelling)


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    print("| ranks | d = m = 1024, h = 4096: 10 Gbit/s | 100 Gbit/s | d = m = 256, h = 128: 10 Gbit/s | "
          "100 Gbit/s |\n|--:|--:|--:|--:|--:|")
    for ranks in (2, 4, 16, 64, 256, 1024):
        cells = (share(ranks, dim, hidden, gigabits)
                 for dim, hidden in ((1024, 4096), (256, 128)) for gigabits in (10, 100))
        print(f"| {ranks} | " + " | ".join(f"{c:.2f}".removeprefix("0") for c in cells) + " |")


main()
