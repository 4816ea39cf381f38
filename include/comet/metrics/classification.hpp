// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief How well classes are told, from the classes alone: accuracy, F1, Matthews' correlation.

namespace comet {

/// \brief Answers to a question of yes (1) and no (0), by what was true.
struct BinaryCounts {
  Index true_positives = 0;   ///< said 1, is 1
  Index false_positives = 0;  ///< said 1, is 0
  Index false_negatives = 0;  ///< said 0, is 1
  Index true_negatives = 0;   ///< said 0, is 0
};

namespace detail {

template <class Label>
void check_answers(const char* where, std::span<const Label> predicted,
                   std::span<const Label> labels) {
  check_equal(where, "predicted.size()", Index(predicted.size()), "labels.size()",
              Index(labels.size()));
  check_at_least(where, "labels.size()", Index(labels.size()), 1);
}

}  // namespace detail

/// \brief The share of right answers, whatever the number of classes.
/// \param predicted  classes
/// \param labels     as many, one at least
/// \throws std::invalid_argument if sizes differ or are 0
/// \par Cost     O(B) for B answers
/// \par Threads  no shared state
template <std::integral Label>
[[nodiscard]] double accuracy(std::span<const Label> predicted, std::span<const Label> labels) {
  detail::check_answers("accuracy", predicted, labels);
  Index right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += predicted[i] == labels[i] ? 1 : 0;
  return double(right) / double(labels.size());
}

/// \brief Counts answers of two classes.
/// \param predicted  0 or 1 each
/// \param labels     as many, one at least, 0 or 1 each
/// \throws std::invalid_argument if sizes differ or are 0, naming the first that is neither 0 nor 1
/// \par Cost     O(B) for B answers
/// \par Threads  no shared state
template <std::integral Label>
[[nodiscard]] BinaryCounts binary_counts(std::span<const Label> predicted,
                                         std::span<const Label> labels) {
  constexpr const char* where = "binary_counts";
  detail::check_answers(where, predicted, labels);
  const auto check = [&](const char* name, std::span<const Label> all, std::size_t i) {
    if (all[i] != Label(0) && all[i] != Label(1)) [[unlikely]]
      detail::raise(where, name + ("[" + std::to_string(i) + "]"), all[i], "0 or 1");
  };
  BinaryCounts counts;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    check("predicted", predicted, i);
    check("labels", labels, i);
    const bool said = predicted[i] == Label(1), is = labels[i] == Label(1);
    ++(said ? (is ? counts.true_positives : counts.false_positives)
            : (is ? counts.false_negatives : counts.true_negatives));
  }
  return counts;
}

/// \brief Harmonic mean of precision and recall of class 1.
///
///     F1 = 2 TP / (2 TP + FP + FN)
///
/// \return in [0, 1]; 0 if class 1 neither was nor was said
/// \par Cost  constant
[[nodiscard]] inline double f1_score(const BinaryCounts& counts) {
  const double right = 2 * double(counts.true_positives);
  const double wrong = double(counts.false_positives) + double(counts.false_negatives);
  return right > 0 ? right / (right + wrong) : 0;
}

/// \brief Correlation of what was said with what is (Matthews, Biochim. Biophys. Acta 405, 1975).
///
///     (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))
///
/// \return in [-1, 1]; 0 if one class only was said, or is: such answers tell nothing
/// \par Cost  constant
[[nodiscard]] inline double matthews_correlation(const BinaryCounts& counts) {
  const auto tp = double(counts.true_positives), fp = double(counts.false_positives);
  const auto fn = double(counts.false_negatives), tn = double(counts.true_negatives);
  // Roots of factors: of large counts their product would overflow no double, but lose places.
  const double scale =
      std::sqrt(tp + fp) * std::sqrt(tp + fn) * std::sqrt(tn + fp) * std::sqrt(tn + fn);
  // Of answers that are all right rounding may leave a hair more than 1.
  return scale > 0 ? std::clamp((tp * tn - fp * fn) / scale, -1.0, 1.0) : 0;
}

}  // namespace comet
