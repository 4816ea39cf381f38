// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/frozen.hpp>
#include <comet/kernels/affine_map.hpp>
#include <comet/kernels/dropout.hpp>

namespace comet {

/// Settings of a DenseExpert, with defaults where there is a sensible one.
struct DenseExpertOptions {
  Index input_dim = 0;                       ///< d >= 1
  Index output_dim = 0;                      ///< m >= 1
  Activation activation = Activation::relu;  ///< applied to weight^T x + bias
  double dropout = 0.0;                      ///< rate in [0, 1), training only; not with identity
};

/// \brief Expert f(x) = dropout(activation(W^T x + b)), the dense expert of the COMET paper.
///
/// Kept units are scaled by 1 / (1 - dropout) in training, so that inference needs no factor.
/// \tparam S  float or double
/// \see MoeLayer, TrainableExpert
template <class S>
class DenseExpert {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  /// The backward pass reads the output, not the input.
  static constexpr bool reads_input_back = false;
  using Options = DenseExpertOptions;  ///< Settings of the constructor.

  /// Weights uniform in +-sqrt(6 / (d + m)) (Glorot and Bengio, 2010), bias 0.
  /// \throws std::invalid_argument if a size is < 1, the dropout rate is outside [0, 1), or
  ///         dropout is asked for with identity
  DenseExpert(DenseExpertOptions options, RandomKey key)
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
  [[nodiscard]] const DenseExpertOptions& options() const noexcept { return options_; }
  /// Weights, in x out.
  [[nodiscard]] const Matrix<S>& weight() const noexcept { return map_.weight(); }
  /// Biases, one per output.
  [[nodiscard]] const Matrix<S>& bias() const noexcept { return map_.bias(); }

  /// \brief y = f(x) without dropout. \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> /*cache*/) const {
    map_.forward(x, y);
  }

  /// \brief y = f(x) with dropout; `tile` tells which sample a column is.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    map_.forward(x, y, cache);
    const detail::Dropout dropout(options_.dropout);
    if (!dropout.active()) return;
    for (std::size_t c = 0; c < tile.samples.size(); ++c) {
      const RandomKey key = tile.key_of(c);
      dropout.apply(key, y.col(Index(c)).data(), output_dim());
      if (map_.keeps_slope()) dropout.apply(key, cache.col(Index(c)).data(), output_dim());
    }
  }

  /// \brief Turns dy into the gradient before the activation, in place, and adds dx += W dz.
  /// \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& y,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    map_.back_through_activation(y, cache, detail::Dropout(options_.dropout).template scale<S>(),
                                 dy);
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

  /// \brief The same without training. \throws NotFinite naming a parameter that is not finite
  [[nodiscard]] FrozenExpert<S> freeze(Storage storage = Storage::full) const {
    return FrozenExpert<S>({{"", {weight(), bias(), options_.activation, storage}}});
  }

  /// Calls f(name, parameter) for weight and bias.
  template <class F>
  void visit(F&& f) const {
    map_.visit(f);
  }

 private:
  static DenseExpertOptions validated(const DenseExpertOptions& options) {
    detail::check_at_least("DenseExpert", "input_dim", options.input_dim, 1);
    detail::check_at_least("DenseExpert", "output_dim", options.output_dim, 1);
    detail::check_rate("DenseExpert", "dropout", options.dropout);
    if (options.dropout > 0 && options.activation == Activation::identity)
      detail::raise("DenseExpert", "dropout", options.dropout, "0 if the activation is identity");
    return options;
  }

  DenseExpertOptions options_;
  detail::AffineMap<S> map_;
};

}  // namespace comet
