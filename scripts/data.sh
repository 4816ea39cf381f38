# SPDX-License-Identifier: MIT
# Sourced by the scripts that obtain data, after lib.sh: a set lies in data/NAME, with a file SOURCE that
# says where it is from.

partial=data/.partial.$$
trap 'rm -rf "$partial"' EXIT

# publish NAME SOURCE: a set becomes visible whole or not at all: it is made aside and renamed.
publish() {
  local name=$1 source=$2
  printf '%s\n' "$source" >"$partial/SOURCE"
  rm -rf "data/$name"
  mv "$partial" "data/$name"
}
has_sha256() { [ "$(cmake -E sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]; }

# cached NAME...: the first of these sets that was obtained before.
cached() {
  local name
  for name; do
    [ -e "data/$name/SOURCE" ] && echo "data/$name" && return
  done
  return 1
}

# unpack_debian PACKAGE FOLDER: what a package of Debian holds.
unpack_debian() {
  has_command apt-get && has_command dpkg-deb || return 1
  mkdir -p "$2"
  (cd "$2" &&
    apt-get -qq -o APT::Sandbox::User=root download "$1" &&
    dpkg-deb -x "$1"_*.deb . &&
    rm "$1"_*.deb) || {
    say "no download of the Debian package $1"
    return 1
  }
}

# obtain SETS WORDS FUNCTION...: prints the directory of one of the sets. The functions, which publish
# one each, are tried in order; WORDS are what is missing if all fail, and `flag` brings (--data).
obtain() {
  local sets=$1 words=$2 source directory
  shift 2
  mkdir -p data
  directory=$(cached $sets) || {
    require cmake
    for source; do
      rm -rf "$partial"
      "$source" && break
    done
    directory=$(cached $sets) || {
      say "no $words: pass a set with ${flag:---data} DIR"
      exit 2
    }
  }
  say "data: $(cat "$directory/SOURCE") ($directory)"
  echo "$directory"
}
