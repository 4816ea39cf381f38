// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/portable/experts.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/kernels/sum_tile.hpp>

/// \file
/// \brief Products with weights that are kept in fewer bits than a float has. Once weights come at
/// a half or a quarter of the bytes, it is not memory that one sample waits for but arithmetic: so
/// samples are brought into a form in which a weight needs next to no preparation. Every element is
/// summed in one fixed order, as in other products (kernels/product.hpp).

namespace comet::detail {

/// Bfloat16 weights are the upper halves of floats. Two of them fill a word, and a shift and a mask
/// make two floats of it: samples are parted into elements at even and at odd places.
template <class S>
struct Bfloat16Operand {
  using Weight = Bfloat16;
  using Element = S;
  static constexpr Index block = 2 * lanes<S>;
  static constexpr Index depth = 1024;  // of a part of a sum
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
    Packet<S> sum[std::size_t(Units)][std::size_t(Columns)];
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) sum[u][c] = simd::pset1<Packet<S>>(S(0));
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
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int u = 0; u < Units; u += 4)
        sum_lanes(sum[u][c], sum[u + 1][c], sum[u + 2][c], sum[u + 3][c], sums + c * Units + u);
    }
  }

 private:
  /// Adds a block. \param words  of a unit
  template <int Units, int Columns, class Load>
  static EIGEN_ALWAYS_INLINE void step(Load words, const S* x, Index x_stride,
                                       Packet<S> (&sum)[std::size_t(Units)][std::size_t(Columns)]) {
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
        sum[u][c] = simd::pmadd(first, even[c], sum[u][c]);
        sum[u][c] = simd::pmadd(second, odd[c], sum[u][c]);
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

/// Weights of eight bits meet samples that are rounded to sixteen, as a share of their largest
/// element: 256 times as fine as the weights. Sums are integers, exact in any order.
template <class S>
struct IntegerOperand {
  using Weight = std::int8_t;
  using Element = std::int16_t;
  static constexpr Index block = 16;
  static constexpr Index depth = portable::integer_depth;

  static S unit(const S* x, Index size) {
    return Eigen::Map<const Vector<S>>(x, size).cwiseAbs().maxCoeff() /
           S(portable::largest_rounded);
  }
  /// What the parts of a sum come to. In one rounding, for a compiler may fuse a product and a sum,
  /// and would do so in some tiles and not in others.
  static S add(S sum, S unit, S out) { return std::fma(sum, unit, out); }
  static void prepare(const S* x, Index size, S unit, Element* out) {
    portable::round_to_sixteen(x, size, unit, out);
    std::fill(out + size, out + (size + block - 1) / block * block, Element(0));
  }

  template <int Units, int Columns>
  static void tile(const Weight* w, Index w_stride, const Element* x, Index x_stride, Index size,
                   S* sums) {
    std::int32_t sum[std::size_t(Columns)][std::size_t(Units)] = {};
    Index l = 0;
#if defined(__AVX2__)
    __m256i lanewise[std::size_t(Units)][std::size_t(Columns)];
    COMET_UNROLL
    for (int u = 0; u < Units; ++u) {
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) lanewise[u][c] = _mm256_setzero_si256();
    }
    for (; l + block <= size; l += block) {
      __m256i part[std::size_t(Columns)];
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c)
        part[c] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c * x_stride + l));
      COMET_UNROLL
      for (int u = 0; u < Units; ++u) {
        const __m256i weights = _mm256_cvtepi8_epi16(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + u * w_stride + l)));
        COMET_UNROLL
        for (int c = 0; c < Columns; ++c)
          lanewise[u][c] = _mm256_add_epi32(lanewise[u][c], _mm256_madd_epi16(weights, part[c]));
      }
    }
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int u = 0; u < Units; u += 4) {
        const __m256i pairs =
            _mm256_hadd_epi32(_mm256_hadd_epi32(lanewise[u][c], lanewise[u + 1][c]),
                              _mm256_hadd_epi32(lanewise[u + 2][c], lanewise[u + 3][c]));
        _mm_storeu_si128(
            reinterpret_cast<__m128i*>(sum[c] + u),
            _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
      }
    }
#endif
    for (int c = 0; c < Columns; ++c)
      for (int u = 0; u < Units; ++u) {
        for (Index i = l; i < size; ++i)
          sum[c][u] += std::int32_t(w[u * w_stride + i]) * std::int32_t(x[c * x_stride + i]);
        sums[c * Units + u] = S(sum[c][u]);
      }
  }
};

/// Part of a product: some rows of the weights with a strip of prepared columns.
template <class Operand, class S>
struct StoredPart {
  static constexpr Index depth = Operand::depth, strip = 8;

  const typename Operand::Weight* w;
  Index w_stride;
  Index size;  // rows, at most depth
  const typename Operand::Element* x;
  const S* units;  // per column
  bool adds;       // to y, which has the rows before
  S* y;
  Index y_stride;

  /// Units first + i * apart for i in 0..count-1, and so for the `apart` - 1 behind them: memory
  /// gives several streams in the time of one.
  template <int Units, int Columns>
  void outputs(Index first, Index apart, Index c) const {
    S sums[std::size_t(Units * Columns)];
    for (Index u = first; u < first + apart; ++u) {
      Operand::template tile<Units, Columns>(w + u * w_stride, apart * w_stride, x + c * depth,
                                             depth, size, sums);
      for (int j = 0; j < Columns; ++j) {
        S* out = y + (c + j) * y_stride + u;
        const S unit = units[c + j];
        for (int i = 0; i < Units; ++i) {
          const S sum = sums[j * Units + i];
          out[i * apart] = adds ? Operand::add(sum, unit, out[i * apart]) : sum * unit;
        }
      }
    }
  }

  /// The last one to three units.
  void output(Index u, Index c) const {
    S sums[4];
    Operand::template tile<4, 1>(w + u * w_stride, 0, x + c * depth, depth, size, sums);
    S& out = y[c * y_stride + u];
    out = adds ? Operand::add(sums[0], units[c], out) : sums[0] * units[c];
  }

  void run(Index num_units, Index num_columns) const {
    Index u = 0;
    if (num_columns == 1) {
      outputs<8, 1>(0, num_units / 8, 0);
      u = num_units / 8 * 8;
    }
    const Index apart = (num_units - u) / 4;
    for_each_tile<3>(num_columns,
                     [&](Index c, auto columns) { outputs<4, columns()>(u, apart, c); });
    for (u += 4 * apart; u < num_units; ++u)
      for (Index c = 0; c < num_columns; ++c) output(u, c);
  }
};

/// y = w^T x with weights of fewer bits. \param w  d x m \param x  d x B \param y  m x B; columns
/// are contiguous
template <class Operand, class S>
void stored_product(const Matrix<typename Operand::Weight>& w, const ConstMatrixView<S>& x,
                    MatrixView<S> y) {
  using Part = StoredPart<Operand, S>;
  alignas(64) typename Operand::Element prepared[std::size_t(Part::depth * Part::strip)];
  S units[std::size_t(Part::strip)];
  for (Index first = 0; first < x.cols(); first += Part::strip) {
    const Index width = std::min(Part::strip, x.cols() - first);
    const auto column = [&](Index c) { return x.data() + (first + c) * x.outerStride(); };
    for (Index c = 0; c < width; ++c) units[c] = Operand::unit(column(c), x.rows());
    for (Index k = 0; k < x.rows(); k += Part::depth) {
      const Index size = std::min(Part::depth, x.rows() - k);
      for (Index c = 0; c < width; ++c)
        Operand::prepare(column(c) + k, size, units[c], prepared + c * Part::depth);
      const Part part{w.data() + k,
                      w.outerStride(),
                      size,
                      prepared,
                      units,
                      k > 0,
                      y.data() + first * y.outerStride(),
                      y.outerStride()};
      part.run(w.cols(), width);
    }
  }
}

}  // namespace comet::detail
