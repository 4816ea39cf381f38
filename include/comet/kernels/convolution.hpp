// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief Convolutions of a picture with filters. Backward: kernels/convolution_gradients.hpp.
///
/// A picture is a column: channels are neighbours, then come width and height. What a row of a
/// kernel covers is one run of numbers, so pictures are multiplied where they are: nothing is
/// unfolded. An element is summed in an order that depends on the sizes alone.

namespace comet::detail {

/// Sizes of a convolution over a picture that has its padding, if any, already.
struct ConvolutionShape {
  Index height, width, channels;      // of the picture x
  Index kernel_height, kernel_width;  // at most those of x
  Index stride;                       // down and across
  Index out_height, out_width;        // of the picture y
  Index filters;                      // channels of y

  /// Numbers of x that one row of the kernel covers, neighbours in memory.
  [[nodiscard]] Index run() const { return kernel_width * channels; }
  /// Numbers of x that a filter covers.
  [[nodiscard]] Index taps() const { return kernel_height * run(); }
  /// From a row of x to the next.
  [[nodiscard]] Index row() const { return width * channels; }
  /// From what a filter covers to what it covers at the next position.
  [[nodiscard]] Index step() const { return stride * channels; }
  [[nodiscard]] Index size() const { return height * row(); }
  [[nodiscard]] Index positions() const { return out_height * out_width; }
};

/// What filters do to pictures: a group of filters, a part of their taps at a time.
template <class S>
class Filters {
 public:
  /// \param weight  taps x filters    \param bias  filters
  Filters(const ConvolutionShape& shape, const S* weight, const S* bias, bool relu)
      : shape_(shape), weight_(weight), bias_(bias), relu_(relu) {}

  /// y = relu(weight^T (what is covered) + bias) for `count` pictures, the relu if wanted.
  /// \param x, y  columns with a stride
  void apply(Index count, const S* x, Index x_stride, S* y, Index y_stride) {
    for_each_group(registers_for<S>(shape_.filters), [&](Index group, auto registers) {
      first_filter_ = group * lanes<S>;
      used_ = std::min(registers() * lanes<S>, shape_.filters - first_filter_);
      for (first_tap_ = 0; first_tap_ < shape_.taps(); first_tap_ += depth_) {
        depth_ = std::min(most_depth, shape_.taps() - first_tap_);
        pack(registers());
        for (Index c = 0; c < count; ++c) picture<registers()>(x + c * x_stride, y + c * y_stride);
      }
    });
  }

 private:
  static constexpr Index most_registers = 3;
  static constexpr Index most_depth = 256;  // the panel takes most of the first-level cache

  /// The group's filters are neighbours in the panel, so that a register holds a tap of each.
  void pack(Index registers) {
    const Index height = registers * lanes<S>;
    for (Index f = 0; f < height; ++f) {
      const bool is_one = f < used_;
      const S* from = weight_ + (first_filter_ + f) * shape_.taps() + first_tap_;
      for (Index k = 0; k < depth_; ++k) panel_[k * height + f] = is_one ? from[k] : S(0);
      bias_panel_[f] = is_one ? bias_[first_filter_ + f] : S(0);
    }
    for (Index k = 0; k < depth_; ++k) {
      const Index tap = first_tap_ + k;
      place_[k] = tap / shape_.run() * shape_.row() + tap % shape_.run();
    }
  }

  template <int Registers>
  void picture(const S* x, S* y) const {
    for (Index row = 0; row < shape_.out_height; ++row) {
      const S* x_row = x + row * shape_.stride * shape_.row();
      S* y_row = y + row * shape_.out_width * shape_.filters + first_filter_;
      for_each_tile<Registers>(shape_.out_width, [&](Index c, auto columns) {
        tile<Registers, columns()>(x_row + c * shape_.step(), y_row + c * shape_.filters);
      });
    }
  }

  /// The positions from x on.
  template <int Registers, int Columns>
  void tile(const S* x, S* y) const {
    SumTile<Registers, Columns, S> tile;
    const bool is_first = first_tap_ == 0, is_last = first_tap_ + depth_ == shape_.taps();
    for (int c = 0; c < Columns; ++c)
      for (int r = 0; r < Registers; ++r)
        tile.sum[c][r] =
            is_first ? simd::ploadu<Packet<S>>(bias_panel_ + r * lanes<S>)
                     : load_lanes(y + c * shape_.filters + r * lanes<S>, used_ - r * lanes<S>);
    for (Index k = 0; k < depth_; ++k)
      tile.add(panel_ + k * Registers * lanes<S>, 0, lanes<S>, x + place_[k], 0, shape_.step(), 1);
    const bool cut = relu_ && is_last;
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int r = 0; r < Registers; ++r) {
        const Packet<S> value =
            cut ? simd::pmax(tile.sum[c][r], simd::pset1<Packet<S>>(S(0))) : tile.sum[c][r];
        store_lanes(y + c * shape_.filters + r * lanes<S>, value, used_ - r * lanes<S>);
      }
    }
  }

  alignas(64) S panel_[std::size_t(most_depth * most_registers * lanes<S>)];
  Index place_[std::size_t(most_depth)];  // of a tap in what the filters cover
  S bias_panel_[std::size_t(most_registers * lanes<S>)];
  const ConvolutionShape& shape_;
  const S* weight_;
  const S* bias_;
  bool relu_;
  Index first_filter_ = 0, used_ = 0;  // the group's
  Index first_tap_ = 0, depth_ = 0;    // the part's
};

}  // namespace comet::detail
