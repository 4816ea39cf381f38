#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program `movielens` on ranks that are processes: the losses of one process, an end in bounded
# time that leaves a checkpoint, and a training that goes on from it on another number of ranks.
#   tests/mpi/movielens.sh MPIRUN PROGRAM
set -euo pipefail
mpirun=$1 program=$2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

fail() {
  echo "movielens.sh: $*" >&2
  cat "$place/err" >&2 || true
  exit 1
}
ln -s "$program" movielens # a path without blanks
train() { # OUT [OPTION...]
  echo ./movielens train --data data --embedding-dim 8 --experts 6 --expert-dim 12 --head-dim 8 \
    --batch-size 64 --threads 1 --out "$@"
}
# What the program itself says, not mpirun.
own_lines() { grep -c '^movielens: ' err || true; }
# Losses of two folders agree, line by line.
same_losses() {
  paste "$1/steps.jsonl" "$2/steps.jsonl" | awk -F'\t' '
    function number(line, name) {
      if (!match(line, "\"" name "\":[0-9][0-9.e+-]*")) { print "no " name ": " line; exit 1 }
      return substr(line, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0
    }
    number($1, "step") != number($2, "step") { print; exit 1 }
    { a = number($1, "loss"); d = a - number($2, "loss"); if (d < 0) d = -d; if (d > 1e-4 * a) { print; exit 1 } }' ||
    fail "losses of $1 and $2 differ"
  [ "$(wc -l <"$1/steps.jsonl")" = "$(wc -l <"$2/steps.jsonl")" ] || fail "steps of $1 and $2"
}
# What the program says on its way, without what MPI says where it finds no /sys, no network or an old option.
progress() { grep -E '^(data: |gate: |epoch )' "$1" | no_seconds; }
no_seconds() { sed 's/  [0-9.]* s\b//; s/  about .*//; s/results in .*//; s/  *[0-9.]* *[0-9.]* *\([0-9]*\)$/ \1/' "$@"; }

"$program" --version | grep -q '^MPI: .*[0-9]' || fail "--version does not say which MPI"
"$program" synthesize data --users 40 --items 50 --ratings 1000 >/dev/null

$(train one --epochs 3) >one.out 2>one.err
for ranks in 2 3; do
  "$mpirun" -n $ranks $(train on$ranks --epochs 3) >out 2>err || fail "$ranks ranks fail"
  same_losses one on$ranks
  [ "$(ls one)" = "$(ls on$ranks)" ] || fail "other files: $(ls on$ranks)"
  [ "$(progress err)" = "$(progress one.err)" ] || fail "other progress than of one process"
  [ "$(no_seconds out)" = "$(no_seconds one.out)" ] || fail "another table than of one process"
done

# Experts whose order is learned: the same on ranks, and the same losses on the way.
orders() { sed 's/.*"permutations":\([][0-9,]*\).*/\1/' "$1/metrics.jsonl"; }
for search in relaxed swap; do
  options="--epochs 5 --search-epochs 4 --local-search $search --search-temperatures 0.1,0.001 --learning-rate 0.01"
  $(train one_$search $options) >/dev/null 2>&1
  "$mpirun" -n 2 $(train on2_$search $options) >out 2>err || fail "$search search fails on ranks"
  same_losses one_$search on2_$search
  [ "$(orders one_$search | uniq | wc -l)" -gt 1 ] || fail "$search search learns nothing"
  [ "$(orders one_$search)" = "$(orders on2_$search)" ] || fail "$search search: another order on ranks"
done

# What makes no sense on ranks, and ranks that were told different things.
"$mpirun" -n 2 "$program" report one >out 2>err && fail "report runs on ranks"
[ "$(own_lines)" = 1 ] && grep -q 'report runs in one process' err || fail "no clear line"
# apart COMMAND0 COMMAND1: one for each rank. (Several programs in one call crash mpirun of Open MPI 5.0.7.)
printf '#!/bin/sh\n[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || shift\nexec $1\n' >by_rank
chmod +x by_rank
apart() { timeout 60 "$mpirun" -n 2 ./by_rank "$@" >out 2>err; }
apart "$(train new --epochs 3)" "$(train new --epochs 4)" && fail "differ"
[ "$(own_lines)" = 1 ] && grep -q 'rank 1 differs from rank 0: epochs: 4 there, 3 here' err ||
  fail "no clear line"
start=$SECONDS # one alone fails
apart "$(train new --epochs 3)" "$(train new --epochs 3 --seed 1x)" && fail "one with a wrong seed"
[ "$(own_lines)" = 1 ] && grep -q 'movielens: rank 1: --seed' err || fail "no clear line"
[ $((SECONDS - start)) -lt 10 ] || fail "took $((SECONDS - start)) seconds to end"
apart "$(train new)" "$(train new --help)" && fail "one asks for help"
[ "$(own_lines)" = 1 ] && grep -q 'rank 1: asks for help or the version' err || fail "no clear line"
[ ! -e new ] || fail "files of a training that was refused"

# Ended from outside in the midst of it, and gone on with on another number of ranks.
# Long, since mpirun takes a second to pass a signal on; a low rate, so that what differs in the last bits does
# not grow in so many steps. Most of it is a search.
long="--epochs 400 --patience 400 --no-weights --learning-rate 1e-6 \
  --local-search relaxed --search-epochs 350 --search-temperatures 0.1,0.001"
$(train long_one $long) >/dev/null 2>&1
end_with() { # SIGNAL OUT RANKS: to mpirun, or KILL to a rank
  rm -f pid.* said.*
  touch begun
  "$mpirun" -n "$3" ./rank $(train "$2" $long --resume) >out 2>err &
  local job=$! start victim=$!
  for ((i = 0; i < 400; ++i)); do # until it has left a checkpoint of its own
    [ "$2/checkpoint.safetensors" -nt begun ] && break
    sleep 0.05
  done
  [ "$1" = KILL ] && victim=$(cat pid.1)
  start=$SECONDS
  kill -s "$1" "$victim"
  wait $job && [ "$1" = KILL ] && fail "KILL did not end the training" # MPICH's mpirun may say 0 after INT
  local pid
  for pid in $(cat pid.*); do # mpirun may be gone a moment before them
    while kill -0 "$pid" 2>/dev/null && [ $((SECONDS - start)) -lt 10 ]; do sleep 0.1; done
  done
  [ $((SECONDS - start)) -lt 10 ] || fail "took $((SECONDS - start)) seconds to end after $1"
  cat said.* >>err
  [ "$(own_lines)" -le 1 ] || fail "more than a line after $1"
  [ -e "$2/checkpoint.safetensors" ] || fail "no checkpoint after $1"
}
# A rank that can be found, and whose last words are kept: Open MPI 5 passes on none once it is to end.
printf '#!/bin/sh\nrank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}\necho $$ >pid.$rank\nexec "$@" 2>said.$rank\n' >rank
chmod +x rank
end_with INT ended 2
grep -q 'interrupted; the same command with --resume goes on from step' err || fail "no advice"
end_with KILL ended 3
"$mpirun" -n 2 $(train ended $long --resume) >out 2>err || fail "does not go on"
same_losses long_one ended
