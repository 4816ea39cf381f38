#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Writes include/comet/kernels/portable/text.hpp: the code of the headers beside it, without comments,
# as a string for the headers that emit_cpp writes.
#   scripts/portable_text.sh           writes it
#   scripts/portable_text.sh --check   exit code 1 if it is not what would be written
source "$(dirname "$0")/help.sh"
set -euo pipefail
case ${1:-} in
  '' | --check) ;;
  *) echo "portable_text.sh: unknown argument $1" >&2 && exit 2 ;;
esac
cd "$(dirname "$0")/../include/comet/kernels/portable"

# code FILE: what is in its namespace.
code() {
  awk '/^}  \/\/ namespace comet::portable/ { inside = 0 }
       inside { sub(/ *\/\/.*/, ""); if ($0 != "") print }
       /^namespace comet::portable {/ { inside = 1 }' "$1"
}

text() {
  cat <<'END'
// SPDX-License-Identifier: MIT
// Written by scripts/portable_text.sh: an edit is lost.
#pragma once

#include <string_view>

namespace comet::portable {

/// The code of arithmetic.hpp, soft_tree.hpp, route.hpp and experts.hpp, without the namespace.
inline constexpr std::string_view text = R"portable(
END
  for file in arithmetic.hpp soft_tree.hpp route.hpp experts.hpp; do code "$file"; done
  printf ')portable";\n\n}  // namespace comet::portable\n'
}

if [ "${1:-}" = --check ]; then
  text | cmp -s - text.hpp && exit
  echo 'portable_text.sh: include/comet/kernels/portable/text.hpp is stale: run scripts/portable_text.sh' >&2
  exit 1
fi
text >text.hpp
