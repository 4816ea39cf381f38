// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief Experts that compute nothing: a gate that may choose them decides how much a sample
/// costs.
///
/// They stand in a bank of their own behind the real ones, take part in the selection, and a sample
/// that goes to one saves a real one. Their weight stays theirs: real experts get no more for it.
///
/// \code
///   const SampledGate<float> gate({.input_dim = d, .num_experts = n + 2, .k = 2}, key);
///   const ExpertBank real(make_experts<DenseExpert<float>>(n, {...}, key));
///   const ExpertBank zero(make_experts<ZeroExpert<float>>(1, {d, m}, key), n);      // expert n
///   const ExpertBank copy(make_experts<CopyExpert<float>>(1, {d, d}, key), n + 1);  // n + 1
/// \endcode

namespace comet {

/// Settings of a ZeroExpert or a CopyExpert.
struct ConstantExpertOptions {
  Index input_dim = 0;   ///< d >= 1
  Index output_dim = 0;  ///< m >= 1, of a CopyExpert d
};

namespace detail {

/// What experts without parameters have in common.
template <class S>
class ConstantExpert {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  using Options = ConstantExpertOptions;  ///< Settings of the constructor.

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// Nothing is kept.
  [[nodiscard]] Index cache_dim() const noexcept { return 0; }
  /// No multiply-adds.
  [[nodiscard]] double cost() const noexcept { return 0; }
  /// The settings in use.
  [[nodiscard]] const ConstantExpertOptions& options() const noexcept { return options_; }

  /// There are no gradients of parameters,
  [[nodiscard]] Index num_slices() const noexcept { return 0; }
  /// and nothing to add.
  void accumulate_gradients(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*cache*/,
                            const ConstMatrixView<S>& /*dy*/, Index /*slice*/,
                            GradientView<S> /*gradients*/) const {}
  /// There are no parameters.
  template <class F>
  void visit(F&& /*f*/) const {}

 protected:
  ConstantExpert(std::string_view where, const ConstantExpertOptions& options) : options_(options) {
    check_at_least(where, "input_dim", options.input_dim, 1);
    check_at_least(where, "output_dim", options.output_dim, 1);
  }

 private:
  ConstantExpertOptions options_;
};

}  // namespace detail

/// \brief Expert f(x) = 0: a sample that goes there is dropped by as much as its weight.
/// \par Cost  none
/// \tparam S  float or double
template <class S>
class ZeroExpert : public detail::ConstantExpert<S> {
 public:
  /// \throws std::invalid_argument if a size is < 1
  explicit ZeroExpert(ConstantExpertOptions options, RandomKey /*key*/ = RandomKey(0))
      : detail::ConstantExpert<S>("ZeroExpert", options) {}

  /// \brief y = 0. \param y  m x width
  void predict(const ConstMatrixView<S>& /*x*/, MatrixView<S> y, MatrixView<S> /*cache*/) const {
    y.setZero();
  }
  /// \brief The same.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& /*tile*/) const {
    predict(x, y, cache);
  }
  /// \brief Adds nothing to dx.
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*y*/,
                        MatrixView<S> /*cache*/, MatrixView<S> /*dy*/, MatrixView<S> /*dx*/) const {
  }
};

/// \brief Expert f(x) = x: a sample that goes there stays as it is by as much as its weight.
/// \par Cost  a copy of x
/// \tparam S  float or double
template <class S>
class CopyExpert : public detail::ConstantExpert<S> {
 public:
  /// \throws std::invalid_argument if a size is < 1, or the sizes differ
  explicit CopyExpert(ConstantExpertOptions options, RandomKey /*key*/ = RandomKey(0))
      : detail::ConstantExpert<S>("CopyExpert", options) {
    detail::check_equal("CopyExpert", "output_dim", options.output_dim, "input_dim",
                        options.input_dim);
  }

  /// \brief y = x. \param x  d x width \param y  d x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> /*cache*/) const {
    y = x;
  }
  /// \brief The same.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& /*tile*/) const {
    predict(x, y, cache);
  }
  /// \brief dx += dy. \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*y*/,
                        MatrixView<S> /*cache*/, MatrixView<S> dy, MatrixView<S> dx) const {
    if (dx.size() > 0) dx += dy;
  }
};

}  // namespace comet
