// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/kernels/portable/route.hpp>

/// \file
/// \brief The selections of gates that take the k largest.

namespace comet::detail {

/// select_top_k(h, n, k, over_all, order, weights) works on one sample: see portable/route.hpp.
/// Shared by training, frozen gates and emitted headers.
using portable::select_top_k;

/// \brief The k largest of n numbers, of equal ones the first.
/// \param order  n, scratch: its first k become their places, ascending
/// \param value  value(place), a number
template <class Value>
void take_largest(Index n, Index k, std::int32_t* order, Value value) {
  constexpr Index few = 16;
  if (k > few) {
    for (Index i = 0; i < n; ++i) order[i] = std::int32_t(i);
    std::nth_element(order, order + (k - 1), order + n, [&](std::int32_t i, std::int32_t j) {
      const auto vi = value(i), vj = value(j);
      return vi > vj || (vi == vj && i < j);
    });
  } else {  // a list of the largest so far, in which most numbers find no place
    const auto insert = [&](std::int32_t i, Index place) {
      const auto v = value(i);
      for (; place > 0 && v > value(order[place - 1]); --place) order[place] = order[place - 1];
      order[place] = i;
    };
    for (Index i = 0; i < k; ++i) insert(std::int32_t(i), i);
    auto smallest = value(order[k - 1]);
    for (Index i = k; i < n; ++i) {
      if (!(value(std::int32_t(i)) > smallest)) continue;
      insert(std::int32_t(i), k - 1);
      smallest = value(order[k - 1]);
    }
  }
  std::sort(order, order + k);
}

}  // namespace comet::detail
