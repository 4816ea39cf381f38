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
