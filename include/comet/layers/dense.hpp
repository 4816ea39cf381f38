// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/affine_map.hpp>
#include <comet/layers/detail/column_layer.hpp>

namespace comet {

/// Settings of a Dense layer.
struct DenseOptions {
  Index input_dim = 0;                           ///< d >= 1
  Index output_dim = 0;                          ///< m >= 1
  Activation activation = Activation::identity;  ///< What the affine function goes through.
};

/// \brief Layer y = activation(W^T x + b) over a whole batch.
///
/// \code
///   layer.forward(x, y, key, pass);
///   layer.backward(x, y, dy, dx, pass);   // adds to dx and to pass.gradients(layer)
/// \endcode
///
/// It is a ColumnFunction too: an expert by itself, or a part of a Chain.
///
/// \par Cost     d m multiply-adds per sample; backward twice that
/// \par Threads  const; those of the pass share the work. In predict() and forward() a sample's
///               bits depend neither on its batch nor on the threads.
/// \tparam S     float or double
template <class S>
class Dense {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  /// The backward pass reads the output, not the input.
  static constexpr bool reads_input_back = false;
  using Options = DenseOptions;                ///< Settings of the constructor.
  using Workspace = detail::ColumnScratch<S>;  ///< Scratch of a pass.

  /// Weights uniform in +-sqrt(6 / (d + m)) (Glorot and Bengio, 2010), bias 0.
  /// \throws std::invalid_argument if a size is < 1
  Dense(DenseOptions options, RandomKey key)
      : options_(validated(options)),
        map_(options.input_dim, options.output_dim, options.activation, key) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// Nothing is kept but the output; of gelu and silu, their derivatives.
  [[nodiscard]] Index cache_dim() const noexcept { return map_.keeps_slope() ? output_dim() : 0; }
  /// Multiply-adds of a column: d m.
  [[nodiscard]] double cost() const noexcept { return map_.cost(); }
  /// The settings in use.
  [[nodiscard]] const DenseOptions& options() const noexcept { return options_; }
  /// Weights, d x m.
  [[nodiscard]] const Matrix<S>& weight() const noexcept { return map_.weight(); }
  /// Biases, m x 1.
  [[nodiscard]] const Matrix<S>& bias() const noexcept { return map_.bias(); }

  /// \brief y = activation(W^T x + b). \param x  d x B \param y  m x B, overwritten
  /// \throws std::invalid_argument if a shape does not fit, or y overlaps x
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<Dense>& pass) const {
    detail::predict_columns("Dense::predict", *this, block_columns, x, y, pass);
  }
  /// \brief The same; nothing is random. With gelu and silu the pass keeps the derivative, so that
  /// backward() has to follow; with identity and relu it keeps nothing.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey /*key*/,
               Pass<Dense>& pass) const {
    detail::forward_columns("Dense::forward", *this, block_columns, x, y, pass);
  }

  /// \brief Adds the gradients of sum(dy . y).
  /// \param x, y  as in forward()
  /// \param dy    m x B
  /// \param dx    d x B, added to; or no_gradient
  /// \throws std::invalid_argument if a shape does not fit, or the pass holds no forward() of a
  ///         batch of this size where one is needed
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<Dense>& pass) const {
    detail::backward_columns("Dense::backward", *this, block_columns, x, y, dy, dx, pass);
  }

  /// \brief y = activation(W^T x + b) for a block of columns. \param x  d x width
  /// \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> /*cache*/) const {
    map_.forward(x, y);
  }
  /// \brief The same, keeping what backward_columns() needs. \param cache  cache_dim() x width
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& /*tile*/) const {
    map_.forward(x, y, cache);
  }
  /// \brief Turns dy into the gradient before the activation, in place, and adds dx += W dz.
  /// \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& y,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    map_.back_through_activation(y, cache, S(1), dy);
    map_.back_to_input(dy, dx);
  }
  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const { return map_.num_slices(); }
  /// \brief Adds one slice of the parameter gradients; dz as backward_columns() left it.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& /*cache*/,
                            const ConstMatrixView<S>& dz, Index slice,
                            GradientView<S> gradients) const {
    map_.accumulate(x, dz, slice, gradients);
  }

  /// Calls f(name, parameter) for weight and bias.
  template <class F>
  void visit(F&& f) const {
    map_.visit(f);
  }

 private:
  static constexpr Index block_columns = 128;

  static DenseOptions validated(const DenseOptions& options) {
    detail::check_at_least("Dense", "input_dim", options.input_dim, 1);
    detail::check_at_least("Dense", "output_dim", options.output_dim, 1);
    return options;
  }

  DenseOptions options_;
  detail::AffineMap<S> map_;
};

}  // namespace comet
