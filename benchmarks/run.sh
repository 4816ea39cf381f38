#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and runs every benchmark, then the peers, and draws the pictures of docs/performance.md. The tables
# there and in README.md are filled in anew, unless results go elsewhere: then they are printed.
#   benchmarks/run.sh [--only NAME] [DIR]     results go to DIR, by default benchmarks/results
# Takes about 25 minutes on two quiet cores, with the build and the peers. Each figure is the median of five
# repetitions. With --only, that program of benchmarks/NAME_bench.cpp alone, or the `peers` alone, and no
# pictures. `libtorch` is run that way only, where LibTorch is. $PEERS_PYTHON is the Python that has the peers.
source "$(dirname "$0")/../scripts/lib.sh"

programs=(ceiling plan route family moe_layer phases libraries convolution training_step next_character
  two_pictures latency emitted distributed optimizer sinkhorn assignment local_search loader)
only='' target=''
if [ "${1:-}" = --only ]; then
  only=${2:-}
  [[ " ${programs[*]} peers libtorch " == *" $only "* ]] || {
    say "--only is one of ${programs[*]} peers libtorch"
    exit 2
  }
  programs=()
  [ "$only" = peers ] || programs=("$only") target=${only}_bench
  shift 2
fi
out=${1:-benchmarks/results}
build bench $target
know_processor  # OpenBLAS is among those that the layer is compared with
mkdir -p "$out"
commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- include benchmarks ':!benchmarks/results' || echo +)
for program in "${programs[@]}"; do
  say "$program"
  "build/bench/bin/${program}_bench" --benchmark_repetitions=5 --benchmark_min_time=0.2 \
    --benchmark_report_aggregates_only=true --benchmark_context=commit="$commit" \
    --benchmark_out="$out/$program.json.tmp" --benchmark_out_format=json >/dev/null
  mv "$out/$program.json.tmp" "$out/$program.json"
done
[ -z "$only" ] || [ "$only" = peers ] || exit 0
say "peers"
python3 benchmarks/peers/compare.py --bin build/bench/bin --out "$out" ${PEERS_PYTHON:+--python "$PEERS_PYTHON"}
[ -z "$only" ] || exit 0
if has gnuplot; then
  python3 benchmarks/plots.py "$out" docs/images
else
  say "no pictures: gnuplot is not installed ($(packages 2 gnuplot))"
fi
if [ "$out" = benchmarks/results ]; then
  python3 benchmarks/tables.py "$out" --into docs/performance.md README.md
else
  python3 benchmarks/tables.py "$out"
fi
