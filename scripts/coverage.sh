#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Which lines and branches the tests run, of the library and of the programs, which are counted on their
# own: what an example's test happens to run of the library counts for the library as well.
#   scripts/coverage.sh
# Branches are those of the code that the compiler made, at -O0: the two sides of every conditional
# jump, also of those within && and || and behind every call that may throw; without the sides that
# gcov knows to be an exception's, and without lines that hold no code, such as a closing brace
# (--exclude-throw-branches, --exclude-unreachable-branches). A line or branch of a template counts as
# run if it is in one instance.
# build/coverage/include.txt, programs.txt, movielens.txt, next_character.txt, two_pictures.txt and
# bert.txt have a line per file with the lines that never ran.
source "$(dirname "$0")/lib.sh"
no_arguments "$@"

require gcc gcovr
build coverage
find build/coverage -name '*.gcda' -delete
ctest --preset coverage
gcovr --root . --exclude-throw-branches --exclude-unreachable-branches --filter include/ \
  --filter examples/programs/ --filter examples/movielens/ --filter examples/next_character/ --filter examples/two_pictures/ --filter examples/bert/ \
  --json build/coverage/coverage.json build/coverage
for part in include examples/programs examples/movielens examples/next_character examples/two_pictures examples/bert; do
  echo "$part/"
  gcovr --root . --add-tracefile build/coverage/coverage.json --filter "$part/" --print-summary \
    --txt "build/coverage/${part##*/}.txt" | grep -E '^(lines|branches)'
done
