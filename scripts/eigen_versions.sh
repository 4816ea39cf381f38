#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and runs tests with every Eigen that is at hand: the system's, and each archive (eigen-*.tar.*)
# or folder of sources below ../shared/data/eigen, or the folders that are given (absolute, or as seen from
# the repository).
#   scripts/eigen_versions.sh [--all] [FOLDER...]         all tests, not only kernels and the quickstart
#   scripts/eigen_versions.sh --install SOURCES PREFIX    no tests: installs an archive or a folder
# Ends with a line per version; those that people have and that were not found are named. Exit code 1 if
# a version does not build, or a test fails. $CXX is the compiler. What is built stays in build/eigen.
source "$(dirname "$0")/lib.sh"

# version FOLDER: 3.4.0, 5.0.1, or 5.0.1-dev for what comes after it. Of the sources: Eigen's installation
# calls every 5 a development version.
version() {
  { cat "$1/Eigen/Version" "$1/Eigen/src/Core/util/Macros.h" 2>/dev/null || true; } | awk '
    $1 == "#define" && $2 == "EIGEN_WORLD_VERSION" { world = $3 }
    $1 == "#define" && $2 == "EIGEN_MAJOR_VERSION" { major = $3 }
    $1 == "#define" && $2 == "EIGEN_MINOR_VERSION" { minor = $3 }
    $1 == "#define" && $2 == "EIGEN_PATCH_VERSION" { patch = "." $3 }
    $1 == "#define" && $2 == "EIGEN_PRERELEASE_VERSION" && $3 ~ /dev/ { dev = "-dev" }
    END { print (patch == "" ? world "." : "") major "." minor patch dev }'
}

# install_eigen SOURCES PREFIX: headers and CMake package of an archive or a folder, and its version in
# PREFIX/version.
install_eigen() {
  local sources=$1 prefix=$2 work
  work=$(mktemp -d)
  if [ -f "$sources" ]; then
    tar -xf "$sources" -C "$work" --strip-components=1
    sources=$work
  fi
  cmake -S "$sources" -B "$work/.build" -D CMAKE_INSTALL_PREFIX="$prefix" -D CMAKE_BUILD_TYPE=Release \
    -D BUILD_TESTING=OFF -D EIGEN_BUILD_TESTING=OFF -D EIGEN_BUILD_DOC=OFF -D EIGEN_BUILD_BLAS=OFF \
    -D EIGEN_BUILD_LAPACK=OFF -D EIGEN_BUILD_DEMOS=OFF >"$work/.log" 2>&1 &&
    cmake --install "$work/.build" >>"$work/.log" 2>&1 || {
    cat "$work/.log" >&2
    rm -rf "$work"
    return 1
  }
  version "$sources" >"$prefix/version"
  rm -rf "$work"
}

if [ "${1:-}" = --install ]; then
  [ $# = 3 ] || { say "--install wants SOURCES and PREFIX"; exit 2; }
  install_eigen "$2" "$3"
  exit
fi
# The kernels hold what is internal to Eigen; the quickstart has a gate, experts, a layer, an optimizer.
only=(--target test.kernels quickstart)
those=(-R '^kernels\.[^.]+$|^examples\.quickstart$')
if [ "${1:-}" = --all ]; then
  only=()
  those=()
  shift
fi
for folder; do
  [ -e "$folder" ] || { say "there is no $folder; expected [--all] [FOLDER...]"; exit 2; }
done
[ $# -gt 0 ] || set -- ../shared/data/eigen
require gcc cmake ninja eigen json cli11 zlib icu catch2 xz
if has_command ninja; then export CMAKE_GENERATOR=Ninja; fi

# try VERSION NAME OPTION...: configures, builds and tests in build/eigen/NAME; logs beside it.
summary=
found=
failed=0
try() {
  local number=$1 folder=build/eigen/$2 log=build/eigen/$2.log stage result=ok
  found+=" $number"
  say "Eigen $number ($2)"
  local configure=(cmake -S . -B "$folder" -D CMAKE_UNITY_BUILD=ON -D COMET_TUNE=ON -D COMET_WERROR=ON
    -D COMET_BUILD_EXAMPLES=ON "${@:3}")
  local build=(cmake --build "$folder" -j "$(cores)" "${only[@]}")
  local run=(ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$(cores)" "${those[@]}")
  mkdir -p build/eigen
  : >"$log"
  for stage in configure build run; do
    local -n command=$stage
    "${command[@]}" >>"$log" 2>&1 || {
      result="FAILED to $stage; see $log"
      failed=1
      grep -m 10 -E 'error|Error|FAILED|\(Failed\)' "$log" >&2 || tail -n 10 "$log" >&2
      break
    }
  done
  summary+=$(printf '%-12s %-24s %s' "$number" "$2" "$result")$'\n'
}

for prefix in /usr /usr/local /opt/homebrew; do
  if [ -e "$prefix/include/eigen3/Eigen/Core" ]; then
    number=$(version "$prefix/include/eigen3")
    try "${number%-dev}" "system${prefix//\//-}" -D Eigen3_DIR="$prefix/share/eigen3/cmake"
  fi
done
for folder; do
  for sources in "$folder" "$folder"/*; do
    name=$(basename "$sources")
    case $sources in
      *.tar.*) name=${name%.tar.*} ;;
      *) [ -e "$sources/Eigen/Core" ] && [ -e "$sources/CMakeLists.txt" ] || continue ;;
    esac
    prefix=$PWD/build/eigen/$name/installed
    [ -e "$prefix/version" ] || install_eigen "$sources" "$prefix" || {
      summary+=$(printf '%-12s %-24s %s' '?' "$name" "FAILED to install")$'\n'
      failed=1
      continue
    }
    try "$(cat "$prefix/version")" "$name" -D Eigen3_DIR="$prefix/share/eigen3/cmake"
  done
done

printf '%s' "$summary"
# What people have, as a pattern and in words.
while read -r pattern words; do
  for number in $found; do
    [[ $number != $pattern ]] || continue 2
  done
  echo "not found, so not tried: Eigen $words"
done <<'END'
3.4.0 3.4.0
3.4.1 3.4.1
5.+([0-9.]) 5.x
*-dev after the last release (its development branch)
END
[ -n "$found" ] || { say "no Eigen at all"; exit 2; }
exit $failed
