#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what is missing, builds, runs all tests.
#   scripts/test.sh [PRESET...]      presets are those of CMakePresets.json, by default release
source "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- release
for preset; do
  sed '1,/"testPresets"/d' CMakePresets.json | grep -q "\"name\": \"$preset\"" || {
    say "no preset of tests: $preset"
    exit 2
  }
done
try_install mpi || say 'no MPI here: ranks that are processes are not tested'
for preset; do
  build "$preset"
  ctest --preset "$preset" -j "$(cores)"
done
