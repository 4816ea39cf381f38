#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What comet adds to a compilation: processor time of a file that includes everything, over that of
# <Eigen/Core> and one product, at -O0, and of the quickstart, which also trains a layer. The least of
# three runs counts.
#   scripts/compile_time.sh [COMPILER [LIMIT]]     fails if the first ratio is above LIMIT
cd "$(dirname "$0")/.." || exit
set -euo pipefail
compiler=${1:-c++}
limit=${2:-}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
product='  return float((Eigen::MatrixXf::Ones(3, argc) * Eigen::MatrixXf::Ones(argc, 2)).sum()) > 0;'
main="int main(int argc, char**) {
$product
}"
printf '#include <Eigen/Core>\n%s\n' "$main" > "$folder/eigen.cpp"
printf '#include <comet/comet.hpp>\n%s\n' "$main" > "$folder/everything.cpp"
cp examples/quickstart.cpp "$folder/quickstart.cpp"

seconds() {
  local best=
  for _ in 1 2 3; do
    local used
    used=$({ TIMEFORMAT=%U; time "$compiler" -std=c++20 -O0 -Iinclude -isystem /usr/include/eigen3 \
      -c "$folder/$1.cpp" -o "$folder/out.o"; } 2>&1)
    best=$(awk -v a="$used" -v b="${best:-$used}" 'BEGIN { print a < b ? a : b }')
  done
  echo "$best"
}

base=$(seconds eigen)
for name in everything quickstart; do
  time=$(seconds "$name")
  ratio=$(awk -v a="$time" -v b="$base" 'BEGIN { printf "%.2f", a / b }')
  printf '%-10s %5.2f s, %s times <Eigen/Core> and a product (%.2f s)\n' "$name" "$time" "$ratio" "$base"
  if [ "$name" = everything ] && [ -n "$limit" ]; then
    awk -v r="$ratio" -v l="$limit" 'BEGIN { exit r > l }' || {
      echo "compile_time: $ratio is above the limit $limit" >&2
      exit 1
    }
  fi
done
