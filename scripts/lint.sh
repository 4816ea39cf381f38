#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang-tidy and cppcheck over the public headers, with the committed configuration, side by side: a
# minute or two on two cores; and whether includes point down, and the text of emitted headers is that
# of the code. The configuration is for clang-tidy 14 and cppcheck 2.10.
#   scripts/lint.sh [clang-tidy] [cppcheck]      by default both
source "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.." || exit
set -euo pipefail
[ $# -gt 0 ] || set -- clang-tidy cppcheck

scripts/floors.sh
scripts/portable_text.sh --check

source=$(mktemp --suffix=.cpp)
trap 'rm -f "$source"' EXIT
# The one header that needs MPI is looked at where there is one.
mpi_flags=$(mpicxx --showme:compile 2>/dev/null) || mpi_flags=
# Those that need LibTorch would take minutes: their test is compiled with every warning.
git ls-files 'include/comet/*.hpp' | grep -v /adapters/ | if [ -n "$mpi_flags" ]; then cat; else grep -v /mpi_communicator; fi |
  sed 's|^include/\(.*\)|#include <\1>|' > "$source"
# Templates are looked at only where they are used.
cat >> "$source" <<'END'
#include <sstream>
#define COMET_TEMPLATE(...) template __VA_ARGS__
namespace comet {
COMET_EACH_INSTANCE(COMET_TEMPLATE, float)
using Layer = MoeLayer<CometGate<float>, DenseExpert<float>>;
template class StaticDSelectKGate<float>;
template class MoeLayer<PermutedGate<TopKGate<float>>, MlpExpert<float>>;
template class PermutationSearch<float>;
template class FrozenGate<CometTables<float>>;
template class FrozenGate<DSelectKTables<float>>;
template class FrozenGate<TopKTables<float>>;
template class ExpertBank<Chain<Convolution2d<float>, MaxPool2d<float>, Dense<float>>>;
template class Dropout<float>;
template class DistributedMoeLayer<ThreadCommunicator, TopKGate<float>, MlpExpert<float>>;
template void Adam<float>::step(Layer&, Pass<Layer>&);
template void Sgd<float>::step(Layer&, Pass<Layer>&);
void use(const CometGate<float>& gate, Layer& layer, const Matrix<float>& x, Matrix<float>& dx) {
  save_parameters("file", layer);
  load_parameters(TensorFile("file"), layer);
  std::ostringstream out;
  emit_cpp(freeze(gate), out);
  out << explain(gate, x.col(0)) << routing_cost(gate, x) << testing::check_gate_laws(gate).size()
      << mean_squared_error(x, x, dx) << binary_cross_entropy(x, x, dx);
}
}  // namespace comet
END

run() {
  case $1 in
    clang-tidy)
      clang-tidy --quiet --config-file=.clang-tidy "$source" -- \
        -std=c++20 -Iinclude -isystem /usr/include/eigen3 ${mpi_flags//-I/-isystem }
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
