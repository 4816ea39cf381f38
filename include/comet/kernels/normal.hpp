// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <numbers>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief The standard normal distribution, a register at a time. The standard library's erfc takes
/// one number at a time, which was half of the time of an expert with GELU.

namespace comet::detail {

/// \brief What normal() knows at z.
template <class S>
struct Normal {
  Packet<S> below;    ///< Phi(z) = P(Z <= z), with all digits in the lower tail, too
  Packet<S> density;  ///< Phi'(z)
};

/// \brief Coefficients, the highest power first, of the polynomial q in
///
///     P(Z > u) = t q(t) exp(-u^2 / 2),    t = 4 / (4 + u),  u >= 0
///
/// through the Chebyshev points of [0, 1]; within 1.1e-8 in float and 2.4e-17 in double
/// (scripts/normal_coefficients.py).
template <class S>
inline constexpr auto normal_tail_coefficients = [] {
  if constexpr (std::is_same_v<S, float>) {
    return std::array{0.0208148884F,  -0.08538922994F, 0.1037988575F,  -0.03974686337F,
                      0.06827399573F, 0.05744625824F,  0.08188963177F, 0.09343951471F,
                      0.09973739677F, 0.09973556104F};
  } else {
    return std::array{-0.00185990167492999175, 0.0211324092685504341,   -0.110146150728243416,
                      0.347470988908262383,    -0.737207707486531794,   1.10737093769185491,
                      -1.21379391417782442,    0.997919584637095062,    -0.637975066212267882,
                      0.324506648601174326,    -0.125493442494394343,   0.0398233661107746279,
                      -0.0151268698692489608,  -0.00462978053960527117, -0.00336399334254044686,
                      0.00721936663503867422,  0.0233967217178572562,   0.0432449155494438539,
                      0.0635034993189510557,   0.0810351509197346268,   0.0935020969661163383,
                      0.0997355701003748015,   0.0997355701003581538};
  }
}();

/// \brief Beyond this distance from 0, tail and density are 0: below the smallest normal number.
template <class S>
inline constexpr S normal_reach = std::is_same_v<S, float> ? S(13) : S(37.5);

/// \brief Distribution and density at every lane of z. A lane that is not a number has 1 and 0.
template <class S>
EIGEN_ALWAYS_INLINE Normal<S> normal(const Packet<S>& z) {
  using P = Packet<S>;
  const auto all = [](S value) { return simd::pset1<P>(value); };
  const P u = simd::pabs(z);
  const P t = simd::pdiv(all(S(4)), simd::padd(all(S(4)), u));
  P q = all(S(0));
  for (const S coefficient : normal_tail_coefficients<S>) q = simd::pmadd(q, t, all(coefficient));
  // u^2 is rounded, and an error of u^2 is one of the exponential in proportion: taken off again.
  const P square = simd::pmul(u, u);
  const P rounding = simd::pmadd(u, u, simd::pnegate(square));
  P bell = simd::pexp(simd::pmul(all(S(-0.5)), square));
  bell = simd::pmul(bell, simd::pmadd(all(S(-0.5)), rounding, all(S(1))));
  bell = simd::pand(simd::pcmp_lt(u, all(normal_reach<S>)), bell);
  const P tail = simd::pmul(simd::pmul(t, q), bell);
  constexpr S density_at_0 = S(std::numbers::inv_sqrtpi * std::numbers::sqrt2 / 2);
  return {simd::pselect(simd::pcmp_lt(z, all(S(0))), tail, simd::psub(all(S(1)), tail)),
          simd::pmul(all(density_at_0), bell)};
}

}  // namespace comet::detail
