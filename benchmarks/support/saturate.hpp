// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/parameters.hpp>

namespace bench {

/// \brief Makes nearly all splits of a COMET gate and bits of a DSelect-k gate 0 or 1, as training
/// with an entropy penalty does. Other gates have none and stay as they are.
template <class Gate>
void saturate(Gate& gate) {
  using S = typename Gate::Scalar;
  comet::for_each_parameter(gate, [](const comet::ParameterName& name, auto& values) {
    if (name.str() == "split.weight" || name.str() == "bit.weight") values *= S(1e6);
  });
}

}  // namespace bench
