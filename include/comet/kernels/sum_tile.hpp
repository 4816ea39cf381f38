// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief Sums of outer products that stay in registers, and the ends of vectors: what products of
/// parts of pictures are made of.

namespace comet::detail {

/// Tells the compiler that a value is used from a register: g++ 12 reads it from memory again for
/// each use, and loads are what the sums wait for. Of three values it would also write each back,
/// were they not copied first.
template <int Registers, class P>
EIGEN_ALWAYS_INLINE void keep_in_register([[maybe_unused]] P& value) {
#if defined(__GNUC__) && defined(__x86_64__)
  if constexpr (Registers < 3) {
    __asm__("" : "+x"(value));
  } else {
    P copy = value;
    __asm__("" : "+x"(copy));
    value = copy;
  }
#endif
}

/// A matrix of sums in registers: Registers * lanes down, Columns across.
template <int Registers, int Columns, class S>
struct SumTile {
  Packet<S> sum[std::size_t(Columns)][std::size_t(Registers)];

  EIGEN_ALWAYS_INLINE void set_zero() {
    COMET_UNROLL
    for (int c = 0; c < Columns; ++c) {
      COMET_UNROLL
      for (int r = 0; r < Registers; ++r) sum[c][r] = simd::pset1<Packet<S>>(S(0));
    }
  }

  /// sum(r, c) += a(k, r) b(k, c) for all k in ascending order.
  /// \param a  register r of k at a + k * a_step + r * a_register
  /// \param b  factor c of k at b + k * b_step + c * b_column
  EIGEN_ALWAYS_INLINE void add(const S* a, Index a_step, Index a_register, const S* b, Index b_step,
                               Index b_column, Index depth) {
    for (Index k = 0; k < depth; ++k, a += a_step, b += b_step) {
      Packet<S> part[std::size_t(Registers)];
      COMET_UNROLL
      for (int r = 0; r < Registers; ++r) {
        part[r] = simd::ploadu<Packet<S>>(a + r * a_register);
        if constexpr (Columns > 1) keep_in_register<Registers>(part[r]);
      }
      COMET_UNROLL
      for (int c = 0; c < Columns; ++c) {
        const Packet<S> factor = simd::pset1<Packet<S>>(b[c * b_column]);
        COMET_UNROLL
        for (int r = 0; r < Registers; ++r) sum[c][r] = simd::pmadd(part[r], factor, sum[c][r]);
      }
    }
  }

  /// The same where registers may reach beyond the end of a's memory: what is there counts as 0.
  EIGEN_ALWAYS_INLINE void add_within(const S* end, const S* a, Index a_step, Index a_register,
                                      const S* b, Index b_step, Index b_column, Index depth) {
    const Index reach = (Registers - 1) * a_register + lanes<S>;
    Index safe = depth;
    if ((depth - 1) * a_step + reach > end - a)
      safe = end - a < reach ? 0 : (end - a - reach) / a_step + 1;
    add(a, a_step, a_register, b, b_step, b_column, safe);
    for (Index k = safe; k < depth; ++k) {
      S values[std::size_t(Registers * lanes<S>)] = {};
      for (int r = 0; r < Registers; ++r) {
        const S* from = a + k * a_step + r * a_register;
        std::copy_n(from, std::clamp(Index(end - from), Index(0), lanes<S>), values + r * lanes<S>);
      }
      add(values, 0, lanes<S>, b + k * b_step, 0, b_column, 1);
    }
  }
};

/// Stores the first `size` lanes, 1 or more.
template <class S>
EIGEN_ALWAYS_INLINE void store_lanes(S* out, const Packet<S>& value, Index size) {
  if (size >= lanes<S>) return simd::pstoreu(out, value);
  S values[std::size_t(lanes<S>)];
  simd::pstoreu(values, value);
  Index done = 0;
  // By halves: a copy of a length that the compiler does not know is a call.
  const auto some = [&](auto count) {
    if constexpr (count() < lanes<S>) {
      if (!(size & count())) return;
      std::memcpy(out + done, values + done, std::size_t(count()) * sizeof(S));
      done += count();
    }
  };
  using std::integral_constant;
  some(integral_constant<Index, 8>{});
  some(integral_constant<Index, 4>{});
  some(integral_constant<Index, 2>{});
  some(integral_constant<Index, 1>{});
}

/// The first `size` lanes, the others 0.
template <class S>
EIGEN_ALWAYS_INLINE Packet<S> load_lanes(const S* values, Index size) {
  if (size < lanes<S>) return load_partial(values, size);
  return simd::ploadu<Packet<S>>(values);
}

/// The first `size` lanes += value.
template <class S>
EIGEN_ALWAYS_INLINE void add_lanes(S* out, const Packet<S>& value, Index size) {
  store_lanes(out, simd::padd(load_lanes(out, size), value), size);
}

/// f(c, columns) for tiles of 0..count-1, as wide as registers allow beside `Registers` of them.
template <int Registers, class F>
EIGEN_ALWAYS_INLINE void for_each_tile(Index count, F&& f) {
  Index c = 0;
  const auto tiles = [&](auto columns) {
    for (; count - c >= columns(); c += columns()) f(c, columns);
  };
  using std::integral_constant;
  // Of 16 registers; sums fewer than 8 wait for each other.
  if constexpr (Registers == 1) tiles(integral_constant<int, 8>{});
  if constexpr (Registers == 2)  // eight are two fours
    for (; count - c >= 6 && count - c != 8; c += 6) f(c, integral_constant<int, 6>{});
  if constexpr (Registers <= 2) tiles(integral_constant<int, 4>{});
  if constexpr (Registers == 3)
    for (; count - c >= 3 && count - c != 4; c += 3) f(c, integral_constant<int, 3>{});
  tiles(integral_constant<int, 2>{});
  tiles(integral_constant<int, 1>{});
}

/// f(first, registers) for groups of 0..count-1, of three where it comes out even, else two.
template <class F>
EIGEN_ALWAYS_INLINE void for_each_group(Index count, F&& f) {
  using std::integral_constant;
  Index first = 0;
  for (; count - first >= 3 && count - first != 4; first += 3)
    f(first, integral_constant<int, 3>{});
  for (; count - first >= 2; first += 2) f(first, integral_constant<int, 2>{});
  if (first < count) f(first, integral_constant<int, 1>{});
}

template <class S>
[[nodiscard]] constexpr Index registers_for(Index count) {
  constexpr Index size = lanes<S>;
  return (count + size - 1) / size;
}

}  // namespace comet::detail
