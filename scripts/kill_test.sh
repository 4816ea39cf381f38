#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kills trainings at random moments and resumes them, until so many kills have hit. Every training has
# to end with the bits of one that was left alone: the same figures, the same weights.
#
#   scripts/kill_test.sh [KILLS [LOG [PROGRAM]]]
#
# 100 kills by default. LOG gets one line per training and the verdict.
source "$(dirname "$0")/help.sh"
set -euo pipefail

kills=${1:-100}
expect_count KILLS "$kills"
log=${2:-kill_test.log}
program=${3:-build/release/bin/movielens}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
RANDOM=1 # the moments are a function of this

say() { echo "$*" | tee -a "$log"; }
: >"$log"

"$program" synthesize "$work/data" --users 60 --items 100 --ratings 2000 >/dev/null

# All that a training leaves, without times.
remains() {
  sed -E 's/"[a-z_]*seconds[a-z_]*": *[0-9.e+-]+//' "$1/result.json" "$1/metrics.jsonl"
  cat "$1/steps.jsonl" "$1/record.jsonl"
  if [ -e "$1/decision_paths.json" ]; then cat "$1/decision_paths.json"; fi
  sha256sum <"$1/model.safetensors"
}

hits=0
trainings=0
while ((hits < kills)); do
  for kind in "comet relaxed 5" "top_k swap 20" "dselect_k relaxed 50" "hash none 1" "softmax swap 7"; do
    ((hits < kills)) || break
    read -r gate search every <<<"$kind"
    trainings=$((trainings + 1))
    train=("$program" train --data "$work/data" --gate "$gate" --local-search "$search"
      --checkpoint-every "$every" --seed "$trainings" --epochs 3 --batch-size 64 --experts 6
      --embedding-dim 8 --expert-dim 8 --head-dim 8 --record-every 3 --quiet)
    whole=$work/whole
    killed=$work/killed
    rm -rf "$whole" "$killed"
    begin=$(date +%s%N)
    "${train[@]}" --out "$whole" --record "$whole/record.jsonl" >/dev/null
    milliseconds=$((($(date +%s%N) - begin) / 1000000))
    here=0
    for _ in {1..8}; do # each gets up to a third of the time, so most of them hit
      "${train[@]}" --out "$killed" --record "$killed/record.jsonl" --resume >/dev/null &
      pid=$!
      moment=$((RANDOM % (milliseconds / 3 + 1)))
      sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
      kill -KILL "$pid" 2>/dev/null || true
      code=0
      wait "$pid" 2>/dev/null || code=$?
      if ((code == 137)); then here=$((here + 1)); fi
      if ((code != 137 && code != 0)); then
        say "FAILED: $kind ended with $code"
        exit 1
      fi
    done
    "${train[@]}" --out "$killed" --record "$killed/record.jsonl" --resume >/dev/null
    hits=$((hits + here))
    if ! cmp -s <(remains "$whole") <(remains "$killed"); then
      say "FAILED: $kind differs after $here kills"
      exit 1
    fi
    say "$gate, $search search, checkpoint every $every steps: $here kills, same bits"
  done
done
say "$hits kills in $trainings trainings: every one ended with the bits of an undisturbed one"
