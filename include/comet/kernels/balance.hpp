// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/kernels/softmax.hpp>

/// \file
/// \brief The sums behind the penalties on an uneven load: no checks, no names. What they mean is
/// said in losses/load_balance.hpp and losses/router_z.hpp; gates and losses both call these. Sums
/// over samples are double: a float counts to 2^24 and no further.

namespace comet::detail {

/// n sum_i f_i P_i over the entries of a routing and p, n x B; overwrites gradient, n x B, and
/// counts, of any size.
template <class S>
S load_balance(std::span<const ExpertId> experts, std::span<const S> weights,
               const ConstMatrixView<S>& probabilities, MatrixView<S> gradient,
               std::vector<double>& counts) {
  gradient.setZero();
  if (gradient.size() == 0) return S(0);
  counts.assign(std::size_t(probabilities.rows()), 0);
  double total = 0;
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const double one = weights[i] != S(0);
    counts[std::size_t(experts[i])] += one;
    total += one;
  }
  if (total == 0) return S(0);
  const S scale = S(probabilities.rows()) / (S(total) * S(probabilities.cols()));
  for (Index i = 0; i < gradient.rows(); ++i) gradient(i, 0) = S(counts[std::size_t(i)]) * scale;
  for (Index b = 1; b < gradient.cols(); ++b) gradient.col(b) = gradient.col(0);
  double loss = 0;
  for (Index b = 0; b < gradient.cols(); ++b)
    loss += double(gradient.col(b).dot(probabilities.col(b)));
  return S(loss);
}

/// Squared coefficient of variation of the sums over p's columns; overwrites gradient, n x B, and
/// sums, of any size.
template <class S>
S importance(const ConstMatrixView<S>& probabilities, MatrixView<S> gradient,
             std::vector<double>& sums) {
  gradient.setZero();
  if (gradient.size() == 0) return S(0);
  sums.assign(std::size_t(probabilities.rows()), 0);
  for (Index b = 0; b < probabilities.cols(); ++b)
    for (Index i = 0; i < probabilities.rows(); ++i)
      sums[std::size_t(i)] += double(probabilities(i, b));
  // By loops: Eigen's order of a sum depends on where the numbers lie.
  double mean = 0;
  for (const double sum : sums) mean += sum;
  mean /= double(sums.size());
  if (mean == 0) return S(0);
  double variance = 0;
  for (const double sum : sums) variance += (sum - mean) * (sum - mean);
  variance /= double(sums.size());
  const double scale = 2 / (double(sums.size()) * mean * mean);
  for (Index i = 0; i < gradient.rows(); ++i)
    gradient(i, 0) = S(scale * (sums[std::size_t(i)] - mean - variance / mean));
  for (Index b = 1; b < gradient.cols(); ++b) gradient.col(b) = gradient.col(0);
  return S(variance / (mean * mean));
}

/// Mean over columns of the squared log-sum-exp of the logits h, n x B; overwrites gradient, n x B.
template <class S>
S router_z(const ConstMatrixView<S>& logits, MatrixView<S> gradient) {
  if (logits.size() == 0) return S(0);
  const S scale = S(1) / S(logits.cols());
  double sum = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    const S z = softmax(logits.col(b).data(), logits.rows(), gradient.col(b).data());
    gradient.col(b) *= S(2) * z * scale;
    sum += double(z) * double(z);
  }
  return S(sum / double(logits.cols()));
}

}  // namespace comet::detail
