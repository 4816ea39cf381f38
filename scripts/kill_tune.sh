#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kills a search over hyper-parameters at random moments, resumes it each time, and compares its trials
# with those of a search that was left alone.
#   scripts/kill_tune.sh [KILLS]      50 by default; the moments are the same every time
source "$(dirname "$0")/lib.sh"

kills=${1:-50}
expect_count KILLS "$kills"
program=$PWD/build/release/bin/movielens
build release movielens >&2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$program" synthesize data --users 100 --items 150 --ratings 4000 >/dev/null
cat >space.json <<'JSON'
{"gate": "comet", "experts": 8, "embedding_dim": 8, "expert_dim": 16, "head_dim": 16, "epochs": 3,
 "learning_rate": {"log_uniform": [1e-4, 1e-2]}, "gamma": {"categorical": [0.1, 1, 10]}}
JSON

tune=("$program" tune --data data --space space.json --quiet --trials $((4 * kills)) --parallel 2)
# All but the times, in the order of the trials.
trials() { sed 's/,"seconds":[^}]*}/}/' "results/$1/trials.jsonl" | sort; }

start=$(date +%s.%N)
"${tune[@]}" --experiment-name calm >/dev/null
seconds=$(awk "BEGIN { print $(date +%s.%N) - $start }")

killed=0
for ((i = 1; i <= kills; ++i)); do
  "${tune[@]}" --experiment-name killed --resume >/dev/null 2>&1 &
  # Up to the time of six trials, so that about half of them are left for the last resume.
  sleep "$(awk "BEGIN { srand($i); print 1.5 * rand() * $seconds / $kills }")"
  kill -9 $! 2>/dev/null || true
  status=0
  wait $! 2>/dev/null || status=$?
  [[ $status == 137 ]] && killed=$((killed + 1))
  [[ -e results/killed/trials.jsonl ]] && printf 'kill %d: %d trials finished\n' "$i" \
    "$(wc -l <results/killed/trials.jsonl)"
done
"${tune[@]}" --experiment-name killed --resume >/dev/null
cmp <(trials calm) <(trials killed)
echo "$killed kills, $((4 * kills)) trials: the same as without"
