#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Paths that a script is given are those of the folder it is started in.
#   paths.sh
source "$(dirname "$0")/../../scripts/help.sh"
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/a b"
cd "$folder/a b"

cat >"$folder/script" <<END
source "$root/scripts/lib.sh"
paths_from_here '--data --out' "\$@"
printf '<%s>' \${arguments[@]+"\${arguments[@]}"}
END
given() {
  local expected=$1 got
  shift
  got=$(bash "$folder/script" "$@")
  [ "$got" = "$expected" ] || {
    printf 'paths.sh: %s\n  became   %s\n  expected %s\n' "$*" "$got" "$expected" >&2
    exit 1
  }
}
here=$folder/a\ b
given '<>'
given "<--data><$here/my data><--out=$here/o><--seeds><1,2>" --data 'my data' --out=o --seeds 1,2
given '<--data></d><--out=/o>' --data /d --out=/o
given '<--gates=--out><--out>' --gates=--out --out
