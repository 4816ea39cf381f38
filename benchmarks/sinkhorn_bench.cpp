// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/random.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/sinkhorn.hpp>

/// \file
/// \brief Sinkhorn at the start, the middle and the end of the annealing, forward and backward,
/// beside what the textbook form in the log domain cannot do without: one exponential and one
/// addition per element and half-step.

namespace {

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::SinkhornOptions;

Matrix<double> uniform(Index n, double limit) {
  Matrix<double> values(n, n);
  RandomKey(1).fill_uniform(values, -limit, limit);
  return values;
}

void forward(benchmark::State& state, Index n, SinkhornOptions options) {
  const Matrix<double> log_weights = uniform(n, 0.05);
  comet::Sinkhorn sinkhorn;
  for (auto _ : state) benchmark::DoNotOptimize(sinkhorn.forward(log_weights, options).data());
  state.counters["references"] = static_cast<double>(sinkhorn.reference_count());
}

void backward(benchmark::State& state, Index n, SinkhornOptions options) {
  comet::Sinkhorn sinkhorn;
  (void)sinkhorn.forward(uniform(n, 0.05), options);
  const Matrix<double> upstream = uniform(n, 1.0);
  Matrix<double> grad = Matrix<double>::Zero(n, n);
  for (auto _ : state) {
    sinkhorn.backward(upstream, grad);
    benchmark::DoNotOptimize(grad.data());
  }
}

void exponentials(benchmark::State& state, Index n, SinkhornOptions options) {
  const Matrix<double> exponents = uniform(n, 1.0);
  Eigen::ArrayXd sums(n);
  for (auto _ : state)
    for (Index h = 0; h < 2 * options.iterations; ++h) {
      sums.setZero();
      for (Index j = 0; j < n; ++j) sums += exponents.col(j).array().exp();
      benchmark::DoNotOptimize(sums.data());
    }
}

void entropy_gradient(benchmark::State& state, Index n) {
  const Matrix<double> soft = uniform(n, 1.0).cwiseAbs();
  Matrix<double> grad = Matrix<double>::Zero(n, n);
  for (auto _ : state) {
    comet::add_permutation_entropy_gradient(soft, 1e-4, grad);
    benchmark::DoNotOptimize(grad.data());
  }
}

const bool registered = [] {
  const comet::Annealing annealing;
  for (const Index n : {8, 16, 64, 256}) {
    for (const Index step : {0, 1, 2}) {
      const SinkhornOptions options{.temperature = annealing.temperature(step, 2),
                                    .iterations = annealing.iterations(step, 2)};
      const auto add = [&](const char* name, auto function) {
        const std::string full = "sinkhorn/" + std::string(name) + "/n=" + std::to_string(n) +
                                 "/L=" + std::to_string(options.iterations) + "/f64";
        benchmark::RegisterBenchmark(full.c_str(), function, n, options)
            ->Unit(benchmark::kMicrosecond);
      };
      add("forward", forward);
      add("backward", backward);
      add("exponentials", exponentials);
    }
    const std::string full = "sinkhorn/entropy_gradient/n=" + std::to_string(n) + "/f64";
    benchmark::RegisterBenchmark(full.c_str(), entropy_gradient, n)->Unit(benchmark::kMicrosecond);
  }
  return true;
}();

}  // namespace
