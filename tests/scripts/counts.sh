#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A script that does something so many times refuses what is no number from 1, before it does anything, one
# that compiles a compiler that there is not, and one that takes no arguments any.
#   counts.sh
source "$(dirname "$0")/../../scripts/help.sh"
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

failed=0
# refused NAMED SCRIPT ARGUMENT...: with 2 and one line that says so.
refused() {
  local named=$1 script=$2 code=0
  shift 2
  timeout 10 "$root/scripts/$script.sh" "$@" >out 2>err </dev/null || code=$?
  [ "$code" = 2 ] && [ "$(wc -l <err)" = 1 ] && grep -qF "$named" err && return
  printf 'counts.sh: %s.sh %s ends with %s: %s\n' "$script" "$*" "$code" "$(head -n 1 err)" >&2
  failed=1
}
for count in many 0 08 -1 1.5 'a[0]' 9999999999; do
  named="is $count, expected a number from 1 to 999999999"
  for script in fuzz kill_test kill_tune rank_faults repeat; do refused "$named" "$script" "$count"; done
  refused "$named" study movielens "$count"
done
refused 'there is no compiler many' compile_time many
refused 'there is no --alll' eigen_versions --alll
for script in coverage floors movielens_data two_pictures_data insteval_data; do
  refused 'unknown argument --wrong' "$script" --wrong
done
rm -f out err
[ -z "$(ls)" ] || { echo "counts.sh: one of them left $(ls)" >&2; failed=1; }
exit $failed
