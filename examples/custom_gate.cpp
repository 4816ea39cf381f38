// SPDX-License-Identifier: MIT
// A gate of one's own: the two nearest centroids, weighted by distance. It is checked against the
// laws of gates in one line and then trained inside a mixture layer.
#include <iostream>

#include <comet/comet.hpp>
#include <comet/testing/gate_laws.hpp>

using comet::Index, comet::Matrix, comet::RandomKey;

// g = softmax(-|x - c_i|^2) over the two nearest centroids c_i.
class CentroidGate {
 public:
  using Scalar = double;
  using Input = comet::ConstMatrixView<double>;
  struct Workspace {};

  CentroidGate(Index input_dim, Index num_experts, RandomKey key)
      : centroids_(input_dim, num_experts) {
    key.fill_uniform(centroids_.values, -1, 1);
  }

  Index input_dim() const { return centroids_.values.rows(); }
  Index num_experts() const { return centroids_.values.cols(); }
  Index max_active() const { return 2; }

  void route(const Input& x, comet::Routing<double>& routing, Workspace&) const {
    routing.clear();
    for (Index b = 0; b < x.cols(); ++b) {
      const auto distance = [&](Index i) {
        return (x.col(b) - centroids_.values.col(i)).squaredNorm();
      };
      Index near = 0, next = 1;
      if (distance(next) < distance(near)) std::swap(near, next);
      for (Index i = 2; i < num_experts(); ++i) {
        if (distance(i) < distance(next)) next = i;
        if (distance(next) < distance(near)) std::swap(near, next);
      }
      const double weight = comet::sigmoid(distance(next) - distance(near));
      routing.push(comet::ExpertId(std::min(near, next)), near < next ? weight : 1 - weight);
      routing.push(comet::ExpertId(std::max(near, next)), near < next ? 1 - weight : weight);
      routing.end_sample();
    }
  }

  void forward(const Input& x, comet::Routing<double>& routing, RandomKey, Workspace& ws) const {
    route(x, routing, ws);
  }
  void backward(const Input& x, const comet::Routing<double>& routing,
                std::span<const double> dweights, comet::MatrixView<double> dx, Workspace&) {
    for (Index b = 0; b < x.cols(); ++b) {
      const auto weights = routing.weights(b);
      const std::size_t entry = 2 * std::size_t(b);
      const double slope = weights[0] * weights[1] * (dweights[entry] - dweights[entry + 1]);
      for (const double sign : {1.0, -1.0}) {
        const Index i = routing.experts(b)[sign > 0 ? 0 : 1];
        const Eigen::VectorXd gradient = 2 * sign * slope * (x.col(b) - centroids_.values.col(i));
        centroids_.gradients.col(i) += gradient;
        if (dx.size() > 0) dx.col(b) -= gradient;
      }
    }
  }
  double regularization(const Workspace&) const { return 0; }

  template <class F>
  void visit_parameters(F&& f) {
    centroids_.visit("centroids", f);
  }

 private:
  comet::Parameter<double> centroids_;  // d x n
};

int main() {
  const CentroidGate gate(2, 8, RandomKey(1));
  const auto broken = comet::testing::check_gate_laws(gate);
  for (const auto& law : broken) std::cout << law << '\n';
  std::cout << "broken laws: " << broken.size() << '\n';

  using Expert = comet::DenseExpert<double>;
  std::vector<Expert> experts;
  for (std::uint64_t i = 0; i < 8; ++i)
    experts.push_back(
        Expert({.input_dim = 2, .output_dim = 1, .activation = comet::Activation::identity},
               RandomKey(i)));
  comet::MoeLayer<CentroidGate, Expert> layer({gate}, experts);
  comet::MoeLayer<CentroidGate, Expert>::Workspace workspace;

  Matrix<double> x(2, 256), y(1, 256), dy(1, 256), none;
  RandomKey(2).fill_uniform(x, -1, 1);
  const Matrix<double> target = (x.row(0).array() * x.row(1).array()).matrix();
  const Matrix<double> all = Matrix<double>::Ones(1, 256);
  comet::Adam<double> adam({.learning_rate = 0.02});
  for (std::uint64_t step = 0; step <= 400; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    const double loss = comet::mean_squared_error<double>(y, target, all, dy);
    if (step == 400)
      std::cout << "product of two numbers learned: " << (loss < 2e-3 ? "yes" : "no") << '\n';
    layer.backward(x, dy, none, workspace);
    adam.step(layer);
  }
}
