#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kills a random rank of `mpirun -n 2 movielens train` at random moments, from the start of MPI on, and
# resumes it, until so many kills have hit. Every time all ranks have to end within 10 seconds, results of
# before have to stay, and the training has to end with the bits of one that was left alone.
#
#   scripts/rank_faults.sh [KILLS [LOG [PROGRAM [MPIRUN]]]]
#
# 50 kills by default. LOG gets one line per training and the verdict.
source "$(dirname "$0")/help.sh"
set -euo pipefail

kills=${1:-50}
expect_count KILLS "$kills"
log=${2:-rank_faults.log}
program=$(realpath "${3:-build/release/bin/movielens}")
mpirun=${4:-mpirun}
limit=10000 # milliseconds from a kill until all have ended
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
RANDOM=1 # the moments are a function of this
# More ranks than cores, and as root, which OpenMPI wants to be told; they mean nothing to others.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe OMPI_MCA_btl_vader_single_copy_mechanism=none

say() { echo "$*" | tee -a "$log"; }
fail() {
  say "FAILED: $*"
  cat "$work/err" >&2 || true
  exit 1
}
now() { echo $(($(date +%s%N) / 1000000)); }
: >"$log"

"$program" synthesize "$work/data" --users 60 --items 100 --ratings 4000 >/dev/null
"$program" train --data "$work/data" --out "$work/older" --epochs 1 --quiet >/dev/null
older=$(sha256sum "$work"/older/*)
# A rank that can be found.
cat >"$work/rank" <<'END'
#!/bin/sh
echo $$ >"$WORK/pid.${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
exec "$@"
END
chmod +x "$work/rank"
export WORK=$work

# All that a training leaves, without times.
remains() {
  sed -E 's/"seconds(_per_epoch)?": *[0-9.e+-]+//; s/"test_seconds": *[0-9.e+-]+//' \
    "$1/result.json" "$1/metrics.jsonl" | sed -E 's/"seconds":[0-9.e+-]+//'
  cat "$1/steps.jsonl" "$1/decision_paths.json" 2>/dev/null || true
  sha256sum <"$1/model.safetensors"
}
# Ranks of the last start that are still there.
alive() {
  local file
  for file in "$work"/pid.*; do
    if kill -0 "$(cat "$file")" 2>/dev/null; then return 0; fi
  done
  return 1
}

# Starts it, kills one rank and waits for all to end. Whether the kill has hit: `hit`, 0 or 1; what
# it took them to end: `took`.
kill_one() { # COMMAND...
  rm -f "$work"/pid.*
  "$mpirun" -n 2 "$work/rank" "$@" >"$work/out" 2>"$work/err" &
  local job=$! victim=$((RANDOM % 2)) moment=$((RANDOM % 2500)) start code=0
  until [ -s "$work/pid.0" ] && [ -s "$work/pid.1" ]; do
    kill -0 "$job" 2>/dev/null || fail "mpirun does not start: $*"
    sleep 0.02
  done
  sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
  start=$(now)
  kill -KILL "$(cat "$work/pid.$victim")" 2>/dev/null || true
  wait "$job" 2>/dev/null || code=$?
  while alive; do # mpirun may be gone a moment before them
    (($(now) - start < limit)) || fail "rank $victim killed after $moment ms: others are there after 10 s"
    sleep 0.02
  done
  took=$(($(now) - start))
  ((took < limit)) || fail "rank $victim killed after $moment ms: it took $took ms to end"
  hit=$((code != 0))
}

hits=0
trainings=0
slowest=0
while ((hits < kills)); do
  for kind in "comet relaxed 5" "top_k swap 20" "hash none 2" "dselect_k relaxed 50"; do
    ((hits < kills)) || break
    read -r gate search every <<<"$kind"
    trainings=$((trainings + 1))
    train=("$program" train --data "$work/data" --gate "$gate" --local-search "$search"
      --checkpoint-every "$every" --seed "$trainings" --epochs 30 --search-epochs 20 --patience 30
      --batch-size 64 --experts 6 --embedding-dim 8 --expert-dim 8 --head-dim 8 --threads 1 --quiet)
    whole=$work/whole
    killed=$work/killed
    rm -rf "$whole" "$killed"
    here=0
    for _ in {1..8}; do
      ((hits + here < kills)) || break
      kill_one "${train[@]}" --out "$killed" --resume
      here=$((here + hit))
      slowest=$((took > slowest ? took : slowest))
      [ "$(sha256sum "$work"/older/*)" = "$older" ] || fail "$kind: an older result has changed"
      if ((!hit)); then break; fi
    done
    "$mpirun" -n 2 "${train[@]}" --out "$killed" --resume >"$work/out" 2>"$work/err" ||
      fail "$kind does not go on after $here kills"
    "$mpirun" -n 2 "${train[@]}" --out "$whole" >"$work/out" 2>"$work/err" || fail "$kind"
    hits=$((hits + here))
    cmp -s <(remains "$whole") <(remains "$killed") || fail "$kind differs after $here kills"
    say "$gate, $search search, checkpoint every $every steps: $here kills, same bits"
  done
done
say "$hits kills in $trainings trainings on 2 ranks: all ranks ended, the last ones after" \
  "$slowest ms; every training ended with the bits of an undisturbed one"
