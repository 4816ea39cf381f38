#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Teachers and students of several tasks and seeds, and one table: means and standard errors for each task.
#   scripts/bert_study.sh [SEEDS [TASKS [RESULTS [DATA [MODEL]]]]]
# 3 seeds of CoLA,MRPC,RTE,SST-2 by default, below results/bert_study; study.md there is the table, written
# anew after each task. A task that DATA lacks is left out. Every seed has a teacher of its own. May be
# stopped at any moment; run again, it goes on, also with more seeds or tasks. One seed of all tasks before
# the next, so that the tasks are comparable whenever it is stopped.
# Rows: the teacher; dense models with all units, those of all experts and those of one, trained as long as
# the students; Hash, Top-k, COMET, with local search, with a reward for even use; and below each mixture a
# dense model of the multiply-adds that the mixture was found to cost.
# $THREADS of a training, by default one for each core.
source "$(dirname "$0")/lib.sh"

seeds=${1:-3}
tasks=${2:-CoLA,MRPC,RTE,SST-2}
results=${3:-results/bert_study}
rows=teacher,dense,dense_half,dense_one,hash,top_k,comet,comet_search,comet_spread
[[ $seeds =~ ^[1-9][0-9]{0,2}$ ]] || { say "SEEDS is $seeds, expected how many: 1 to 999"; exit 2; }

# Batch size and epochs of a teacher; of its students; the training rows, 0 for all.
settings() {
  case $1 in
    CoLA) echo 32 4 32 2 0 ;;
    MRPC) echo 32 4 16 2 0 ;;
    RTE) echo 16 3 16 2 0 ;;
    SST-2) echo 32 2 32 2 20000 ;;
    STS-B) echo 16 4 16 2 0 ;;
    *) say "there is no task $1"; return 1 ;;
  esac
}
for task in ${tasks//,/ }; do settings "$task" >/dev/null || exit 2; done

require libtorch icu openblas
know_processor
build release bert >&2
data=${4:-$(scripts/bert_data.sh tasks)}
model=${5:-$(scripts/bert_data.sh model)}
program=build/release/bin/bert
export OPENBLAS_NUM_THREADS=${THREADS:-$(cores)}

# study TASK SEEDS: all of a task, up to a seed.
study() {
  local task=$1 folder=$results/$1 seed list= teacher_batch teacher_epochs batch epochs count
  read -r teacher_batch teacher_epochs batch epochs count < <(settings "$task")
  local common=(--task "$task" --data "$data" --pretrained "$model" --train-rows "$count"
    --threads "$OPENBLAS_NUM_THREADS" --quiet --resume)
  for ((seed = 1; seed <= $2; ++seed)); do
    list+=${list:+,}$seed
    "$program" finetune "${common[@]}" --seed "$seed" --learning-rate 5e-5 --batch-size "$teacher_batch" \
      --epochs "$teacher_epochs" \
      --out "$folder/teacher-seed$seed" >/dev/null
  done
  "$program" compare "${common[@]}" --seeds "$list" --gates "$rows" --twins --learning-rate 1e-4 \
    --batch-size "$batch" --epochs "$epochs" --teacher "$folder/teacher-seed{seed}/model.safetensors" \
    --no-weights --out "$folder/students" >/dev/null
}

# All tasks that have a table.
write_table() {
  local task
  for task in ${tasks//,/ }; do
    [ ! -e "$results/$task/students/compare.md" ] || { cat "$results/$task/students/compare.md"; echo; }
  done >"$results/study.md.tmp"
  mv "$results/study.md.tmp" "$results/study.md"
}

for ((seed = 1; seed <= seeds; ++seed)); do
  for task in ${tasks//,/ }; do
    if ! [ -e "$data/$task/train.tsv" ]; then
      say "$data has no $task: left out"
      continue
    fi
    say "$task, seeds up to $seed of $seeds"
    study "$task" "$seed"
    write_table
  done
done
cat "$results/study.md"
