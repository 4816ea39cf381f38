// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/moe_layer.hpp>
#include <libraries/mixture.hpp>
#include <support/ceiling.hpp>
#include <support/cold_caches.hpp>
#include <support/planned_gate.hpp>
#include <support/timing.hpp>

/// \file
/// \brief The layer without its gate against the same mixture on the libraries of products that one
/// could call instead, in turns in one process. Weights are cold, as between two steps, and the
/// libraries have packed theirs outside the clock. Figures are medians; those of a library are its
/// time over the layer's, so above 1 the layer is ahead.

namespace {

using bench::Library;
using bench::Skew;
using comet::Index;
using S = float;

constexpr Index d = 256, m = 256;

struct Shape {
  Index n, batch, threads;
  Skew skew;
  bool backward;
};

std::vector<Library> installed_libraries() {
  std::vector<Library> all;
#ifdef COMET_BENCH_LIBXSMM
  all.push_back(bench::libxsmm(d, m));
#endif
#ifdef COMET_BENCH_ONEDNN
  all.push_back(bench::onednn(d, m));
#endif
  all.push_back(bench::open_blas(d, m));
  all.push_back(bench::blis(d, m));
  all.push_back(bench::eigen_library(d, m));
  std::erase(all, nullptr);
  return all;
}

/// Seconds of a call: on the processor, or by the clock if there are more threads.
template <class F>
double seconds_of(Index threads, F&& work) {
  return threads > 1 ? bench::seconds(work) : bench::processor_seconds(work);
}

/// One of those that are compared.
struct Contestant {
  std::string name;
  std::function<void()> run;
  std::vector<double> times;
};

bool close(const bench::Matrix& a, const bench::Matrix& b, float bound) {
  return (a - b).norm() <= bound * b.norm();
}

/// "OpenBLAS 0.3.21" as openblas_0.3.21.
std::string counter_name(std::string name) {
  for (char& letter : name)
    letter = letter == ' ' ? '_' : char(std::tolower(static_cast<unsigned char>(letter)));
  return name;
}

void compare(benchmark::State& state, const Shape& shape) {
  const comet::RandomKey key(1);
  comet::ThreadPool pool(shape.threads);
  const auto routing = bench::make_routing<S>(shape.n, 2, shape.batch, shape.skew);
  const comet::MoeLayer layer(
      bench::PlannedGate<S>(shape.n, routing),
      comet::make_experts<comet::DenseExpert<S>>(shape.n, {.input_dim = d, .output_dim = m}, key));
  std::vector<bench::Matrix> weights;
  for (const auto& expert : layer.experts()) weights.push_back(expert.weight());
  const bench::Matrix x = bench::Matrix::Random(d, shape.batch);
  const bench::Matrix dy = bench::Matrix::Random(m, shape.batch);
  const bench::Matrix zero = bench::Matrix::Zero(d, shape.batch);

  comet::Pass pass(layer, &pool);
  bench::Matrix y(m, shape.batch), dx = zero;
  std::vector<Contestant> all;
  all.push_back({"comet",
                 [&] {
                   if (!shape.backward) return layer.predict(x, y, pass);
                   layer.forward(x, y, key, pass);
                   dx.setZero();
                   layer.backward(x, dy, dx, pass);
                 },
                 {}});
  const std::vector<Library> libraries = installed_libraries();
  std::vector<std::unique_ptr<bench::LibraryMixture>> mixtures;
  bench::Matrix other_y(m, shape.batch), other_dx = zero;
  for (const Library& library : libraries) {
    mixtures.push_back(std::make_unique<bench::LibraryMixture>(*library, weights, routing));
    all.push_back({library->name(),
                   [&, mixture = mixtures.back().get()] {
                     mixture->forward(x, other_y, pool);
                     if (shape.backward) mixture->backward(dy, other_dx, pool);
                   },
                   {}});
  }

  all.front().run();
  for (std::size_t i = 1; i < all.size(); ++i) {
    all[i].run();
    // Where rounding decides whether a unit is above 0, a whole derivative differs.
    if (!close(other_y, y, 1e-5F) || (shape.backward && !(close(other_dx, dx, 1e-2F) &&
                                                          close(mixtures[i - 1]->weight_gradient(0),
                                                                pass.gradients(layer)[0], 1e-2F))))
      return state.SkipWithError((all[i].name + " computes something else").c_str());
  }

  std::mt19937 random(1);
  std::vector<Contestant*> turns;
  for (Contestant& one : all) turns.push_back(&one);
  for (auto _ : state) {
    std::shuffle(turns.begin(), turns.end(), random);
    for (Contestant* one : turns) {
      bench::read_something_else();
      one->times.push_back(seconds_of(shape.threads, one->run));
    }
  }
  const double comet = bench::percentile(all.front().times, 0.5);
  const double work = 2.0 * double(d * m) * double(2 * shape.batch) * (shape.backward ? 3 : 1);
  state.counters["comet_us"] = 1e6 * comet;
  state.counters["share"] = work / comet / bench::multiply_add_flops<S>(pool);
  state.counters["columns_per_expert"] = double(2 * shape.batch) / double(shape.n);
  for (std::size_t i = 1; i < all.size(); ++i)
    state.counters[counter_name(all[i].name)] = bench::percentile(all[i].times, 0.5) / comet;
}

const bool registered = [] {
  const auto add = [](const Shape& s) {
    benchmark::RegisterBenchmark(
        ("libraries/" + std::string(s.backward ? "forward_backward" : "forward") +
         "/n=" + std::to_string(s.n) + "/k=2/d=256/m=256/B=" + std::to_string(s.batch) +
         "/skew=" + bench::name(s.skew) + "/threads=" + std::to_string(s.threads) + "/f32")
            .c_str(),
        compare, s)
        ->Unit(benchmark::kMillisecond)
        ->Iterations(15)
        ->Repetitions(3);
  };
  for (const bool backward : {false, true})
    for (const Index threads : {1, 2}) {
      for (const Skew skew : {Skew::uniform, Skew::zipf}) {
        for (const Index columns : {16, 43, 64, 256})
          add({16, columns * 8, threads, skew, backward});
        add({64, 32, threads, skew, backward});
      }
      add({64, 1, threads, Skew::uniform, backward});
    }
  return true;
}();

}  // namespace
