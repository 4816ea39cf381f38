#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Searches hyper-parameters of four gates, with and without local search, and draws what the trials cost.
#   scripts/movielens_study.sh [TRIALS [RESULTS [DATA]]]
# 40 trials of each by default, below results/study. May be stopped at any moment; run again, it goes
# on. In rounds of 10 trials, so that the searches are comparable whenever it is stopped.
source "$(dirname "$0")/lib.sh"

trials=${1:-40}
results=${2:-results/study}
program=build/release/bin/movielens
build release movielens >&2
data=${3:-$(scripts/movielens_data.sh)}
# Half of the paper's widths and 6 epochs of its 100, so that 320 trials take hours, not weeks.
small=(--embedding-dim 64 --expert-dim 128 --head-dim 128 --epochs 6)

searches=()
for gate in comet dselect_k top_k hash; do
  for search in none relaxed; do searches+=("$gate:$search"); done
done

for ((round = trials < 10 ? trials : 10; ; round += 10)); do
  ((round > trials)) && round=$trials
  for entry in "${searches[@]}"; do
    gate=${entry%:*} search=${entry#*:}
    "$program" tune --data "$data" --space "examples/movielens/search_spaces/study/$gate.json" \
      --local-search "$search" "${small[@]}" --trials "$round" --parallel "$(cores)" --no-weights \
      --results "$results" --experiment-name "$gate-$search" --resume >/dev/null
  done
  ((round == trials)) && break
done

files=()
for entry in "${searches[@]}"; do files+=("$results/${entry/:/-}/trials.jsonl"); done
"$program" budget "${files[@]}" --out "$results/budget"
