// SPDX-License-Identifier: MIT
// An optimizer of one's own: Lion, which steps by the sign of a momentum (Chen et al., 2023). It
// sees a model as a list of tensors, so it trains any model.
#include <iostream>

#include <comet/comet.hpp>

using namespace comet;

//     p -= rate sign(0.9 m + 0.1 g),   m = 0.99 m + 0.01 g
class Lion {
 public:
  // State is kept by the order in which a model visits its tensors, so copies of it go on.
  Lion(const auto& model, double rate) : rate_(rate), momentum_(model) {}

  void step(auto& model, GradientView<double> gradients) {
    Index tensor = 0;
    for_each_parameter(model, [&](const ParameterName&, auto& values) {
      auto g = gradients[tensor];
      auto m = momentum_[tensor];
      values -= rate_ * (0.9 * m + 0.1 * g).cwiseSign();
      m = 0.99 * m + 0.01 * g;
      g.setZero();  // a step uses gradients up
      ++tensor;
    });
  }

 private:
  double rate_;
  Gradients<double> momentum_;  // a matrix per tensor, as gradients are
};

int main() {
  MoeLayer layer(
      CometGate<double>({.input_dim = 2, .num_experts = 4}, RandomKey(1).fold(0)),
      make_experts<DenseExpert<double>>(
          4, {.input_dim = 2, .output_dim = 1, .activation = Activation::identity}, RandomKey(2)));
  static_assert(ModelOptimizer<Lion, decltype(layer)>);
  Pass pass(layer);

  Matrix<double> x(2, 256), y(1, 256), dy(1, 256);
  RandomKey(3).fill_uniform(x, -1, 1);
  const Matrix<double> target = x.row(0).cwiseAbs();
  Lion lion(layer, 0.003);
  double first = 0, loss = 0;
  for (Index step = 0; step < 800; ++step) {
    layer.forward(x, y, RandomKey(std::uint64_t(step)), pass);
    loss = mean_squared_error(y, target, dy);
    if (step == 0) first = loss;
    layer.backward(x, dy, pass);
    lion.step(layer, pass.gradients(layer));
  }
  std::cout << "loss falls a hundredfold: " << (loss < first / 100 ? "yes" : "no") << '\n';
}
