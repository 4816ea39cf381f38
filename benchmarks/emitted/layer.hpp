// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/make_experts.hpp>
#include <comet/core/random.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

#include <support/saturate.hpp>

namespace bench {

/// The layer that is written as a header, and that the header is compared with: 1 MB of floats.
inline auto emitted_layer() {
  constexpr comet::Index n = 16, d = 128, m = 128;
  const comet::RandomKey key(1);
  comet::CometGate<float> gate({.input_dim = d, .num_experts = n, .k = 2}, key.fold(0));
  saturate(gate);
  return comet::MoeLayer(gate, comet::make_experts<comet::DenseExpert<float>>(
                                   n, {.input_dim = d, .output_dim = m}, key.fold(1)));
}

}  // namespace bench
