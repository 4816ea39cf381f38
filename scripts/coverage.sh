#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Which lines and branches the tests run, of the library and of the example, which is counted on its
# own: what an example's test happens to run of the library counts for the library as well.
#   scripts/coverage.sh
# Branches are those of the compiled code, without those that only an exception takes and those that
# the compiler made and nothing can reach (--exclude-throw-branches, --exclude-unreachable-branches).
# A line of a template counts as run if one of its instances is; its branches are counted together.
# build/coverage/include.txt and movielens.txt have a line per file with the lines that never ran.
source "$(dirname "$0")/lib.sh"

require gcc gcovr
build coverage
find build/coverage -name '*.gcda' -delete
ctest --preset coverage
gcovr --root . --exclude-throw-branches --exclude-unreachable-branches --filter include/ \
  --filter examples/movielens/ --json build/coverage/coverage.json build/coverage
for part in include examples/movielens; do
  echo "$part/"
  gcovr --root . --add-tracefile build/coverage/coverage.json --filter "$part/" --print-summary \
    --txt "build/coverage/${part##*/}.txt" | grep -E '^(lines|branches)'
done
