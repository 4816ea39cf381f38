// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/functions.hpp>

/// \file
/// \brief Soft permutations: Sinkhorn's normalisation with its exact derivative, and the entropy
/// that pulls soft permutations towards hard ones.

namespace comet {

/// Settings of a Sinkhorn.
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
/// scaling would leave [1e-50, 1e50], the reference moves to the potentials reached, exactly, in
/// the log domain (Schmitzer, SIAM J. Sci. Comput. 41(3), 2019). Elements of K below 1e-200 are 0:
/// what they could add is below 1e-100, and elements of P that small may come out as 0.
///
/// The derivative is that of the L iterations as run, not of their limit.
///
/// \par Cost
/// 2 L products of a vector with K forward; as many, and as many rank-1 updates, backward; n^2
/// exponentials for each place of the reference, of which one to three were seen for temperatures
/// from 1 to 1e-7. Memory is 4 n^2 + 2 L n + 2 n m numbers for m <= 2 L places: the scalings of
/// every half-step are kept, the matrices between are not. A call allocates only if it needs more
/// than those before.
///
/// \par Threads
/// One object per thread.
/// \tparam S  double: a parameter so that only files that normalise compile it
template <class S = double>
class BasicSinkhorn {
  static_assert(std::is_same_v<S, double>, "comet::BasicSinkhorn: small temperatures need double");

 public:
  using ConstMap = Eigen::Map<const Matrix<S>>;  ///< A read-only view of an n x n matrix.

  /// \param log_weights U, n x n, row = gate slot, column = expert; n may be 0
  /// \return P, n x n, valid until the next call
  /// \throws std::invalid_argument if U is not square, tau is not a finite number > 0 or too small
  /// for U / tau to be finite, or L < 1
  /// \throws NotFinite naming the first element of U that is not finite
  ConstMap forward(const ConstMatrixView<S>& log_weights, const SinkhornOptions& options) {
    constexpr auto where = "Sinkhorn::forward";
    detail::check_equal(where, "log_weights.cols()", log_weights.cols(), "log_weights.rows()",
                        log_weights.rows());
    detail::check_positive(where, "temperature", options.temperature);
    detail::check_at_least(where, "iterations", options.iterations, 1);
    detail::check_finite<S>(where, "log_weights", log_weights);
    if (log_weights.size() > 0 &&
        !std::isfinite(log_weights.cwiseAbs().maxCoeff() / options.temperature))
      detail::raise(where, "temperature", options.temperature,
                    "large enough for log_weights / temperature to be finite");
    n_ = log_weights.rows();
    temperature_ = options.temperature;
    half_steps_ = 2 * options.iterations;
    resize();
    square(scaled_) = log_weights / temperature_;

    for (Index h = 0; h < half_steps_; ++h) {
      if (h > 0) {
        reference_of_.push_back(reference_);
        if (normalise(h)) continue;
        reference_of_.pop_back();
      }
      add_reference(h);
      reference_of_.push_back(reference_);
      normalise(h);
    }
    const Index last = half_steps_ - 1;
    square(soft_) = opposite(last).asDiagonal() * square(kernel_) * scaling(last).asDiagonal();
    return soft();
  }

  /// P of the last `forward`.
  [[nodiscard]] ConstMap soft() const { return {soft_.data(), n_, n_}; }

  /// \brief Gradient of a loss with respect to U, after `forward`.
  /// \param grad_soft dloss/dP, n x n
  /// \param grad_log_weights n x n; dloss/dU is added to it
  /// \throws std::invalid_argument if a size differs from that of the last `forward`
  void backward(const ConstMatrixView<S>& grad_soft, MatrixView<S> grad_log_weights) {
    constexpr auto where = "Sinkhorn::backward";
    detail::check_equal(where, "grad_soft.rows()", grad_soft.rows(), "n", n_);
    detail::check_equal(where, "grad_soft.cols()", grad_soft.cols(), "n", n_);
    detail::check_equal(where, "grad_log_weights.rows()", grad_log_weights.rows(), "n", n_);
    detail::check_equal(where, "grad_log_weights.cols()", grad_log_weights.cols(), "n", n_);

    // P = exp(A - u - v) by itself. From here on du and dv are dloss/du and dloss/dv of the
    // half-step in hand, and every softmax matrix diag(a) K diag(b) of the backward pass adds to
    // dloss/dA. Those that share a kernel are summed up as scalings, K o sum(x y^T), and multiplied
    // by K once.
    auto du = vector(grad_row_);
    auto dv = vector(grad_column_);
    auto x = vector(scratch_);
    auto outer = square(outer_);
    outer = soft().cwiseProduct(grad_soft);
    du = -outer.rowwise().sum();
    dv = -outer.colwise().sum().transpose();
    grad_log_weights += outer / temperature_;
    outer.setZero();
    const auto collect = [&] {
      grad_log_weights += square(kernel_).cwiseProduct(outer) / temperature_;
      outer.setZero();
    };

    for (Index h = half_steps_ - 1; h >= 0; --h) {
      if (reference_of(h) != reference_) {
        collect();
        build_kernel(reference_of(h));
      }
      const auto mine = scaling(h);
      const auto other = opposite(h);
      if (is_row_step(h)) {  // u = logsumexp over columns of A - 1 v^T
        x = mine.cwiseProduct(du);
        outer.noalias() += x * other.transpose();
        dv.noalias() = square(kernel_).transpose() * x;
        dv = -dv.cwiseProduct(other);
        du.setZero();
      } else {  // v = logsumexp over rows of A - u 1^T
        x = mine.cwiseProduct(dv);
        outer.noalias() += other * x.transpose();
        dv.noalias() = square(kernel_) * x;
        du -= dv.cwiseProduct(other);
      }
    }
    collect();
  }

  /// In how many places the last `forward` put its reference, each of n^2 exponentials.
  [[nodiscard]] Index reference_count() const {
    return n_ == 0 ? 0 : static_cast<Index>(references_.size()) / (2 * n_);
  }

 private:
  static constexpr double scaling_limit = 1e50;
  static constexpr double least_element = 1e-200;

  using VectorMap = Eigen::Map<Vector<S>>;
  using MatrixMap = Eigen::Map<Matrix<S>>;

  MatrixMap square(AlignedVector<S>& storage) const { return {storage.data(), n_, n_}; }
  VectorMap vector(AlignedVector<S>& storage) const { return {storage.data(), n_}; }

  static bool is_row_step(Index h) { return h % 2 == 0; }
  [[nodiscard]] Index reference_of(Index h) const {
    return reference_of_[static_cast<std::size_t>(h)];
  }
  /// The scaling that half-step h computed: of rows if h is even, of columns if it is odd.
  VectorMap scaling(Index h) { return {scalings_.data() + h * n_, n_}; }
  /// The scaling of the other side at half-step h: 1 where the reference has just moved there.
  VectorMap opposite(Index h) {
    return h > 0 && reference_of(h - 1) == reference_of(h) ? scaling(h - 1) : vector(ones_);
  }
  VectorMap row_reference(Index r) { return {references_.data() + 2 * r * n_, n_}; }
  VectorMap column_reference(Index r) { return {references_.data() + (2 * r + 1) * n_, n_}; }

  void resize() {
    const auto n = static_cast<std::size_t>(n_);
    for (auto* storage : {&scaled_, &kernel_, &soft_, &outer_}) storage->resize(n * n);
    for (auto* storage : {&grad_row_, &grad_column_, &scratch_}) storage->resize(n);
    ones_.assign(n, 1.0);
    scalings_.resize(n * static_cast<std::size_t>(half_steps_));
    references_.clear();
    reference_of_.clear();
    reference_of_.reserve(static_cast<std::size_t>(half_steps_));
    reference_ = -1;
  }

  /// Computes the scaling of half-step h; false if it leaves the range that keeps K exact.
  bool normalise(Index h) {
    auto sums = scaling(h);
    if (is_row_step(h))
      sums.noalias() = square(kernel_) * opposite(h);
    else
      sums.noalias() = square(kernel_).transpose() * opposite(h);
    const bool in_range =
        n_ == 0 || (sums.minCoeff() >= 1 / scaling_limit && sums.maxCoeff() <= scaling_limit);
    if (in_range) sums = sums.cwiseInverse();
    return in_range;
  }

  /// Moves the reference for half-step h: to the potential reached on the other side and, on the
  /// side to be normalised, to the largest remaining exponent, so that every sum is in [1, n].
  void add_reference(Index h) {
    const Index next = reference_ + 1;
    references_.resize(references_.size() + 2 * static_cast<std::size_t>(n_));
    auto rows = row_reference(next);
    auto columns = column_reference(next);
    const auto scaled = square(scaled_);
    if (is_row_step(h)) {
      if (h == 0)
        columns.setZero();
      else
        columns = column_reference(reference_).array() - scaling(h - 1).array().log();
      rows.setConstant(-std::numeric_limits<S>::infinity());
      for (Index j = 0; j < n_; ++j) rows = rows.array().max(scaled.col(j).array() - columns(j));
    } else {
      rows = row_reference(reference_).array() - scaling(h - 1).array().log();
      for (Index j = 0; j < n_; ++j) columns(j) = (scaled.col(j) - rows).maxCoeff();
    }
    build_kernel(next);
  }

  void build_kernel(Index reference) {
    reference_ = reference;
    const auto rows = row_reference(reference).array();
    const auto columns = column_reference(reference).array();
    // exp of less than -461 is below least_element, which the subtraction turns into an exact 0
    // (and changes nothing above 1e-184): no denormal numbers, no branches.
    for (Index j = 0; j < n_; ++j)
      square(kernel_).col(j) =
          (((square(scaled_).col(j).array() - rows - columns(j)).max(-461.0)).exp() - least_element)
              .max(0.0);
  }

  Index n_ = 0;
  double temperature_ = 1;
  Index half_steps_ = 0;
  Index reference_ = -1;             ///< the reference of which kernel_ is built
  AlignedVector<S> scaled_;          ///< A = U / tau
  AlignedVector<S> kernel_;          ///< K of one reference
  AlignedVector<S> soft_;            ///< P
  AlignedVector<S> outer_;           ///< sum of outer products that K is yet to multiply
  AlignedVector<S> scalings_;        ///< n per half-step
  AlignedVector<S> references_;      ///< r and c, 2 n per reference
  std::vector<Index> reference_of_;  ///< of every half-step
  AlignedVector<S> grad_row_;
  AlignedVector<S> grad_column_;
  AlignedVector<S> scratch_;
  AlignedVector<S> ones_;
};

/// \brief The one in use.
using Sinkhorn = BasicSinkhorn<>;

namespace detail {

/// Some rows of a column of a matrix; sums over columns live in such blocks, without scratch
/// memory.
template <class S>
using RowBlock = Eigen::Array<S, Eigen::Dynamic, 1, Eigen::ColMajor, 16, 1>;

template <class S>
RowBlock<S> entropy_slope(const RowBlock<S>& q) {
  return -(q + entropy_epsilon).log() - q / (q + entropy_epsilon);
}

}  // namespace detail

/// \brief The penalty that drives a soft permutation towards a hard one: H(P) + H(R), where R is P
/// with rows normalised and H(Q) = sum of -Q log(Q + 1e-6) (Ibrahim et al., COMET, KDD 2023).
///
/// Close to 0 for a permutation (-2 n 1e-6 exactly, by the 1e-6), 2 n log n for a uniform matrix.
/// \param soft n x n, elements >= 0; a row of zeros adds nothing
/// \par Cost 2 n^2 logarithms
template <class S = double>
[[nodiscard]] S permutation_entropy(const ConstMatrixView<std::type_identity_t<S>>& soft) {
  using RowBlock = detail::RowBlock<S>;
  S entropy = 0;
  for (Index first = 0; first < soft.rows(); first += RowBlock::MaxRowsAtCompileTime) {
    const Index rows = std::min<Index>(RowBlock::MaxRowsAtCompileTime, soft.rows() - first);
    const auto block = soft.middleRows(first, rows).array();
    RowBlock sum = RowBlock::Zero(rows);
    for (Index j = 0; j < soft.cols(); ++j) sum += block.col(j);
    const RowBlock inverse = sum.max(std::numeric_limits<double>::min()).inverse();
    RowBlock total = RowBlock::Zero(rows);
    for (Index j = 0; j < soft.cols(); ++j) {
      const RowBlock p = block.col(j);
      const RowBlock r = p * inverse;
      total -= p * (p + entropy_epsilon).log() + r * (r + entropy_epsilon).log();
    }
    entropy += total.sum();
  }
  return entropy;
}

/// \brief Adds scale * d(permutation_entropy)/dP to a gradient.
/// \param soft n x n, elements >= 0
/// \param scale weight of the penalty in the loss
/// \param grad_soft n x n, added to
/// \throws std::invalid_argument if the sizes differ
/// \par Cost 3 n^2 logarithms
template <class S = double>
void add_permutation_entropy_gradient(const ConstMatrixView<std::type_identity_t<S>>& soft,
                                      std::type_identity_t<S> scale,
                                      MatrixView<std::type_identity_t<S>> grad_soft) {
  using RowBlock = detail::RowBlock<S>;
  const auto entropy_slope = [](const RowBlock& q) { return detail::entropy_slope<S>(q); };
  constexpr auto where = "add_permutation_entropy_gradient";
  detail::check_equal(where, "grad_soft.rows()", grad_soft.rows(), "soft.rows()", soft.rows());
  detail::check_equal(where, "grad_soft.cols()", grad_soft.cols(), "soft.cols()", soft.cols());
  for (Index first = 0; first < soft.rows(); first += RowBlock::MaxRowsAtCompileTime) {
    const Index rows = std::min<Index>(RowBlock::MaxRowsAtCompileTime, soft.rows() - first);
    const auto block = soft.middleRows(first, rows).array();
    RowBlock sum = RowBlock::Zero(rows);
    for (Index j = 0; j < soft.cols(); ++j) sum += block.col(j);
    const RowBlock inverse = sum.max(std::numeric_limits<double>::min()).inverse();
    // R = P / sum: dH/dP = (h'(R) - sum over columns of h'(R) R) / sum.
    RowBlock mean = RowBlock::Zero(rows);
    for (Index j = 0; j < soft.cols(); ++j) {
      const RowBlock r = block.col(j) * inverse;
      mean += entropy_slope(r) * r;
    }
    for (Index j = 0; j < soft.cols(); ++j) {
      const RowBlock p = block.col(j);
      const RowBlock r = p * inverse;
      grad_soft.col(j).segment(first, rows).array() +=
          scale * (entropy_slope(p) + (entropy_slope(r) - mean) * inverse);
    }
  }
}

}  // namespace comet
