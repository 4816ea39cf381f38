// SPDX-License-Identifier: MIT
// A gate of one's own: an expert serves the samples near its centre, so that a sample has as many
// experts as are near, or none. It is checked against the laws of gates in one call and then
// trained inside a mixture layer.
#include <comet/comet.hpp>
#include <comet/testing/gate_laws.hpp>
#include <iostream>

using namespace comet;

// g_i = max(0, 1 - |x - c_i|^2) / n
struct NearbyGate {
  using Scalar = double;
  using Input = ConstMatrixView<double>;
  struct Workspace {};

  Parameter<double> centres;  // d x n

  Index input_dim() const { return centres.values.rows(); }
  Index num_experts() const { return centres.values.cols(); }
  Index max_active() const { return num_experts(); }

  void route(const Input& x, Routing<double>& routing, Workspace&) const {
    routing.clear();
    for (Index b = 0; b < x.cols(); ++b) {
      for (Index i = 0; i < num_experts(); ++i) {  // experts of a sample ascend
        const double share = 1 - (x.col(b) - centres.values.col(i)).squaredNorm();
        if (share > 0) routing.push(ExpertId(i), share / double(num_experts()));
      }
      routing.end_sample();
    }
  }
  void forward(const Input& x, Routing<double>& routing, RandomKey, Workspace& ws) const {
    route(x, routing, ws);
  }
  void backward(const Input& x, const Routing<double>& routing, std::span<const double> dweights,
                MatrixView<double> dx, Workspace&) {
    auto dweight = dweights.begin();  // one per entry, sample by sample
    for (Index b = 0; b < x.cols(); ++b)
      for (const ExpertId i : routing.experts(b)) {
        const Vector<double> away = x.col(b) - centres.values.col(i);
        const Vector<double> gradient = 2 * *dweight++ / double(num_experts()) * away;
        centres.gradients.col(i) += gradient;
        if (dx.size() > 0) dx.col(b) -= gradient;
      }
  }
  double regularization(const Workspace&) const { return 0; }

  void visit_parameters(auto&& f) { centres.visit("centres", f); }
};

int main() {
  NearbyGate gate{Parameter<double>(2, 8)};
  RandomKey(1).fill_uniform(gate.centres.values, -1, 1);
  for (const auto& broken : testing::check_gate_laws(gate, {.sums_to_one = false}))
    std::cout << "broken law: " << broken << '\n';

  using Expert = DenseExpert<double>;
  const Expert::Options linear{.input_dim = 2, .output_dim = 1, .activation = Activation::identity};
  MoeLayer layer(std::vector{gate}, make_parts<Expert>(8, linear, RandomKey(2)));
  decltype(layer)::Workspace workspace;
  Adam<double> adam({.learning_rate = 0.02});

  Matrix<double> x(2, 256), y(1, 256), dy(1, 256), all = Matrix<double>::Ones(1, 256);
  RandomKey(3).fill_uniform(x, -1, 1);
  double loss = 0;
  for (std::uint64_t step = 0; step < 400; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    loss = mean_squared_error<double>(y, x.colwise().prod(), all, dy);
    layer.backward(x, dy, workspace);
    adam.step(layer);
  }
  std::cout << "product of two numbers learned: " << (loss < 2e-3 ? "yes" : "no") << '\n';
}
