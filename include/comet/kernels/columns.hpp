// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief Functions of one column, whose bits depend neither on where it lies in memory nor on its
/// length: the end of it takes the same instructions as the rest.

namespace comet::detail {

/// \brief out[i] = f of the i-th register of whatever f loads.
/// \param f  called with a function `load(const S*)`, returns a Packet<S>; out may be what it loads
template <class S, class F>
void map_column(Index size, S* out, F&& f) {
  Index i = 0;
  for (; i + lanes<S> <= size; i += lanes<S>)
    simd::pstoreu(out + i, f([i](const S* in) { return simd::ploadu<Packet<S>>(in + i); }));
  if (i == size) return;
  S rest[std::size_t(lanes<S>)];
  simd::pstoreu(rest, Packet<S>(f([&](const S* in) { return load_partial(in + i, size - i); })));
  std::copy_n(rest, size - i, out + i);
}

/// \brief Sum of f over the registers of whatever it loads. f must be 0 where its values are.
template <class S, class F>
[[nodiscard]] S sum_column(Index size, F&& f) {
  Packet<S> sum = simd::pset1<Packet<S>>(S(0));
  Index i = 0;
  for (; i + lanes<S> <= size; i += lanes<S>)
    sum = simd::padd(sum, f([i](const S* in) { return simd::ploadu<Packet<S>>(in + i); }));
  if (i < size)
    sum = simd::padd(sum, f([&](const S* in) { return load_partial(in + i, size - i); }));
  return simd::predux(sum);
}

}  // namespace comet::detail
