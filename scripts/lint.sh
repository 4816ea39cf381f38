#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang-tidy and cppcheck over the public headers, with the committed configuration, side by side: a
# minute or less on two cores. The configuration is for clang-tidy 14 and cppcheck 2.10.
#   scripts/lint.sh [clang-tidy] [cppcheck]      by default both
source "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.." || exit
set -euo pipefail
[ $# -gt 0 ] || set -- clang-tidy cppcheck

source=$(mktemp --suffix=.cpp)
trap 'rm -f "$source"' EXIT
git ls-files 'include/comet/*.hpp' | sed 's|^include/\(.*\)|#include <\1>|' > "$source"
# Templates are looked at only where they are used.
cat >> "$source" <<'END'
#include <sstream>
namespace comet {
using Layer = MoeLayer<CometGate<float>, DenseExpert<float>>;
template class CometGate<float>;
template class DSelectKGate<float>;
template class StaticDSelectKGate<float>;
template class TopKGate<float>;
template class SoftmaxGate<float>;
template class HashGate<float>;
template class AnyGate<float>;
template AnyGate<float>::AnyGate(CometGate<float>);
template class PermutedGate<CometGate<float>>;
template class MoeLayer<CometGate<float>, DenseExpert<float>>;
template class MoeLayer<PermutedGate<TopKGate<float>>, MlpExpert<float>>;
template class PermutationSearch<float>;
template class FrozenCometGate<float>;
template class FrozenTopKGate<float>;
template class FrozenDSelectKGate<float>;
template class Dense<float>;
template class Embedding<float>;
template class Dropout<float>;
template void Adam<float>::step(Layer&);
template void Sgd<float>::step(Layer&);
void use(const CometGate<float>& gate, Layer& layer, const Matrix<float>& x, Matrix<float>& dx) {
  save_parameters("file", layer);
  load_parameters(TensorFile("file"), layer);
  std::ostringstream out;
  emit_cpp(freeze(gate), out);
  out << explain(gate, x.col(0)) << testing::check_gate_laws(gate).size()
      << mean_squared_error<float>(x, x, x, dx) << binary_cross_entropy<float>(x, x, dx);
}
}  // namespace comet
END

run() {
  case $1 in
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
      echo "lint: unknown tool $1" >&2
      return 2
      ;;
  esac
}

jobs=()
for tool; do
  run "$tool" &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
exit $failed
