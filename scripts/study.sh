#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Searches hyper-parameters, the same number of trials for every row, and draws what the trials cost.
#   scripts/study.sh STUDY [TRIALS [RESULTS [DATA]]]
#     movielens             four gates, with and without local search
#     two_pictures          the same on pictures
#     movielens_remedies    four gates with what makes them sparse early and even, and dense networks
# 40 trials of each by default (two_pictures: 20), below results/STUDY_study. May be stopped at any moment;
# run again, it goes on. In rounds of 10 trials, so that the rows are comparable whenever it is stopped.
# $PARALLEL trials at once, by default one for each core.
source "$(dirname "$0")/lib.sh"

study=${1:-}
program=${study%_remedies}
trials=40
spaces=examples/$program/search_spaces/study
gates=(comet dselect_k top_k hash) searches=(none relaxed)
# A half of the paper's widths and few of its epochs, so that the trials take hours, not weeks.
small=(--embedding-dim 64 --expert-dim 128 --head-dim 128 --epochs 6)
case $study in
  movielens) ;;
  movielens_remedies)
    spaces=examples/movielens/search_spaces/remedies
    gates=(comet dselect_k top_k sampled dense dense_per_task) searches=(none)
    ;;
  two_pictures)
    trials=20
    small=(--filters 5 --second-filters 10 --expert-dim 25 --head-dim 25 --epochs 2)
    ;;
  *)
    say "usage: scripts/study.sh movielens|two_pictures|movielens_remedies [TRIALS [RESULTS [DATA]]]"
    exit 2
    ;;
esac
trials=${2:-$trials}
expect_count TRIALS "$trials"
results=${3:-results/${study}_study}
build release "$program" >&2
data=${4:-$("scripts/${program}_data.sh")}
program=build/release/bin/$program

entries=()
for gate in "${gates[@]}"; do
  for search in "${searches[@]}"; do entries+=("$gate:$search"); done
done

for ((round = trials < 10 ? trials : 10; ; round += 10)); do
  ((round > trials)) && round=$trials
  for entry in "${entries[@]}"; do
    gate=${entry%:*} search=${entry#*:}
    "$program" tune --data "$data" --space "$spaces/$gate.json" --local-search "$search" "${small[@]}" \
      --trials "$round" --parallel "${PARALLEL:-$(cores)}" --no-weights --results "$results" \
      --experiment-name "$gate-$search" --resume >/dev/null
  done
  ((round == trials)) && break
done

files=()
for entry in "${entries[@]}"; do files+=("$results/${entry/:/-}/trials.jsonl"); done
"$program" budget "${files[@]}" --out "$results/budget"
