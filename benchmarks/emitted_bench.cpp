// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include <benchmark/benchmark.h>

#include <emitted/layer.hpp>
#include <support/timing.hpp>

#include "emitted_layer.hpp"

/// \file
/// \brief One sample by a layer that was written as a header, in turns with the layer itself.

namespace {

template <class Emitted>
void predict_one(benchmark::State& state, comet::Storage storage, Emitted emitted) {
  constexpr comet::Index samples = 257;
  const auto served = bench::emitted_layer().freeze(storage);
  comet::Pass pass(served);
  comet::Matrix<float> x(served.input_dim(), samples), y(served.output_dim(), 1), z = y;
  comet::RandomKey(2).fill_uniform(x, -1, 1);
  std::vector<double> library, header;
  comet::Index sample = 0;
  for (auto _ : state) {
    auto start = bench::Clock::now();
    served.predict(x.col(sample), y, pass);
    benchmark::DoNotOptimize(y.data());
    library.push_back(bench::microseconds_since(start));
    start = bench::Clock::now();
    emitted(x.col(sample).data(), z.data());
    benchmark::DoNotOptimize(z.data());
    header.push_back(bench::microseconds_since(start));
    if ((y - z).norm() > 1e-5F * y.norm()) return state.SkipWithError("the results differ");
    sample = (sample + 1) % samples;
  }
  state.counters["predict_us"] = bench::percentile(library, 0.5);
  state.counters["emitted_us"] = bench::percentile(header, 0.5);
  state.counters["emitted_over_predict"] =
      bench::percentile(header, 0.5) / bench::percentile(library, 0.5);
}
BENCHMARK_CAPTURE(predict_one, full, comet::Storage::full, emitted_full::predict)
    ->Name("emitted/full/n=16/k=2/d=128/m=128");
BENCHMARK_CAPTURE(predict_one, int8, comet::Storage::int8, emitted_int8::predict)
    ->Name("emitted/int8/n=16/k=2/d=128/m=128");

}  // namespace
