#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Makes mixtures of experts of a small pretrained BERT, and compares them with dense models.
#   scripts/bert.sh [ARGUMENT...]   arguments go to the comparison: --gates, --seeds, --epochs, ...
#   --task TASK, --data DIR, --pretrained DIR, --max-length N, --train-rows N and --out DIR hold for the
#   teacher, too; --teacher FILE brings one
# Installs what is missing, builds, obtains the model and the task, trains the teacher on the task (CoLA
# by default), distils every student from it, and ends with a table: the teacher, dense models of the units
# of all experts and of one, Hash, Top-k, COMET without and with local search. A second run goes on.
source "$(dirname "$0")/lib.sh"
paths_from_here '--data --pretrained --teacher --out' "$@"
set -- ${arguments[@]+"${arguments[@]}"}

out=results/bert
teacher=
common=()    # of teacher and students
arguments=() # of students
gates=(--gates teacher,dense_half,dense_one,hash,top_k,comet,comet_search)
is_given() { case " ${common[*]:-} " in *" $1 "*) ;; *) false ;; esac; }
while [ $# -gt 0 ]; do
  option=${1%%=*}
  case $1 in
    --*=*) value=${1#*=} used=1 ;;
    *) value=${2:-} used=$(($# > 1 ? 2 : 1)) ;;
  esac
  case $option in
    --out) out=$value; shift "$used" ;;
    --teacher) teacher=$value; shift "$used" ;;
    --task | --data | --pretrained | --max-length | --train-rows | --threads)
      common+=("$option" "$value")
      shift "$used"
      ;;
    *)
      [ "$option" != --gates ] || gates=()
      arguments+=("$1")
      shift
      ;;
  esac
done

# Reference BLAS, which comes with LibTorch by default, is many times slower.
require libtorch icu openblas
know_processor
build release bert >&2
if ! is_given --pretrained; then
  folder=$(scripts/bert_data.sh model)
  common+=(--pretrained "$folder")
fi
if ! is_given --data; then
  folder=$(scripts/bert_data.sh tasks)
  common+=(--data "$folder")
fi
program=build/release/bin/bert
if [ -z "$teacher" ]; then
  teacher=$out/teacher/model.safetensors
  "$program" finetune "${common[@]}" --out "$out/teacher" --resume
fi
"$program" compare "${common[@]}" --teacher "$teacher" --out "$out/students" --resume "${gates[@]}" "${arguments[@]}"
