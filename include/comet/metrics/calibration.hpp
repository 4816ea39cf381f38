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

namespace comet {

/// \brief Predictions of similar size: what was promised and what came.
struct CalibrationBin {
  Index count = 0;       ///< Samples in the bin.
  double predicted = 0;  ///< mean probability
  double observed = 0;   ///< share of label 1
};

/// \brief Are events of probability 0.8 seen 8 times in 10? Predictions in ascending order, cut
/// into parts of equal size; a well calibrated model has predicted = observed in each.
///
/// \param probabilities  one per case, in [0, 1]
/// \param labels         same size, 0 or 1
/// \param bins           number of parts, >= 1; sizes differ by at most one, none is empty
/// \throws std::invalid_argument if sizes differ, a probability is not in [0, 1], a label is
///         neither 0 nor 1, or bins < 1
/// \par Cost     O(B log B) for B cases; one allocation of B numbers
/// \par Threads  no shared state
template <std::floating_point S, class Label>
requires std::floating_point<Label> || std::integral<Label>
[[nodiscard]] std::vector<CalibrationBin> calibration(std::span<const S> probabilities,
                                                      std::span<const Label> labels,
                                                      Index bins = 10) {
  constexpr const char* where = "calibration";
  detail::check_equal(where, "labels.size()", Index(labels.size()), "probabilities.size()",
                      Index(probabilities.size()));
  detail::check_at_least(where, "bins", bins, 1);
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    if (!(probabilities[i] >= S(0) && probabilities[i] <= S(1))) [[unlikely]]
      detail::raise(where, "probabilities[" + std::to_string(i) + "]", probabilities[i],
                    "in [0, 1]");
    if (labels[i] != Label(0) && labels[i] != Label(1)) [[unlikely]]
      detail::raise(where, "labels[" + std::to_string(i) + "]", labels[i], "0 or 1");
  }
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probabilities[a] < probabilities[b];
  });
  const std::size_t parts = std::min(std::size_t(bins), order.size());
  std::vector<CalibrationBin> result(parts);
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t begin = part * order.size() / parts;
    const std::size_t end = (part + 1) * order.size() / parts;
    for (std::size_t i = begin; i < end; ++i) {
      result[part].predicted += double(probabilities[order[i]]);
      result[part].observed += double(labels[order[i]]);
    }
    result[part].count = Index(end - begin);
    result[part].predicted /= double(end - begin);
    result[part].observed /= double(end - begin);
  }
  return result;
}

/// \brief How far promises are from what came: |predicted - observed| over the bins, weighted by
/// their samples (Guo et al., ICML 2017, Eq. (3), with bins of equal size).
/// \return from 0 to 1; 0 without bins
[[nodiscard]] inline double calibration_error(std::span<const CalibrationBin> bins) {
  double sum = 0, samples = 0;
  for (const CalibrationBin& bin : bins) {
    sum += double(bin.count) * std::abs(bin.predicted - bin.observed);
    samples += double(bin.count);
  }
  return samples > 0 ? sum / samples : 0;
}

}  // namespace comet
