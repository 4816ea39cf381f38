#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tables of figures in the documents, made from the results of run.sh.

usage: tables.py RESULTS_DIR                    print every table that there are results for
       tables.py RESULTS_DIR --into FILE...     write them where the files have a line <!-- table NAME -->
       tables.py RESULTS_DIR --check FILE...    fail if a table in the files is another

<!-- table NAME FOLDER --> is of the results in that folder of RESULTS_DIR.
"""
import json
import pathlib
import re
import sys

from results import libraries, medians

MARK = re.compile(r"<!-- table (\w+)(?: ([\w.-]+))? -->")


def table(head, rows):
    """Lines of a Markdown table: words to the left in the first column, numbers to the right."""
    return [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1),
            *(f"| {' | '.join(row)} |" for row in rows)]


def parts(name):
    """bench/forward/n=16/B:2 -> by its name {"n": "16", "B": "2"}, and every part by its position."""
    found = {i: part for i, part in enumerate(name.split("/"))}
    for part in name.split("/"):
        if match := re.fullmatch(r"(\w+)[=:](.*)", part):
            found[match[1]] = match[2]
    return found


def layer(results):
    rows = []
    for name, run in medians(results / "moe_layer.json").items():
        part = parts(name)
        if [part.get(key) for key in ("n", "k", "d", "m")] == ["16", "2", "256", "256"]:
            rows.append((f"{part[1].replace('_', ' + ')}, {part['skew']}", f"{run['columns_per_expert']:.0f}",
                         part["threads"], f"{run['real_time']:.0f}", f"{run['share']:.2f}"))
    return table(("layer, n=16 k=2 d=m=256, f32", "samples per expert", "threads", "us",
                  "share of one big product"), rows)


def every_expert(results):
    runs = medians(results / "moe_layer.json")
    rows = []
    for batch in (512, 4096):
        every, two = (runs[f"moe_layer/forward/n=64/k={k}/d=256/m=256/B={batch}/skew=uniform/"
                           "threads=1/f32/real_time"]["real_time"] for k in (64, 2))
        rows.append((f"B={batch}", f"{every:.0f}", f"{two:.0f}", f"{every / two:.1f}", "32 times"))
    return table(("forward, n=64 d=m=256, 1 thread", "us, every expert", "us, k=2", "times faster",
                  "multiply-adds saved"), rows)


def phases(results):
    runs = medians(results / "phases.json").values()
    return table(("a layer's training step, us (bound)", *(f"B={parts(run['run_name'])['B']}" for run in runs)),
                 [(phase.replace("_", " "), *(f"{run[phase + '_us']:.0f} ({run[phase + '_bound']:.0f})"
                                              for run in runs))
                  for phase in ("plan", "experts", "combine", "experts_backward", "adam")])


def beside_libraries(results):
    cells = medians(results / "libraries.json")
    names = libraries(cells)
    rows = []
    for name, run in cells.items():
        part = parts(name)
        if part["skew"] == "uniform":
            rows.append((f"{part[1].replace('_', ' + ')}, n={part['n']} B={part['B']}", part["threads"],
                         f"{run['comet_us']:.0f}", f"{run['share']:.2f}", *(f"{run[name]:.2f}" for name in names)))
    return table(("time over the layer's", "threads", "us, layer", "share of the multiply-add peak",
                  *(name.replace("_", " ") for name in names)), rows)


def libraries_behind(results):
    """Of all cells, by kind: in how many no library is faster, and the least and most of the best one's time."""
    cells = medians(results / "libraries.json")
    names = libraries(cells)
    rows = []
    for kind in ("forward", "forward_backward"):
        for threads in ("1", "2"):
            best = [min(run[name] for name in names) for cell, run in cells.items()
                    if parts(cell)[1] == kind and parts(cell)["threads"] == threads]
            rows.append((kind.replace("_", " + "), threads, f"{sum(b >= 1 for b in best)} of {len(best)}",
                         f"{min(best):.2f} to {max(best):.2f}"))
    return table(("all sizes, uniform and Zipf", "threads", "no library is faster in",
                  "time of the fastest over the layer's"), rows)


def pictures(results):
    return table(("43 pictures, 1 thread, f32", "us of the processor", "share of the multiply-add peak"),
                 [(f"{parts(name)[2].replace('_', ' ')}, {parts(name)[1].replace('_', ' + ')}",
                   f"{run['cpu_time']:.0f}", f"{run['share']:.2f}")
                  for name, run in medians(results / "convolution.json").items()])


def training_step(results):
    ceiling = medians(results / "ceiling.json")
    peak = {parts(name)["threads"]: run["FLOP/s"] for name, run in ceiling.items() if "multiply_add" in name}
    return table(("training step, B=512", "ms", "multiply-adds over the peak"),
                 [(f"experts={parts(name)['experts']}, threads={parts(name)['threads']}",
                   f"{run['real_time']:.2f}", f"{1e9 * run['GFLOP/s'] / peak[parts(name)['threads']]:.2f}")
                  for name, run in medians(results / "training_step.json").items() if "/B=512/" in name])


def chosen_and_every(results):
    runs = medians(results / "training_step.json")
    rows = []
    for threads, words in (("1", "1 thread"), ("2", "2 threads")):
        chosen, every = (next(run["real_time"] for name, run in runs.items()
                              if f"experts={what}/" in name and f"/B=512/threads={threads}/" in name)
                         for what in ("active", "every"))
        rows.append((words, f"{chosen:.1f} ms", f"{every:.1f} ms", f"{every / chosen:.1f}"))
    return table(("", "chosen experts", "every expert", "ratio"), rows)


def routing(results):
    runs = medians(results / "route.json")
    sizes = (64, 256, 4096)
    return table(("route, us per sample", *(f"n={n}" for n in sizes)),
                 [(f"{gate}, B={batch}",
                   *(f"{runs[f'route/{gate}/n={n}/k=2/d=256/B={batch}/f32']['real_time'] / batch:.2f}"
                     for n in sizes))
                  for gate in ("comet", "top_k") for batch in (1, 512)])


def routing_one(results):
    runs = medians(results / "route.json")

    def us(gate, n):
        time = runs[f"route/{gate}/n={n}/k=2/d=256/B=1/f32"]["real_time"]
        return f"{time:.{0 if time >= 10 else 1}f} us"

    return table(("experts", "COMET", "Top-k"),
                 [(str(n), us("comet", n), us("top_k", n)) for n in (16, 64, 256, 4096)])


def gates(results):
    runs = medians(results / "family.json")
    sizes = (16, 64, 256, 1024)
    rows = []
    for gate in dict.fromkeys(name.split("/")[1] for name in runs):
        times = [[runs[f"{mode}/{gate}/n={n}/k=2/d=256/B=512/f32"]["real_time"] / 512
                  for mode in ("route", "forward")] for n in sizes]
        rows.append((gate, *(f"{route:.2f} ({forward:.2f})" for route, forward in times)))
    return table(("B=512, us per sample, inference (training)", *(f"n={n}" for n in sizes)), rows)


def latency(results):
    return table(("one sample, gate and experts, us", "p50", "p99", "reading its experts' weights",
                  "times only reading them"),
                 [(parts(name)[1], f"{run['p50_us']:.1f}", f"{run['p99_us']:.1f}", f"{run['read_us']:.1f}",
                   f"{run['over_reading']:.2f}")
                  for name, run in medians(results / "latency.json").items() if name.startswith("latency/")])


def storage(results):
    runs = medians(results / "latency.json")
    cells = {name: {parts(cell)["B"]: run for cell, run in runs.items() if cell.startswith(f"storage/{name}/")}
             for name in dict.fromkeys(parts(cell)[1] for cell in runs)}
    sizes = list(next(iter(cells.values())))
    head = ["time over that with full weights"]
    for size in sizes:
        head += [f"{'one sample' if size == '1' else f'B={size}'}: bf16", "int8"]
    return table(head, [(name, *(f"{run[storage + '_over_full']:.2f}" for run in by_size.values()
                                 for storage in ("bf16", "int8")))
                        for name, by_size in cells.items()])


def local_search(results):
    return table(("local search, two-task model, B=512", "us of its own per step", "share of the step"),
                 [(f"n={parts(name)['n']}, threads={parts(name)['threads']}", f"{run['search_us']:.0f}",
                   f"{run['search_percent']:.2f} %")
                  for name, run in medians(results / "local_search.json").items()
                  if name.startswith("local_search_step")])


def permutation(results):
    runs = medians(results / "local_search.json")
    return table(("route, B=512", "us, gate alone", "us, with a permutation around it"),
                 [(f"n={n}", *(f"{runs[f'route_{form}/n={n}/k=2/d=256/B=512/f32']['real_time']:.0f}"
                               for form in ("bare", "wrapped")))
                  for n in (16, 64)])


def loader(results):
    runs = medians(results / "loader.json")
    return table(("a million ratings", "s"),
                 [(what, f"{runs[f'loader/{what}/ratings/1000000/real_time']['real_time'] / 1e9:.3f}")
                  for what in ("bytes", "read", "split", "epoch")])


def peers(start):
    """Of the group of peers/compare.py whose name starts like that, if it was run."""
    def of(results):
        groups = json.loads((results / "peers.json").read_text())["groups"]
        return [line for name, programs in groups.items() if name.startswith(start)
                for line in table((name, "ms", "times the first"),
                                  [(program, f"{run['milliseconds']:.2f}", f"{run['ratio']:.2f}")
                                   for program, run in programs.items()])]
    return of


TABLES = {
    "layer": layer, "every_expert": every_expert, "phases": phases, "libraries": beside_libraries,
    "libraries_behind": libraries_behind, "pictures": pictures, "training_step": training_step,
    "chosen_and_every": chosen_and_every, "routing": routing, "routing_one": routing_one, "gates": gates,
    "latency": latency, "storage": storage, "local_search": local_search, "permutation": permutation,
    "loader": loader, "peers_two_tasks": peers("training step, two tasks"),
    "peers_next_character": peers("training step of next_character"),
    "peers_two_pictures": peers("training step of two_pictures"),
    "peers_assignment": peers("linear assignment, uniform"),
    "peers_assignment_ties": peers("linear assignment, ten distinct"),
}


def filled(text, results):
    """The text with each marked table as the results have it."""
    lines, out = text.split("\n"), []
    while lines:
        out.append(lines.pop(0))
        if mark := MARK.fullmatch(out[-1]):
            while lines and lines[0].startswith("|"):
                lines.pop(0)
            out += TABLES[mark[1]](results / (mark[2] or ""))
    return "\n".join(out)


def main():
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__.strip())
        return
    if len(arguments) != 1 and (len(arguments) < 3 or arguments[1] not in ("--into", "--check")):
        sys.exit(__doc__.strip())
    results = pathlib.Path(arguments[0])
    if len(arguments) == 1:
        for name, make in TABLES.items():
            try:
                print(f"<!-- table {name} -->", *make(results), "", sep="\n")
            except FileNotFoundError:
                pass
        return
    others = []
    for file in map(pathlib.Path, arguments[2:]):
        text = file.read_text()
        new = filled(text, results)
        if arguments[1] == "--into":
            file.write_text(new)
        elif new != text:
            others.append(str(file))
    if others:
        sys.exit(f"tables that are not those of {results}: {', '.join(others)}")


main()
