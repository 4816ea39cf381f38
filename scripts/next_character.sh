#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains models that say which character of a text comes next: mixtures of experts with the COMET gate
# and with the Top-k gate, and dense networks of one expert's cost and of two.
#   scripts/next_character.sh [ARGUMENT...]   arguments go to the program; --data PATH brings own text
# Installs what is missing, builds, trains, and ends with a table, two pictures and a sample of text. A
# second run goes straight to the training. The text is the standard library of this machine's Python.
source "$(dirname "$0")/lib.sh"
paths_from_here '--data --out' "$@"
set -- ${arguments[@]+"${arguments[@]}"}

out=results/next_character
arguments=()  # but for --out, which may be given once
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:-}; shift $(($# > 1 ? 2 : 1)); continue ;;
    --out=*) out=${1#--out=}; shift; continue ;;
  esac
  arguments+=("$1")
  shift
done

build release next_character >&2
case " ${arguments[*]} " in
  *" --data "* | *" --data="*) ;;
  *) require python ;;
esac
try_install gnuplot || say "without gnuplot there are no pictures, but their data"
program=build/release/bin/next_character
"$program" compare --out "$out" --plots "${arguments[@]}"
for picture in bits_by_multiply_adds bits_by_seconds; do
  [ ! -e "$out/$picture.svg" ] || printf '%s\n' "$out/$picture.svg"
done
for model in "$out"/*/model.safetensors; do
  [ -e "$model" ] || continue
  printf '\nA sample of %s:\n' "$(basename "$(dirname "$model")")"
  "$program" sample --model "$model" --temperature 0.6
  break
done
