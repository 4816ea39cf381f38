#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds and runs the adapter's test with every LibTorch that is at hand: the system's, and that of the
# torch package of each python that is given.
#   scripts/torch_versions.sh [PYTHON...]      e.g. venv/bin/python3, with PyTorch's wheel in it
# Ends with a line per version; exit code 1 if one does not build, or the test fails. Takes a minute of
# processor time each. $CXX is the compiler. What is built stays in build/torch. Without CMake, because the
# package files of a wheel for CUDA want CUDA, which the adapter does not need.
source "$(dirname "$0")/lib.sh"
require gcc eigen catch2

folder=build/torch
mkdir -p "$folder"
CXX=${CXX:-g++}
flags=(-std=c++20 -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-array-bounds -Werror
  -Iinclude -Itests -isystem /usr/include/eigen3)
# Version 3 of Catch2 brings a library with main().
if has_header catch2/catch_all.hpp; then
  catch=(-lCatch2Main -lCatch2)
else
  catch=("$folder/main.o")
  "$CXX" -std=c++20 -w -Itests -c tests/support/main.cpp -o "$folder/main.o"
fi

# try NAME INCLUDE LIB: headers in INCLUDE, libraries in LIB or, if that is empty, where the linker looks.
summary=
failed=0
try() {
  local name=$1 include=$2 lib=$3 version result=ok
  version=$(cat "$include"/torch/{csrc/api/include/torch,headeronly}/version.h 2>/dev/null |
    awk '/#define TORCH_VERSION_(MAJOR|MINOR|PATCH) / {printf "%s%s", dot, $3; dot = "."}') || true
  say "LibTorch $version ($name)"
  # The system's own folder must not be named: it would come before the standard library's.
  "$CXX" "${flags[@]}" ${lib:+-isystem "$include"} -isystem "$include/torch/csrc/api/include" \
    tests/adapters/libtorch.cpp "${catch[@]}" -o "$folder/test-$version" \
    ${lib:+-L"$lib" -Wl,-rpath,"$lib"} -ltorch -ltorch_cpu -lc10 -pthread &&
    "$folder/test-$version" || {
    result=FAILED
    failed=1
  }
  summary+=$(printf '%-10s %-24s %s' "$version" "$name" "$result")$'\n'
}

if has libtorch; then try system /usr/include ''; fi
for python; do
  package=$("$python" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
  try "$python" "$package/include" "$package/lib"
done
[ -n "$summary" ] || {
  say 'no LibTorch at all'
  exit 2
}
printf '%s' "$summary"
exit $failed
