#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The figures of docs/performance.md from the results of run.sh, as Markdown.

usage: summary.py RESULTS_DIR
"""
import json
import pathlib
import sys

from results import libraries, medians


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
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

    runs = medians(results / "phases.json").values()
    phases = ("plan", "experts", "combine", "experts_backward", "adam")
    print("\n| a layer's training step, us (bound) | " + " | ".join(
        run["run_name"].split("/")[7].replace(":", "=") for run in runs) + " |\n|---|" + "--:|" * len(runs))
    for phase in phases:
        print(f"| {phase.replace('_', ' ')} | " + " | ".join(
            f"{run[phase + '_us']:.0f} ({run[phase + '_bound']:.0f})" for run in runs) + " |")

    cells = medians(results / "libraries.json")
    names = libraries(cells)
    print(f"\n| time over the layer's | threads | us, layer | share of the multiply-add peak | "
          f"{' | '.join(name.replace('_', ' ') for name in names)} |\n"
          f"|---|--:|--:|--:|{'--:|' * len(names)}")
    for name, run in cells.items():
        part = name.split("/")
        print(f"| {part[1].replace('_', ' + ')}, {part[2]} {part[6]} {part[7][5:]} | {part[8][8:]} | "
              f"{run['comet_us']:.0f} | {run['share']:.2f} | "
              f"{' | '.join(f'{run[library]:.2f}' for library in names)} |")

    layer = medians(results / "moe_layer.json")
    print("\n| forward, n=64 d=m=256, 1 thread | us, every expert | us, k=2 | times faster | "
          "multiply-adds saved |\n|---|--:|--:|--:|--:|")
    for batch in (512, 4096):
        every, two = (layer[f"moe_layer/forward/n=64/k={k}/d=256/m=256/B={batch}/skew=uniform/"
                            "threads=1/f32/real_time"]["real_time"] for k in (64, 2))
        print(f"| B={batch} | {every:.0f} | {two:.0f} | {every / two:.1f} | 32 times |")

    print("\n| 43 pictures, 1 thread, f32 | us of the processor | share of the multiply-add peak |\n"
          "|---|--:|--:|")
    for name, run in medians(results / "convolution.json").items():
        part = name.split("/")
        print(f"| {part[2].replace('_', ' ')}, {part[1].replace('_', ' + ')} | {run['cpu_time']:.0f} | "
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

    family = medians(results / "family.json")
    sizes = (16, 64, 256, 1024)
    print("\n| B=512, us per sample, inference (training) | " + " | ".join(f"n={n}" for n in sizes)
          + " |\n|---|" + "--:|" * len(sizes))
    for gate in dict.fromkeys(name.split("/")[1] for name in family):
        times = [[family[f"{mode}/{gate}/n={n}/k=2/d=256/B=512/f32"]["real_time"] / 512
                  for mode in ("route", "forward")] for n in sizes]
        print(f"| {gate} | " + " | ".join(f"{r:.2f} ({f:.2f})" for r, f in times) + " |")

    print("\n| one sample, gate and experts, us | p50 | p99 | reading its experts' weights |\n|---|--:|--:|--:|")
    for name, run in medians(results / "latency.json").items():
        if not name.startswith("latency/"):
            continue
        print(f"| {name.split('/')[1]} | {run['p50_us']:.1f} | {run['p99_us']:.1f} | "
              f"{run['read_us']:.1f} |")

    search = medians(results / "local_search.json")
    print("\n| local search, two-task model, B=512 | us of its own per step | share of the step |\n"
          "|---|--:|--:|")
    for name, run in search.items():
        if name.startswith("local_search_step"):
            part = name.split("/")
            print(f"| {part[1]}, {part[6]} | {run['search_us']:.0f} | "
                  f"{run['search_percent']:.2f} % |")
    print("\n| route, B=512 | us, gate alone | us, with a permutation around it |\n|---|--:|--:|")
    for n in (16, 64):
        bare, wrapped = (search[f"route_{form}/n={n}/k=2/d=256/B=512/f32"]["real_time"]
                         for form in ("bare", "wrapped"))
        print(f"| n={n} | {bare:.0f} | {wrapped:.0f} |")

    loader = medians(results / "loader.json")
    print("\n| a million ratings | s |\n|---|--:|")
    for what in ("bytes", "read", "split", "epoch"):
        run = loader[f"loader/{what}/ratings/1000000/real_time"]
        print(f"| {what} | {run['real_time'] / 1e9:.3f} |")


main()
