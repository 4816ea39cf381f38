#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scipy.optimize.linear_sum_assignment on the kinds of matrices of assignment_bench.cpp.

Prints one JSON object: kind, n, median milliseconds of --runs solutions.
"""
import argparse
import json
import statistics
import time

# --help needs none of what follows.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--kind", choices=["uniform", "ties"], required=True)
parser.add_argument("--n", type=int, default=1024)
parser.add_argument("--runs", type=int, default=9)
options = parser.parse_args()

import numpy
import scipy
from scipy.optimize import linear_sum_assignment


def main():
    cost = numpy.random.default_rng(1).random((options.n, options.n))
    if options.kind == "ties":
        cost = numpy.floor(10 * cost)
    times = []
    for _ in range(options.runs):
        start = time.perf_counter()
        linear_sum_assignment(cost)
        times.append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"kind": options.kind, "n": options.n, "scipy": scipy.__version__,
                      "milliseconds": statistics.median(times)}))


main()
