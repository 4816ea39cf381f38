// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

namespace comet::detail {

/// Bfloat16 weights are the upper halves of floats. Two of them fill a word, and a shift and a mask
/// make two floats of it: samples are parted into elements at even and at odd places.
template <class S>
struct Bfloat16Operand {
  using Weight = Bfloat16;
  using Element = S;
  static constexpr Index block = 2 * lanes<S>;
  static constexpr Index depth = 1024;  // of a part of a sum
  static constexpr Index stride = depth;
  using Words = VectorOf<std::uint32_t, lanes<S>>;

  /// \return what the sums are to be multiplied by
  static S unit(const S* /*x*/, Index /*size*/) { return S(1); }
  /// What the parts of a sum come to: the unit is 1.
  static S add(S sum, S /*unit*/, S out) { return out + sum; }
  /// Blocks of the elements at even places, then those at odd ones; padded with zeros.
  static void prepare(const S* x, Index size, S /*unit*/, S* out) {
    Index l = 0;
    const auto part = [](const S* from, S* to) {
      for (Index i = 0; i < lanes<S>; ++i) to[i] = from[2 * i];
      for (Index i = 0; i < lanes<S>; ++i) to[i + lanes<S>] = from[2 * i + 1];
    };
    for (; l + block <= size; l += block) part(x + l, out + l);
    if (l == size) return;
    S padded[std::size_t(block)] = {};
    std::copy_n(x + l, size - l, padded);
    part(padded, out + l);
  }

  template <int Units, int Columns>
  static void tile(const Weight* w, Index w_stride, const S* x, Index x_stride, Index size,
                   S* sums) {
    Packet<S> sum[std::size_t(Columns)][std::size_t(Units)];
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int u = 0; u < Units; ++u) sum[c][u] = simd::pset1<Packet<S>>(S(0));
    }
    Index l = 0;
    for (; l + block <= size; l += block)
      step<Units, Columns>([&](int u) { return words_at(w + u * w_stride + l); }, x + l, x_stride,
                           sum);
    if (l < size) {
      const auto padded_words = [&](int u) {
        Weight padded[std::size_t(block)] = {};
        std::copy_n(w + u * w_stride + l, size - l, padded);
        return words_at(padded);
      };
      step<Units, Columns>(padded_words, x + l, x_stride, sum);
    }
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) sum_lanes(sum[c], sums + c * Units);
  }

 private:
  /// Adds a block. \param words  of a unit
  template <int Units, int Columns, class Load>
  static EIGEN_ALWAYS_INLINE void step(Load words, const S* x, Index x_stride,
                                       Packet<S> (&sum)[std::size_t(Columns)][std::size_t(Units)]) {
    Packet<S> even[std::size_t(Columns)], odd[std::size_t(Columns)];
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      even[c] = simd::ploadu<Packet<S>>(x + c * x_stride);
      odd[c] = simd::ploadu<Packet<S>>(x + c * x_stride + lanes<S>);
    }
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      const Words both = words(u);
      const Packet<S> first = packet(both << 16), second = packet(both & 0xffff0000U);
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) {
        sum[c][u] = simd::pmadd(first, even[c], sum[c][u]);
        sum[c][u] = simd::pmadd(second, odd[c], sum[c][u]);
      }
    }
  }
  static EIGEN_ALWAYS_INLINE Words words_at(const Weight* w) {
    Words words;
    std::memcpy(&words, w, sizeof words);
    return words;
  }
  /// The floats with these bits.
  static EIGEN_ALWAYS_INLINE Packet<S> packet(const Words& words) {
    VectorOf<float, lanes<S>> floats;
    std::memcpy(&floats, &words, sizeof floats);
    const auto values = __builtin_convertvector(floats, VectorOf<S, lanes<S>>);
    Packet<S> result;
    std::memcpy(&result, &values, sizeof result);
    return result;
  }
};

}  // namespace comet::detail
