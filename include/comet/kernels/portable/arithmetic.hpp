// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__FMA__)
#include <immintrin.h>
#endif

/// \file
/// \brief The arithmetic of routing in plain C++17. The folder needs nothing else: gates stand on
/// it, and the headers that emit_cpp writes carry its text.
///
/// Nothing in it allocates or throws; scratch comes from the caller. After an edit:
/// scripts/portable_text.sh.

namespace comet::portable {

using Index = std::ptrdiff_t;

/// 0 below -gamma/2, 1 above gamma/2, a cubic between, computed from the nearer end.
template <class S>
S smooth_step(S t, S gamma) {
  const S half = gamma / S(2);
  if (t <= -half) return S(0);
  if (t >= half) return S(1);
  const S u = t / gamma;
  const S v = S(0.5) - std::abs(u);
  const S tail = v * v * (S(3) - S(2) * v);
  return u < S(0) ? tail : S(1) - tail;
}

/// What a softmax went through: log sum exp(h) is largest + log(sum).
template <class S>
struct Exponentials {
  S largest;  ///< logit
  S sum;      ///< of exp(h - largest)
};

/// p = softmax(h), the largest logit subtracted; works in place.
template <class S>
Exponentials<S> softmax(const S* h, Index size, S* p) {
  S largest = h[0];
  for (Index i = 1; i < size; ++i) largest = std::max(largest, h[i]);
  S sum = 0;
  for (Index i = 0; i < size; ++i) {
    p[i] = std::exp(h[i] - largest);
    sum += p[i];
  }
  for (Index i = 0; i < size; ++i) p[i] /= sum;
  return {largest, sum};
}

template <bool fused, class S>
S multiply_add(S a, S b, S c) {
  if constexpr (fused) {
    return std::fma(a, b, c);
  } else {
    return a * b + c;
  }
}

/// \brief A register of so many numbers, where the target has an instruction that multiplies and
/// adds them with one rounding: std::fma in a loop is seldom turned into it.
template <class S, int lanes>
struct Fused {
  static constexpr bool available = false;
};
#if defined(__FMA__)
template <>
struct Fused<float, 4> {
  using Type = __m128;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 2> {
  using Type = __m128d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm_fmadd_pd(a, b, c); }
};
template <>
struct Fused<float, 8> {
  using Type = __m256;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 4> {
  using Type = __m256d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm256_fmadd_pd(a, b, c); }
};
#endif
#if defined(__AVX512F__)
template <>
struct Fused<float, 16> {
  using Type = __m512;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
};
template <>
struct Fused<double, 8> {
  using Type = __m512d;
  static constexpr bool available = true;
  static Type add(Type a, Type b, Type c) { return _mm512_fmadd_pd(a, b, c); }
};
#endif

/// \brief The first `count` numbers, or as many as fit, then zeros.
template <class S, int lanes>
auto load_lanes(const S* values, Index count = lanes) {
  typename Fused<S, lanes>::Type result = {};
  std::memcpy(&result, values, std::size_t(count < lanes ? count : lanes) * sizeof(S));
  return result;
}

/// \brief The partial sums of dot().
template <int lanes, class S>
void fused_rows(const S* w, const S* x, Index size, S* even, S* odd) {
  using Register = Fused<S, lanes>;
  typename Register::Type sum = {}, odd_sum = {};
  Index l = 0;
  for (; l + 2 * lanes <= size; l += 2 * lanes) {
    sum = Register::add(load_lanes<S, lanes>(w + l), load_lanes<S, lanes>(x + l), sum);
    odd_sum = Register::add(load_lanes<S, lanes>(w + l + lanes),
                            load_lanes<S, lanes>(x + l + lanes), odd_sum);
  }
  for (; l < size; l += lanes)
    sum = Register::add(load_lanes<S, lanes>(w + l, size - l),
                        load_lanes<S, lanes>(x + l, size - l), sum);
  std::memcpy(even, &sum, sizeof sum);
  std::memcpy(odd, &odd_sum, sizeof odd_sum);
}

/// \brief w . x + bias in two rows of `lanes` partial sums, as a vector unit has them: the bits of
/// a build whose registers hold so many numbers.
/// \tparam fused  multiply and add with one rounding
/// \tparam last   the sums are halved down to these: 1, or 4 that are added as neighbours
/// \tparam Size   a number, or a std::integral_constant where it is known to the compiler
template <int lanes, bool fused, int last, class S, class Size>
S dot(const S* w, const S* x, Size size, S bias) {
  S even[std::size_t(lanes)] = {};
  S odd[std::size_t(lanes)] = {};
  Index l = 0;
  if constexpr (fused && Fused<S, lanes>::available) {
    fused_rows<lanes>(w, x, Index(size), even, odd);
    l = Index(size);
  }
  for (; l + 2 * lanes <= size; l += 2 * lanes)
    for (int i = 0; i < lanes; ++i) {
      even[i] = multiply_add<fused>(w[l + i], x[l + i], even[i]);
      odd[i] = multiply_add<fused>(w[l + lanes + i], x[l + lanes + i], odd[i]);
    }
  for (; l < size; l += lanes)
    for (int i = 0; i < lanes; ++i) {
      const bool inside = l + i < size;
      even[i] = multiply_add<fused>(inside ? w[l + i] : S(0), inside ? x[l + i] : S(0), even[i]);
    }
  for (int i = 0; i < lanes; ++i) even[i] += odd[i];
  for (int half = lanes / 2; half >= last; half /= 2)
    for (int i = 0; i < half; ++i) even[i] += even[i + half];
  if constexpr (last == 4) {
    return ((even[0] + even[1]) + (even[2] + even[3])) + bias;
  } else {
    return even[0] + bias;
  }
}

template <class S>
bool is_finite(const S* x, Index size) {
  for (Index l = 0; l < size; ++l)
    if (!std::isfinite(x[l])) return false;
  return true;
}

/// \brief Weights under their experts, ascending, in the caller's memory; equal experts are added
/// in the order in which they come.
template <class S>
struct Row {
  std::int32_t* experts;
  S* weights;
  int size = 0;

  void add(std::int32_t expert, S weight) {
    int place = size;
    while (place > 0 && experts[place - 1] > expert) --place;
    if (place > 0 && experts[place - 1] == expert) {
      weights[place - 1] += weight;
      return;
    }
    for (int i = size++; i > place; --i) {
      experts[i] = experts[i - 1];
      weights[i] = weights[i - 1];
    }
    experts[place] = expert;
    weights[place] = weight;
  }
};

}  // namespace comet::portable
