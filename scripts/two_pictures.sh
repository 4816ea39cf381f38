#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains mixtures of convolutional networks, with the gates COMET, DSelect-k, Top-k and Hash, to tell
# what two pictures on one canvas show.
#   scripts/two_pictures.sh [ARGUMENT...]   arguments go to the program; --data DIR brings own pictures
# Installs what is missing, builds, obtains Fashion-MNIST, trains, and ends with a table and pictures of
# what the experts are for. A second run goes straight to the training.
source "$(dirname "$0")/lib.sh"
paths_from_here '--data --second-data --out' "$@"
set -- ${arguments[@]+"${arguments[@]}"}

out=results/two_pictures
data=
second=()
arguments=()  # but for --out, which may be given once
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=${2:-}; shift $(($# > 1 ? 2 : 1)); continue ;;
    --out=*) out=${1#--out=}; shift; continue ;;
    --data) data=${2:-} ;;
    --data=*) data=${1#--data=} ;;
    --second-data) second=(--second-data "${2:-}") ;;
    --second-data=*) second=("$1") ;;
  esac
  arguments+=("$1")
  shift
done

build release two_pictures >&2
names=()
if [ -z "$data" ]; then
  data=$(scripts/two_pictures_data.sh)
  arguments+=(--data "$data")
  [ "$data" != data/fashion-mnist ] || [ ${#second[@]} -gt 0 ] ||
    names=(--names T-shirt,trousers,pullover,dress,coat,sandal,shirt,sneaker,bag,boot)
fi
try_install gnuplot || say "without gnuplot there are no pictures, but their data"
program=build/release/bin/two_pictures
"$program" compare --out "$out" "${arguments[@]}"
for model in "$out"/*/model.safetensors; do
  [ -e "$model" ] || continue
  printf '\nWhat the experts of %s are for:\n' "$(basename "$(dirname "$model")")"
  "$program" show --model "$model" --data "$data" "${second[@]}" "${names[@]}" --out "$out/show"
  break
done
