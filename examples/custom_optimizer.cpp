// SPDX-License-Identifier: MIT
// An optimizer of one's own: Lion, which steps by the sign of a momentum (Chen et al., 2023). It
// sees a model through visit_parameters() only, so it trains any model.
#include <iostream>
#include <vector>

#include <comet/comet.hpp>

using comet::Index, comet::Matrix, comet::RandomKey;

//     p -= rate sign(0.9 m + 0.1 g),   m = 0.99 m + 0.01 g
class Lion {
 public:
  explicit Lion(double rate) : rate_(rate) {}

  template <class Model>
  void step(Model& model) {
    std::size_t tensor = 0;  // state is kept by the order of visits, so copies of a model go on
    model.visit_parameters([&](const comet::ParameterName&, auto& values, auto& gradients) {
      if (tensor == momentum_.size())
        momentum_.push_back(Matrix<double>::Zero(values.rows(), values.cols()));
      Matrix<double>& m = momentum_[tensor++];
      values -= rate_ * (0.9 * m + 0.1 * gradients).cwiseSign();
      m = 0.99 * m + 0.01 * gradients;
      gradients.setZero();  // a step uses gradients up
    });
  }

 private:
  double rate_;
  std::vector<Matrix<double>> momentum_;
};

int main() {
  using Gate = comet::CometGate<double>;
  using Expert = comet::DenseExpert<double>;
  comet::MoeLayer<Gate, Expert> layer(
      comet::make_parts<Gate>(1, {.input_dim = 2, .num_experts = 4}, RandomKey(1)),
      comet::make_parts<Expert>(
          4, {.input_dim = 2, .output_dim = 1, .activation = comet::Activation::identity},
          RandomKey(2)));
  static_assert(comet::Optimizer<Lion, decltype(layer)>);
  decltype(layer)::Workspace workspace;

  Matrix<double> x(2, 256), y(1, 256), dy(1, 256);
  RandomKey(3).fill_uniform(x, -1, 1);
  const Matrix<double> target = x.row(0).cwiseAbs();
  const Matrix<double> all = Matrix<double>::Ones(1, 256);
  Lion lion(0.003);
  double first = 0, loss = 0;
  for (std::uint64_t step = 0; step < 800; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    loss = comet::mean_squared_error<double>(y, target, all, dy);
    if (step == 0) first = loss;
    layer.backward(x, dy, workspace);
    lion.step(layer);
  }
  std::cout << "loss falls a hundredfold: " << (loss < first / 100 ? "yes" : "no") << '\n';
}
