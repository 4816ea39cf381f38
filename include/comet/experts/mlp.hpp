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

/// Settings of a MlpExpert, with defaults where there is a sensible one.
struct MlpExpertOptions {
  Index input_dim = 0;                       ///< d >= 1
  Index hidden_dim = 0;                      ///< h >= 1
  Index output_dim = 0;                      ///< m >= 1
  double dropout = 0.0;                      ///< rate in [0, 1) on the hidden units, training only
  Activation activation = Activation::relu;  ///< of the hidden units: relu, gelu or silu
};

/// \brief Expert f(x) = V^T dropout(activation(W^T x + b)) + c, the feed-forward block of
/// transformers.
///
/// Kept units are scaled by 1 / (1 - dropout) in training, so that inference needs no factor.
///
/// \par Cost  h (d + m) multiply-adds per sample, backward twice that; in training 2 h scalars per
///            sample: the hidden units and their derivatives; 3 h with gelu and silu
/// \tparam S  float or double
/// \see MoeLayer, TrainableExpert, DenseExpert
template <class S>
class MlpExpert {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  /// The backward pass reads the output, not the input.
  static constexpr bool reads_input_back = false;
  using Options = MlpExpertOptions;  ///< Settings of the constructor.

  /// Weights uniform in +-sqrt(6 / (in + out)) of their map (Glorot and Bengio, 2010), biases 0.
  /// \throws std::invalid_argument if a size is < 1, the dropout rate is outside [0, 1), or the
  ///         activation is identity
  MlpExpert(MlpExpertOptions options, RandomKey key)
      : options_(validated(options)),
        hidden_(options.input_dim, options.hidden_dim, options.activation, key.fold(0)),
        output_(options.hidden_dim, options.output_dim, Activation::identity, key.fold(1)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of hidden units h.
  [[nodiscard]] Index hidden_dim() const noexcept { return options_.hidden_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// Hidden units above, then derivatives by them before the activation, then its own if it is
  /// kept.
  [[nodiscard]] Index cache_dim() const noexcept {
    return (hidden_.keeps_slope() ? 3 : 2) * hidden_dim();
  }
  /// Multiply-adds of a column: h (d + m).
  [[nodiscard]] double cost() const noexcept { return hidden_.cost() + output_.cost(); }
  /// The settings in use.
  [[nodiscard]] const MlpExpertOptions& options() const noexcept { return options_; }

  /// \brief y = f(x) without dropout. \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    auto hidden = cache.topRows(hidden_dim());
    hidden_.forward(x, hidden);
    output_.forward(hidden, y);
  }

  /// \brief y = f(x) with dropout; `tile` tells which sample a column is.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    auto hidden = cache.topRows(hidden_dim());
    auto slope = cache.bottomRows(hidden_.keeps_slope() ? hidden_dim() : 0);
    hidden_.forward(x, hidden, slope);
    const detail::Dropout dropout(options_.dropout);
    if (dropout.active())
      for (std::size_t c = 0; c < tile.samples.size(); ++c) {
        const RandomKey key = tile.key_of(c);
        dropout.apply(key, hidden.col(Index(c)).data(), hidden_dim());
        if (hidden_.keeps_slope()) dropout.apply(key, slope.col(Index(c)).data(), hidden_dim());
      }
    output_.forward(hidden, y);
  }

  /// \brief Leaves the gradient before the hidden activation in the cache and adds to dx.
  /// \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*y*/,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    const auto hidden = cache.topRows(hidden_dim());
    auto dhidden = cache.middleRows(hidden_dim(), hidden_dim());
    detail::product<false>(dhidden, output_.weight(), dy);
    hidden_.back_through_activation(hidden, cache.bottomRows(hidden_dim()),
                                    detail::Dropout(options_.dropout).template scale<S>(), dhidden);
    hidden_.back_to_input(dhidden, dx);
  }

  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const { return hidden_.num_slices() + output_.num_slices(); }

  /// \brief Adds one slice of the parameter gradients; cache and dy as backward_columns() left
  /// them.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& cache,
                            const ConstMatrixView<S>& dy, Index slice,
                            GradientView<S> gradients) const {
    if (slice < hidden_.num_slices()) {
      hidden_.accumulate(x, cache.middleRows(hidden_dim(), hidden_dim()), slice,
                         gradients.middle(0, 2));
    } else {
      output_.accumulate(cache.topRows(hidden_dim()), dy, slice - hidden_.num_slices(),
                         gradients.middle(2, 2));
    }
  }

  /// \brief The same without training. \throws NotFinite naming a parameter that is not finite
  [[nodiscard]] FrozenExpert<S> freeze(Storage storage = Storage::full) const {
    return FrozenExpert<S>(
        {{"hidden", {hidden_.weight(), hidden_.bias(), options_.activation, storage}},
         {"output", {output_.weight(), output_.bias(), Activation::identity, storage}}});
  }

  /// Calls f(name, child): hidden.weight, hidden.bias, output.weight, output.bias.
  template <class F>
  void visit(F&& f) const {
    f("hidden", hidden_);
    f("output", output_);
  }

 private:
  static MlpExpertOptions validated(const MlpExpertOptions& options) {
    detail::check_at_least("MlpExpert", "input_dim", options.input_dim, 1);
    detail::check_at_least("MlpExpert", "hidden_dim", options.hidden_dim, 1);
    detail::check_at_least("MlpExpert", "output_dim", options.output_dim, 1);
    detail::check_rate("MlpExpert", "dropout", options.dropout);
    if (options.activation == Activation::identity)
      detail::raise("MlpExpert", "the activation is identity, expected relu, gelu or silu");
    return options;
  }

  MlpExpertOptions options_;
  detail::AffineMap<S> hidden_;
  detail::AffineMap<S> output_;
};

}  // namespace comet
