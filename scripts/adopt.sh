#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The README as a newcomer follows it: in an empty folder, with nothing but what the README shows, the
# quickstart is built and run in each way of using the library, and has to print what the README says.
# Prints a transcript: what was typed, and how long each command took.
#   scripts/adopt.sh [WAY...]      include, add_subdirectory, fetch_content, find_package; by default all
# With $CXX for the compiler, and $EIGEN for where Eigen is if that is not where Debian puts it.
source "$(dirname "$0")/help.sh"
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- include add_subdirectory fetch_content find_package

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CCACHE_BASEDIR=$folder  # where ccache is in use, the same file in another way is known to it

# block LANGUAGE NUMBER < TEXT: what stands in the NUMBERth ```LANGUAGE block.
block() {
  awk -v fence="\`\`\`$1" -v number="$2" '
    inside && /^```/ { exit }
    inside
    /^```/ && !open { open = 1; if ($0 == fence && ++seen == number) inside = 1; next }
    /^```$/ { open = 0 }'
}
use=$(sed -n '/^## Use it/,/^## What/p' "$root/README.md")
by_hand=$(block sh 1 <<<"$use")
project=$(block cmake 1 <<<"$use")
by_cmake=$(block sh 2 <<<"$use")
install=$(block sh 3 <<<"$use")
fetch=$(block cmake 2 <<<"$use")
find=$(block cmake 3 <<<"$use")
expected=$(block '' 1 < "$root/README.md")

# The README has c++ and the place of Eigen on Debian.
c++() { command "${CXX:-c++}" "$@"; }
by_hand=${by_hand//\/usr\/include\/eigen3/${EIGEN:-/usr/include/eigen3}}

# run COMMANDS: runs them, one a line, in this shell, and shows each with its time. What they print is
# shown of the last one, the program, and of one that fails.
run() {
  local line begin
  while IFS= read -r line; do
    begin=${EPOCHREALTIME/[.,]/}
    eval "$line" > output 2>&1 || {
      printf '$ %s\n' "$line"
      cat output
      exit 1
    }
    printf '$ %-90s # %4.1f s\n' "$line" "$(((${EPOCHREALTIME/[.,]/} - begin) / 100000))e-1"
  done <<<"$1"
  cat output
}

# try WAY LINE COMMANDS: in a folder of its own; LINE is what the project has for add_subdirectory(comet).
try() {
  printf '\n=== %s\n' "$1"
  mkdir "$folder/$1"
  cd "$folder/$1"
  ln -s "$root" comet
  block cpp 1 < "$root/README.md" > main.cpp
  if [ -n "$2" ]; then
    printf '%s\n' "${project/add_subdirectory(comet)/$2}" > CMakeLists.txt
    sed 's/^/| /' CMakeLists.txt
  fi
  run "$3"
  [ "$(cat output)" = "$expected" ] || {
    echo "adopt: this is not what the README says the program prints" >&2
    exit 1
  }
}

for way; do
  case $way in
    include) (try "$way" '' "$by_hand") ;;
    add_subdirectory) (try "$way" 'add_subdirectory(comet)' "$by_cmake") ;;
    fetch_content) (try "$way" "$fetch" "$by_cmake") ;;
    find_package) (try "$way" "$find" "$install"$'\n'"$by_cmake") ;;
    *)
      echo "adopt: unknown way $way" >&2
      exit 2
      ;;
  esac
done
