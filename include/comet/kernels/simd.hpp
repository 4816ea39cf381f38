// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <comet/core/types.hpp>

/// \file
/// \brief The vector registers of the machine, in Eigen's words: the one header that names what is
/// internal to Eigen, of 3.4, 5 and what comes after.

/// Unrolls the loop that follows, so that an array of sums becomes registers. g++ needs to be told
/// below -O3; without it the kernels are five times slower.
#if defined(__GNUC__) && !defined(__clang__)
#define COMET_UNROLL _Pragma("GCC unroll 8")
#else
#define COMET_UNROLL
#endif

/// Inlines a tile of a product, which g++ would call; clang is faster with the call.
#if defined(__GNUC__) && !defined(__clang__)
#define COMET_INLINE_TILE EIGEN_ALWAYS_INLINE
#else
#define COMET_INLINE_TILE
#endif

namespace comet::detail {

namespace simd = Eigen::internal;

template <class S>
using Packet = typename simd::packet_traits<S>::type;

/// Scalars per register; 1 where Eigen has no vector instructions.
template <class S>
inline constexpr Index lanes = simd::packet_traits<S>::size;

/// Whether there are 32 registers, as of AVX-512, and not 16.
template <class S>
inline constexpr bool many_registers = sizeof(Packet<S>) == 64;

/// Asks for values that will be read soon. Not by Eigen's function, whose calls g++ 12 drops.
template <class S>
EIGEN_ALWAYS_INLINE void prefetch([[maybe_unused]] const S* values, [[maybe_unused]] Index size) {
#if defined(__GNUC__)
  constexpr Index line = 64 / Index(sizeof(S));
  for (Index i = 0; i < size; i += line) __builtin_prefetch(values + i);
#endif
}

/// The first `size` < lanes scalars, then zeros: the end of a vector takes the same instructions
/// as the rest of it.
template <class S>
[[nodiscard]] Packet<S> load_partial(const S* values, Index size) {
  S padded[std::size_t(lanes<S>)] = {};
  std::copy_n(values, size, padded);
  return simd::ploadu<Packet<S>>(padded);
}

/// What Eigen calls its functions has changed, and its version does not tell: a development branch
/// has the number of the release before it. So it is asked for the function.
namespace any_eigen {

using namespace Eigen::internal;

/// The sum of the upper and the lower half of a register, a register of half the size.
template <class P>
[[nodiscard]] EIGEN_ALWAYS_INLINE auto add_halves(const P& a) {
  if constexpr (requires { predux_half(a); }) {
    return predux_half(a);
  } else {
    return predux_half_dowto4(a);  // up to Eigen 5.0
  }
}

}  // namespace any_eigen

#if defined(__AVX__)
/// sum_lanes() of eight floats, in the order of the general one: even lanes, odd lanes, both. With
/// a quarter fewer instructions, for every one counts at the end of a short product.
EIGEN_ALWAYS_INLINE void sum_eight_lanes(__m256 a, __m256 b, __m256 c, __m256 d, float* out) {
  const auto pairs = [](__m256 left, __m256 right) {  // lanes 0 + 2 and 1 + 3 of each half
    const __m256d l = _mm256_castps_pd(left), r = _mm256_castps_pd(right);
    return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(l, r)),
                         _mm256_castpd_ps(_mm256_unpackhi_pd(l, r)));
  };
  const __m256 ab = pairs(a, b), cd = pairs(c, d);
  const __m256 sums =
      _mm256_add_ps(_mm256_permute2f128_ps(ab, cd, 0x20), _mm256_permute2f128_ps(ab, cd, 0x31));
  const __m128 low = _mm256_castps256_ps128(sums), high = _mm256_extractf128_ps(sums, 1);
  _mm_storeu_ps(out, _mm_add_ps(_mm_shuffle_ps(low, high, 0x88), _mm_shuffle_ps(low, high, 0xdd)));
}
#endif

#if defined(__AVX512F__)
/// sum_lanes() of eight times sixteen floats, in the order of the general one: upper halves to
/// lower ones, and as above. With three fifths of the instructions. The masks take all: g++ warns
/// of what its forms without leave undefined.
EIGEN_ALWAYS_INLINE void sum_sixteen_lanes(const __m512 (&of)[8], float* out) {
  constexpr __mmask8 all_pairs = 0xff;
  constexpr __mmask16 all = 0xffff;
  const auto halves = [](__m512 left, __m512 right) {
    return _mm512_add_ps(_mm512_maskz_shuffle_f32x4(all, left, right, 0x44),
                         _mm512_maskz_shuffle_f32x4(all, left, right, 0xee));
  };
  const auto pairs = [](__m512 left, __m512 right) {  // lanes 0 + 2 and 1 + 3 of each quarter
    const __m512d l = _mm512_castps_pd(left), r = _mm512_castps_pd(right);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_maskz_unpacklo_pd(all_pairs, l, r)),
                         _mm512_castpd_ps(_mm512_maskz_unpackhi_pd(all_pairs, l, r)));
  };
  const __m512 first = pairs(halves(of[0], of[1]), halves(of[2], of[3]));
  const __m512 last = pairs(halves(of[4], of[5]), halves(of[6], of[7]));
  const __m512 sums = _mm512_add_ps(_mm512_maskz_shuffle_f32x4(all, first, last, 0x88),
                                    _mm512_maskz_shuffle_f32x4(all, first, last, 0xdd));
  // Even and odd lanes of 0, 2, 1, 3 and so on.
  const __m512 done = _mm512_add_ps(sums, _mm512_maskz_permute_ps(all, sums, 0xb1));
  const __m512i order = _mm512_setr_epi32(0, 4, 2, 6, 8, 12, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  constexpr __mmask16 eight = 0xff;
  _mm512_mask_storeu_ps(out, eight, _mm512_maskz_permutexvar_ps(all, order, done));
}
#endif

/// out[i] = sum of the lanes of the i-th argument.
template <class P, class S>
EIGEN_ALWAYS_INLINE void sum_lanes(const P& a, const P& b, const P& c, const P& d, S* out) {
  constexpr int size = simd::unpacket_traits<P>::size;
#if defined(__AVX__)
  if constexpr (size == 8 && std::is_same_v<S, float>) {
    sum_eight_lanes(a, b, c, d, out);
    return;
  }
#endif
  if constexpr (size == 16) {
    using any_eigen::add_halves;
    sum_lanes(add_halves(a), add_halves(b), add_halves(c), add_halves(d), out);
  } else if constexpr (size == 8 || size == 4) {
    // Transposed, a lane holds one argument's part and whole registers are added.
    simd::PacketBlock<P, 4> block{{a, b, c, d}};
    simd::ptranspose(block);
    const P sum = simd::padd(simd::padd(block.packet[0], block.packet[1]),
                             simd::padd(block.packet[2], block.packet[3]));
    if constexpr (size == 8) {
      simd::pstoreu(out, any_eigen::add_halves(sum));
    } else {
      simd::pstoreu(out, sum);
    }
  } else {
    out[0] = simd::predux(a);
    out[1] = simd::predux(b);
    out[2] = simd::predux(c);
    out[3] = simd::predux(d);
  }
}

/// The same of four or eight.
template <class P, std::size_t count, class S>
EIGEN_ALWAYS_INLINE void sum_lanes(const P (&of)[count], S* out) {
  static_assert(count == 4 || count == 8);
#if defined(__AVX512F__)
  if constexpr (count == 8 && simd::unpacket_traits<P>::size == 16) {
    sum_sixteen_lanes(of, out);
    return;
  }
#endif
  sum_lanes(of[0], of[1], of[2], of[3], out);
  if constexpr (count == 8) sum_lanes(of[4], of[5], of[6], of[7], out + 4);
}

}  // namespace comet::detail
