// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/layers/detail/column_layer.hpp>
#include <comet/layers/detail/picture_size.hpp>

namespace comet {

/// Settings of a MaxPool2d layer.
struct MaxPool2dOptions {
  Index height = 0;    ///< Rows of a picture, >= pool
  Index width = 0;     ///< Columns of a picture, >= pool
  Index channels = 0;  ///< Numbers of a pixel, >= 1
  Index pool = 2;      ///< Rows and columns of a window, >= 1
  Index stride = 0;    ///< From window to window, down and across; 0: that of pool, side by side
};

/// \brief The largest value of each channel in windows of pictures, one picture per column.
///
/// A picture is height x width x channels, channels fastest, then width, then height (the memory of
/// NHWC), before and after. Windows stay inside; rows and columns that are left over at the end
/// take no part. The gradient goes to the largest value; of equal ones to the first, row by row.
///
/// It is a ColumnFunction too: a part of a Chain.
///
/// \par Cost     a comparison per number in a window
/// \par Threads  const; those of the pass share the work
/// \tparam S     float or double
/// \see Convolution2d, Chain
template <class S>
class MaxPool2d {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  using Options = MaxPool2dOptions;            ///< Settings of the constructor.
  using Workspace = detail::ColumnScratch<S>;  ///< Scratch of a pass.

  /// \throws std::invalid_argument if a size is < 1, the stride < 0, a window larger than the
  ///         picture, or that of 2^60 numbers or more
  explicit MaxPool2d(MaxPool2dOptions options, RandomKey /*key*/ = RandomKey(0))
      : options_(validated(options)) {}

  /// Numbers of a picture: height width channels.
  [[nodiscard]] Index input_dim() const noexcept { return options_.height * row(); }
  /// Numbers of a picture that comes out: output_height() output_width() channels.
  [[nodiscard]] Index output_dim() const noexcept {
    return output_height() * output_width() * options_.channels;
  }
  /// Rows of a picture that comes out.
  [[nodiscard]] Index output_height() const noexcept {
    return (options_.height - options_.pool) / options_.stride + 1;
  }
  /// Columns of a picture that comes out.
  [[nodiscard]] Index output_width() const noexcept {
    return (options_.width - options_.pool) / options_.stride + 1;
  }
  /// Nothing is kept: what was the largest is looked for again.
  [[nodiscard]] Index cache_dim() const noexcept { return 0; }
  /// Comparisons of a picture, which take the time of so many multiply-adds.
  [[nodiscard]] double cost() const noexcept {
    return double(output_dim()) * double(options_.pool * options_.pool);
  }
  /// The settings in use, with the stride that is meant.
  [[nodiscard]] const MaxPool2dOptions& options() const noexcept { return options_; }

  /// \brief y = f(x). \param x  input_dim() x B \param y  output_dim() x B, overwritten
  /// \throws std::invalid_argument if a shape does not fit, or y overlaps x
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, Pass<MaxPool2d>& pass) const {
    detail::predict_columns("MaxPool2d::predict", *this, block_columns, x, y, pass);
  }
  /// \brief The same: nothing is random, and nothing is kept.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, RandomKey /*key*/,
               Pass<MaxPool2d>& pass) const {
    detail::forward_columns("MaxPool2d::forward", *this, block_columns, x, y, pass);
  }
  /// \brief Adds the gradient of sum(dy . y).
  /// \param x, y  as in forward()
  /// \param dy    output_dim() x B
  /// \param dx    input_dim() x B, added to; or no_gradient
  /// \throws std::invalid_argument if a shape does not fit
  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                const ConstMatrixView<S>& dy, MatrixView<S> dx, Pass<MaxPool2d>& pass) const {
    detail::backward_columns("MaxPool2d::backward", *this, block_columns, x, y, dy, dx, pass);
  }

  /// \brief y = f(x) for a block of columns. \param x  input_dim() x width
  /// \param y  output_dim() x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> /*cache*/) const {
    for_each_window(x.cols(), [&](Index b, const Window& window, auto pool) {
      pool_window(pool, window, x.col(b).data() + window.from, y.col(b).data() + window.to);
    });
  }
  /// \brief The same.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& /*tile*/) const {
    predict(x, y, cache);
  }
  /// \brief Adds dy to dx, where x is y. \param dx  input_dim() x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                        MatrixView<S> /*cache*/, MatrixView<S> dy, MatrixView<S> dx) const {
    if (dx.size() == 0) return;
    for_each_window(x.cols(), [&](Index b, const Window& window, auto pool) {
      return_window(pool, window, x.col(b).data() + window.from, y.col(b).data() + window.to,
                    dy.col(b).data() + window.to, dx.col(b).data() + window.from);
    });
  }
  /// There are no gradients of parameters,
  [[nodiscard]] Index num_slices() const noexcept { return 0; }
  /// and nothing to add.
  void accumulate_gradients(const ConstMatrixView<S>& /*x*/, const ConstMatrixView<S>& /*cache*/,
                            const ConstMatrixView<S>& /*dy*/, Index /*slice*/,
                            GradientView<S> /*gradients*/) const {}
  /// There are no parameters.
  template <class F>
  void visit(F&& /*f*/) const {}

 private:
  static constexpr Index block_columns = 32;

  using Packet = detail::Packet<S>;
  static constexpr Index lanes = detail::lanes<S>;

  static MaxPool2dOptions validated(MaxPool2dOptions o) {
    constexpr const char* where = "MaxPool2d";
    detail::check_at_least(where, "pool", o.pool, 1);
    detail::check_at_least(where, "stride", o.stride, 0);
    detail::check_at_least(where, "height", o.height, o.pool);
    detail::check_at_least(where, "width", o.width, o.pool);
    detail::check_at_least(where, "channels", o.channels, 1);
    detail::check_product(where, "height * width * channels", {o.height, o.width, o.channels});
    if (o.stride == 0) o.stride = o.pool;
    return o;
  }

  [[nodiscard]] Index row() const { return options_.width * options_.channels; }

  /// Channels are taken a register at a time. The last register of a pixel may reach into pixels
  /// that come later, if the picture has room.
  struct Window {
    Index from;  // where it begins in x
    Index to;    // where its channels are in y
    Index room;  // numbers from its last pixel, and from `to`, to the ends of the pictures
  };

  /// f(picture, window, pool) for all windows of all pictures; pool is a constant if it is 2.
  template <class F>
  void for_each_window(Index pictures, F&& f) const {
    const auto run = [&](auto pool) {
      const Index last = (pool - 1) * (row() + options_.channels);
      for (Index b = 0; b < pictures; ++b)
        for (Index i = 0, to = 0; i < output_height(); ++i)
          for (Index j = 0; j < output_width(); ++j, to += options_.channels) {
            const Index from = options_.stride * (i * row() + j * options_.channels);
            f(b, Window{from, to, std::min(input_dim() - from - last, output_dim() - to)}, pool);
          }
    };
    if (options_.pool == 2) {
      run(std::integral_constant<Index, 2>{});
    } else {
      run(options_.pool);
    }
  }

  /// f(offset) for the pixels of a window, row by row.
  template <class Pool, class F>
  EIGEN_ALWAYS_INLINE void for_each_pixel(Pool pool, F&& f) const {
    for (Index u = 0; u < pool; ++u)
      for (Index v = 0; v < pool; ++v) f(u * row() + v * options_.channels);
  }

  /// What goes to y beyond the channels is overwritten by the windows that come later.
  template <class Pool>
  void pool_window(Pool pool, const Window& window, const S* x, S* y) const {
    Index c = 0;
    for (; c < options_.channels && c + lanes <= window.room; c += lanes) {
      auto most = detail::simd::ploadu<Packet>(x + c);
      for_each_pixel(pool, [&](Index offset) {
        most = detail::simd::pmax(most, detail::simd::ploadu<Packet>(x + c + offset));
      });
      detail::simd::pstoreu(y + c, most);
    }
    for (; c < options_.channels; ++c) {
      S most = x[c];
      for_each_pixel(pool, [&](Index offset) { most = std::max(most, x[c + offset]); });
      y[c] = most;
    }
  }

  /// dy goes to the first that is y: what it leaves for the others is 0, as it is from the start
  /// beyond the channels.
  template <class Pool>
  void return_window(Pool pool, const Window& window, const S* x, const S* y, const S* dy,
                     S* dx) const {
    Index c = 0;
    const auto zero = detail::simd::pset1<Packet>(S(0));
    for (; c < options_.channels && c + lanes <= window.room; c += lanes) {
      const auto most = detail::simd::ploadu<Packet>(y + c);
      auto left = detail::simd::ploadu<Packet>(dy + c);
      if (c + lanes > options_.channels)
        left = detail::simd::pselect(first_lanes(options_.channels - c), left, zero);
      for_each_pixel(pool, [&](Index offset) {
        S* out = dx + c + offset;
        const auto is_it =
            detail::simd::pcmp_eq(detail::simd::ploadu<Packet>(x + c + offset), most);
        detail::simd::pstoreu(out, detail::simd::padd(detail::simd::ploadu<Packet>(out),
                                                      detail::simd::pselect(is_it, left, zero)));
        left = detail::simd::pselect(is_it, zero, left);
      });
    }
    for (; c < options_.channels; ++c) {
      S left = dy[c];
      for_each_pixel(pool, [&](Index offset) {
        if (x[c + offset] != y[c]) return;
        dx[c + offset] += left;
        left = S(0);
      });
    }
  }

  /// True in the first `count` lanes.
  static Packet first_lanes(Index count) {
    return detail::simd::pcmp_lt(detail::simd::plset<Packet>(S(0)),
                                 detail::simd::pset1<Packet>(S(count)));
  }

  MaxPool2dOptions options_;
};

}  // namespace comet
