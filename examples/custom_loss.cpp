// SPDX-License-Identifier: MIT
// A loss of one's own: any function that returns a value and writes its derivative by the
// predictions. This one makes a model predict a quantile instead of a mean.
#include <iostream>

#include <comet/comet.hpp>

using comet::Index, comet::Matrix, comet::RandomKey;

// L = mean of max(q e, (q - 1) e) with e = target - prediction; least where a share q of the
// targets is below the predictions.
double quantile_loss(const comet::ConstMatrixView<double>& predictions,
                     const comet::ConstMatrixView<double>& targets, double q,
                     comet::MatrixView<double> gradient) {
  const auto error = (targets - predictions).array();
  const double count = double(predictions.size());
  gradient =
      (error > 0).select(Matrix<double>::Constant(gradient.rows(), gradient.cols(), -q), 1 - q) /
      count;
  return error.max(0.0).sum() * q / count + error.min(0.0).sum() * (q - 1) / count;
}

int main() {
  using Gate = comet::CometGate<double>;
  using Expert = comet::DenseExpert<double>;
  const Index samples = 250;
  Matrix<double> x(2, samples), noise(1, samples), y(1, samples), dy(1, samples);
  RandomKey(1).fill_uniform(x, -1, 1);
  RandomKey(2).fill_uniform(noise, 0, 1);
  // The noise is wide on the right and narrow on the left.
  const Matrix<double> width = (x.row(0).array() > 0).select(Matrix<double>::Ones(1, samples), 0.1);
  const Matrix<double> target = x.row(1) + width.cwiseProduct(noise);

  for (const double q : {0.1, 0.9}) {
    comet::MoeLayer<Gate, Expert> layer(
        comet::make_parts<Gate>(1, {.input_dim = 2, .num_experts = 4}, RandomKey(3)),
        comet::make_parts<Expert>(
            4, {.input_dim = 2, .output_dim = 1, .activation = comet::Activation::identity},
            RandomKey(4)));
    decltype(layer)::Workspace workspace;
    comet::Adam<double> adam({.learning_rate = 0.02});
    for (std::uint64_t step = 0; step < 300; ++step) {
      layer.forward(x, y, RandomKey(step), workspace);
      quantile_loss(y, target, q, dy);
      layer.backward(x, dy, workspace);
      adam.step(layer);
    }
    layer.predict(x, y, workspace);
    const double below = double((target.array() < y.array()).count()) / double(samples);
    std::cout << "quantile " << q << ": " << (std::abs(below - q) < 0.05 ? "hit" : "missed")
              << '\n';
  }
}
