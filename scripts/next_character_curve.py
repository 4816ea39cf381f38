#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Gathers what next_character_curve.sh has trained into one table.

    scripts/next_character_curve.py DIR TABLE     DIR: with a folder for each comparison

TABLE has a block for each kind of row, its lines by cost: multiply-adds, bits, name, experts. Prints it as
Markdown as well, with the cost of the dense network that would have the same bits over the row's: between
two that were trained by their logarithms, beyond the largest a bound.
"""

import argparse
import json
import os
import pathlib


def points_of(folder):
    for file in sorted(folder.glob("*/*/result.json")):
        result = json.loads(file.read_text())
        options, test = result["options"], result["test"]
        gate, experts, width = options["gate"], options["experts"], options["expert_dim"]
        if gate == "dense":
            kind, name = "dense", f"dense {width}"
        else:
            kind = gate if width == 256 else f"{gate} of other widths"
            name = f"{experts} experts" + ("" if width == 256 else f" of {width}")
        yield kind, test["multiply_adds"], test["bits"], name, test["experts_per_sample"]


def dense_over(cost, bits, dense):
    """As "1.8". dense: (cost, bits) of dense networks, larger ones later."""
    for (small, worse), (large, better) in zip(dense, dense[1:]):
        if worse >= bits >= better:
            share = (worse - bits) / (worse - better)
            return f"{small ** (1 - share) * large ** share / cost:.1f}"
    return f"> {dense[-1][0] / cost:.1f}" if bits < dense[-1][1] else f"< {dense[0][0] / cost:.1f}"


def block(kind, points):
    lines = [f'{cost:.6g}\t{bits:.5f}\t"{name}"\t{used:.1f}\n' for cost, bits, name, used in points]
    return f'"{kind}"\n' + "".join(lines) + "\n\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=pathlib.Path)
    parser.add_argument("table", metavar="TABLE", type=pathlib.Path)
    options = parser.parse_args()
    blocks = {kind: [] for kind in ("dense", "top_k", "top_k of other widths", "comet")}
    for kind, *point in points_of(options.folder):
        blocks[kind].append(point)
    for points in blocks.values():
        points.sort()
    dense = [(cost, bits) for cost, bits, *_ in blocks["dense"]]
    print("| row | bits/character | experts/character | multiply-adds/character | dense for the same bits |")
    print("|---|--:|--:|--:|--:|")
    for kind, points in blocks.items():
        for cost, bits, name, experts in points:
            row = name if kind == "dense" else f"{kind.split()[0]}, {name}"
            over = "" if kind == "dense" else dense_over(cost, bits, dense) + " times"
            print(f"| {row} | {bits:.4f} | {experts:.2f} | {cost:,.0f} | {over} |")
    # Eight experts belong to both curves of Top-k.
    blocks["top_k of other widths"] += [p for p in blocks["top_k"] if p[2] == "8 experts"]
    beside = options.table.with_suffix(".tmp")
    beside.write_text("".join(block(kind, sorted(points)) for kind, points in blocks.items()))
    os.replace(beside, options.table)


if __name__ == "__main__":
    main()
