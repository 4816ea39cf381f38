// SPDX-License-Identifier: MIT
// Trains a sparse mixture of eight linear experts on a function with creases.
#include <comet/comet.hpp>
#include <cstdio>

using namespace comet;

int main() {
  const RandomKey key(1);
  MoeLayer layer(
      CometGate<double>({.input_dim = 2, .num_experts = 8, .k = 2, .entropy = 0.05}, key.fold(0)),
      make_experts<DenseExpert<double>>(
          8, {.input_dim = 2, .output_dim = 1, .activation = Activation::identity}, key.fold(1)));
  Pass pass(layer);  // scratch and gradients of one thread
  Adam adam(layer, {.learning_rate = 0.01});

  Matrix<double> x(2, 512), y(1, 512), dy(1, 512);  // one sample per column
  key.fold(2).fill_uniform(x, -1, 1);
  const Matrix<double> target = x.row(0).cwiseAbs() - x.row(1).cwiseAbs();

  for (Index step = 0; step <= 2000; ++step) {
    layer.forward(x, y, key.fold(3).fold(step), pass);
    const double loss = mean_squared_error(y, target, dy);
    if (step % 500 == 0)
      std::printf("step %4d  error %.3f  %s\n", int(step), loss, summary(pass).c_str());
    layer.backward(x, dy, pass);
    adam.step(layer, pass);
  }
}
