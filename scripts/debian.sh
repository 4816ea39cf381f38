#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a command on a fresh clone of HEAD in a Debian that has nothing but git installed.
#   scripts/debian.sh [--keep] SUITE COMMAND...     e.g. trixie scripts/test.sh
# SUITE is bookworm, trixie, sid, ... from $DEBIAN_MIRROR, by default deb.debian.org: other compilers, CMake,
# Eigen, Catch2 than here. Root only; installs debootstrap. A suite is fetched once, into build/debian, and
# copied for each command. --keep keeps that copy and says where it is. Exit code: the command's.
source "$(dirname "$0")/lib.sh"

keep=
[ "${1:-}" != --keep ] || { keep=1; shift; }
[ $# -ge 2 ] || { say 'expected SUITE and COMMAND'; exit 2; }
suite=$1
shift
[[ $suite =~ ^[a-z][a-z0-9-]*$ ]] || { say "SUITE is $suite, expected the name of one, like trixie"; exit 2; }
[ "$(id -u)" = 0 ] || { say 'only root can make a system in a folder'; exit 2; }
require debootstrap

root=$PWD/build/debian/$suite
if ! [ -e "$root/fetched" ]; then
  say "fetching Debian $suite, a minute or two"
  rm -rf --one-file-system "$root"
  mkdir -p "$root/system"
  recipe=/usr/share/debootstrap/scripts/$suite
  [ -e "$recipe" ] || recipe=/usr/share/debootstrap/scripts/sid # that of every suite of late
  debootstrap --variant=minbase --include=ca-certificates,git "$suite" "$root/system" \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" "$recipe" >"$root/log" 2>&1 || {
    tail -n 5 "$root/log" >&2
    exit 1
  }
  # How this machine reaches others.
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d/*proxy* /etc/ssl/certs/*.crt; do
    if [ -e "$file" ]; then cp -L "$file" "$root/system$file"; fi
  done
  touch "$root/fetched"
fi

box=$(mktemp -d "$root/box.XXXXXX")
clean() {
  umount "$box/proc" "$box/sys" 2>/dev/null || true
  umount -R -l "$box/dev" 2>/dev/null || true
  if [ -n "$keep" ]; then say "kept: $box"; else rm -rf --one-file-system "$box"; fi
}
trap clean EXIT
cp -a "$root/system/." "$box"
mount -t proc proc "$box/proc"
mount -t sysfs -o ro sysfs "$box/sys"
mount --rbind /dev "$box/dev" && mount --make-rslave "$box/dev"
git clone -q . "$box/srv/comet"
mapfile -t proxies < <(env | grep -iE '^(https?|no)_proxy=' || true)
chroot "$box" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  ${proxies[@]+"${proxies[@]}"} /bin/bash -c 'cd /srv/comet && exec "$@"' "$suite" "$@"
