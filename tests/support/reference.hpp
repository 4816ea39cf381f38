// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/gates/top_k.hpp>

/// \file
/// \brief The formulas again, slowly: plain loops in long double over every expert, nothing
/// skipped, nothing shared with the library but the parameters.

namespace comet::test::reference {

using Real = long double;

/// w_h . x + b_h of one hyperplane and one sample.
template <class S>
[[nodiscard]] Real logit(const Hyperplanes<S>& planes, Index h, const Matrix<S>& x, Index b) {
  Real sum = planes.has_bias() ? Real(planes.bias()(h, 0)) : 0;
  for (Index i = 0; i < x.rows(); ++i) sum += Real(planes.weight()(i, h)) * Real(x(i, b));
  return sum;
}

/// The cubic as the paper has it.
[[nodiscard]] inline Real smooth_step(Real t, Real gamma) {
  if (t <= -gamma / 2) return 0;
  if (t >= gamma / 2) return 1;
  return -2 * t * t * t / (gamma * gamma * gamma) + 3 * t / (2 * gamma) + 0.5L;
}

/// Share of tree j that reaches the nodes below `node`, as leaves from left to right.
template <class S>
void descend(const CometGate<S>& gate, const Matrix<S>& x, Index b, Index tree, Index node,
             Real reach, std::vector<Real>& leaves) {
  const Index n = gate.num_experts();
  if (node >= n - 1) {
    leaves.push_back(reach);
    return;
  }
  const Real share = smooth_step(logit(gate.splits(), node * gate.num_selectors() + tree, x, b),
                                 Real(gate.options().gamma));
  descend(gate, x, b, tree, 2 * node + 1, reach * share, leaves);
  descend(gate, x, b, tree, 2 * node + 2, reach * (1 - share), leaves);
}

/// \brief sum_j v_ij exp(a_ij) over its sum over all i and j. \return n x B
template <class S>
[[nodiscard]] Matrix<double> weights(const CometGate<S>& gate, const Matrix<S>& x) {
  const Index n = gate.num_experts(), k = gate.num_selectors();
  Matrix<double> result(n, x.cols());
  for (Index b = 0; b < x.cols(); ++b) {
    std::vector<Real> part(std::size_t(n), 0);
    Real largest = -std::numeric_limits<Real>::infinity();
    for (Index h = 0; h < n * k; ++h) largest = std::max(largest, logit(gate.leaves(), h, x, b));
    for (Index j = 0; j < k; ++j) {
      std::vector<Real> leaves;
      descend(gate, x, b, j, 0, 1, leaves);
      for (Index i = 0; i < n; ++i)
        part[std::size_t(i)] +=
            leaves[std::size_t(i)] * std::exp(logit(gate.leaves(), i * k + j, x, b) - largest);
    }
    const Real sum = std::accumulate(part.begin(), part.end(), Real(0));
    for (Index i = 0; i < n; ++i) result(i, b) = double(part[std::size_t(i)] / sum);
  }
  return result;
}

/// \brief softmax over those of the logits that `selected` names, 0 elsewhere.
[[nodiscard]] inline std::vector<Real> softmax(const std::vector<Real>& logits,
                                               const std::vector<bool>& selected) {
  Real largest = -std::numeric_limits<Real>::infinity();
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (selected[i]) largest = std::max(largest, logits[i]);
  Real sum = 0;
  std::vector<Real> result(logits.size(), 0);
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (selected[i]) sum += result[i] = std::exp(logits[i] - largest);
  for (Real& value : result) value /= sum;
  return result;
}

/// \brief Mixed products of bits; codes from n on are lost. `bits` are the parameters of
/// `bit`, `mixture` those of the selectors. \return n x B
template <class S>
[[nodiscard]] Matrix<double> dselect_k_weights(const DSelectKGateOptions& options,
                                               const Matrix<S>& bit_weight,
                                               const Matrix<S>& bit_bias,
                                               const Matrix<S>& mixture_weight,
                                               const Matrix<S>& mixture_bias, const Matrix<S>& x) {
  const Index n = options.num_experts, k = options.k, m = bit_bias.size() / k;
  const auto affine = [&](const Matrix<S>& weight, const Matrix<S>& bias, Index h, Index b) {
    Real sum = Real(bias(h, 0));
    for (Index i = 0; i < x.rows(); ++i) sum += Real(weight(i, h)) * Real(x(i, b));
    return sum;
  };
  Matrix<double> result(n, x.cols());
  for (Index b = 0; b < x.cols(); ++b) {
    std::vector<Real> mixture;
    for (Index j = 0; j < k; ++j) mixture.push_back(affine(mixture_weight, mixture_bias, j, b));
    mixture = softmax(mixture, std::vector<bool>(std::size_t(k), true));
    for (Index i = 0; i < n; ++i) {
      Real sum = 0;
      for (Index j = 0; j < k; ++j) {
        Real product = mixture[std::size_t(j)];
        for (Index t = 0; t < m; ++t) {
          const Real s =
              smooth_step(affine(bit_weight, bit_bias, j * m + t, b), Real(options.gamma));
          product *= ((i >> (m - 1 - t)) & 1) != 0 ? s : 1 - s;
        }
        sum += product;
      }
      result(i, b) = double(sum);
    }
  }
  return result;
}

/// \brief softmax over the k largest of given logits; ties go to the smaller index.
[[nodiscard]] inline std::vector<Real> top_k_weights(const std::vector<Real>& logits, Index k) {
  std::vector<bool> selected(logits.size());
  for (Index round = 0; round < k; ++round) {
    std::size_t best = logits.size();
    for (std::size_t i = 0; i < logits.size(); ++i)
      if (!selected[i] && (best == logits.size() || logits[i] > logits[best])) best = i;
    selected[best] = true;
  }
  return softmax(logits, selected);
}

/// \brief L normalisations of rows, then columns, of exp(U / tau), in the log domain.
[[nodiscard]] inline Matrix<double> sinkhorn(const Matrix<double>& u, double tau, Index count) {
  const Index n = u.rows();
  std::vector<Real> a(std::size_t(n * n));
  const auto at = [&](Index i, Index j) -> Real& { return a[std::size_t(i * n + j)]; };
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) at(i, j) = Real(u(i, j)) / Real(tau);
  const auto normalise = [&](bool rows) {
    for (Index i = 0; i < n; ++i) {
      const auto cell = [&](Index j) -> Real& { return rows ? at(i, j) : at(j, i); };
      Real largest = cell(0), sum = 0;
      for (Index j = 0; j < n; ++j) largest = std::max(largest, cell(j));
      for (Index j = 0; j < n; ++j) sum += std::exp(cell(j) - largest);
      for (Index j = 0; j < n; ++j) cell(j) -= largest + std::log(sum);
    }
  };
  for (Index step = 0; step < count; ++step) {
    normalise(true);
    normalise(false);
  }
  Matrix<double> result(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) result(i, j) = double(std::exp(at(i, j)));
  return result;
}

/// \brief The least cost of all assignments, by trying them; rows <= columns <= 8.
[[nodiscard]] inline double least_cost(const Matrix<double>& cost) {
  std::vector<Index> order(std::size_t(cost.cols()));
  std::iota(order.begin(), order.end(), 0);
  double least = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (Index i = 0; i < cost.rows(); ++i) sum += cost(i, order[std::size_t(i)]);
    least = std::min(least, sum);
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

}  // namespace comet::test::reference
