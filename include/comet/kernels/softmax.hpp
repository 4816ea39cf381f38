// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <comet/core/types.hpp>

namespace comet::detail {

/// p = softmax(h) of one column, the largest logit subtracted. Works in place (p may be h).
/// \return log sum exp(h); not finite if a logit is not
template <class S>
S softmax(const S* h, Index size, S* p) {
  S largest = h[0];
  for (Index i = 1; i < size; ++i) largest = std::max(largest, h[i]);
  S sum = 0;
  for (Index i = 0; i < size; ++i) {
    p[i] = std::exp(h[i] - largest);
    sum += p[i];
  }
  for (Index i = 0; i < size; ++i) p[i] /= sum;
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
