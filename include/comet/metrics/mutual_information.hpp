// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief What one of two properties tells about the other, from how often they come together.
///
///     I = sum_rc p(r, c) log(p(r, c) / (p(r) p(c))),    p = together / sum(together)
///
/// For example kinds of samples down and experts across: 0 if every kind has the same experts.
///
/// \param together  R x C counts or weights >= 0
/// \return in nats, from 0 to log min(R, C); 0 if nothing was counted
/// \throws std::invalid_argument naming the first number that is not finite or negative
/// \par Cost     O(R C) logarithms; allocates R + C numbers
/// \par Threads  no shared state
/// \see RoutingSummary::mutual_information, which is that of samples and experts
[[nodiscard]] inline double mutual_information(const Matrix<double>& together) {
  for (Index c = 0; c < together.cols(); ++c)
    for (Index r = 0; r < together.rows(); ++r)
      if (!(together(r, c) >= 0 && std::isfinite(together(r, c)))) [[unlikely]]
        detail::raise("mutual_information",
                      "together(" + std::to_string(r) + ", " + std::to_string(c) + ")",
                      together(r, c), "a number >= 0");
  const double all = together.sum();
  if (all == 0) return 0;
  const Vector<double> rows = together.rowwise().sum(), columns = together.colwise().sum();
  double information = 0;
  for (Index c = 0; c < together.cols(); ++c)
    for (Index r = 0; r < together.rows(); ++r)
      if (const double p = together(r, c); p > 0)
        information += p / all * std::log(p * all / (rows[r] * columns[c]));
  return std::max(0.0, information);  // of independent ones rounding may leave a hair less
}

}  // namespace comet
