// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/random.hpp>
#include <comet/local_search/assignment.hpp>

/// \file
/// \brief Linear assignment on square matrices: uniform costs, few distinct costs (ties), and
/// products a(i) b(j), which make every path long.

namespace {

using comet::Index;
using comet::Matrix;
using comet::RandomKey;

enum class Kind { uniform, ties, product };

Matrix<double> costs(Kind kind, Index n) {
  Matrix<double> cost(n, n);
  RandomKey(1).fill_uniform(cost, 0.0, 1.0);
  if (kind == Kind::ties) return (cost * 10).array().floor().matrix();
  if (kind == Kind::product) return (cost.col(0) * cost.row(0)).eval();
  return cost;
}

void solve(benchmark::State& state, Kind kind, Index n) {
  const Matrix<double> cost = costs(kind, n);
  comet::AssignmentSolver solver;
  for (auto _ : state) {
    double sum = solver.solve(cost).cost;
    benchmark::DoNotOptimize(sum);
  }
}

const bool registered = [] {
  const auto add = [](const char* name, Kind kind, Index n) {
    benchmark::RegisterBenchmark(
        ("assignment/" + std::string(name) + "/n=" + std::to_string(n) + "/f64").c_str(), solve,
        kind, n)
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Index n : {8, 16, 64, 256, 1024}) {
    add("uniform", Kind::uniform, n);
    add("ties", Kind::ties, n);
    if (n <= 256) add("product", Kind::product, n);
  }
  return true;
}();

}  // namespace
