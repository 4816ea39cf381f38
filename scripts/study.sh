#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Searches hyper-parameters of four gates, with and without local search, and draws what the trials cost.
#   scripts/study.sh PROGRAM [TRIALS [RESULTS [DATA]]]     PROGRAM is movielens or two_pictures
# 40 trials of each by default (two_pictures: 20), below results/study or results/two_pictures_study. May
# be stopped at any moment; run again, it goes on. In rounds of 10 trials, so that the searches are
# comparable whenever it is stopped. $PARALLEL trials at once, by default one for each core.
source "$(dirname "$0")/lib.sh"

name=${1:-}
# A half of the paper's widths and few of its epochs, so that the trials take hours, not weeks.
case $name in
  movielens)
    trials=40 results=results/study
    small=(--embedding-dim 64 --expert-dim 128 --head-dim 128 --epochs 6)
    ;;
  two_pictures)
    trials=20 results=results/two_pictures_study
    small=(--filters 5 --second-filters 10 --expert-dim 25 --head-dim 25 --epochs 2)
    ;;
  *)
    say "usage: scripts/study.sh movielens|two_pictures [TRIALS [RESULTS [DATA]]]"
    exit 2
    ;;
esac
trials=${2:-$trials}
results=${3:-$results}
build release "$name" >&2
program=build/release/bin/$name
data=${4:-$("scripts/${name}_data.sh")}

searches=()
for gate in comet dselect_k top_k hash; do
  for search in none relaxed; do searches+=("$gate:$search"); done
done

for ((round = trials < 10 ? trials : 10; ; round += 10)); do
  ((round > trials)) && round=$trials
  for entry in "${searches[@]}"; do
    gate=${entry%:*} search=${entry#*:}
    "$program" tune --data "$data" --space "examples/$name/search_spaces/study/$gate.json" \
      --local-search "$search" "${small[@]}" --trials "$round" --parallel "${PARALLEL:-$(cores)}" \
      --no-weights --results "$results" --experiment-name "$gate-$search" --resume >/dev/null
  done
  ((round == trials)) && break
done

files=()
for entry in "${searches[@]}"; do files+=("$results/${entry/:/-}/trials.jsonl"); done
"$program" budget "${files[@]}" --out "$results/budget"
