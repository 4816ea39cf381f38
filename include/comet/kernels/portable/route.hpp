// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace comet::portable {

using Index = std::ptrdiff_t;

/// \brief The k largest of n logits of one sample, and a softmax over them (over_all: over all n).
///
/// Ties go to the smaller number. With over_all the sum over the others runs in the order in which
/// the standard library's selection leaves them.
/// \param order    n, scratch: its first k become the selected ones, ascending
/// \param weights  k, in the order of the selected ones
template <class S>
void select_top_k(const S* h, Index n, Index k, bool over_all, std::int32_t* order, S* weights) {
  for (Index i = 0; i < n; ++i) order[i] = std::int32_t(i);
  const auto larger = [h](std::int32_t i, std::int32_t j) {
    return h[i] > h[j] || (h[i] == h[j] && i < j);
  };
  std::nth_element(order, order + (k - 1), order + n, larger);
  const S largest = h[*std::min_element(order, order + k, larger)];
  std::sort(order, order + k);
  S sum = 0;
  for (Index i = 0; i < k; ++i) sum += weights[i] = std::exp(h[order[i]] - largest);
  if (over_all)
    for (Index i = k; i < n; ++i) sum += std::exp(h[order[i]] - largest);
  for (Index i = 0; i < k; ++i) weights[i] /= sum;
}

}  // namespace comet::portable
