#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What comet adds to a compilation, as processor time, the least of three runs: <Eigen/Core> and a product;
# the same and <comet/comet.hpp>; the quickstart, which also trains a layer; and the quickstart where one
# pays once, with comet::instances, with a precompiled <comet/comet.hpp>, and with both. At -O0 and -O2.
#   scripts/compile_time.sh [COMPILER [LIMIT]]     by default g++ and clang++, where they are
# With LIMIT only what the header adds at -O0: fails if it takes more than LIMIT times as long as Eigen and
# a product.
source "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.." || exit
set -euo pipefail
limit=${2:-}
if [ $# -gt 0 ]; then set -- "$1"; else set -- $(command -v g++ clang++ | xargs -n 1 basename); fi

for compiler; do
  command -v -- "${compiler%% *}" >/dev/null && continue
  printf '%s: there is no compiler %s\n' "${0##*/}" "$compiler" >&2
  exit 2
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
product='  return float((Eigen::MatrixXf::Ones(3, argc) * Eigen::MatrixXf::Ones(argc, 2)).sum()) > 0;'
main="int main(int argc, char**) {
$product
}"
printf '#include <Eigen/Core>\n%s\n' "$main" > "$folder/eigen.cpp"
printf '#include <comet/comet.hpp>\n%s\n' "$main" > "$folder/everything.cpp"
cp examples/quickstart.cpp "$folder/quickstart.cpp"
for kind in plain instances; do
  mkdir "$folder/$kind"
  echo '#include <comet/comet.hpp>' > "$folder/$kind/precompiled.hpp"
done

# used COMMAND...: processor seconds of a command.
used() { { TIMEFORMAT=%U; time "$@" > "$folder/log" 2>&1; } 2>&1 || { cat "$folder/log" >&2; return 1; }; }

# seconds NAME [FLAG...]: the least of three compilations of a file.
seconds() {
  local best= now
  for _ in 1 2 3; do
    now=$(used "${compile[@]}" "${@:2}" -c "$folder/$1.cpp" -o "$folder/out.o") || return
    best=$(awk -v a="$now" -v b="${best:-$now}" 'BEGIN { print a < b ? a : b }')
  done
  echo "$best"
}

# row WORDS SECONDS: of a compilation that failed there are none.
row() {
  [ -n "$2" ] || exit 1
  awk -v c="$compiler" -v o="$level" -v w="$1" -v s="$2" -v b="$base" \
    'BEGIN { printf "%-8s %s  %-46s %6.2f s  %5.2f times\n", c, o, w, s, s / b }'
}

for compiler; do
  for level in -O0 -O2; do
    compile=("$compiler" -std=c++20 "$level" -Iinclude -isystem /usr/include/eigen3)
    base=$(seconds eigen)
    row '<Eigen/Core> and a product' "$base"
    everything=$(seconds everything)
    row '... and <comet/comet.hpp>' "$everything"
    if [ -n "$limit" ]; then
      awk -v s="$everything" -v b="$base" -v l="$limit" 'BEGIN { exit s > l * b }' || {
        echo "compile_time: that is above the limit, $limit times" >&2
        exit 1
      }
      break
    fi
    row 'quickstart' "$(seconds quickstart)"
    row 'quickstart, comet::instances' "$(seconds quickstart -DCOMET_INSTANCES)"
    for kind in plain instances; do
      flags=()
      [ $kind = plain ] || flags=(-DCOMET_INSTANCES)
      header=$folder/$kind/precompiled.hpp
      once=$(used "${compile[@]}" "${flags[@]}" -x c++-header "$header" -o "$header.gch")
      row "quickstart, precompiled header${flags:+, comet::instances}" \
        "$(seconds quickstart "${flags[@]}" -include "$header")"
      row "once: the precompiled header${flags:+, comet::instances}" "$once"
    done
    row 'once: comet::instances' "$(used sh -c 'for f in src/instances/*.cpp; do "$@" -c $f -o /dev/null || exit; done' sh "${compile[@]}")"
  done
done
