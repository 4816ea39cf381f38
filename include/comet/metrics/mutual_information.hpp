// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>
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
/// \par Cost     O(R C) logarithms; allocates R C + R + C numbers
/// \par Threads  no shared state
/// \see RoutingSummary::mutual_information, which is that of samples and experts
[[nodiscard]] inline double mutual_information(const Matrix<double>& together) {
  for (Index c = 0; c < together.cols(); ++c)
    for (Index r = 0; r < together.rows(); ++r)
      if (!(together(r, c) >= 0 && std::isfinite(together(r, c)))) [[unlikely]]
        detail::raise("mutual_information",
                      "together(" + std::to_string(r) + ", " + std::to_string(c) + ")",
                      together(r, c), "a number >= 0");
  const double largest = together.size() == 0 ? 0 : together.maxCoeff();
  if (largest == 0) return 0;
  // Shares do not depend on the unit. In one of a power of two, which rounds nothing, no sum
  // overflows.
  const int exponent = -std::ilogb(largest);
  const Matrix<double> counts =
      together.unaryExpr([&](double count) { return std::scalbn(count, exponent); });
  const double all = counts.sum();
  const Vector<double> rows = counts.rowwise().sum(), columns = counts.colwise().sum();
  double information = 0;
  for (Index c = 0; c < counts.cols(); ++c)
    for (Index r = 0; r < counts.rows(); ++r)
      // What would be denormal beside the largest adds less than 1e-300. Of the others neither
      // quotient is 0, and two logarithms do not overflow where one of a product would.
      if (const double p = counts(r, c); p >= std::numeric_limits<double>::min())
        information += p / all * (std::log(p / rows[r]) - std::log(columns[c] / all));
  // Of independent ones rounding may leave a hair less than 0; a nan stays one.
  return information < 0 ? 0 : information;
}

}  // namespace comet
