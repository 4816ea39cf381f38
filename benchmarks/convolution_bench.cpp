// SPDX-License-Identifier: MIT
#include <string>

#include <benchmark/benchmark.h>

#include <comet/core/thread_pool.hpp>
#include <comet/experts/chain.hpp>
#include <comet/layers/convolution_2d.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/max_pool_2d.hpp>
#include <support/ceiling.hpp>

/// \file
/// \brief The expert of the two-picture model and its convolutions alone, on the 43 pictures that
/// an expert of 16 has of a batch of 512 with k = 4 by three. `share` is multiply-adds per second
/// over the peak of the machine, measured beside it.

namespace {

using namespace comet;
using S = float;

using PictureExpert =
    Chain<Convolution2d<S>, MaxPool2d<S>, Convolution2d<S>, MaxPool2d<S>, Dense<S>, Dense<S>>;

constexpr Convolution2dOptions first = {.height = 36,
                                        .width = 36,
                                        .channels = 1,
                                        .filters = 10,
                                        .kernel_height = 5,
                                        .kernel_width = 5,
                                        .activation = Activation::relu};
constexpr Convolution2dOptions second = {.height = 16,
                                         .width = 16,
                                         .channels = 10,
                                         .filters = 20,
                                         .kernel_height = 5,
                                         .kernel_width = 5,
                                         .activation = Activation::relu};

PictureExpert expert() {
  const Activation relu = Activation::relu;
  return PictureExpert({first,
                        {.height = 32, .width = 32, .channels = 10},
                        second,
                        {.height = 12, .width = 12, .channels = 20},
                        {.input_dim = 6 * 6 * 20, .output_dim = 50, .activation = relu},
                        {.input_dim = 50, .output_dim = 50, .activation = relu}},
                       RandomKey(1));
}

enum class Kind { forward, forward_backward };

/// \param by_pictures  whether the gradient by the pictures is wanted
template <class Function>
void run(benchmark::State& state, const Function& f, Kind kind, bool by_pictures) {
  const Index pictures = 43;
  const Matrix<S> x = Matrix<S>::Random(f.input_dim(), pictures);
  const Matrix<S> upstream = Matrix<S>::Random(f.output_dim(), pictures);
  Matrix<S> y(f.output_dim(), pictures), cache(f.cache_dim(), pictures), dy = upstream;
  Matrix<S> dx = Matrix<S>::Zero(f.input_dim(), pictures);
  Gradients<S> gradients(f);

  ThreadPool alone(1);
  const double peak = bench::multiply_add_flops<S>(alone);
  for (auto _ : state) {
    if (kind == Kind::forward) {
      f.predict(x, y, cache);
    } else {
      f.forward(x, y, cache, TrainingTile{RandomKey(0), {}});
      dy = upstream;
      if (by_pictures) {
        f.backward_columns(x, y, cache, dy, dx);
      } else {
        f.backward_columns(x, y, cache, dy, no_gradient);
      }
      for (Index slice = 0; slice < f.num_slices(); ++slice)
        f.accumulate_gradients(x, cache, dy, slice, gradients.view());
    }
    benchmark::ClobberMemory();
  }
  double passes = f.cost();
  if (kind == Kind::forward_backward) passes *= 3;
  if constexpr (requires { f.template part<0>(); })  // no gradient by the first part's input
    if (kind == Kind::forward_backward && !by_pictures) passes -= f.template part<0>().cost();
  const double work = 2 * passes * double(pictures) * double(state.iterations());
  state.counters["FLOP/s"] = benchmark::Counter(work, benchmark::Counter::kIsRate);
  state.counters["share"] = benchmark::Counter(work / peak, benchmark::Counter::kIsRate);
}

const bool registered = [] {
  for (const Kind kind : {Kind::forward, Kind::forward_backward}) {
    const auto add = [&](const std::string& what, auto f, bool by_pictures) {
      const char* name = kind == Kind::forward ? "forward" : "forward_backward";
      benchmark::RegisterBenchmark(
          ("convolution/" + std::string(name) + "/" + what + "/B=43/threads=1/f32").c_str(),
          [=](benchmark::State& state) { run(state, f, kind, by_pictures); })
          ->Unit(benchmark::kMicrosecond);
    };
    add("expert", expert(), false);
    add("first_convolution", Convolution2d<S>(first, RandomKey(1)), true);
    add("second_convolution", Convolution2d<S>(second, RandomKey(1)), true);
  }
  return true;
}();

}  // namespace
