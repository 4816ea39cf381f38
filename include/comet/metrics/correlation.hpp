// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief How far two series of numbers go together: by their values (Pearson), by their order
/// (Spearman).

namespace comet {
namespace detail {

template <class S>
void check_series(const char* where, std::span<const S> x, std::span<const S> y) {
  check_equal(where, "y.size()", Index(y.size()), "x.size()", Index(x.size()));
  check_at_least(where, "x.size()", Index(x.size()), 1);
  const auto check = [&](const char* name, std::span<const S> all) {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (!std::isfinite(all[i])) [[unlikely]]
        raise(where, name + ("[" + std::to_string(i) + "]"), all[i], "a finite number");
  };
  check("x", x);
  check("y", y);
}

/// \brief Differences from the mean, of any scale; empty if all numbers are the same.
template <class S>
std::vector<double> centred(std::span<const S> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (*least == *most) return {};  // their rounded mean may be another number
  // By a power of two, so that nothing is rounded, and no square is too large or too small.
  const int exponent = std::ilogb(std::max(std::abs(double(*least)), std::abs(double(*most))));
  std::vector<double> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(),
                 [exponent](S value) { return std::ldexp(double(value), -exponent); });
  // Twice: the second time takes away what the first mean was rounded by.
  for (int pass = 0; pass < 2; ++pass) {
    const double mean = std::accumulate(result.begin(), result.end(), 0.0) / double(result.size());
    for (double& value : result) value -= mean;
  }
  return result;
}

/// \brief Twice the rank of each number, from 1; equal ones share the mean of their ranks.
template <class S>
std::vector<double> doubled_ranks(std::span<const S> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t i = first; i < last; ++i) ranks[order[i]] = double(first + last + 1);
    first = last;
  }
  return ranks;
}

}  // namespace detail

/// \brief Pearson's correlation: do they lie on a line?
///
///     r = sum (x - mean x) (y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)
///
/// \param x  finite numbers, one at least
/// \param y  as many
/// \return in [-1, 1]; 0 if all of x or all of y are the same: it tells nothing of the other
/// \throws std::invalid_argument if sizes differ or are 0, naming the first that is not finite
/// \par Cost     O(B) for B numbers; allocates 2 B
/// \par Threads  no shared state
template <std::floating_point S>
[[nodiscard]] double pearson_correlation(std::span<const S> x, std::span<const S> y) {
  detail::check_series("pearson_correlation", x, y);
  const std::vector<double> a = detail::centred(x), b = detail::centred(y);
  if (a.empty() || b.empty()) return 0;
  const auto product = [](const std::vector<double>& u, const std::vector<double>& v) {
    return std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
  };
  return std::clamp(product(a, b) / std::sqrt(product(a, a) * product(b, b)), -1.0, 1.0);
}

/// \brief Spearman's correlation: Pearson's of the ranks, equal numbers sharing the mean of theirs.
///
/// \param x  finite numbers, one at least
/// \param y  as many
/// \return in [-1, 1]; 0 if all of x or all of y are the same
/// \throws std::invalid_argument if sizes differ or are 0, naming the first that is not finite
/// \par Cost     O(B log B) for B numbers; allocates 6 B
/// \par Threads  no shared state
template <std::floating_point S>
[[nodiscard]] double spearman_correlation(std::span<const S> x, std::span<const S> y) {
  detail::check_series("spearman_correlation", x, y);
  const std::vector<double> a = detail::doubled_ranks(x), b = detail::doubled_ranks(y);
  return pearson_correlation(std::span(a), std::span(b));
}

}  // namespace comet
