#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bits a character against cost: dense networks of several widths, and mixtures of several numbers of
# experts and widths, one expert a character. The picture that says when to take a mixture.
#   scripts/next_character_curve.sh [DIR [STEPS]]
# Results go to DIR, by default results/next_character_curve; trainings are of STEPS steps, by default
# 1,000. About a quarter of an hour on two cores; a second run goes on where the first has ended.
source "$(dirname "$0")/lib.sh"

out=${1:-results/next_character_curve}
steps=${2:-1000}

build release next_character >&2
require python
try_install gnuplot || say "without gnuplot there is no picture, but its data"
program=build/release/bin/next_character

# compare NAME ARGUMENT...
compare() {
  local name=$1
  shift
  say "$name"
  "$program" compare --out "$out/$name" --steps "$steps" --no-weights --resume "$@" >/dev/null
}
for width in 64 128 256 512 1024; do
  compare "dense_$width" --gates dense --expert-dim "$width"
done
for experts in 4 8 16; do
  compare "experts_$experts" --gates top_k,comet --experts "$experts"
done
compare experts_32 --gates top_k --experts 32
for width in 128 512; do
  compare "width_$width" --gates top_k --expert-dim "$width"
done

python3 scripts/next_character_curve.py "$out" "$out/curve.tsv"
if has gnuplot; then
  gnuplot -c scripts/next_character_curve.gp "$out/curve.tsv" "$out/curve.svg"
  printf '%s\n' "$out/curve.svg"
fi
