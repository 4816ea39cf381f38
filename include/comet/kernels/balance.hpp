// SPDX-License-Identifier: MIT
#pragma once

#include <span>

#include <comet/core/types.hpp>
#include <comet/kernels/softmax.hpp>

/// \file
/// \brief The sums behind the penalties on an uneven load: no checks, no names. What they mean is
/// said in losses/load_balance.hpp and losses/router_z.hpp; gates and losses both call these.

namespace comet::detail {

/// n sum_i f_i P_i over the entries of a routing and p, n x B; overwrites gradient, n x B.
template <class S>
S load_balance(std::span<const ExpertId> experts, std::span<const S> weights,
               const ConstMatrixView<S>& probabilities, MatrixView<S> gradient) {
  gradient.setZero();
  if (gradient.size() == 0) return S(0);
  // The first column holds the counts until it is spread over all.
  auto counts = gradient.col(0);
  for (std::size_t i = 0; i < experts.size(); ++i) counts(experts[i]) += S(weights[i] != S(0));
  const S total = counts.sum();
  if (total == S(0)) return S(0);
  counts *= S(probabilities.rows()) / (total * S(probabilities.cols()));
  for (Index b = 1; b < gradient.cols(); ++b) gradient.col(b) = gradient.col(0);
  return gradient.cwiseProduct(probabilities).sum();
}

/// Squared coefficient of variation of the sums over p's columns; overwrites gradient, n x B.
template <class S>
S importance(const ConstMatrixView<S>& probabilities, MatrixView<S> gradient) {
  gradient.setZero();
  if (gradient.size() == 0) return S(0);
  const S n = S(probabilities.rows());
  // The first column holds the sums until it is spread over all.
  auto sums = gradient.col(0);
  for (Index b = 0; b < probabilities.cols(); ++b) sums += probabilities.col(b);
  const S mean = sums.sum() / n;
  if (mean == S(0)) return S(0);
  const S variance = (sums.array() - mean).square().sum() / n;
  sums.array() = S(2) / (n * mean * mean) * (sums.array() - mean - variance / mean);
  for (Index b = 1; b < gradient.cols(); ++b) gradient.col(b) = gradient.col(0);
  return variance / (mean * mean);
}

/// Mean over columns of the squared log-sum-exp of the logits h, n x B; overwrites gradient, n x B.
template <class S>
S router_z(const ConstMatrixView<S>& logits, MatrixView<S> gradient) {
  if (logits.size() == 0) return S(0);
  const S scale = S(1) / S(logits.cols());
  S sum = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    const S z = softmax(logits.col(b).data(), logits.rows(), gradient.col(b).data());
    gradient.col(b) *= S(2) * z * scale;
    sum += z * z;
  }
  return sum * scale;
}

}  // namespace comet::detail
