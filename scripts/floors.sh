#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The folders are floors: what stands on one may include what is below it, nothing above and nothing
# beside it. Names every include that points up or sideways; exit code 1 if there is one.
#   scripts/floors.sh
source "$(dirname "$0")/help.sh"
no_arguments "$@"
cd "$(dirname "$0")/.." || exit
set -euo pipefail

# ROOT FOLDER: FOLDERS IT MAY INCLUDE. Files of the root itself may include everything.
floors='
include/comet core:
include/comet kernels: core
include/comet gates: core kernels
include/comet layers: core kernels
include/comet losses: core kernels
include/comet optimizers: core kernels
include/comet metrics: core kernels
include/comet dispatch: core kernels
include/comet io: core
include/comet training: core kernels optimizers gates metrics
include/comet experts: core kernels dispatch
include/comet inference: core kernels gates dispatch experts
include/comet local_search: core kernels gates dispatch experts
include/comet distributed: core kernels gates dispatch experts optimizers io
include/comet adapters: core kernels gates dispatch experts
include/comet testing: core kernels gates distributed
'

git ls-files 'include/comet/*.hpp' | while read -r file; do
  sed -n "s|^#include <\(.*\)>|$file \1|p" "$file"
done | awk -v floors="$floors" '
  BEGIN {
    count = split(floors, lines, "\n")
    for (i = 1; i <= count; ++i) {
      n = split(lines[i], words, /[ :]+/)
      if (n < 2) continue
      known[words[1] "/" words[2]] = 1
      for (j = 3; j <= n; ++j) if (words[j]) may[words[1] "/" words[2], words[j]] = 1
    }
  }
  # The folder below the root that a path is in, "" if it is in the root itself.
  function folder(path, root,  rest, parts) {
    rest = substr(path, length(root) + 2)
    return split(rest, parts, "/") > 1 ? parts[1] : ""
  }
  {
    root = "include/comet"
    target = "include/" $2
    if (index($1, root "/") != 1 || index(target, root "/") != 1) next
    from = folder($1, root)
    to = folder(target, root)
    if (from == "" || from == to) next
    if (!((root "/" from) in known)) { print $1 ": folder " from " is on no floor"; bad = 1; next }
    if (!((root "/" from, to) in may)) { print $1 ": includes <" $2 ">, which " from "/ stands beside or below"; bad = 1 }
  }
  END { exit bad }
' || {
  echo "floors: see the table in scripts/floors.sh and CONTRIBUTING.md" >&2
  exit 1
}
! grep -rn 'Eigen::internal' include/comet --include='*.hpp' | grep -v '^include/comet/kernels/simd.hpp:' || {
  echo "floors: only kernels/simd.hpp may name Eigen's internals" >&2
  exit 1
}

# The rooms of the programs, from the ground up: a file includes its own room and those before it. What
# they share, examples/programs, knows none of them.
# check_rooms PROGRAM ROOM...
check_rooms() {
  local program=$1 rooms= room
  shift
  for room; do
    rooms+="${rooms:+|}$room"
    ! git grep -nE "^#include <$program/" -- "examples/$program/$room/*.[ch]pp" |
      grep -vE "<$program/($rooms)/" || bad=1
  done
}
bad=0
check_rooms programs base training study report commands
check_rooms movielens data model commands
check_rooms next_character data model report commands
check_rooms two_pictures data model report commands
check_rooms bert data model report commands model_commands
! git grep -nE '^#include <(movielens|next_character|two_pictures|bert)/' -- examples/programs || bad=1
[ $bad = 0 ] || echo 'floors: these includes lead from a room of a program upward' >&2
exit $bad
