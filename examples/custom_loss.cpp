// SPDX-License-Identifier: MIT
// A loss of one's own: any function that returns a value and writes its derivative by the
// predictions. This one makes a model predict a quantile instead of a mean.
#include <iostream>

#include <comet/comet.hpp>

// L = mean of max(q e, (q - 1) e) with e = target - prediction; least where a share q of the
// targets is below the predictions.
double quantile_loss(const comet::ConstMatrixView<double>& predictions,
                     const comet::ConstMatrixView<double>& targets, double q,
                     comet::MatrixView<double> gradient) {
  const auto error = (targets - predictions).array();
  const double count = double(predictions.size());
  gradient = (error > 0).select(
                 comet::Matrix<double>::Constant(gradient.rows(), gradient.cols(), -q), 1 - q) /
             count;
  return error.max(0.0).sum() * q / count + error.min(0.0).sum() * (q - 1) / count;
}

int main() {
  using namespace comet;
  const Index samples = 250;
  Matrix<double> x(2, samples), noise(1, samples), y(1, samples), dy(1, samples);
  RandomKey(1).fill_uniform(x, -1, 1);
  RandomKey(2).fill_uniform(noise, 0, 1);
  // The noise is wide on the right and narrow on the left.
  const Matrix<double> width = (x.row(0).array() > 0).select(Matrix<double>::Ones(1, samples), 0.1);
  const Matrix<double> target = x.row(1) + width.cwiseProduct(noise);

  for (const double q : {0.1, 0.9}) {
    MoeLayer layer(CometGate<double>({.input_dim = 2, .num_experts = 4}, RandomKey(3).fold(0)),
                   make_experts<DenseExpert<double>>(
                       4, {.input_dim = 2, .output_dim = 1, .activation = Activation::identity},
                       RandomKey(4)));
    Pass pass(layer);
    Adam adam(layer, {.learning_rate = 0.02});
    for (Index step = 0; step < 300; ++step) {
      layer.forward(x, y, RandomKey(std::uint64_t(step)), pass);
      quantile_loss(y, target, q, dy);
      layer.backward(x, dy, pass);
      adam.step(layer, pass);
    }
    layer.predict(x, y, pass);
    const double below = double((target.array() < y.array()).count()) / double(samples);
    std::cout << "quantile " << q << ": " << (std::abs(below - q) < 0.05 ? "hit" : "missed")
              << '\n';
  }
}
