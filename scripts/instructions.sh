#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Counts the instructions of two kernels with callgrind and compares them with those on record.
#   scripts/instructions.sh            fails if a count is more than 5 % above the record
#   scripts/instructions.sh --record   writes the counts down as the new record
source "$(dirname "$0")/lib.sh"
case ${1:---record} in
  --record) ;;
  *)
    say "unknown argument $1"
    exit 2
    ;;
esac

require gcc eigen valgrind
record=benchmarks/instructions/counts.txt
compiler="g++ $(g++ -dumpversion | cut -d. -f1)"
build=build/instructions
mkdir -p "$build"
g++ -std=c++20 -O2 -DNDEBUG -march=x86-64-v3 -Iinclude -Ibenchmarks -isystem /usr/include/eigen3 \
  benchmarks/instructions/kernels.cpp -o "$build/kernels"

count() {
  valgrind --tool=callgrind --callgrind-out-file="$build/$1.out" --collect-atstart=no \
    --toggle-collect="$1" "$build/kernels" >/dev/null 2>"$build/$1.log"
  sed -n 's/.*Collected : //p' "$build/$1.log"
}

status=0
fresh="# Instructions by scripts/instructions.sh, $compiler -O2 -march=x86-64-v3."
for kernel in counted_route counted_training_pass; do
  now=$(count "$kernel")
  [ -n "$now" ] || { say "no count of $kernel; see $build/$kernel.log"; exit 1; }
  fresh+=$'\n'"$kernel $now"
  if [ "${1:-}" = --record ]; then continue; fi
  before=$(awk -v k="$kernel" '$1 == k {print $2}' "$record")
  printf '%-24s %12d, on record %12d (%+.1f %%)\n' "$kernel" "$now" "$before" \
    "$(awk -v a="$now" -v b="$before" 'BEGIN {print 100 * (a / b - 1)}')"
  if ((now * 100 > before * 105)); then status=1; fi
done
if [ "${1:-}" = --record ]; then
  printf '%s\n' "$fresh" >"$record"
  cat "$record"
elif ! grep -q "$compiler " "$record"; then
  say "the record is of another compiler than $compiler: no judgement"
elif [ $status != 0 ]; then
  say "more than 5 % above the record: find out why, or scripts/instructions.sh --record"
  exit 1
fi
