// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/kernels/convolution.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief The gradients of a convolution of one picture, of its filters, biases and picture.

namespace comet::detail {

/// The gradient by the filters first..first+count-1, of one picture.
template <class S>
class FilterGradient {
 public:
  /// \param gradient  taps x filters, added to
  FilterGradient(const ConvolutionShape& shape, Index first, Index count, S* gradient)
      : shape_(shape), first_(first), count_(count), gradient_(gradient) {}

  /// gradient += (what is covered) dz^T, summed over runs of positions first.
  void add(const S* x, const S* dz) {
    Index row = 0, column = 0;
    for (Index first = 0; first < shape_.positions(); first += num_positions_) {
      num_positions_ = std::min(most_positions, shape_.positions() - first);
      for (Index p = 0; p < num_positions_; ++p) {
        place_[p] = row * shape_.stride * shape_.row() + column * shape_.step();
        if (++column < shape_.out_width) continue;
        column = 0;
        ++row;
      }
      add_positions(x, dz + first * shape_.filters);
    }
  }

 private:
  /// What they cover and their dz stay in the first-level cache while all filters pass by.
  static constexpr Index most_positions = 256;

  /// Registers of what is covered, a part of the taps each.
  struct Taps {
    Index place;          // in x, of the first register at the first position
    Index register_step;  // in x, from register to register
    Index tap;            // that the first register begins with
    Index tap_step;       // from register to register
    Index used;           // numbers of the first register that belong to taps,
    Index fewer;          // and so many fewer of each next one
  };

  void add_positions(const S* x, const S* dz) const {
    const Index run = shape_.run(), row = shape_.row(), registers = registers_for<S>(run);
    if (registers == 1)  // a register a row of the kernel
      return for_each_group(shape_.kernel_height, [&](Index k, auto group) {
        tiles<group()>(x, dz, {k * row, row, k * run, run, run, 0});
      });
    for (Index k = 0; k < shape_.kernel_height; ++k)
      for_each_group(registers, [&](Index r, auto group) {
        const Index offset = r * lanes<S>;
        tiles<group()>(
            x, dz,
            {k * row + offset, lanes<S>, k * run + offset, lanes<S>, run - offset, lanes<S>});
      });
  }

  template <int Registers>
  void tiles(const S* x, const S* dz, const Taps& taps) const {
    for_each_tile<Registers>(count_, [&](Index c, auto columns) {
      tile<Registers, columns()>(x, dz + first_ + c, taps,
                                 gradient_ + (first_ + c) * shape_.taps());
    });
  }

  template <int Registers, int Columns>
  void tile(const S* x, const S* dz, const Taps& taps, S* gradient) const {
    SumTile<Registers, Columns, S> tile;
    tile.set_zero();
    const Index reach = taps.place + (Registers - 1) * taps.register_step + lanes<S>;
    Index safe = num_positions_;
    while (safe > 0 && place_[safe - 1] + reach > shape_.size()) --safe;
    for (Index p = 0; p < safe; ++p)
      tile.add(x + place_[p] + taps.place, 0, taps.register_step, dz + p * shape_.filters, 0, 1, 1);
    for (Index p = safe; p < num_positions_; ++p)
      tile.add_within(x + shape_.size(), x + place_[p] + taps.place, 0, taps.register_step,
                      dz + p * shape_.filters, 0, 1, 1);
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int r = 0; r < Registers; ++r)
        add_lanes(gradient + c * shape_.taps() + taps.tap + r * taps.tap_step, tile.sum[c][r],
                  taps.used - r * taps.fewer);
    }
  }

  const ConvolutionShape& shape_;
  Index first_, count_;
  S* gradient_;
  Index place_[std::size_t(most_positions)];  // what positions cover begins there in x
  Index num_positions_ = 0;
};

/// bias_gradient += dz of all positions, for filters first..first+count-1 of one picture.
template <class S>
void add_bias_gradient(const ConvolutionShape& shape, Index first, Index count, const S* dz,
                       S* bias_gradient) {
  constexpr Index chains = 4;  // sums that do not wait for each other
  const S one = S(1);
  const S* end = dz + shape.positions() * shape.filters;
  for_each_group(registers_for<S>(count), [&](Index group, auto registers) {
    SumTile<registers(), 1, S> tile[std::size_t(chains)];
    for (auto& each : tile) each.set_zero();
    const S* a = dz + first + group * lanes<S>;
    Index p = 0;
    for (; (p + chains) * shape.filters + registers() * lanes<S> <= end - dz; p += chains)
      for (Index i = 0; i < chains; ++i)
        tile[i].add(a + (p + i) * shape.filters, 0, lanes<S>, &one, 0, 0, 1);
    for (; p < shape.positions(); ++p)
      tile[p % chains].add_within(end, a + p * shape.filters, 0, lanes<S>, &one, 0, 0, 1);
    for (int r = 0; r < registers(); ++r) {
      const auto sum = simd::padd(simd::padd(tile[0].sum[0][r], tile[1].sum[0][r]),
                                  simd::padd(tile[2].sum[0][r], tile[3].sum[0][r]));
      const Index unit = (group + r) * lanes<S>;
      add_lanes(bias_gradient + first + unit, sum, count - unit);
    }
  });
}

/// What a picture without its padding is in one that has it.
struct PaddingShape {
  Index top, left;      // before it
  Index height, width;  // without
};

/// The gradient by a picture: what the filters covered, a few positions at a time, is added to
/// where it came from.
template <class S>
class InputGradient {
 public:
  /// \param weight  taps x filters
  InputGradient(const ConvolutionShape& shape, const PaddingShape& padding, const S* weight)
      : shape_(shape), padding_(padding), weight_(weight) {}

  /// dx += weight dz. \param dx  the picture without padding
  void add(const S* dz, S* dx) {
    for (first_tap_ = 0; first_tap_ < shape_.taps(); first_tap_ += depth_) {
      depth_ = std::min(most_taps, shape_.taps() - first_tap_);
      stride_ = registers_for<S>(depth_) * lanes<S>;
      for (Index first = 0; first < shape_.positions(); first += most_positions) {
        const Index count = std::min(most_positions, shape_.positions() - first);
        unfold(dz + first * shape_.filters, count);
        for (Index p = 0; p < count; ++p) fold(first + p, unfolded_ + p * stride_, dx);
      }
    }
  }

 private:
  static constexpr Index most_positions = 24;
  static constexpr Index most_taps = 256;

  /// unfolded(:, p) = weight(part of the taps, :) dz(:, p)
  void unfold(const S* dz, Index count) {
    for_each_group(registers_for<S>(depth_), [&](Index group, auto registers) {
      const Index tap = group * lanes<S>;
      for_each_tile<registers()>(count, [&](Index p, auto columns) {
        unfold_tile<registers(), columns()>(weight_ + first_tap_ + tap, dz + p * shape_.filters,
                                            unfolded_ + p * stride_ + tap);
      });
    });
  }

  template <int Registers, int Columns>
  void unfold_tile(const S* weight, const S* dz, S* out) const {
    SumTile<Registers, Columns, S> tile;
    tile.set_zero();
    tile.add_within(weight_ + shape_.taps() * shape_.filters, weight, shape_.taps(), lanes<S>, dz,
                    1, shape_.filters, shape_.filters);
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int r = 0; r < Registers; ++r)
        simd::pstoreu(out + c * stride_ + r * lanes<S>, tile.sum[c][r]);
    }
  }

  /// Row by row of the kernel; what fell on padding is left out.
  void fold(Index position, const S* covered, S* dx) const {
    const Index run = shape_.run(), row_size = padding_.width * shape_.channels;
    const Index y = position / shape_.out_width * shape_.stride - padding_.top;
    const Index x = (position % shape_.out_width * shape_.stride - padding_.left) * shape_.channels;
    Index row = first_tap_ / run, offset = first_tap_ % run;
    for (Index k = 0; k < depth_; ++row, offset = 0) {
      const Index length = std::min(run - offset, depth_ - k);
      const Index from = x + offset;
      const Index first = std::max(Index(0), from), last = std::min(row_size, from + length);
      if (y + row >= 0 && y + row < padding_.height && first < last)
        add_to(last - first, covered + k + (first - from), dx + (y + row) * row_size + first);
      k += length;
    }
  }

  static void add_to(Index size, const S* values, S* out) {
    Index i = 0;
    for (; i + lanes<S> <= size; i += lanes<S>)
      simd::pstoreu(out + i, simd::padd(simd::ploadu<Packet<S>>(out + i),
                                        simd::ploadu<Packet<S>>(values + i)));
    for (; i < size; ++i) out[i] += values[i];
  }

  alignas(64) S unfolded_[std::size_t(most_taps * most_positions)];
  const ConvolutionShape& shape_;
  const PaddingShape& padding_;
  const S* weight_;
  Index first_tap_ = 0, depth_ = 0, stride_ = 0;  // the part's
};

}  // namespace comet::detail
