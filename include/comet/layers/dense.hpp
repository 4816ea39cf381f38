// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/affine.hpp>

namespace comet {

/// Settings of a Dense, with defaults where there is a sensible one.
struct DenseOptions {
  Index input_dim = 0;                           ///< d >= 1
  Index output_dim = 0;                          ///< m >= 1
  Activation activation = Activation::identity;  ///< What the affine function goes through.
};

/// \brief Layer y = activation(W^T x + b) over a whole batch.
///
/// \par Cost     d m multiply-adds per sample; backward twice that
/// \par Threads  forward() is const: concurrent calls are safe with distinct workspaces. In
///               forward() a sample's bits depend neither on its batch nor on the threads.
/// \tparam S     float or double
template <class S>
class Dense {
 public:
  using Scalar = S;              ///< float or double.
  using Options = DenseOptions;  ///< Settings of the constructor.

  /// \brief Scratch of a Dense layer: give each thread its own.
  class Workspace {
   public:
    Workspace() = default;
    /// Shares the work among `threads`, which must outlive the workspace.
    explicit Workspace(ThreadPool* threads) : pool(threads) {}

    ThreadPool* pool = nullptr;  ///< not owned; none runs everything in the calling thread
  };

  /// Weights uniform in +-sqrt(6 / (d + m)) (Glorot and Bengio, 2010), bias 0.
  /// \throws std::invalid_argument if a size is < 1
  Dense(DenseOptions options, RandomKey key)
      : options_(validated(options)),
        weight_(options.input_dim, options.output_dim),
        bias_(options.output_dim, 1) {
    const double bound = std::sqrt(6.0 / double(options.input_dim + options.output_dim));
    key.fill_uniform(weight_.values, -bound, bound);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return options_.output_dim; }
  /// The settings in use.
  [[nodiscard]] const DenseOptions& options() const noexcept { return options_; }
  /// Weights, in x out.
  [[nodiscard]] const Matrix<S>& weight() const noexcept { return weight_.values; }  // d x m
  /// Biases, one per output.
  [[nodiscard]] const Matrix<S>& bias() const noexcept { return bias_.values; }  // m x 1

  /// \brief y = activation(W^T x + b). \param x  d x B \param y  m x B, overwritten
  /// \throws std::invalid_argument if a shape does not fit
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, Workspace& workspace) const {
    check_shapes("Dense::forward", x, y, "y");
    const Index blocks = (x.cols() + block_columns - 1) / block_columns;
    parallel_for(threads_for(workspace, x.cols()), blocks, [&](Index i, Index) {
      const Index width = std::min(block_columns, x.cols() - i * block_columns);
      detail::affine_forward(weight_.values, bias_.values, options_.activation,
                             x.middleCols(i * block_columns, width),
                             y.middleCols(i * block_columns, width));
    });
  }

  /// \brief Adds the gradients of sum(dy . y).
  /// \param x, y  as in forward()
  /// \param dy    m x B, overwritten by the gradient before the activation
  /// \param dx    d x B, added to; an empty matrix if it is not wanted
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y, MatrixView<S> dy,
                MatrixView<S> dx, Workspace& workspace) {
    constexpr const char* where = "Dense::backward";
    check_shapes(where, x, y, "y");
    check_shapes(where, x, dy, "dy");
    detail::check_input_gradient(where, dx, x);
    if (x.cols() == 0) return;
    ThreadPool* pool = threads_for(workspace, x.cols());
    const Index blocks = (x.cols() + block_columns - 1) / block_columns;
    parallel_for(pool, blocks, [&](Index i, Index) {
      const Index first = i * block_columns;
      const Index width = std::min(block_columns, x.cols() - first);
      auto dz = dy.middleCols(first, width);
      detail::activation_backward(options_.activation, S(1), y.middleCols(first, width), dz);
      if (dx.size() > 0) detail::product<true>(dx.middleCols(first, width), weight_.values, dz);
    });
    parallel_for(pool, detail::num_slices(output_dim()), [&](Index slice, Index) {
      const Index first = slice * detail::units_per_slice;
      detail::affine_accumulate(x, dy, first,
                                std::min(detail::units_per_slice, output_dim() - first),
                                weight_.gradients, bias_.gradients);
    });
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    weight_.visit("weight", f);
    bias_.visit("bias", f);
  }

 private:
  static constexpr Index block_columns = 128;

  static DenseOptions validated(const DenseOptions& options) {
    detail::check_at_least("Dense", "input_dim", options.input_dim, 1);
    detail::check_at_least("Dense", "output_dim", options.output_dim, 1);
    return options;
  }

  void check_shapes(std::string_view where, const ConstMatrixView<S>& x,
                    const ConstMatrixView<S>& y, std::string_view y_name) const {
    detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
    detail::check_equal(where, std::string(y_name) + ".rows()", y.rows(), "output_dim",
                        output_dim());
    detail::check_equal(where, std::string(y_name) + ".cols()", y.cols(), "x.cols()", x.cols());
  }

  ThreadPool* threads_for(const Workspace& workspace, Index num_samples) const {
    return detail::worth_threads(workspace.pool,
                                 double(num_samples) * double(input_dim()) * double(output_dim()));
  }

  DenseOptions options_;
  Parameter<S> weight_;  // d x m
  Parameter<S> bias_;    // m x 1
};

}  // namespace comet
