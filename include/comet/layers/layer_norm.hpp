// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/layer_norm.hpp>

namespace comet {

/// Settings of a LayerNorm.
struct LayerNormOptions {
  Index input_dim = 0;          ///< d >= 1
  bool scale_and_shift = true;  ///< Whether there are parameters g and b.
  double epsilon = 1e-5;        ///< > 0, added to the variance
};

/// \brief Layer normalisation (Ba, Kiros and Hinton, 2016): every sample gets mean 0 and
/// variance 1.
///
///     n = (x - mean(x)) / sqrt(variance(x) + epsilon),   y = g . n + b
///
/// Nothing is kept for backward(), which takes x again.
///
/// \par Cost     about 8 d operations per sample forward, 20 d backward
/// \par Threads  const; those of the pass share the work. A sample's bits, and those of its
///               gradient by x, depend neither on its batch nor on the threads.
/// \tparam S     float or double
template <class S>
class LayerNorm {
 public:
  using Scalar = S;                  ///< float or double.
  using Options = LayerNormOptions;  ///< Settings of the constructor.

  /// Scratch of a pass.
  class Workspace {
    friend class LayerNorm;
    Buffer<S> normalized_;  // d x B
    Buffer<S> scaled_;      // d x B: dy . g
  };

  /// g = 1 and b = 0: nothing is random.
  /// \throws std::invalid_argument if input_dim < 1 or epsilon is not a finite number > 0
  explicit LayerNorm(LayerNormOptions options) : options_(validated(options)) {
    if (!options.scale_and_shift) return;
    scale_ = Parameter<S>({options.input_dim});
    scale_.setOnes();
    shift_ = Parameter<S>({options.input_dim});
  }

  /// Number of features d, of outputs too.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// The same.
  [[nodiscard]] Index output_dim() const noexcept { return input_dim(); }
  /// The settings in use.
  [[nodiscard]] const LayerNormOptions& options() const noexcept { return options_; }

  /// \brief y = g . n + b. \param x, y  d x B, y overwritten; may be the same matrix
  /// \throws std::invalid_argument if a shape does not fit
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<LayerNorm>& pass) const {
    run("LayerNorm::predict", x, std::move(y), pass);
  }
  /// \brief The same; nothing is random. What backward() needs is x: it must not be overwritten.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey /*key*/,
               Pass<LayerNorm>& pass) const {
    run("LayerNorm::forward", x, std::move(y), pass);
  }

  /// \brief Adds the gradients of sum(dy . y).
  /// \param x, y  as in forward(); of y only the shape is looked at
  /// \param dy    d x B
  /// \param dx    d x B, added to; or no_gradient
  /// \throws std::invalid_argument if a shape does not fit
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<LayerNorm>& pass) const {
    constexpr const char* where = "LayerNorm::backward";
    check_shapes(where, x, y, "y");
    check_shapes(where, x, dy, "dy");
    detail::check_input_gradient(where, dx, x);
    detail::check_apart(where, "dx", dx, "dy", dy);
    if (x.cols() == 0) return;
    ThreadPool* pool = threads_for(pass, x.cols());
    const Index d = input_dim();
    auto normalized = pass.workspace.normalized_.shape(d, x.cols());
    auto scaled = pass.workspace.scaled_.shape(d, x.cols());
    detail::for_each_sample(pool, x.cols(), [&](Index b) {
      const S factor = detail::normalize(d, S(options_.epsilon), S(1), x.col(b).data(),
                                         normalized.col(b).data());
      if (dx.size() == 0) return;
      scaled.col(b) = dy.col(b);
      if (scale_.size() > 0) scaled.col(b).array() *= scale_.col(0).array();
      detail::add_normalize_backward(d, S(1), factor, normalized.col(b).data(),
                                     scaled.col(b).data(), dx.col(b).data());
    });
    if (scale_.size() == 0) return;
    const GradientView<S> gradients = pass.gradients(*this);
    parallel_for(pool, (d + rows_per_slice - 1) / rows_per_slice, [&](Index slice, Index) {
      const Index first = slice * rows_per_slice;
      const Index rows = std::min(rows_per_slice, d - first);
      auto scale = gradients[0].col(0).segment(first, rows);
      auto shift = gradients[1].col(0).segment(first, rows);
      const auto dy_here = dy.middleRows(first, rows);
      const auto normalized_here = normalized.middleRows(first, rows);
      detail::add_in_runs<rows_per_slice>(x.cols(), scale, [&](auto& sum, Index b) {
        sum += dy_here.col(b).cwiseProduct(normalized_here.col(b));
      });
      detail::add_in_runs<rows_per_slice>(x.cols(), shift,
                                          [&](auto& sum, Index b) { sum += dy_here.col(b); });
    });
  }

  /// Calls f(name, parameter) for weight and bias, g and b, if there are any.
  template <class F>
  void visit(F&& f) const {
    if (!options_.scale_and_shift) return;
    f("weight", scale_);
    f("bias", shift_);
  }

 private:
  static constexpr Index rows_per_slice = 128;

  static LayerNormOptions validated(const LayerNormOptions& options) {
    detail::check_at_least("LayerNorm", "input_dim", options.input_dim, 1);
    detail::check_positive("LayerNorm", "epsilon", double(S(options.epsilon)));
    return options;
  }

  void run(std::string_view where, const ConstMatrixView<S>& x, MatrixView<S> y,
           const Pass<LayerNorm>& pass) const {
    check_shapes(where, x, y, "y");
    const Index d = input_dim();
    detail::for_each_sample(threads_for(pass, x.cols()), x.cols(), [&](Index b) {
      S* const out = y.col(b).data();
      detail::normalize(d, S(options_.epsilon), S(1), x.col(b).data(), out);
      if (scale_.size() == 0) return;
      detail::map_column(d, out, [&](auto load) {
        return detail::simd::pmadd(load(out), load(scale_.data()), load(shift_.data()));
      });
    });
  }

  void check_shapes(std::string_view where, const ConstMatrixView<S>& x,
                    const ConstMatrixView<S>& y, std::string_view name) const {
    detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
    if (y.rows() == x.rows() && y.cols() == x.cols()) [[likely]]
      return;
    detail::check_equal(where, std::string(name) + ".rows()", y.rows(), "input_dim", input_dim());
    detail::check_equal(where, std::string(name) + ".cols()", y.cols(), "x.cols()", x.cols());
  }

  ThreadPool* threads_for(const Pass<LayerNorm>& pass, Index num_samples) const {
    return detail::worth_threads(pass.pool, 16.0 * double(num_samples) * double(input_dim()));
  }

  LayerNormOptions options_;
  Parameter<S> scale_;  // d, or nothing
  Parameter<S> shift_;  // d, or nothing
};

}  // namespace comet
