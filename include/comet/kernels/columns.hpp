// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include <comet/core/types.hpp>
#include <comet/kernels/simd.hpp>

/// \file
/// \brief Functions of one column, whose bits depend neither on where it lies in memory nor on its
/// length: the end of it takes the same instructions as the rest.

namespace comet::detail {

/// \brief So many numbers are added one by one; of more, the sums of such runs are. A float that
/// has become large takes a small one only in part, the same part every time: of a million equal
/// numbers the sum would be wrong by a hundredth.
inline constexpr Index run_length = 4096;

/// \brief sum += the vectors 0..count-1.
/// \tparam most_rows  sum has so many at most: the room for a run is on the stack
/// \param add  called with a vector like sum, and i: adds the i-th to it
template <Index most_rows, class Sum, class F>
void add_in_runs(Index count, Sum&& sum, F&& add) {
  using S = typename std::remove_cvref_t<Sum>::Scalar;
  for (Index i = 0; i < std::min(run_length, count); ++i) add(sum, i);
  for (Index first = run_length; first < count; first += run_length) {
    // Eigen is told the bound, too: g++ would warn of one number that is read as a register.
    using Run = Eigen::Matrix<S, most_rows == 1 ? 1 : Eigen::Dynamic, 1, 0, int(most_rows), 1>;
    S values[std::size_t(most_rows)];
    Eigen::Map<Run> run(values, sum.rows());
    run.setZero();
    for (Index i = first; i < std::min(first + run_length, count); ++i) add(run, i);
    sum += run;
  }
}

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

/// \brief map_column() to two columns at once: f returns a pair of registers with members `value`
/// and `slope`.
template <class S, class F>
void map_with_slope(Index size, S* value, S* slope, F&& f) {
  Index i = 0;
  for (; i + lanes<S> <= size; i += lanes<S>) {
    const auto out = f([i](const S* in) { return simd::ploadu<Packet<S>>(in + i); });
    simd::pstoreu(value + i, out.value);
    simd::pstoreu(slope + i, out.slope);
  }
  if (i == size) return;
  const auto out = f([&](const S* in) { return load_partial(in + i, size - i); });
  S rest[std::size_t(lanes<S>)];
  simd::pstoreu(rest, out.value);
  std::copy_n(rest, size - i, value + i);
  simd::pstoreu(rest, out.slope);
  std::copy_n(rest, size - i, slope + i);
}

/// \brief Sum of f over the registers of whatever it loads. f must be 0 where its values are.
template <class S, class F>
[[nodiscard]] S sum_column(Index size, F&& f) {
  double total = 0;
  Index i = 0;
  for (Index end = std::min(run_length, size);; end = std::min(end + run_length, size)) {
    Packet<S> sum = simd::pset1<Packet<S>>(S(0));
    for (; i + lanes<S> <= end; i += lanes<S>)
      sum = simd::padd(sum, f([i](const S* in) { return simd::ploadu<Packet<S>>(in + i); }));
    if (i < end)
      sum = simd::padd(sum, f([&](const S* in) { return load_partial(in + i, size - i); }));
    total += double(simd::predux(sum));
    if (end == size) return S(total);
  }
}

}  // namespace comet::detail
