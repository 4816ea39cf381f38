#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Obtains a MovieLens set and prints its directory. In order: a set obtained before, a download from
# GroupLens, the edition that a Debian package carries, a synthetic set. DIR/SOURCE says which it is.
#   scripts/movielens_data.sh
source "$(dirname "$0")/lib.sh"
no_arguments "$@"
source scripts/data.sh

from_grouplens() {
  local url=https://files.grouplens.org/datasets/movielens/ml-latest-small.zip
  [ -e data/ml-latest-small.unknown ] && return 1
  mkdir -p "$partial"
  cmake -D URL="$url" -D DIR="$partial" -P cmake/Download.cmake 2>/dev/null || {
    say "no download from files.grouplens.org"
    return 1
  }
  # The files of the 9/2018 edition. GroupLens calls the set a changing one: results are compared
  # with figures for this edition, so another one is used only when it is asked for.
  if has_sha256 "$partial/ratings.csv" \
    aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646 &&
    has_sha256 "$partial/movies.csv" \
      5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07; then
    publish ml-latest-small "MovieLens ml-latest-small, 9/2018 edition, from $url"
  else
    mv "$partial" data/ml-latest-small.unknown
    say "GroupLens offers an edition unknown to this script; to use it: --data data/ml-latest-small.unknown"
    return 1
  fi
}

from_debian() {
  try_install r && unpack_debian r-cran-dslabs "$partial/package" || return 1
  (cd "$partial" && Rscript --vanilla ../../scripts/movielens_data.R package >&2) &&
    has_sha256 "$partial/ratings.csv" \
      b4239649fbf90ebf405c56c3ae1d929d9e7c86fc1a3a80cbef1c884df593ef73 || {
    say "the Debian package r-cran-dslabs holds other ratings than expected"
    return 1
  }
  rm -r "$partial/package"
  publish ml-latest-small-2016 \
    "MovieLens ml-latest-small, 10/2016 edition, from the Debian package r-cran-dslabs"
}

synthetic() {
  build release movielens >&2 && build/release/bin/movielens synthesize "$partial" >/dev/null || return 1
  publish synthetic "synthetic ratings, NOT MovieLens: no source of real data could be reached"
}

obtain 'ml-latest-small ml-latest-small-2016 synthetic' 'MovieLens data' \
  from_grouplens from_debian synthetic
