#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the pictures of docs/performance.md from the results of run.sh, with gnuplot.

usage: plots.py RESULTS_DIR PICTURES_DIR
"""
import pathlib
import re
import subprocess
import sys

from results import libraries, medians

STYLE = """
set terminal svg size 640,400 font 'sans-serif,13' background rgb 'white'
set logscale x 2
set logscale y 10
set grid lc rgb '#dddddd'
set key left top
set border 3
set tics nomirror
set style line 1 lc rgb '#0060ad' lw 2 pt 7 ps 0.7
set style line 2 lc rgb '#dd6500' lw 2 pt 5 ps 0.7
set style line 3 lc rgb '#2a8a3e' lw 2 pt 9 ps 0.8
set style line 4 lc rgb '#a03070' lw 2 pt 11 ps 0.8
set style line 5 lc rgb '#777777' lw 2 pt 13 ps 0.8
set style line 6 lc rgb '#c0a000' lw 2 pt 4 ps 0.7
"""
SHARE = "unset logscale y\nset yrange [0:1]\nset key right bottom\n"



def series(runs, pattern):
    """Points (number that the pattern's group finds, time), ascending."""
    found = ((re.search(pattern, name), run) for name, run in runs.items())
    return sorted((int(m.group(1)), run["real_time"]) for m, run in found if m)


def shares(cells, kind):
    """Of the layer and of every library: points (columns per expert, share of the peak)."""
    names = libraries(cells)
    curves = {name: [] for name in ["comet", *names]}
    for name, run in cells.items():
        if re.search(rf"{kind}/n=16/.*skew=uniform/threads=1/", name):
            for library, points in curves.items():
                points.append((run["columns_per_expert"], run["share"] / run.get(library, 1)))
    return [(name.replace("_", " "), sorted(points)) for name, points in curves.items()]


def draw(path, title, x, y, curves, style=""):
    data = "".join(f"$d{i} << EOD\n" + "".join(f"{a} {b}\n" for a, b in points) + "EOD\n"
                   for i, (_, points) in enumerate(curves))
    plot = "plot " + ", ".join(f"$d{i} with linespoints ls {i + 1} title '{name}'"
                               for i, (name, _) in enumerate(curves))
    script = (STYLE + style + f"set output '{path}'\nset title '{title}'\nset xlabel '{x}'\n"
              f"set ylabel '{y}'\n" + data + plot + "\n")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__.strip())
        return
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    results, pictures = map(pathlib.Path, sys.argv[1:3])
    pictures.mkdir(parents=True, exist_ok=True)
    route = medians(results / "route.json")
    for batch, text in ((1, "one sample"), (512, "a batch of 512")):
        draw(pictures / f"route_b{batch}.svg", f"Routing {text} (k=2, d=256, float)", "experts n",
             "microseconds",
             [("COMET, saturated", series(route, rf"comet/n=(\d+)/k=2/d=256/B={batch}/")),
              ("Top-k", series(route, rf"top_k/n=(\d+)/k=2/d=256/B={batch}/"))])
    layer = medians(results / "moe_layer.json")
    points = series(layer, r"forward/n=64/k=(\d+)/d=256/m=256/B=512/skew=uniform/threads=1/")
    everything, dense = points[-1]
    draw(pictures / "layer_k.svg", "Layer, forward (n=64, d=m=256, B=512, one thread)",
         "active experts per sample", "microseconds",
         [("measured", points),
          ("all experts, in proportion", [(k, dense * k / everything) for k, _ in points])])
    draw(pictures / "layer_n.svg", "Layer, forward (k=2, d=m=256, B=512, one thread)", "experts n",
         "microseconds",
         [("measured", series(layer, r"forward/n=(\d+)/k=2/d=256/m=256/B=512/skew=uniform/"
                                     r"threads=1/"))])
    # Libraries choose instructions by the machine: so does the layer where that was measured.
    native = results / "xeon-native" / "libraries.json"
    cells = medians(native if native.exists() else results / "libraries.json")
    for kind, text in (("forward", "forward"), ("forward_backward", "forward + backward")):
        draw(pictures / f"libraries_{kind}.svg",
             f"Layer, {text} (n=16, k=2, d=m=256, one thread, cold weights)", "columns per expert",
             "share of the multiply-add peak", shares(cells, kind), SHARE)


main()
