#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains the same small model again and again, with 1, 2 and 4 threads, for every gate: the weights
# and the figures have to be the same bits each time. With the program of a second compiler, trains
# for longer, once with each, and prints by how much the figures differ.
#
#   scripts/repeat.sh [RUNS [PROGRAM [OTHER]]]
#
# 20 runs by default, of build/release/bin/movielens. Exit code 1 if one bit differs between runs of
# PROGRAM. OTHER may differ, by rounding that a training makes larger; that is only printed.
source "$(dirname "$0")/help.sh"
set -euo pipefail

runs=${1:-20}
expect_count RUNS "$runs"
program=${2:-build/release/bin/movielens}
other=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gates="comet dselect_k top_k hash softmax"

"$program" synthesize "$work/data" --users 60 --items 100 --ratings 2000 >/dev/null

# train PROGRAM GATE THREADS EPOCHS: into $work/run.
train() {
  rm -rf "$work/run"
  "$1" train --data "$work/data" --gate "$2" --threads "$3" --out "$work/run" --epochs "$4" \
    --learning-rate 0.005 --batch-size 512 --experts 6 --embedding-dim 32 --expert-dim 64 --head-dim 32 --quiet >/dev/null
}

# Weights and figures, without times and the number of threads.
bits() {
  sha256sum <"$work/run/model.safetensors"
  sed -E 's/"(seconds|seconds_per_epoch|test_seconds|threads)": *[0-9.e+-]+//' "$work/run/result.json" "$work/run/metrics.jsonl"
}

for gate in $gates; do
  for ((run = 0; run < runs; ++run)); do
    for threads in 1 2 4; do
      train "$program" "$gate" "$threads" 2
      sum=$(bits | sha256sum)
      : "${first:=$sum}"
      if [ "$sum" != "$first" ]; then
        echo "FAILED: $gate differs in run $((run + 1)) with $threads threads"
        exit 1
      fi
    done
  done
  echo "$gate: $runs runs with each of 1, 2 and 4 threads, same bits: ${first:0:16}"
  unset first
done

[ -n "$other" ] || exit 0
for gate in $gates; do
  train "$program" "$gate" 1 30
  cp "$work/run/result.json" "$work/here.json"
  cp "$work/run/model.safetensors" "$work/here.safetensors"
  train "$other" "$gate" 1 30
  weights=other
  if cmp -s "$work/run/model.safetensors" "$work/here.safetensors"; then weights=same; fi
  printf '%s: %s weights, ' "$gate" "$weights"
  python3 - "$work/here.json" "$work/run/result.json" <<'END'
import json, sys

def numbers(value, name=""):
    """Every number of a result by its name, times apart."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in ("seconds", "seconds_per_epoch", "test_seconds", "threads", "options"):
                yield from numbers(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from numbers(each, f"{name}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value

here, there = (dict(numbers(json.load(open(path)))) for path in sys.argv[1:])
assert here.keys() == there.keys()
size = {name: max(abs(here[name]), abs(there[name])) for name in here}
differences = {name: abs(here[name] - there[name]) / size[name] for name in here if size[name]}
worst = max(differences, key=differences.get)
print(f"{len(differences)} figures, largest relative difference {differences[worst]:.1e} ({worst})")
END
done
