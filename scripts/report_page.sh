#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows a report in a browser without a window and takes a picture of it, as wide as a desk's and as a
# telephone's; fails if the browser shows nothing of it. Before a release: look at the pictures.
#   scripts/report_page.sh [OUT [FOLDER...]]     pictures go to OUT (build/report_pages)
# FOLDER is of a training, a comparison or a search by `movielens`, or by another program that $PROGRAM
# names; without one, small ones are made up.
# The browser is $BROWSER or the first of chromium, chromium-browser and google-chrome; without any, it
# says so, and that is all.
source "$(dirname "$0")/lib.sh" # goes to the repository

out=$(from_here "${1:-$PWD/build/report_pages}")
shift || true
browser=${BROWSER:-}
for name in chromium chromium-browser google-chrome; do
  [ -n "$browser" ] || ! has_command "$name" || browser=$name
done
[ -n "$browser" ] || {
  say "there is no browser (chromium): the page is not looked at"
  exit 0
}

program=$(from_here "${PROGRAM:-$PWD/build/release/bin/movielens}")
[ -x "$program" ] || build release movielens >&2
try_install gnuplot || say "without gnuplot the page has numbers in place of curves"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

if [ $# = 0 ]; then
  small=(--data "$work/data" --experts 8 --embedding-dim 8 --expert-dim 8 --head-dim 8 --batch-size 128
    --learning-rate 0.005 --quiet)
  "$program" synthesize "$work/data" --users 100 --items 200 --ratings 6000 >/dev/null
  "$program" compare "${small[@]}" --epochs 8 --split-scale 0.2 --gates comet,top_k,dense \
    --out "$work/gates" >/dev/null
  echo '{"k": {"integer": [1, 3]}, "gamma": {"log_uniform": [0.1, 1]}}' >"$work/space.json"
  "$program" tune "${small[@]}" --epochs 2 --space "$work/space.json" --trials 12 \
    --results "$work" --experiment-name search >/dev/null
  set -- "$work/gates/comet-none-seed1" "$work/gates/top_k-none-seed1" "$work/gates" \
    "$work/search"
fi

sandbox=()
[ "$(id -u)" != 0 ] || sandbox=(--no-sandbox) # the browser's own does not work for root
# picture PAGE FILE WIDTH HEIGHT
picture() {
  timeout 120 "$browser" --headless --disable-gpu "${sandbox[@]}" --user-data-dir="$work/profile" \
    --hide-scrollbars --window-size="$3,$4" --screenshot="$2" "$1" >"$work/log" 2>&1 &&
    [ -s "$2" ] || {
    cat "$work/log" >&2
    say "$browser did not take the picture"
    return 1
  }
}

# What an empty page weighs: a picture of something is many times as much.
picture about:blank "$work/blank.png" 1100 6000
blank=$(wc -c <"$work/blank.png")
for folder; do
  folder=$(from_here "$folder")
  "$program" report "$folder" --out "$work/report" >/dev/null
  page=$work/report/report.html
  name=$(basename "$folder")
  picture "file://$page" "$out/$name.png" 1100 6000
  picture "file://$page" "$out/$name-narrow.png" 400 6000
  size=$(wc -c <"$out/$name.png")
  ((size > 3 * blank)) || {
    say "$out/$name.png is as good as empty: $size bytes, an empty page has $blank"
    exit 1
  }
  say "$name: $out/$name.png, $out/$name-narrow.png"
done
