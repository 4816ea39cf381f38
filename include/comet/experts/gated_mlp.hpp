// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/frozen.hpp>
#include <comet/kernels/affine_map.hpp>
#include <comet/kernels/dropout.hpp>

namespace comet {

/// Settings of a GatedMlpExpert, with defaults where there is a sensible one.
struct GatedMlpExpertOptions {
  Index input_dim = 0;   ///< d >= 1
  Index hidden_dim = 0;  ///< h >= 1
  Index output_dim = 0;  ///< m >= 1
  double dropout = 0.0;  ///< rate in [0, 1) on the hidden units, training only
  /// SwiGLU with silu, GEGLU with gelu, ReGLU with relu, bilinear with identity.
  Activation activation = Activation::silu;
};

/// \brief Expert f(x) = V^T dropout(activation(W^T x + b) * (U^T x + e)) + c, * element by element:
/// the gated feed-forward block of today's transformers (Shazeer, GLU Variants Improve Transformer,
/// 2020, eq. 6, with biases).
///
/// Its gate is within the expert, by units; it has nothing to do with the gate that chooses
/// experts. With two thirds of the hidden units it costs what a MlpExpert does.
///
/// \par Cost  h (2 d + m) multiply-adds per sample, backward twice that; in training 4 h scalars
///            per sample
/// \tparam S  float or double
/// \see MoeLayer, TrainableExpert, MlpExpert
template <class S>
class GatedMlpExpert {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  /// The backward pass reads what is in the cache, not the input.
  static constexpr bool reads_input_back = false;
  using Options = GatedMlpExpertOptions;  ///< Settings of the constructor.

  /// Weights uniform in +-sqrt(6 / (in + out)) of their map (Glorot and Bengio, 2010), biases 0.
  /// \throws std::invalid_argument if a size is < 1 or the dropout rate is outside [0, 1)
  GatedMlpExpert(GatedMlpExpertOptions options, RandomKey key)
      : options_(validated(options)),
        hidden_(options.input_dim, options.hidden_dim, options.activation, key.fold(0)),
        factor_(options.input_dim, options.hidden_dim, Activation::identity, key.fold(1)),
        output_(options.hidden_dim, options.output_dim, Activation::identity, key.fold(2)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of hidden units h.
  [[nodiscard]] Index hidden_dim() const noexcept { return options_.hidden_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// Units, their two derivatives and the gradient by them.
  [[nodiscard]] Index cache_dim() const noexcept { return 4 * hidden_dim(); }
  /// Multiply-adds of a column: h (2 d + m).
  [[nodiscard]] double cost() const noexcept {
    return hidden_.cost() + factor_.cost() + output_.cost();
  }
  /// The settings in use.
  [[nodiscard]] const GatedMlpExpertOptions& options() const noexcept { return options_; }

  /// \brief y = f(x) without dropout. \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    const Cache kept(cache, hidden_dim());
    MatrixView<S> hidden = kept.by_factor, units = kept.units;
    hidden_.forward(x, hidden);
    factor_.forward(x, units);
    units.array() *= hidden.array();
    output_.forward(units, y);
  }

  /// \brief y = f(x) with dropout; `tile` tells which sample a column is.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    const Cache kept(cache, hidden_dim());
    MatrixView<S> hidden = kept.by_factor, slope = kept.by_hidden, units = kept.units;
    hidden_.forward(x, hidden, hidden_.keeps_slope() ? slope : no_gradient);
    if (options_.activation == Activation::relu)
      slope.array() = (hidden.array() > S(0)).template cast<S>();
    if (options_.activation == Activation::identity) slope.setOnes();
    factor_.forward(x, units);
    slope.array() *= units.array();
    units.array() *= hidden.array();
    const detail::Dropout dropout(options_.dropout);
    if (dropout.active())
      for (std::size_t c = 0; c < tile.samples.size(); ++c)
        for (MatrixView<S>* const each : {&units, &hidden, &slope})
          dropout.apply(tile.key_of(c), each->col(Index(c)).data(), hidden_dim());
    output_.forward(units, y);
  }

  /// \brief Leaves the gradients before activation and product in the cache and adds to dx.
  /// \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*y*/,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    const Cache kept(cache, hidden_dim());
    MatrixView<S> dhidden = kept.by_hidden, dfactor = kept.by_factor, dunits = kept.dunits;
    detail::product<false>(dunits, output_.weight(), dy);
    dhidden.array() *= dunits.array();
    dfactor.array() *= dunits.array();
    hidden_.back_to_input(dhidden, dx);
    factor_.back_to_input(dfactor, dx);
  }

  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const { return 2 * hidden_.num_slices() + output_.num_slices(); }

  /// \brief Adds one slice of the parameter gradients; cache and dy as backward_columns() left
  /// them.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& cache,
                            const ConstMatrixView<S>& dy, Index slice,
                            GradientView<S> gradients) const {
    const Index h = hidden_dim(), slices = hidden_.num_slices();
    if (slice < slices) {
      hidden_.accumulate(x, cache.middleRows(h, h), slice, gradients.middle(0, 2));
    } else if (slice < 2 * slices) {
      factor_.accumulate(x, cache.topRows(h), slice - slices, gradients.middle(2, 2));
    } else {
      output_.accumulate(cache.middleRows(2 * h, h), dy, slice - 2 * slices,
                         gradients.middle(4, 2));
    }
  }

  /// \brief The same without training. \throws NotFinite naming a parameter that is not finite
  [[nodiscard]] FrozenExpert<S> freeze(Storage storage = Storage::full) const {
    const auto kept = [&](const detail::AffineMap<S>& map) {
      return detail::StoredAffine<S>(map.weight(), map.bias(), map.activation(), storage);
    };
    using Map = typename FrozenExpert<S>::Map;
    return FrozenExpert<S>(
        {{"hidden", kept(hidden_), Map{"factor", kept(factor_)}}, {"output", kept(output_)}});
  }

  /// Calls f(name, child): weight and bias of hidden, factor and output.
  template <class F>
  void visit(F&& f) const {
    f("hidden", hidden_);
    f("factor", factor_);
    f("output", output_);
  }

 private:
  /// What is kept of a column. The derivative of a product by one factor is the other one: hidden
  /// units lie where the gradient by the factors will be, and the other way round.
  struct Cache {
    Cache(MatrixView<S> cache, Index h)
        : by_factor(cache.topRows(h)),
          by_hidden(cache.middleRows(h, h)),
          units(cache.middleRows(2 * h, h)),
          dunits(cache.bottomRows(h)) {}
    MatrixView<S> by_factor;  ///< derivative of the units by U^T x + e
    MatrixView<S> by_hidden;  ///< by W^T x + b
    MatrixView<S> units;      ///< what V meets
    MatrixView<S> dunits;     ///< gradient by them
  };

  static GatedMlpExpertOptions validated(const GatedMlpExpertOptions& options) {
    detail::check_at_least("GatedMlpExpert", "input_dim", options.input_dim, 1);
    detail::check_at_least("GatedMlpExpert", "hidden_dim", options.hidden_dim, 1);
    detail::check_at_least("GatedMlpExpert", "output_dim", options.output_dim, 1);
    detail::check_rate("GatedMlpExpert", "dropout", options.dropout);
    return options;
  }

  GatedMlpExpertOptions options_;
  detail::AffineMap<S> hidden_;
  detail::AffineMap<S> factor_;
  detail::AffineMap<S> output_;
};

}  // namespace comet
