// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/rank_sum.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/softmax.hpp>

/// \file
/// \brief The sums behind the penalties on an uneven load: no checks, no names. What they mean is
/// said in losses/load_balance.hpp and losses/router_z.hpp; gates and losses both call these. Sums
/// over samples are double: a float counts to 2^24 and no further. Over a batch that ranks share
/// they are sums over all ranks: each rank gets the whole loss, and the gradient by what it holds.
/// An empty gradient is not wanted.

namespace comet::detail {

/// n sum_i f_i P_i over the entries of a routing and p, n x B; overwrites gradient, n x B, and
/// counts, of any size.
template <class S>
double load_balance(std::span<const ExpertId> experts, std::span<const S> weights,
                    const ConstMatrixView<S>& probabilities, MatrixView<S> gradient,
                    std::vector<double>& counts, const RankSum& ranks = {}) {
  gradient.setZero();
  const auto n = std::size_t(probabilities.rows());
  counts.assign(n + 1, 0);
  for (std::size_t i = 0; i < experts.size(); ++i)
    counts[std::size_t(experts[i])] += double(weights[i] != S(0));
  counts[n] = double(probabilities.cols());
  ranks(counts);
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) total += counts[i];
  if (total == 0) return 0;
  const S scale = S(n) / (S(total) * S(counts[n]));
  // All columns of the gradient are the same one.
  Vector<S> own;
  if (gradient.size() == 0) own.resize(Index(n));
  Eigen::Map<Vector<S>> column(gradient.size() == 0 ? own.data() : gradient.data(), Index(n));
  for (std::size_t i = 0; i < n; ++i) column[Index(i)] = S(counts[i]) * scale;
  for (Index b = 1; b < gradient.cols(); ++b) gradient.col(b) = column;
  double loss = 0;
  for (Index b = 0; b < probabilities.cols(); ++b) loss += double(column.dot(probabilities.col(b)));
  return ranks(loss);
}

/// Squared coefficient of variation of the sums over p's columns; overwrites gradient, n x B, and
/// sums, of any size.
template <class S>
double importance(const ConstMatrixView<S>& probabilities, MatrixView<S> gradient,
                  std::vector<double>& sums, const RankSum& ranks = {}) {
  gradient.setZero();
  if (probabilities.rows() == 0) return 0;
  sums.assign(std::size_t(probabilities.rows()), 0);
  for (Index b = 0; b < probabilities.cols(); ++b)
    for (Index i = 0; i < probabilities.rows(); ++i)
      sums[std::size_t(i)] += double(probabilities(i, b));
  ranks(sums);
  // By loops: Eigen's order of a sum depends on where the numbers lie.
  double mean = 0;
  for (const double sum : sums) mean += sum;
  mean /= double(sums.size());
  if (mean == 0) return 0;
  double variance = 0;
  for (const double sum : sums) variance += (sum - mean) * (sum - mean);
  variance /= double(sums.size());
  const double scale = 2 / (double(sums.size()) * mean * mean);
  for (double& sum : sums) sum = scale * (sum - mean - variance / mean);
  for (Index b = 0; b < gradient.cols(); ++b)
    for (Index i = 0; i < gradient.rows(); ++i) gradient(i, b) = S(sums[std::size_t(i)]);
  return variance / (mean * mean);
}

/// Mean over columns of the squared log-sum-exp of the logits h, n x B; overwrites gradient, n x B.
template <class S>
double router_z(const ConstMatrixView<S>& logits, MatrixView<S> gradient,
                const RankSum& ranks = {}) {
  const double count = ranks(double(logits.rows() == 0 ? 0 : logits.cols()));
  if (count == 0) return 0;
  const S scale = S(1) / S(count);
  const bool wanted = gradient.size() > 0;
  Vector<S> column;  // of a gradient that is not wanted
  if (!wanted && logits.size() > 0) column.resize(logits.rows());
  double sum = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    const S z = softmax(logits.col(b).data(), logits.rows(),
                        wanted ? gradient.col(b).data() : column.data());
    if (wanted) gradient.col(b) *= S(2) * z * scale;
    sum += double(z) * double(z);
  }
  return ranks(sum) / count;
}

}  // namespace comet::detail
