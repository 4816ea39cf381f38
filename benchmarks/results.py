# SPDX-License-Identifier: MIT
"""What run.sh left of a benchmark, for the scripts beside this."""
import json
import re


def medians(file):
    """Benchmark name -> entry with the median of its repetitions."""
    runs = json.loads(file.read_text())["benchmarks"]
    return {run["run_name"]: run for run in runs if run.get("aggregate_name") == "median"}


def libraries(cells):
    """The counters of libraries_bench that are those of libraries: a name, then a version."""
    return sorted({name for run in cells.values() for name in run if re.fullmatch(r"[a-z]+_[\d.]+", name)})
