#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Obtains InstEval, 73,421 marks (y) that students (s) of ETH Zurich gave to lecturers (d), from the Debian
# package r-cran-lme4 and prints the path of its file; for `movielens train --data FILE --columns s,d,y`.
#   scripts/insteval_data.sh
source "$(dirname "$0")/lib.sh"
no_arguments "$@"
source scripts/data.sh

from_debian() {
  try_install r && unpack_debian r-cran-lme4 "$partial/package" || return 1
  (cd "$partial" && Rscript --vanilla ../../scripts/insteval_data.R package >&2) &&
    has_sha256 "$partial/insteval.csv" 2f6a88017e3e53e2a49bcc879bf23d14981d4c906faac821fc4a1057cc0e550a || {
    say "the Debian package r-cran-lme4 holds other marks than expected"
    return 1
  }
  rm -r "$partial/package"
  publish insteval "InstEval, from the Debian package r-cran-lme4 (Bates and others, GPL-2 or later)"
}

echo "$(obtain insteval "marks" from_debian)/insteval.csv"
