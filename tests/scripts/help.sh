#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `SCRIPT --help` prints how to use it and does nothing else, for every script that one can start.
#   help.sh
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/scripts/help.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# A copy, so that whatever a script does to the repository it lies in is seen.
mkdir "$folder/repository"
cp -r "$root/scripts" "$root/benchmarks" "$root/.ci" "$folder/repository"
mkdir "$folder/repository/tests"
cp -r "$root/tests/scripts" "$root/tests/consumer" "$folder/repository/tests"
cd "$folder/repository"
contents() { find . -not -name '*.pyc' -not -name __pycache__ -exec ls -ld {} + | sort; }
contents >"$folder/before"

failed=0
fail() {
  echo "$1 --help: $2" >&2
  failed=1
}
tried=0
for script in scripts/* benchmarks/*.* benchmarks/peers/* .ci/run tests/*/*.sh; do
  [ -f "$script" ] && [ -x "$script" ] || continue
  [[ $script != *.py ]] || command -v python3 >/dev/null || continue
  tried=$((tried + 1))
  for arguments in --help -h '20 --help'; do
    timeout 10 "$script" $arguments >"$folder/out" 2>"$folder/err" </dev/null || fail "$script" "ends with $?"
    [ ! -s "$folder/err" ] || fail "$script" "complains: $(head -n 1 "$folder/err")"
    grep -q "${script##*/}" "$folder/out" || fail "$script" "does not show how to call it"
    ! grep -qE 'SPDX|^#' "$folder/out" || fail "$script" "prints more than its first comment"
  done
done
contents >"$folder/after"
cmp -s "$folder/before" "$folder/after" || fail 'one of them' "$(diff "$folder/before" "$folder/after" | head -n 3)"
[ "$tried" -ge 20 ] || fail 'they' "only $tried scripts were found"
exit $failed
