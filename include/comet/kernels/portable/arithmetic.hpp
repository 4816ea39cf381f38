// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

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

/// \brief w . x + bias in two rows of `lanes` partial sums, as a vector unit has them: the bits of
/// a build whose registers hold so many numbers. \tparam fused  multiply and add with one rounding
/// \tparam last   the sums are halved down to these: 1, or 4 that are added as neighbours
/// \tparam Size   a number, or a std::integral_constant where it is known to the compiler
template <int lanes, bool fused, int last, class S, class Size>
S dot(const S* w, const S* x, Size size, S bias) {
  S even[std::size_t(lanes)] = {};
  S odd[std::size_t(lanes)] = {};
  Index l = 0;
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
