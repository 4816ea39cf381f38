# SPDX-License-Identifier: MIT
# Sourced by every script before it does anything: with --help, what its first comment says is printed,
# and that is all.
for argument; do
  if [ "$argument" = --help ] || [ "$argument" = -h ]; then
    sed -n '3,${/^#/!q;s/^#$//;s/^# //;p}' "$0"
    exit
  fi
done
unset argument

# no_arguments "$@": ends a script that takes none in a line if there are any.
no_arguments() {
  [ $# = 0 ] && return
  printf '%s: unknown argument %s; it takes none but --help\n' "${0##*/}" "$1" >&2
  exit 2
}

# expect_count NAME VALUE: ends the script in a line unless it is a whole number from 1.
expect_count() {
  [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] && return
  printf '%s: %s is %s, expected a number from 1 to 999999999\n' "${0##*/}" "$1" "${2:-empty}" >&2
  exit 2
}
