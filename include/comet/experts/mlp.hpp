// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/frozen.hpp>
#include <comet/kernels/affine.hpp>
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
        hidden_weight_(options.input_dim, options.hidden_dim),
        hidden_bias_({options.hidden_dim}),
        output_weight_(options.hidden_dim, options.output_dim),
        output_bias_({options.output_dim}) {
    initialize(hidden_weight_, key.fold(0));
    initialize(output_weight_, key.fold(1));
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of hidden units h.
  [[nodiscard]] Index hidden_dim() const noexcept { return options_.hidden_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// Hidden units above, then derivatives by them before the activation, then its own if it is
  /// kept.
  [[nodiscard]] Index cache_dim() const noexcept { return (keeps_slope() ? 3 : 2) * hidden_dim(); }
  /// Multiply-adds of a column: h (d + m).
  [[nodiscard]] double cost() const noexcept {
    return double(hidden_dim()) * double(input_dim() + output_dim());
  }
  /// The settings in use.
  [[nodiscard]] const MlpExpertOptions& options() const noexcept { return options_; }

  /// \brief y = f(x) without dropout. \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    auto hidden = cache.topRows(hidden_dim());
    detail::affine_forward(hidden_weight_, hidden_bias_, options_.activation, x, hidden);
    detail::affine_forward(output_weight_, output_bias_, Activation::identity, hidden, y);
  }

  /// \brief y = f(x) with dropout; `tile` tells which sample a column is.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    auto hidden = cache.topRows(hidden_dim());
    auto slope = cache.bottomRows(keeps_slope() ? hidden_dim() : 0);
    detail::affine_forward(hidden_weight_, hidden_bias_, options_.activation, x, hidden, slope);
    const detail::Dropout dropout(options_.dropout);
    if (dropout.active())
      for (std::size_t c = 0; c < tile.samples.size(); ++c) {
        const RandomKey key = tile.key_of(c);
        dropout.apply(key, hidden.col(Index(c)).data(), hidden_dim());
        if (keeps_slope()) dropout.apply(key, slope.col(Index(c)).data(), hidden_dim());
      }
    detail::affine_forward(output_weight_, output_bias_, Activation::identity, hidden, y);
  }

  /// \brief Leaves the gradient before the hidden activation in the cache and adds to dx.
  /// \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*y*/,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    const auto hidden = cache.topRows(hidden_dim());
    auto dhidden = cache.middleRows(hidden_dim(), hidden_dim());
    detail::product<false>(dhidden, output_weight_, dy);
    if (keeps_slope()) {
      dhidden.array() *= cache.bottomRows(hidden_dim()).array();
    } else {
      detail::activation_backward(options_.activation,
                                  detail::Dropout(options_.dropout).template scale<S>(), hidden,
                                  dhidden);
    }
    if (dx.size() > 0) detail::product<true>(dx, hidden_weight_, dhidden);
  }

  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const { return hidden_slices() + output_slices(); }

  /// \brief Adds one slice of the parameter gradients; cache and dy as backward_columns() left
  /// them.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& cache,
                            const ConstMatrixView<S>& dy, Index slice,
                            GradientView<S> gradients) const {
    const auto add = [&](Index tensor, const auto& in, const auto& dz, Index i) {
      const Index first = i * detail::units_per_slice;
      detail::affine_accumulate(in, dz, first, std::min(detail::units_per_slice, dz.rows() - first),
                                gradients[tensor], gradients[tensor + 1]);
    };
    if (slice < hidden_slices()) {
      add(0, x, cache.middleRows(hidden_dim(), hidden_dim()), slice);
    } else {
      add(2, cache.topRows(hidden_dim()), dy, slice - hidden_slices());
    }
  }

  /// \brief The same without training. \throws NotFinite naming a parameter that is not finite
  [[nodiscard]] FrozenExpert<S> freeze(Storage storage = Storage::full) const {
    return FrozenExpert<S>(
        {{"hidden", {hidden_weight_, hidden_bias_, options_.activation, storage}},
         {"output", {output_weight_, output_bias_, Activation::identity, storage}}});
  }

  /// Calls f(name, parameter): hidden.weight, hidden.bias, output.weight, output.bias.
  template <class F>
  void visit(F&& f) const {
    const ParameterName weight("weight"), bias("bias");
    f(ParameterName("hidden", weight), hidden_weight_);
    f(ParameterName("hidden", bias), hidden_bias_);
    f(ParameterName("output", weight), output_weight_);
    f(ParameterName("output", bias), output_bias_);
  }

 private:
  [[nodiscard]] bool keeps_slope() const { return detail::keeps_slope(options_.activation); }

  static MlpExpertOptions validated(const MlpExpertOptions& options) {
    detail::check_at_least("MlpExpert", "input_dim", options.input_dim, 1);
    detail::check_at_least("MlpExpert", "hidden_dim", options.hidden_dim, 1);
    detail::check_at_least("MlpExpert", "output_dim", options.output_dim, 1);
    detail::check_rate("MlpExpert", "dropout", options.dropout);
    if (options.activation == Activation::identity)
      detail::raise("MlpExpert", "the activation is identity, expected relu, gelu or silu");
    return options;
  }

  static void initialize(Parameter<S>& weight, RandomKey key) {
    const double bound = std::sqrt(6.0 / double(weight.rows() + weight.cols()));
    key.fill_uniform(weight, -bound, bound);
  }

  [[nodiscard]] Index hidden_slices() const { return detail::num_slices(hidden_dim()); }
  [[nodiscard]] Index output_slices() const { return detail::num_slices(output_dim()); }

  MlpExpertOptions options_;
  Parameter<S> hidden_weight_;  // d x h
  Parameter<S> hidden_bias_;    // h
  Parameter<S> output_weight_;  // h x m
  Parameter<S> output_bias_;    // m
};

}  // namespace comet
