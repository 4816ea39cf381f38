// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/kernels/convolution.hpp>
#include <comet/kernels/convolution_gradients.hpp>
#include <comet/layers/detail/column_layer.hpp>
#include <comet/layers/detail/picture_size.hpp>

namespace comet {

/// \brief What a convolution does at the edges of a picture.
enum class Padding {
  valid,  ///< a filter stays inside: ceil((height - kernel_height + 1) / stride) rows
  same    ///< zeros around it: ceil(height / stride) rows; an odd zero goes below or to the right
};

/// Settings of a Convolution2d layer.
struct Convolution2dOptions {
  Index height = 0;                              ///< Rows of a picture, >= 1
  Index width = 0;                               ///< Columns of a picture, >= 1
  Index channels = 0;                            ///< Numbers of a pixel, >= 1
  Index filters = 0;                             ///< Channels of the output, >= 1
  Index kernel_height = 0;                       ///< >= 1, with valid padding <= height
  Index kernel_width = 0;                        ///< >= 1, with valid padding <= width
  Index stride = 1;                              ///< Down and across, >= 1
  Padding padding = Padding::valid;              ///< What is done at the edges.
  Activation activation = Activation::identity;  ///< What the sums go through.
};

/// \brief Convolution of pictures, one per column, with filters:
///
///     y(i, j, o) = activation(b(o) + sum over u, v, c of w(o, u, v, c) x(i s + u, j s + v, c))
///
/// with stride s, and x = 0 beyond the edges. A picture is height x width x channels, channels
/// fastest, then width, then height: a batch has the memory of a C-order (B, height, width,
/// channels) array (NHWC), of PyTorch with channels last. What comes out is laid out the same.
///
/// It is a ColumnFunction too: an expert by itself, or a part of a Chain.
///
/// \par Cost     kernel_height kernel_width channels filters multiply-adds per position of the
///               output; backward twice that. Nothing is unfolded but a few positions at a time, on
///               the stack. With padding a padded copy of each picture is kept for backward()
/// \par Threads  const; those of the pass share the work. In predict() and forward() a picture's
///               bits depend neither on its batch nor on the threads.
/// \tparam S     float or double
/// \see MaxPool2d, Chain
template <class S>
class Convolution2d {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  using Options = Convolution2dOptions;        ///< Settings of the constructor.
  using Workspace = detail::ColumnScratch<S>;  ///< Scratch of a pass.

  /// Weights uniform in +-sqrt(6 / (kernel_height kernel_width (channels + filters))) (Glorot and
  /// Bengio, 2010), bias 0.
  /// \throws std::invalid_argument if a size is < 1, the kernel larger than the picture where it has
  ///         to stay inside, or a picture or the weights of 2^60 numbers or more
  Convolution2d(Convolution2dOptions options, RandomKey key)
      : options_(validated(options)),
        shape_(shape_of(options)),
        padding_{(shape_.height - options.height) / 2, (shape_.width - options.width) / 2,
                 options.height, options.width},
        weight_({options.filters, options.kernel_height, options.kernel_width, options.channels}),
        bias_({options.filters}) {
    const double bound = std::sqrt(6.0 / (double(options.kernel_height * options.kernel_width) *
                                          double(options.channels + options.filters)));
    key.fill_uniform(weight_, -bound, bound);
  }

  /// Numbers of a picture: height width channels.
  [[nodiscard]] Index input_dim() const noexcept {
    return options_.height * options_.width * options_.channels;
  }
  /// Numbers of a picture that comes out: output_height() output_width() filters.
  [[nodiscard]] Index output_dim() const noexcept { return shape_.positions() * options_.filters; }
  /// Rows of a picture that comes out.
  [[nodiscard]] Index output_height() const noexcept { return shape_.out_height; }
  /// Columns of a picture that comes out.
  [[nodiscard]] Index output_width() const noexcept { return shape_.out_width; }
  /// The picture with its padding, if there is any; of gelu and silu, their derivatives.
  [[nodiscard]] Index cache_dim() const noexcept {
    return padded_dim() + (keeps_slope() ? output_dim() : 0);
  }
  /// Multiply-adds of a picture.
  [[nodiscard]] double cost() const noexcept {
    return double(shape_.positions()) * double(shape_.taps()) * double(options_.filters);
  }
  /// The settings in use.
  [[nodiscard]] const Convolution2dOptions& options() const noexcept { return options_; }
  /// Weights, of shape [filters, kernel height, kernel width, channels]; each filter is one piece
  /// of memory.
  [[nodiscard]] const Parameter<S>& weight() const noexcept { return weight_; }
  /// Biases, one per filter.
  [[nodiscard]] const Parameter<S>& bias() const noexcept { return bias_; }

  /// \brief y = f(x). \param x  input_dim() x B \param y  output_dim() x B, overwritten
  /// \throws std::invalid_argument if a shape does not fit, or y overlaps x
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<Convolution2d>& pass) const {
    detail::predict_columns("Convolution2d::predict", *this, block_columns(), x, y, pass);
  }
  /// \brief The same; nothing is random. With padding, gelu or silu the pass keeps what backward()
  /// needs, which has to follow; else it keeps nothing.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey /*key*/,
               Pass<Convolution2d>& pass) const {
    detail::forward_columns("Convolution2d::forward", *this, block_columns(), x, y, pass);
  }
  /// \brief Adds the gradients of sum(dy . y).
  /// \param x, y  as in forward()
  /// \param dy    output_dim() x B
  /// \param dx    input_dim() x B, added to; or no_gradient
  /// \throws std::invalid_argument if a shape does not fit, or the pass holds no forward() of a
  ///         batch of this size where one is needed
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<Convolution2d>& pass) const {
    detail::backward_columns("Convolution2d::backward", *this, block_columns(), x, y, dy, dx, pass);
  }

  /// \brief y = f(x) for a block of columns. \param x  input_dim() x width
  /// \param y  output_dim() x width \param cache  cache_dim() x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    run(x, y, cache, false);
  }
  /// \brief The same, keeping what backward_columns() needs.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& /*tile*/) const {
    run(x, y, cache, true);
  }
  /// \brief Turns dy into the gradient before the activation, in place, and adds to dx.
  /// \param dx  input_dim() x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& y,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    if (keeps_slope()) {
      dy.array() *= cache.bottomRows(output_dim()).array();
    } else {
      detail::activation_backward(options_.activation, S(1), y, dy);
    }
    if (dx.size() == 0) return;
    detail::InputGradient<S> gradient(shape_, padding_, weight_.data());
    for (Index c = 0; c < dy.cols(); ++c) gradient.add(dy.col(c).data(), dx.col(c).data());
  }

  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const {
    return (options_.filters + filters_per_slice - 1) / filters_per_slice;
  }
  /// \brief Adds one slice of the parameter gradients; cache and dz as backward_columns() left
  /// them. Runs of a picture's positions are summed first, then they in their order.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& cache,
                            const ConstMatrixView<S>& dz, Index slice,
                            GradientView<S> gradients) const {
    const Index first = slice * filters_per_slice;
    const Index count = std::min(filters_per_slice, options_.filters - first);
    detail::FilterGradient<S> weight(shape_, first, count, gradients[0].data());
    for (Index c = 0; c < dz.cols(); ++c) {
      weight.add(padded_dim() > 0 ? cache.col(c).data() : x.col(c).data(), dz.col(c).data());
      detail::add_bias_gradient(shape_, first, count, dz.col(c).data(), gradients[1].data());
    }
  }

  /// Calls f(name, parameter) for weight and bias.
  template <class F>
  void visit(F&& f) const {
    f("weight", weight_);
    f("bias", bias_);
  }

 private:
  /// A multiple of the widths that the kernels take filters in.
  static constexpr Index filters_per_slice = 12;

  static Convolution2dOptions validated(const Convolution2dOptions& o) {
    constexpr const char* where = "Convolution2d";
    detail::check_at_least(where, "height", o.height, 1);
    detail::check_at_least(where, "width", o.width, 1);
    detail::check_at_least(where, "channels", o.channels, 1);
    detail::check_at_least(where, "filters", o.filters, 1);
    detail::check_at_least(where, "kernel_height", o.kernel_height, 1);
    detail::check_at_least(where, "kernel_width", o.kernel_width, 1);
    detail::check_at_least(where, "stride", o.stride, 1);
    detail::check_product(where, "height * width * channels", {o.height, o.width, o.channels});
    detail::check_product(where, "filters * kernel_height * kernel_width * channels",
                          {o.filters, o.kernel_height, o.kernel_width, o.channels});
    detail::check_product(where, "stride * channels", {o.stride, o.channels});
    if (o.padding == Padding::valid) {
      detail::check_at_most(where, "kernel_height", o.kernel_height, "height", o.height);
      detail::check_at_most(where, "kernel_width", o.kernel_width, "width", o.width);
    }
    const detail::ConvolutionShape shape = shape_of(o);  // has the padding, too
    detail::check_product(where, "the padded height * width * channels",
                          {shape.height, shape.width, shape.channels});
    detail::check_product(where, "output_height * output_width * filters",
                          {shape.out_height, shape.out_width, shape.filters});
    return o;
  }

  static detail::ConvolutionShape shape_of(const Convolution2dOptions& o) {
    const auto positions = [&](Index size, Index kernel) {
      const Index starts = o.padding == Padding::same ? size : size - kernel + 1;
      return (starts + o.stride - 1) / o.stride;
    };
    const auto padded = [&](Index size, Index kernel) {
      return std::max(size, (positions(size, kernel) - 1) * o.stride + kernel);
    };
    return {padded(o.height, o.kernel_height),
            padded(o.width, o.kernel_width),
            o.channels,
            o.kernel_height,
            o.kernel_width,
            o.stride,
            positions(o.height, o.kernel_height),
            positions(o.width, o.kernel_width),
            o.filters};
  }

  [[nodiscard]] bool keeps_slope() const { return detail::keeps_slope(options_.activation); }
  /// 0 if a picture is read where it is.
  [[nodiscard]] Index padded_dim() const {
    return shape_.size() == input_dim() ? 0 : shape_.size();
  }
  /// Pictures that a thread takes at once: some hundred microseconds.
  [[nodiscard]] Index block_columns() const {
    return std::clamp(Index(double(1 << 23) / cost()), Index(1), Index(128));
  }

  void run(const ConstMatrixView<S>& x, MatrixView<S>& y, MatrixView<S>& cache, bool trains) const {
    const bool is_padded = padded_dim() > 0;
    for (Index c = 0; is_padded && c < x.cols(); ++c) pad(x.col(c).data(), cache.col(c).data());
    detail::Filters<S> filters(shape_, weight_.data(), bias_.data(),
                               options_.activation == Activation::relu);
    filters.apply(x.cols(), is_padded ? cache.data() : x.data(),
                  is_padded ? cache.outerStride() : x.outerStride(), y.data(), y.outerStride());
    for (Index c = 0; keeps_slope() && c < x.cols(); ++c)
      detail::activate_smooth(options_.activation, output_dim(), y.col(c).data(),
                              trains ? cache.col(c).data() + padded_dim() : nullptr);
  }

  void pad(const S* picture, S* out) const {
    const Index row = options_.width * options_.channels;
    std::fill_n(out, shape_.size(), S(0));
    for (Index i = 0; i < options_.height; ++i)
      std::copy_n(picture + i * row, row,
                  out + (padding_.top + i) * shape_.row() + padding_.left * options_.channels);
  }

  Convolution2dOptions options_;
  detail::ConvolutionShape shape_;
  detail::PaddingShape padding_;
  Parameter<S> weight_;  // channels x (kernel width, kernel height, filters): taps x filters
  Parameter<S> bias_;    // filters
};

}  // namespace comet
