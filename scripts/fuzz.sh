#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the fuzz targets, two at a time, with the address and undefined-behaviour sanitizers.
#   scripts/fuzz.sh SECONDS [TARGET...]     seconds per target; all targets by default
# What the fuzzer finds of interest stays in build/fuzz/found/TARGET, beside the corpus that is
# committed, and the next run begins with it. Ends with the executions of each target; exit code 1 and
# the place of the input if one of them crashed, leaked, hung or broke a law.
source "$(dirname "$0")/lib.sh"

targets=(ratings titles tokens safetensors search_space command_line routing gate_options locales)
seconds=${1:-}
expect_count SECONDS "$seconds"
shift
for target; do
  if [[ " ${targets[*]} " != *" $target "* ]]; then
    say "no target $target; there are ${targets[*]}"
    exit 2
  fi
done
if (($#)); then targets=("$@"); fi

require clang clang-san cmake ninja eigen json cli11 icu
folder=$PWD/build/fuzz
corpus=$PWD/tests/fuzz/corpus
if ! [ -e "$folder/CMakeCache.txt" ]; then
  if has_command ninja; then export CMAKE_GENERATOR=Ninja; fi
  cmake -S tests/fuzz -B "$folder" -DCMAKE_CXX_COMPILER=clang++ >/dev/null
fi
cmake --build "$folder" -j "$(cores)" --target "${targets[@]}" >&2

# Frees its scratch at exit, and leaves its log; never fails, so that the other targets still run.
run() {
  mkdir -p "$folder/found/$1"
  "$folder/$1" "$folder/found/$1" "$corpus/$1" -max_total_time="$seconds" -timeout=20 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$folder/crash-$1-" \
    >"$folder/$1.log" 2>&1 || true
}
running=0
for target in "${targets[@]}"; do
  if ((running == 2)); then
    wait -n || true
    running=1
  fi
  run "$target" &
  running=$((running + 1))
done
wait

failed=0
total=0
for target in "${targets[@]}"; do
  log=$folder/$target.log
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  printf '%-14s %12s executions' "$target" "${executions:-0}"
  total=$((total + ${executions:-0}))
  if grep -q '^Done ' "$log"; then
    echo
  else
    failed=1
    echo ", FAILED: $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
    grep -E '^broken:|ERROR:|runtime error|SUMMARY:' "$log" | sed 's/^/    /'
  fi
done
printf '%-14s %12s executions\n' all "$total"
exit $failed
