// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <comet/core/rank_sum.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>

/// \file
/// \brief Penalties on rows of numbers that sum to at most 1: shares of trees, of selectors, of a
/// softmax.

namespace comet::detail {

/// \brief The reward for even use: minus the entropy of a batch's mean row, and its derivatives.
///
/// It looks at the mean alone, so its derivative by a number is the same for every sample. Over a
/// batch that ranks share the mean is that of all of them.
template <class S>
class SpreadPenalty {
 public:
  /// \param spread    strength, >= 0
  /// \param size      of a row
  /// \param num_rows  of all ranks
  /// \param numbers   numbers(add) calls add(i, p) for the numbers that are not 0, always in the
  ///                  same order: the sums are double and do not depend on threads
  /// \return spread * sum_i m_i log(m_i + 1e-6) with m the mean row
  template <class Numbers>
  double evaluate(double spread, Index size, Index num_rows, Numbers numbers,
                  const RankSum& ranks = {}) {
    by_number_.assign(std::size_t(size), S(0));
    if (spread == 0 || num_rows == 0) return 0;
    sums_.assign(std::size_t(size), 0);
    numbers([this](Index i, S p) { sums_[std::size_t(i)] += double(p); });
    ranks(sums_);
    double entropy = 0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const double mean = sums_[i] / double(num_rows);
      entropy += entropy_term(mean);
      by_number_[i] = S(-spread / double(num_rows) * entropy_term_derivative(mean));
    }
    return -spread * entropy;
  }

  /// Of the derivatives a share is this rank's: for rows that several ranks have in common.
  void scale(S share) {
    for (S& value : by_number_) value *= share;
  }

  /// Derivative of the last evaluate() by number i of any row; 0 without a spread.
  [[nodiscard]] S derivative(Index i) const { return by_number_[std::size_t(i)]; }

 private:
  std::vector<double> sums_;  // over the rows
  std::vector<S> by_number_;
};

/// \brief Penalties on the rows of a softmax: entropy * mean_b H(p_b) - spread * H(mean p). With
/// equal strengths that is minus the mutual information between sample and expert.
template <class S>
class SoftmaxPenalties {
 public:
  /// \param options  have entropy and spread
  template <class Options>
  static bool wanted(const Options& options) {
    return options.entropy > 0 || options.spread > 0;
  }

  /// The sum of both. \param p  n x B
  template <class Options>
  double evaluate(const Options& options, const ConstMatrixView<S>& p, const RankSum& ranks = {}) {
    const Index num_rows = wanted(options) ? ranks.count(p.cols()) : 0;
    double undecided = 0;
    if (options.entropy > 0) {
      for (Index b = 0; b < p.cols(); ++b)
        for (Index i = 0; i < p.rows(); ++i) undecided += double(entropy_term(p(i, b)));
      undecided = ranks(undecided);
    }
    entropy_ = num_rows == 0 ? 0 : options.entropy / double(num_rows);
    const auto numbers = [&](auto add) {
      for (Index b = 0; b < p.cols(); ++b)
        for (Index i = 0; i < p.rows(); ++i) add(i, p(i, b));
    };
    return entropy_ * undecided +
           spread_.evaluate(options.spread, p.rows(), num_rows, numbers, ranks);
  }

  /// Derivative of the last evaluate() by number i of a row, which is p.
  [[nodiscard]] S derivative(Index i, S p) const {
    return S(entropy_) * entropy_term_derivative(p) + spread_.derivative(i);
  }

 private:
  double entropy_ = 0;  // strength over the number of rows
  SpreadPenalty<S> spread_;
};

}  // namespace comet::detail
