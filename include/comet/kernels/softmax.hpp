// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/types.hpp>
#include <comet/kernels/portable/arithmetic.hpp>

namespace comet::detail {

/// p = softmax(h) of one column, the largest logit subtracted. Works in place (p may be h).
/// \return log sum exp(h); not finite if a logit is not
template <class S>
S softmax(const S* h, Index size, S* p) {
  const auto [largest, sum] = portable::softmax(h, size, p);
  return largest + std::log(sum);
}

/// by_logit += the derivative by h of a function whose derivative by p = softmax(h) is given.
template <class S>
void add_softmax_backward(const S* p, const S* by_p, Index size, S* by_logit) {
  S mean = 0;
  for (Index i = 0; i < size; ++i) mean += p[i] * by_p[i];
  for (Index i = 0; i < size; ++i) by_logit[i] += p[i] * (by_p[i] - mean);
}

}  // namespace comet::detail
