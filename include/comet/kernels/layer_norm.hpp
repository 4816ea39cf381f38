// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/simd.hpp>

namespace comet::detail {

/// \brief out = scale (x - mean) / sqrt(variance + epsilon) of one column of `size` values.
/// \param out  may be x
/// \return scale / sqrt(variance + epsilon)
template <class S>
S normalize(Index size, S epsilon, S scale, const S* x, S* out) {
  const S mean = sum_column<S>(size, [&](auto load) { return load(x); }) / S(size);
  map_column(size, out,
             [&](auto load) { return simd::psub(load(x), simd::pset1<Packet<S>>(mean)); });
  const S squares =
      sum_column<S>(size, [&](auto load) { return simd::pmul(load(out), load(out)); });
  const S factor = scale / std::sqrt(squares / S(size) + epsilon);
  map_column(size, out,
             [&](auto load) { return simd::pmul(load(out), simd::pset1<Packet<S>>(factor)); });
  return factor;
}

/// \brief dx += the gradient by x of sum(dy . y), y = normalize(x):
/// factor (dy - mean(dy) - y mean(dy . y) / scale^2).
/// \param scale   as in normalize()    \param factor  as normalize() returned it
template <class S>
void add_normalize_backward(Index size, S scale, S factor, const S* y, const S* dy, S* dx) {
  const S mean = sum_column<S>(size, [&](auto load) { return load(dy); }) / S(size);
  const S along = sum_column<S>(size, [&](auto load) { return simd::pmul(load(dy), load(y)); }) /
                  (S(size) * scale * scale);
  map_column(size, dx, [&](auto load) {
    const auto across = simd::psub(load(dy), simd::pset1<Packet<S>>(mean));
    const auto rest = simd::psub(across, simd::pmul(load(y), simd::pset1<Packet<S>>(along)));
    return simd::padd(load(dx), simd::pmul(rest, simd::pset1<Packet<S>>(factor)));
  });
}

}  // namespace comet::detail
