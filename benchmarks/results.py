# SPDX-License-Identifier: MIT
"""What run.sh left of a benchmark, for the scripts beside this."""
import json


def medians(file):
    """Benchmark name -> entry with the median of its repetitions."""
    runs = json.loads(file.read_text())["benchmarks"]
    return {run["run_name"]: run for run in runs if run.get("aggregate_name") == "median"}
