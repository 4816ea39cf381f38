// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What the machine could do at best, measured in the same run as what is compared with it.

namespace bench {

template <class F>
double seconds(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Median time of several calls, after one that is not counted.
template <class F>
double median_seconds(int runs, F&& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(seconds(work));
  std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
  return times[std::size_t(runs) / 2];
}

/// FLOP/s of one big product, (m x d) times (d x columns), cut into a part for each thread.
template <class S>
double product_flops(comet::Index d, comet::Index m, comet::Index columns,
                     comet::ThreadPool& pool) {
  const comet::Matrix<S> weight = comet::Matrix<S>::Random(d, m);
  const comet::Matrix<S> x = comet::Matrix<S>::Random(d, columns);
  comet::Matrix<S> y(m, columns);
  const comet::Index parts = pool.num_threads();
  const double time = median_seconds(15, [&] {
    pool.run(parts, [&](comet::Index part, comet::Index) {
      const comet::Index first = columns * part / parts;
      const comet::Index width = columns * (part + 1) / parts - first;
      y.middleCols(first, width).noalias() = weight.transpose() * x.middleCols(first, width);
    });
  });
  return 2.0 * double(d) * double(m) * double(columns) / time;
}

/// FLOP/s of independent multiply-adds that stay in registers: the peak of the machine as compiled.
template <class S>
double multiply_add_flops(comet::ThreadPool& pool) {
  using Packet = typename Eigen::internal::packet_traits<S>::type;
  constexpr int lanes = Eigen::internal::packet_traits<S>::size;
  constexpr int chains = 12;  // latency 4 to 5 cycles, 2 a cycle
  constexpr int rounds = 200000;
  std::vector<S> sink(std::size_t(pool.num_threads()));
  const double time = median_seconds(9, [&] {
    pool.run(pool.num_threads(), [&](comet::Index part, comet::Index) {
      namespace ops = Eigen::internal;
      Packet sums[std::size_t(chains)];
      for (int i = 0; i < chains; ++i) sums[i] = ops::pset1<Packet>(S(i));
      // Values the compiler cannot know, so that it cannot fold the loop.
      const Packet a = ops::pset1<Packet>(S(0.999) + sink[std::size_t(part)] * S(1e-30));
      const Packet b = ops::pset1<Packet>(S(0.001));
      for (int r = 0; r < rounds; ++r)
        for (int i = 0; i < chains; ++i) sums[i] = ops::pmadd(sums[i], a, b);
      S total = 0;
      for (int i = 0; i < chains; ++i) total += ops::predux(sums[i]);
      sink[std::size_t(part)] = total * S(1e-30);
    });
  });
  return 2.0 * lanes * chains * double(rounds) * double(pool.num_threads()) / time;
}

/// Bytes per second of a += s * b over arrays far larger than the caches.
inline double stream_bandwidth(comet::ThreadPool& pool) {
  constexpr comet::Index size = comet::Index{1} << 24;
  std::vector<float> a(std::size_t(size), 1.0F), b(std::size_t(size), 2.0F);
  using Array = Eigen::Map<Eigen::ArrayXf>;
  const comet::Index parts = pool.num_threads();
  const double time = median_seconds(7, [&] {
    pool.run(parts, [&](comet::Index part, comet::Index) {
      const comet::Index first = size * part / parts;
      const comet::Index length = size * (part + 1) / parts - first;
      Array(a.data() + first, length) += 1e-6F * Array(b.data() + first, length);
    });
  });
  return 3.0 * sizeof(float) * double(size) / time;
}

}  // namespace bench
