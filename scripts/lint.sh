#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang-tidy and cppcheck over the public headers, with the committed configuration.
#   scripts/lint.sh [clang-tidy] [cppcheck]      by default both
cd "$(dirname "$0")/.." || exit
set -euo pipefail
[ $# -gt 0 ] || set -- clang-tidy cppcheck

source=$(mktemp --suffix=.cpp)
trap 'rm -f "$source"' EXIT
git ls-files 'include/comet/*.hpp' | sed 's|^include/\(.*\)|#include <\1>|' > "$source"
# Templates are looked at only where they are used.
cat >> "$source" <<'END'
template class comet::CometGate<float>;
template class comet::DSelectKGate<float>;
template class comet::TopKGate<float>;
template class comet::SoftmaxGate<float>;
template class comet::HashGate<float>;
template class comet::PermutedGate<comet::CometGate<float>>;
template class comet::MoeLayer<comet::CometGate<float>, comet::DenseExpert<float>>;
template class comet::MoeLayer<comet::PermutedGate<comet::TopKGate<float>>, comet::MlpExpert<float>>;
template class comet::PermutationSearch<float>;
template class comet::FrozenCometGate<float>;
template class comet::FrozenTopKGate<float>;
template class comet::FrozenDSelectKGate<float>;
END

for tool; do
  case $tool in
    clang-tidy)
      clang-tidy --quiet --config-file=.clang-tidy "$source" -- \
        -std=c++20 -Iinclude -isystem /usr/include/eigen3
      ;;
    cppcheck)
      cppcheck --std=c++20 --language=c++ --enable=warning,performance,portability \
        --inline-suppr --suppressions-list=.cppcheck --error-exitcode=1 --quiet \
        -Iinclude $(git ls-files 'include/comet/*.hpp')
      ;;
    *)
      echo "lint: unknown tool $tool" >&2
      exit 2
      ;;
  esac
done
