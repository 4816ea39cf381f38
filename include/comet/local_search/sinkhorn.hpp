// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <Eigen/Core>

#include <comet/detail/check.hpp>
#include <comet/types.hpp>

/// \file
/// \brief Soft permutations: Sinkhorn's normalisation with its exact derivative, and the entropy that
/// pulls soft permutations towards hard ones.

namespace comet {

struct SinkhornOptions {
  double temperature = 1.0;  ///< tau > 0
  Index iterations = 20;     ///< L >= 1, each of one row and one column normalisation
};

/// \brief A soft permutation from free parameters: rows and columns of exp(U / tau) are normalised
/// in turn, L times, rows first (Mena et al., Gumbel-Sinkhorn, ICLR 2018).
///
/// With A = U / tau: u = logsumexp over columns of A - 1 v^T, then v = logsumexp over rows of
/// A - u 1^T, from v = 0; P = exp(A - u 1^T - 1 v^T). Columns sum to 1; rows do in the limit of
/// large L only, and sum to at least 1 / n always.
///
/// The values are those of the log domain, which small temperatures need (|U / tau| reaches 1e6),
/// without its n^2 exponentials per normalisation: a kernel K = exp(A - r 1^T - 1 c^T) is kept for
/// reference potentials r and c, and normalising only rescales it, P = diag(a) K diag(b). Where a
/// scaling would leave [1e-50, 1e50], the reference moves to the potentials reached, exactly, in the
/// log domain (Schmitzer, SIAM J. Sci. Comput. 41(3), 2019). Elements of K below 1e-200 are 0: what
/// they could add is below 1e-100, and elements of P that small may come out as 0.
///
/// The derivative is that of the L iterations as run, not of their limit.
///
/// \par Cost
/// 2 L products of a vector with K forward; as many, and as many rank-1 updates, backward; n^2
/// exponentials for each move of the reference (a few at tau = 1e-3, some tens at 1e-7).
/// Memory is 4 n^2 + 2 L n + 2 n m numbers for m moves, m <= 2 L: the scalings of every half-step
/// are kept, the matrices between are not. A call allocates only if it needs more than those before.
/// \par Threads
/// One object per thread.
class Sinkhorn {
 public:
  using ConstMap = Eigen::Map<const Matrix<double>>;

  /// \param log_weights U, n x n, row = gate slot, column = expert; n may be 0
  /// \return P, n x n, valid until the next call
  /// \throws std::invalid_argument if U is not square, U / tau is not finite, tau is not a finite
  /// number > 0, or L < 1
  ConstMap forward(const ConstMatrixView<double>& log_weights, const SinkhornOptions& options) {
    constexpr auto where = "Sinkhorn::forward";
    detail::check_equal(where, "log_weights.cols()", log_weights.cols(), "log_weights.rows()",
                        log_weights.rows());
    detail::check_positive(where, "temperature", options.temperature);
    detail::check_at_least(where, "iterations", options.iterations, 1);
    detail::check_finite<double>(where, "log_weights / temperature",
                                 log_weights / options.temperature);
    n_ = log_weights.rows();
    temperature_ = options.temperature;
    half_steps_ = 2 * options.iterations;
    reserve();
    square(scaled_) = log_weights / temperature_;
    if (n_ == 0) return soft();

    half_step_reference_.clear();
    references_.clear();
    for (Index h = 0; h < half_steps_; ++h) {
      auto sums = scaling(h);
      if (h == 0 || !normalise(h, sums)) {
        move_reference(h);
        half_step_reference_.push_back(reference_count() - 1);
        normalise(h, sums);
      }
    }
    const Index last = half_steps_ - 1;
    square(soft_) = rows_at(last).asDiagonal() * square(kernel_) * columns_at(last).asDiagonal();
    return soft();
  }
