#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs one benchmark of two commits in turns and prints the times side by side: what a change did to
# speed, on this machine, whatever else it is doing.
#   benchmarks/compare_commits.sh A B NAME [FILTER]   benchmarks/NAME_bench.cpp, rows that match FILTER
# Medians of five rounds of each ($ROUNDS). Both commits are built below build/compare with the same flags for the
# processor ($FLAGS, by default -march=x86-64-v3 where there is such a processor). B may be `here`, the files
# as they are.
source "$(dirname "$0")/../scripts/lib.sh"

[ $# -ge 3 ] || {
  say "usage: benchmarks/compare_commits.sh A B NAME [FILTER]"
  exit 2
}
name=$3 filter=${4:-.}
[ -e "benchmarks/${name}_bench.cpp" ] || {
  say "there is no benchmarks/${name}_bench.cpp"
  exit 2
}
expect_count ROUNDS "${ROUNDS-5}"
require gcc cmake ninja eigen json cli11 zlib benchmark python

flags=-march=native
[ "$(uname -m)" != x86_64 ] || flags=-march=x86-64-v3
flags=${FLAGS:-$flags}

# build_program COMMIT: builds the benchmark of a commit; $program is where it is.
build_program() {
  local tree=. build=$PWD/build/compare/here commit
  if [ "$1" != here ]; then
    commit=$(git rev-parse --verify --quiet "$1^{commit}") || {
      say "there is no commit $1"
      exit 2
    }
    tree=build/compare/${commit:0:12}
    build=$PWD/$tree/build/bench
    [ -e "$tree" ] || git worktree add --quiet --detach "$tree" "$commit"
  fi
  say "building $1"
  (
    cd "$tree"
    if ! [ -e "$build/CMakeCache.txt" ] && has_command ninja; then export CMAKE_GENERATOR=Ninja; fi
    cmake --preset bench -B "$build" -D COMET_TUNE=OFF -D CMAKE_CXX_FLAGS="$flags" >/dev/null
  )
  cmake --build "$build" -j "$(cores)" --target "${name}_bench" >"$build/compare.log" || {
    cat "$build/compare.log" >&2
    say "$1 does not build"
    exit 1
  }
  program=$build/bin/${name}_bench
}
build_program "$1"
a=$program
build_program "$2"
b=$program
for program in "$a" "$b"; do
  [ -n "$("$program" --benchmark_list_tests --benchmark_filter="$filter" 2>/dev/null)" ] || {
    say "no row of $program matches $filter"
    exit 2
  }
done

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for ((round = 1; round <= ${ROUNDS:-5}; ++round)); do
  say "round $round of ${ROUNDS:-5}"
  for side in a b; do
    "${!side}" --benchmark_filter="$filter" --benchmark_out="$results/$side$round.json" \
      --benchmark_out_format=json >/dev/null 2>&1
  done
done
python3 - "$results" "$1" "$2" <<'END'
import json
import pathlib
import statistics
import sys

results, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
times = {side: {} for side in "ab"}
for side in times:
    for file in results.glob(side + "*.json"):
        for run in json.loads(file.read_text())["benchmarks"]:
            # A benchmark that times a request at a time says so itself.
            time = run.get("p50_us", run["real_time"])
            times[side].setdefault(run["name"], []).append(time)
print(f"| benchmark | {names[0]} | {names[1]} | ratio |\n|---|--:|--:|--:|")
for name in times["a"]:
    if name in times["b"]:
        a, b = (statistics.median(times[side][name]) for side in "ab")
        print(f"| {name} | {a:.4g} | {b:.4g} | {b / a:.2f} |")
END
