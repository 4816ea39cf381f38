# SPDX-License-Identifier: MIT
# Sourced by the scripts beside it: finds what is missing, installs it where it may, configures and
# builds presets.
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
set -euo pipefail
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
# from_here PATH: what it means where the script was started.
from_here() { case $1 in /* | '') printf '%s\n' "$1" ;; *) printf '%s\n' "$started_in/$1" ;; esac }
# paths_from_here OPTIONS ARGUMENT...: fills `arguments`, the values of these options being paths.
paths_from_here() {
  local options=" $1 "
  shift
  arguments=()
  while [ $# -gt 0 ]; do
    case $options in
      *" ${1%%=*} "*)
        case $1 in
          *=*) arguments+=("${1%%=*}=$(from_here "${1#*=}")") ;;
          *)
            arguments+=("$1")
            if [ $# -gt 1 ]; then
              shift
              arguments+=("$(from_here "$1")")
            fi
            ;;
        esac
        ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
}
cores() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

# One line a need: name, then the package for Debian and Ubuntu, for Fedora, for Homebrew.
needs='
gcc         g++                 gcc-c++                  gcc
gcc-san     g++                 libasan,libubsan,libtsan gcc
clang       clang               clang                    llvm
clang-san   libclang-rt-dev     compiler-rt              llvm
cmake       cmake               cmake                    cmake
ninja       ninja-build         ninja-build              ninja
eigen       libeigen3-dev       eigen3-devel             eigen
json        nlohmann-json3-dev  json-devel               nlohmann-json
cli11       libcli11-dev        cli11-devel              cli11
zlib        zlib1g-dev          zlib-devel               zlib
icu         libicu-dev          libicu-devel             icu4c
catch2      catch2              catch-devel              catch2
benchmark   libbenchmark-dev    google-benchmark-devel   google-benchmark
mpi         libopenmpi-dev,openmpi-bin openmpi-devel     open-mpi
libtorch    libtorch-dev        pytorch-devel            pytorch
openblas    libopenblas0-pthread openblas                openblas
pytorch     python3-torch       python3-torch            pytorch
format      clang-format        clang-tools-extra        clang-format
r           r-base-core         R-core                   r
valgrind    valgrind            valgrind                 valgrind
gnuplot     gnuplot-nox         gnuplot                  gnuplot
tidy        clang-tidy          clang-tools-extra        llvm
cppcheck    cppcheck            cppcheck                 cppcheck
doxygen     doxygen             doxygen                  doxygen
gcovr       gcovr               gcovr                    gcovr
python      python3             python3                  python
pip         python3-pip         python3-pip              python
xz          xz-utils            xz                       xz
debootstrap debootstrap         debootstrap              debootstrap
'

has_command() { command -v "$1" >/dev/null 2>&1; }
has_header() {
  local prefix
  for prefix in /usr /usr/local /opt/homebrew ${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//[:;]/ }}; do
    [ -e "$prefix/include/$1" ] && return
  done
  return 1
}
has_gcc_library() {
  local file
  file=$(g++ -print-file-name="$1" 2>/dev/null) && [ "$file" != "$1" ]
}
has_clang_library() {
  compgen -G "$(clang++ -print-runtime-dir 2>/dev/null)/libclang_rt.$1*" >/dev/null
}
cmake_is_new_enough() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*//p')
  [ "$(printf '%s\n' 3.24 "$version" | sort -V | head -n 1)" = 3.24 ]
}
has() {
  case $1 in
    gcc) has_command g++ ;;
    gcc-san) has_gcc_library libasan.so && has_gcc_library libubsan.so && has_gcc_library libtsan.so ;;
    clang) has_command clang++ ;;
    clang-san) has_clang_library asan ;;
    cmake) has_command cmake && cmake_is_new_enough ;;
    ninja) has_command ninja || has_command make ;;
    eigen) has_header eigen3/Eigen/Core ;;
    json) has_header nlohmann/json.hpp ;;
    cli11) has_header CLI/CLI.hpp ;;
    zlib) has_header zlib.h ;;
    icu) has_header unicode/normalizer2.h ||
      compgen -G '/opt/homebrew/opt/icu4c*/include/unicode/normalizer2.h' >/dev/null ;;
    catch2) has_header catch2/catch.hpp || has_header catch2/catch_all.hpp ;;
    benchmark) has_header benchmark/benchmark.h ;;
    mpi) has_command mpirun && has_command mpicxx ;;
    libtorch) has_header torch/csrc/autograd/custom_function.h ;;
    openblas) compgen -G '/usr/lib*/*/openblas*/libblas.so.3' >/dev/null ||
      compgen -G '/usr/lib*/libopenblas*' >/dev/null ||
      compgen -G '/opt/homebrew/opt/openblas/lib/*' >/dev/null ;;
    pytorch) /usr/bin/python3 -c 'import torch' 2>/dev/null ;;
    format) has_command clang-format ;;
    r) has_command Rscript ;;
    valgrind) has_command valgrind ;;
    gnuplot) has_command gnuplot ;;
    tidy) has_command clang-tidy ;;
    cppcheck) has_command cppcheck ;;
    doxygen) has_command doxygen ;;
    gcovr) has_command gcovr ;;
    python) compgen -G '/usr/lib*/python3.*/asyncio/__init__.py' >/dev/null ||
      compgen -G '/usr/local/lib/python3.*/asyncio/__init__.py' >/dev/null ||
      compgen -G '/opt/homebrew/lib/python3.*/asyncio/__init__.py' >/dev/null ;;
    pip) python3 -m pip --version >/dev/null 2>&1 ;;
    xz | debootstrap) has_command "$1" ;;
  esac
}

missing() {
  local need
  for need; do has "$need" || printf '%s ' "$need"; done
}

# packages COLUMN NEED...: package names for Debian (2), Fedora (3) or Homebrew (4).
packages() {
  local column=$1 need
  shift
  for need; do awk -v n="$need" -v c="$column" '$1 == n {gsub(",", " ", $c); print $c}' <<<"$needs"; done |
    awk '!seen[$0]++' | tr '\n' ' '
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
can_install() {
  has_command apt-get && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# try_install NEED...: installs what is missing; false if something still is.
try_install() {
  local wanted
  wanted=$(missing "$@")
  [ -n "$wanted" ] || return 0
  can_install || return 1
  say "installing $(packages 2 $wanted)"
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      $(packages 2 $wanted) >/dev/null
  [ -z "$(missing "$@")" ]
}

# require NEED...: the same, and the end of the script if it cannot be done.
require() {
  try_install "$@" && return
  local wanted
  wanted=$(missing "$@")
  say "missing: ${wanted}(CMake must be 3.24 or newer). It cannot be installed from here" \
    "(that takes apt-get and root or passwordless sudo). Please run
  Debian, Ubuntu:  apt-get install $(packages 2 $wanted)
  Fedora:          dnf install $(packages 3 $wanted)
  Homebrew:        brew install $(packages 4 $wanted)"
  exit 2
}

# know_processor: tells OpenBLAS what it runs on where it is older than the processor. Debian 12's takes the
# code of a Pentium 4 on an Emerald Rapids, with a tenth of the speed.
know_processor() {
  [ -z "${OPENBLAS_CORETYPE:-}" ] && has_command python3 || return 0
  local core instructions
  core=$(python3 -c 'import ctypes
name = ctypes.CDLL("libopenblas.so.0").openblas_get_corename
name.restype = ctypes.c_char_p
print(name().decode())' 2>/dev/null) || return 0
  [ "$core" = Prescott ] || return 0
  instructions=$(grep -m 1 '^flags' /proc/cpuinfo) || return 0
  case " $instructions " in
    *' avx512vl '*) export OPENBLAS_CORETYPE=SkylakeX ;;
    *' avx2 '*) export OPENBLAS_CORETYPE=Haswell ;;
    *) return 0 ;;
  esac
  say "OpenBLAS does not know this processor: told that it is like $OPENBLAS_CORETYPE (\$OPENBLAS_CORETYPE)"
}

# build PRESET [TARGET]: installs, configures (a second or two once it has been done), builds.
build() {
  local preset=$1 compiler=gcc
  case $preset in clang*) compiler=clang ;; esac
  case $preset in *san*) compiler="$compiler $compiler-san" ;; esac
  require $compiler cmake ninja eigen json cli11 zlib icu catch2 benchmark
  if ! [ -e "build/$preset/CMakeCache.txt" ] && has_command ninja; then export CMAKE_GENERATOR=Ninja; fi
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$(cores)" ${2:+--target "$2"}
}
