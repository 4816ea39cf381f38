// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
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
#include <comet/kernels/affine.hpp>

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
/// \par Cost     d m multiply-adds per sample; backward twice that
/// \par Threads  const; those of the pass share the work. In predict() and forward() a sample's
///               bits depend neither on its batch nor on the threads.
/// \tparam S     float or double
template <class S>
class Dense {
 public:
  using Scalar = S;              ///< float or double.
  using Options = DenseOptions;  ///< Settings of the constructor.

  /// Scratch of a pass.
  class Workspace {
    friend class Dense;
    Buffer<S> slope_;  // m x B, of the forward() that backward() may follow, if it is kept
    Buffer<S> dz_;     // m x B
  };

  /// Weights uniform in +-sqrt(6 / (d + m)) (Glorot and Bengio, 2010), bias 0.
  /// \throws std::invalid_argument if a size is < 1
  Dense(DenseOptions options, RandomKey key)
      : options_(validated(options)),
        weight_(options.input_dim, options.output_dim),
        bias_({options.output_dim}) {
    const double bound = std::sqrt(6.0 / double(options.input_dim + options.output_dim));
    key.fill_uniform(weight_, -bound, bound);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// The settings in use.
  [[nodiscard]] const DenseOptions& options() const noexcept { return options_; }
  /// Weights, d x m.
  [[nodiscard]] const Matrix<S>& weight() const noexcept { return weight_; }
  /// Biases, m x 1.
  [[nodiscard]] const Matrix<S>& bias() const noexcept { return bias_; }

  /// \brief y = activation(W^T x + b). \param x  d x B \param y  m x B, overwritten
  /// \throws std::invalid_argument if a shape does not fit
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<Dense>& pass) const {
    run("Dense::predict", x, std::move(y), no_gradient, pass);
  }
  /// \brief The same; nothing is random. With gelu and silu the pass keeps the derivative, so that
  /// backward() has to follow; with identity and relu it keeps nothing.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey /*key*/,
               Pass<Dense>& pass) const {
    const bool keeps = detail::keeps_slope(options_.activation);
    auto slope = pass.workspace.slope_.shape(keeps ? output_dim() : 0, keeps ? x.cols() : 0);
    run("Dense::forward", x, std::move(y), slope, pass);
  }

  /// \brief Adds the gradients of sum(dy . y).
  /// \param x, y  as in forward()
  /// \param dy    m x B
  /// \param dx    d x B, added to; or no_gradient
  /// \throws std::invalid_argument if a shape does not fit, or the pass holds no forward() of a
  ///         batch of this size where one is needed
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<Dense>& pass) const {
    constexpr const char* where = "Dense::backward";
    check_shapes(where, x, y, "y");
    check_shapes(where, x, dy, "dy");
    detail::check_input_gradient(where, dx, x);
    if (x.cols() == 0) return;
    const bool keeps = detail::keeps_slope(options_.activation);
    const auto slope = pass.workspace.slope_.matrix();
    if (keeps && slope.cols() != x.cols())
      detail::raise(where, "the pass holds no forward() of this batch; call it first");
    ThreadPool* pool = threads_for(pass, x.cols());
    auto dz = pass.workspace.dz_.shape(output_dim(), x.cols());
    parallel_for(pool, num_blocks(x), [&](Index i, Index) {
      const Index first = i * block_columns;
      const Index width = std::min(block_columns, x.cols() - first);
      auto block = dz.middleCols(first, width);
      block = dy.middleCols(first, width);
      if (keeps) {
        block.array() *= slope.middleCols(first, width).array();
      } else {
        detail::activation_backward(options_.activation, S(1), y.middleCols(first, width), block);
      }
      if (dx.size() > 0) detail::product<true>(dx.middleCols(first, width), weight_, block);
    });
    const GradientView<S> gradients = pass.gradients(*this);
    parallel_for(pool, detail::num_slices(output_dim()), [&](Index slice, Index) {
      const Index first = slice * detail::units_per_slice;
      detail::affine_accumulate(x, dz, first,
                                std::min(detail::units_per_slice, output_dim() - first),
                                gradients[0], gradients[1]);
    });
  }

  /// Calls f(name, parameter) for weight and bias.
  template <class F>
  void visit(F&& f) const {
    f("weight", weight_);
    f("bias", bias_);
  }

 private:
  static constexpr Index block_columns = 128;

  static DenseOptions validated(const DenseOptions& options) {
    detail::check_at_least("Dense", "input_dim", options.input_dim, 1);
    detail::check_at_least("Dense", "output_dim", options.output_dim, 1);
    return options;
  }

  static Index num_blocks(const ConstMatrixView<S>& x) {
    return (x.cols() + block_columns - 1) / block_columns;
  }

  void run(std::string_view where, const ConstMatrixView<S>& x, MatrixView<S> y,
           MatrixView<S> slope, const Pass<Dense>& pass) const {
    check_shapes(where, x, y, "y");
    const bool keeps = slope.size() > 0;
    parallel_for(threads_for(pass, x.cols()), num_blocks(x), [&](Index i, Index) {
      const Index first = i * block_columns;
      const Index width = std::min(block_columns, x.cols() - first);
      detail::affine_forward(weight_, bias_, options_.activation, x.middleCols(first, width),
                             y.middleCols(first, width),
                             keeps ? MatrixView<S>(slope.middleCols(first, width)) : no_gradient);
    });
  }

  void check_shapes(std::string_view where, const ConstMatrixView<S>& x,
                    const ConstMatrixView<S>& y, std::string_view y_name) const {
    detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
    detail::check_equal(where, std::string(y_name) + ".rows()", y.rows(), "output_dim",
                        output_dim());
    detail::check_equal(where, std::string(y_name) + ".cols()", y.cols(), "x.cols()", x.cols());
  }

  ThreadPool* threads_for(const Pass<Dense>& pass, Index num_samples) const {
    return detail::worth_threads(pass.pool,
                                 double(num_samples) * double(input_dim()) * double(output_dim()));
  }

  DenseOptions options_;
  Parameter<S> weight_;  // d x m
  Parameter<S> bias_;    // m
};

}  // namespace comet
