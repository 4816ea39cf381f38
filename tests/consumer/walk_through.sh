#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The diff in CONTRIBUTING.md applies to the library as it is, and the test in it passes.
#   walk_through.sh EIGEN LIBRARY...     where Eigen is, and what a test is linked with; $CXX compiles
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/scripts/help.sh"
eigen=$1
shift

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CCACHE_BASEDIR=$folder
cd "$folder"
cp -r "$root/include" .
sed -n '/^```diff$/,/^```$/{/^```/!p}' "$root/CONTRIBUTING.md" > walk_through.diff
git apply --verbose walk_through.diff
[ "$(diff "$root/include/comet/comet.hpp" include/comet/comet.hpp | grep -c '^[<>]')" = 1 ]
test=$(find tests -name '*_test.cpp')
${CMAKE_CXX_COMPILER_LAUNCHER:-} "${CXX:-c++}" -std=c++20 -O0 -I include -I "$root/tests" -isystem "$eigen" \
  -c "$test" -o test.o
"${CXX:-c++}" test.o "$@" -pthread -o test
./test
