// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief Draws k of n experts without replacement, each time in proportion to the shares that are
/// left; where all of those are 0, the largest logit is taken.
/// \param h, g   n logits and their shares, which sum to 1
/// \param left   n, scratch
/// \param drawn  k, ascending
/// \par Cost     O(k n) additions
template <class S>
void draw_experts(const S* h, const S* g, Index n, Index k, RandomKey key, double* left,
                  ExpertId* drawn) {
  double total = 1;
  for (Index i = 0; i < n; ++i) left[i] = double(g[i]);
  for (Index t = 0; t < k; ++t) {
    double rest = key.uniform(std::uint64_t(t)) * total;
    Index found = 0;
    while (found < n && (rest -= left[found]) >= 0) ++found;
    if (found == n) {  // by rounding, or since nothing is left
      const auto is_drawn = [&](Index i) { return std::find(drawn, drawn + t, i) != drawn + t; };
      for (Index i = 0; i < n; ++i)
        if (!is_drawn(i) && (found == n || h[i] > h[found])) found = i;
    }
    drawn[t] = ExpertId(found);
    total = std::max(0.0, total - left[found]);
    left[found] = 0;
  }
  std::sort(drawn, drawn + k);
}

/// \brief Checks the given draw of one sample: experts ascend, and the carrier is one of them.
inline void check_drawn(std::string_view where, Index sample, std::span<const ExpertId> drawn,
                        ExpertId carrier, Index num_experts) {
  const auto what = [&](const char* name) {
    return std::string(name) + " of sample " + std::to_string(sample);
  };
  check_ascending(where, drawn, "num_experts", num_experts, [&] { return what("a drawn expert"); });
  if (std::find(drawn.begin(), drawn.end(), carrier) == drawn.end()) [[unlikely]]
    raise(where, what("the carrier"), carrier, "one of its drawn experts");
}

}  // namespace comet::detail
