#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains the two-task model on MovieLens ratings with the COMET gate and the Top-k gate.
#   scripts/movielens.sh [ARGUMENT...]      arguments go to the program; --data DIR brings own data
# Installs what is missing, builds, obtains the data; a second run goes straight to the training.
source "$(dirname "$0")/lib.sh"
paths_from_here '--data --out' "$@"
set -- ${arguments[@]+"${arguments[@]}"}

train() { build/release/bin/movielens compare "$@"; }

build release movielens >&2
case " $* " in
  *" --data "* | *" --data="*) train "$@" ;;
  *) train --data "$(scripts/movielens_data.sh)" "$@" ;;
esac
