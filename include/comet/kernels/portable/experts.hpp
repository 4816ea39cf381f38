// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <comet/kernels/portable/arithmetic.hpp>

/// \file
/// \brief Frozen experts in plain loops, for emitted headers: the bits of
/// kernels/transposed_product.hpp and kernels/stored_product.hpp.

namespace comet::portable {

/// \brief The sum of the lanes of a register.
/// \tparam crossed  of eight, those at even and those at odd places are added first, each in the
///                  order of four
template <int lanes, bool crossed, class S>
S sum_of_lanes(const S* a) {
  if constexpr (lanes == 1) {
    return a[0];
  } else if constexpr (lanes == 2) {
    return a[0] + a[1];
  } else if constexpr (lanes == 4) {
    return (a[0] + a[1]) + (a[2] + a[3]);
  } else if constexpr (lanes == 8) {
    if constexpr (crossed)
      return ((a[0] + a[2]) + (a[4] + a[6])) + ((a[1] + a[3]) + (a[5] + a[7]));
    else
      return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
  } else {
    S half[std::size_t(lanes / 2)];
    for (int i = 0; i < lanes / 2; ++i) half[i] = a[i] + a[i + lanes / 2];
    return sum_of_lanes<lanes / 2, crossed>(half);
  }
}

/// \brief dot_units() with vectors.
template <int lanes, bool crossed, int units, class S>
void fused_units(const S* w, Index d, const S* x, S* y) {
  using Register = Fused<S, lanes>;
  typename Register::Type sum[std::size_t(units)] = {};
  Index l = 0;
  for (; l + lanes <= d; l += lanes) {
    const auto part = load_lanes<S, lanes>(x + l);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 8
#endif
    for (int u = 0; u < units; ++u)
      sum[u] = Register::add(load_lanes<S, lanes>(w + u * d + l), part, sum[u]);
  }
  if (l < d) {
    const auto part = load_lanes<S, lanes>(x + l, d - l);
    for (int u = 0; u < units; ++u)
      sum[u] = Register::add(load_lanes<S, lanes>(w + u * d + l, d - l), part, sum[u]);
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 8
#endif
  for (int u = 0; u < units; ++u) {
    S parts[std::size_t(lanes)];
    std::memcpy(parts, &sum[u], sizeof parts);
    y[u] = sum_of_lanes<lanes, crossed>(parts);
  }
}

/// \brief y[u] = w[u * d ..] . x for `units` units: a row of `lanes` partial sums for each.
/// \tparam fused  multiply and add with one rounding
template <int lanes, bool fused, bool crossed, int units, class S>
void dot_units(const S* w, Index d, const S* x, S* y) {
  if constexpr (fused && Fused<S, lanes>::available) {
    fused_units<lanes, crossed, units>(w, d, x, y);
  } else {
    S sum[std::size_t(units)][std::size_t(lanes)] = {};
    for (Index l = 0; l < d; l += lanes)
      for (int u = 0; u < units; ++u)
        for (int i = 0; i < lanes; ++i) {
          const bool inside = l + i < d;
          sum[u][i] = multiply_add<fused>(inside ? w[u * d + l + i] : S(0),
                                          inside ? x[l + i] : S(0), sum[u][i]);
        }
    for (int u = 0; u < units; ++u) y[u] = sum_of_lanes<lanes, crossed>(sum[u]);
  }
}

/// \brief y = activation(w^T x + bias); w is m times d numbers.
template <int lanes, bool fused, bool crossed, class S>
void affine(const S* w, const S* bias, bool relu, Index d, Index m, const S* x, S* y) {
  const Index fours = m / 4 * 4;
  for (Index u = 0; u < fours; u += 4) dot_units<lanes, fused, crossed, 4>(w + u * d, d, x, y + u);
  for (Index u = fours; u < m; ++u) dot_units<lanes, fused, crossed, 1>(w + u * d, d, x, y + u);
  for (Index u = 0; u < m; ++u) {
    const S z = y[u] + bias[u];
    y[u] = relu && z < S(0) ? S(0) : z;
  }
}

/// \brief Products of eight and sixteen bits that can be summed in 32: more of the largest do not
/// fit.
inline constexpr Index integer_depth = 512;
/// \brief The largest number of sixteen bits both of whose bytes are at most 127.
inline constexpr int largest_rounded = 32639;

/// \brief What a sum is shrunk by that would overflow before its scale makes it small: a power of
/// two, so that other bits stay.
template <class S>
inline constexpr S overflow_shrink = S(1) / S(std::int64_t(1) << 40);

/// \brief x as multiples of a unit, which is its largest element / largest_rounded. All 0 if the
/// unit is too small or too large to be told from 0 or infinity.
template <class S>
void round_to_sixteen(const S* x, Index size, S unit, std::int16_t* rounded) {
  const S inverse = unit > S(0) ? S(1) / unit : S(0);
  if (!(unit > S(0) && std::isfinite(unit) && std::isfinite(inverse))) {
    for (Index i = 0; i < size; ++i) rounded[i] = 0;
    return;
  }
  for (Index i = 0; i < size; ++i)
    rounded[i] = static_cast<std::int16_t>(static_cast<int>(std::rint(x[i] * inverse)));
}

/// \brief The same with weights of eight bits, a scale for each output, and x rounded to sixteen.
/// \param rounded  room for d numbers
template <class S>
void affine(const std::int8_t* w, const S* scale, const S* bias, bool relu, Index d, Index m,
            const S* x, std::int16_t* rounded, S* y) {
  S largest = 0;
  for (Index i = 0; i < d; ++i) largest = largest < std::abs(x[i]) ? std::abs(x[i]) : largest;
  const S unit = largest / S(largest_rounded);
  round_to_sixteen(x, d, unit, rounded);
  const bool may_overflow = largest > std::numeric_limits<S>::max() / S(127) / S(d);
  const S shrink = may_overflow ? overflow_shrink<S> : S(1);
  const S shrunk = unit * shrink;
  for (Index u = 0; u < m; ++u) {
    S total = 0;
    for (Index k = 0; k < d; k += integer_depth) {
      const Index end = k + integer_depth < d ? k + integer_depth : d;
      std::int32_t sum = 0;
      for (Index i = k; i < end; ++i) sum += std::int32_t(w[u * d + i]) * std::int32_t(rounded[i]);
      total = k == 0 ? static_cast<S>(sum) * shrunk : std::fma(static_cast<S>(sum), shrunk, total);
    }
    const S scaled = total * scale[u] / shrink;
    const S z = scaled + bias[u];
    y[u] = relu && z < S(0) ? S(0) : z;
  }
}

/// \brief sum += weights[0] * vectors[0 ..] + ..., in the order of detail::add_scaled(); the
/// vectors are `size` numbers each, one behind the other.
template <class S>
void add_scaled(S* sum, Index size, const S* weights, const S* vectors, int count) {
  const auto term = [&](int i, Index r) { return weights[i] * vectors[i * size + r]; };
  int i = 0;
  for (; i + 4 <= count; i += 4)
    for (Index r = 0; r < size; ++r) {
      const S first = term(i, r) + term(i + 1, r), second = term(i + 2, r) + term(i + 3, r);
      sum[r] += first + second;
    }
  if (i + 2 <= count) {
    for (Index r = 0; r < size; ++r) {
      const S both = term(i, r) + term(i + 1, r);
      sum[r] += both;
    }
    i += 2;
  }
  if (i < count)
    for (Index r = 0; r < size; ++r) {
      const S one = term(i, r);
      sum[r] += one;
    }
}

/// \brief The mixture of one sample: sum = the weighted outputs of a row's experts, which
/// expert(number, output) computes.
template <class S, class Expert>
void mix(const std::int32_t* experts, const S* weights, int entries, Index size, S* sum, S* outputs,
         Expert expert) {
  constexpr int most = 8;
  for (Index r = 0; r < size; ++r) sum[r] = S(0);
  S factors[most];
  int count = 0;
  for (int i = 0; i < entries; ++i) {
    if (weights[i] == S(0)) continue;
    factors[count] = weights[i];
    expert(experts[i], outputs + count * size);
    if (++count < most) continue;
    add_scaled(sum, size, factors, outputs, count);
    count = 0;
  }
  add_scaled(sum, size, factors, outputs, count);
}

}  // namespace comet::portable
