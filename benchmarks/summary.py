#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The figures of docs/performance.md from the results of run.sh, as Markdown.

usage: summary.py RESULTS_DIR
"""
import json
import pathlib
import sys

from results import medians


def main():
    results = pathlib.Path(sys.argv[1])
    context = json.loads((results / "ceiling.json").read_text())["context"]
    ceiling = medians(results / "ceiling.json")
    peak = {t: ceiling[n]["FLOP/s"] for n in ceiling for t in (1, 2)
            if n.startswith(f"ceiling/multiply_add/threads={t}/")}
    print(f"Commit {context['commit']}. Multiply-add peak: {peak[1] / 1e9:.0f} GFLOP/s with one "
          f"thread, {peak[2] / 1e9:.0f} with two.\n")

    print("| layer, n=16 k=2 d=m=256, f32 | samples per expert | threads | us | share of one big "
          "product |\n|---|--:|--:|--:|--:|")
    for name, run in medians(results / "moe_layer.json").items():
        part = name.split("/")
        if part[2:6] == ["n=16", "k=2", "d=256", "m=256"]:
            print(f"| {part[1].replace('_', ' + ')}, {part[7][5:]} | "
                  f"{run['columns_per_expert']:.0f} | {part[8][8:]} | {run['real_time']:.0f} | "
                  f"{run['share']:.2f} |")

    step = medians(results / "training_step.json")
    print("\n| training step, B=512 | ms | multiply-adds over the peak |\n|---|--:|--:|")
    for name, run in step.items():
        if "/B=512/" in name:
            threads = int(name.split("threads=")[1][0])
            print(f"| {name.split('/')[1]}, threads={threads} | {run['real_time']:.2f} | "
                  f"{1e9 * run['GFLOP/s'] / peak[threads]:.2f} |")

    route = medians(results / "route.json")
    print("\n| route, us per sample | n=64 | n=256 | n=4096 |\n|---|--:|--:|--:|")
    for gate in ("comet", "top_k"):
        for batch in (1, 512):
            times = [route[f"route/{gate}/n={n}/k=2/d=256/B={batch}/f32"]["real_time"] / batch
                     for n in (64, 256, 4096)]
            print(f"| {gate}, B={batch} | " + " | ".join(f"{t:.2f}" for t in times) + " |")

    print("\n| one sample, gate and experts, us | p50 | p99 |\n|---|--:|--:|")
    for name, run in medians(results / "latency.json").items():
        print(f"| {name.split('/')[1]} | {run['p50_us']:.1f} | {run['p99_us']:.1f} |")


main()
