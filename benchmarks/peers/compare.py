#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Times comet and what one would use instead, in turns, and writes one table.

usage: compare.py --bin build/bench/bin --out benchmarks/results [--rounds 7]

Every round runs every program once, so that a busy moment of the machine hits all of them; the
table has the medians over the rounds. Peers that are not installed are left out with a note:
    apt install python3-torch libopenblas0-pthread python3-scipy
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

RATINGS = "training step, two tasks, n=16 k=2 d=m=256 B=512, f32"
CHARACTERS = "training step of next_character, Top-k, one of 8 experts, B=2048, f32"
PICTURES = "training step of two_pictures, Top-k, two of 6 experts, B=512, f32"
UNIFORM = "linear assignment, uniform costs, n=1024, f64"
TIES = "linear assignment, ten distinct costs, n=1024, f64"
HERE = pathlib.Path(__file__).resolve().parent


def output_of(command):
    """What a program prints; what it complains of if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def google_benchmark(program, name):
    """Milliseconds of one benchmark."""
    out = output_of([program, f"--benchmark_filter=^{name}$", "--benchmark_format=json",
                     "--benchmark_min_time=0.3"])
    run = json.loads(out)["benchmarks"][0]
    return run["real_time"] * {"ns": 1e-6, "us": 1e-3, "ms": 1}[run["time_unit"]]


def python_peer(script, *arguments):
    return json.loads(output_of([PYTHON, HERE / script, *arguments]))["milliseconds"]


def can(statement):
    return subprocess.run([PYTHON, "-c", statement], capture_output=True).returncode == 0


def has_module(name):
    return can(f"import {name}")


def machine():
    cpu = platform.processor()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":")[1].strip()
                break
    except OSError:
        pass
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="built benchmarks")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="for peers.json")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="groups with this in their names")
    parser.add_argument("--python", default="/usr/bin/python3", help="the one with the peers")
    options = parser.parse_args()
    global PYTHON
    PYTHON = options.python

    step = "training_step/experts={}/n=16/k=2/d=256/m=256/B=512/threads={}/f32/real_time"
    bench = lambda program, name: lambda: google_benchmark(options.bin / program, name)
    torch = lambda way, threads: lambda: python_peer(
        "torch_training_step.py", "--way", *way.split(), "--threads", str(threads))
    torch_character = lambda way, threads: lambda: python_peer(
        "torch_next_character.py", "--way", *way.split(), "--threads", str(threads))
    character_step = "next_character/step/top_k/B=2048/threads={}/f32/real_time"
    torch_pictures = lambda way, threads: lambda: python_peer(
        "torch_two_pictures.py", "--way", way, "--threads", str(threads))
    pictures_step = "two_pictures/step/top_k/B=512/threads={}/f32/real_time"
    scipy = lambda kind: lambda: python_peer("scipy_assignment.py", "--kind", kind)
    groups = {
        RATINGS: {
            "comet, 2 threads": bench("training_step_bench", step.format("active", 2)),
            "comet, 1 thread": bench("training_step_bench", step.format("active", 1)),
            "comet, every expert, 2 threads": bench("training_step_bench", step.format("every", 2)),
            "plain Eigen loop, 1 thread": bench(
                "eigen_loop_bench",
                "peer/eigen_loop/training_step/n=16/k=2/d=256/m=256/threads=1/f32/B:512/real_time"),
        },
        CHARACTERS: {
            f"comet, {text}": bench("next_character_bench", character_step.format(threads))
            for threads, text in ((2, "2 threads"), (1, "1 thread"))},
        PICTURES: {
            f"comet, {text}": bench("two_pictures_bench", pictures_step.format(threads))
            for threads, text in ((2, "2 threads"), (1, "1 thread"))},
        UNIFORM: {
            "comet": bench("assignment_bench", "assignment/uniform/n=1024/f64")},
        TIES: {
            "comet": bench("assignment_bench", "assignment/ties/n=1024/f64")},
    }
    missing = []
    if has_module("torch"):
        ways = {"gather": "gathering per expert", "every": "every expert"}
        if can("from torch.nn.functional import grouped_mm"):
            ways |= {"gather --fused": "gathering per expert, fused Adam",
                     "grouped --fused": "grouped_mm, fused Adam",
                     "grouped --fused --compile": "grouped_mm, fused Adam, compiled"}
        for way, text in ways.items():
            for threads in (1, 2):
                groups[RATINGS][
                    f"PyTorch, {text}, {threads} thread{'s' * (threads > 1)}"] = torch(way, threads)
        for way, text in (("gather", "gathering per expert"), ("every", "every expert")):
            for threads in (1, 2):
                groups[PICTURES][
                    f"PyTorch, {text}, {threads} thread{'s' * (threads > 1)}"] = (
                        torch_pictures(way, threads))
        ways = {"every": "every expert", "gather": "gathering per expert",
                "dense": "one expert for all, no mixture"}
        if can("from torch.nn.functional import grouped_mm"):
            ways |= {"grouped": "grouped_mm", "grouped --compile": "grouped_mm, compiled"}
        for way, text in ways.items():
            for threads in (1, 2):
                groups[CHARACTERS][
                    f"PyTorch, {text}, {threads} thread{'s' * (threads > 1)}"] = (
                        torch_character(way, threads))
    else:
        missing.append("torch")
    if has_module("scipy"):
        groups[UNIFORM]["scipy"] = scipy("uniform")
        groups[TIES]["scipy"] = scipy("ties")
    else:
        missing.append("scipy")
    if missing:
        print(f"left out, not installed: {', '.join(missing)}", file=sys.stderr)

    groups = {group: programs for group, programs in groups.items() if options.only in group}
    if not groups:
        parser.error(f"no group has {options.only} in its name")
    times = {group: {name: [] for name in programs} for group, programs in groups.items()}
    for i in range(options.rounds):
        for group, programs in groups.items():
            for name, run in programs.items():
                times[group][name].append(run())
        print(f"round {i + 1}/{options.rounds}", file=sys.stderr)

    report = {"machine": machine(), "rounds": options.rounds, "groups": {}}
    lines = [f"Medians of {options.rounds} rounds, run in turns, on {report['machine']['cpu']}, "
             f"{report['machine']['cores']} cores.", ""]
    for group, programs in times.items():
        medians = {name: statistics.median(values) for name, values in programs.items()}
        own = next(iter(medians.values()))
        report["groups"][group] = {name: {"milliseconds": medians[name], "times": programs[name],
                                          "ratio": medians[name] / own} for name in programs}
        lines += [f"**{group}**", "", "| | ms | times the first |", "|---|--:|--:|"]
        lines += [f"| {name} | {ms:.2f} | {ms / own:.2f} |" for name, ms in medians.items()]
        lines.append("")
    options.out.mkdir(parents=True, exist_ok=True)
    beside = options.out / "peers.json.tmp"
    beside.write_text(json.dumps(report, indent=1) + "\n")
    beside.replace(options.out / "peers.json")
    print("\n".join(lines))


main()
