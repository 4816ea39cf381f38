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
  struct Workspace {};

  Parameter<double> centres;  // d x n

  Index input_dim() const { return centres.rows(); }
  Index num_experts() const { return centres.cols(); }
  Index max_active() const { return num_experts(); }

  void route(const Samples<double>& samples, Routing<double>& routing, Pass<NearbyGate>&) const {
    samples.validate("NearbyGate::route", input_dim());
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      for (Index i = 0; samples.is_live(b) && i < num_experts(); ++i) {  // experts ascend
        const double share = 1 - (samples.features.col(b) - centres.col(i)).squaredNorm();
        if (share > 0) routing.push(ExpertId(i), share / double(num_experts()));
      }
      routing.end_sample();
    }
  }
  void forward(const Samples<double>& samples, Routing<double>& routing, RandomKey,
               Pass<NearbyGate>& pass) const {
    route(samples, routing, pass);
  }
  void backward(const Samples<double>& samples, const Routing<double>& routing,
                std::span<const double> dweights, MatrixView<double> dx,
                Pass<NearbyGate>& pass) const {
    auto dcentres = pass.gradients(*this)[0];
    auto dweight = dweights.begin();  // one per entry, sample by sample
    for (Index b = 0; b < samples.size(); ++b)
      for (const ExpertId i : routing.experts(b)) {
        const Vector<double> away = samples.features.col(b) - centres.col(i);
        const Vector<double> gradient = 2 * *dweight++ / double(num_experts()) * away;
        dcentres.col(i) += gradient;
        if (dx.size() > 0) dx.col(b) -= gradient;
      }
  }
  double regularization(const Pass<NearbyGate>&) const { return 0; }

  void visit(auto&& f) const { f("centres", centres); }
};

int main() {
  NearbyGate gate{Parameter<double>(2, 8)};
  RandomKey(1).fill_uniform(gate.centres, -1, 1);
  // It keeps nothing of its forward(), and so cannot tell whether there was one: no laws on misuse.
  for (const auto& broken : testing::check_gate_laws(gate, {.sums_to_one = false, .misuse = false}))
    std::cout << "broken law: " << broken << '\n';

  using Expert = DenseExpert<double>;
  const Expert::Options linear{.input_dim = 2, .output_dim = 1, .activation = Activation::identity};
  MoeLayer layer(gate, make_experts<Expert>(8, linear, RandomKey(2)));
  Pass pass(layer);
  Adam adam(layer, {.learning_rate = 0.02});

  Matrix<double> x(2, 256), y(1, 256), dy(1, 256);
  RandomKey(3).fill_uniform(x, -1, 1);
  double loss = 0;
  for (std::uint64_t step = 0; step < 400; ++step) {
    layer.forward(x, y, RandomKey(step), pass);
    loss = mean_squared_error(y, x.colwise().prod(), dy);
    layer.backward(x, dy, pass);
    adam.step(layer, pass);
  }
  std::cout << "product of two numbers learned: " << (loss < 2e-3 ? "yes" : "no") << '\n';
}
