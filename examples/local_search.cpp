// SPDX-License-Identifier: MIT
// A gate of one's own, which knows nothing of permutations, in a local search: experts that were
// trained elsewhere come in an unknown order, and the search finds out which is which.
#include <iostream>
#include <vector>

#include <comet/comet.hpp>

using comet::Index;
using comet::Matrix;
using comet::RandomKey;

/// Sends a sample to the nearest of n centres. This is all that a gate without parameters needs.
struct NearestGate {
  using Scalar = double;
  using Input = comet::ConstMatrixView<double>;
  struct Workspace {};

  Matrix<double> centres;  // d x n

  [[nodiscard]] Index num_experts() const { return centres.cols(); }
  [[nodiscard]] Index max_active() const { return 1; }
  void route(const Input& x, comet::Routing<double>& routing, Workspace& /*workspace*/) const {
    routing.clear();
    for (Index b = 0; b < x.cols(); ++b) {
      comet::ExpertId nearest = 0;
      (centres.colwise() - x.col(b)).colwise().squaredNorm().minCoeff(&nearest);
      routing.push(nearest, 1.0);
      routing.end_sample();
    }
  }
};

using Layer = comet::MoeLayer<comet::PermutedGate<NearestGate>, comet::DenseExpert<double>>;

int main() {
  const Index d = 4, m = 2, n = 6, samples = 128;
  const RandomKey key(1);
  NearestGate gate{Matrix<double>(d, n)};
  key.fold(0).fill_uniform(gate.centres, -1.0, 1.0);
  std::vector<comet::DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < n; ++i)
    experts.emplace_back(comet::DenseExpertOptions{.input_dim = d, .output_dim = m},
                         key.fold(1).fold(i));
  Layer layer({comet::PermutedGate(gate)}, std::move(experts));

  // The data are made in the true order, which the model then forgets.
  const auto truth = comet::Permutation::random(n, key.fold(2));
  Matrix<double> x(d, samples), y(m, samples), target(m, samples), dx(0, 0);
  key.fold(3).fill_uniform(x, -1.0, 1.0);
  Layer::Workspace workspace;
  layer.gates()[0].set_permutation(truth);
  layer.predict(x, target, workspace);
  layer.gates()[0].set_permutation(comet::Permutation::identity(n));

  // Warmer than by default: from nearly uniform to nearly hard.
  comet::PermutationSearch<double> search(
      {.steps = 200, .annealing = {.first_temperature = 0.1, .last_temperature = 1e-3}},
      layer.gates(), key.fold(4));
  comet::Adam<double> adam({.learning_rate = 0.01});
  comet::train_with_local_search(
      search, layer.gates(), 200,
      [&](Index step) {
        layer.forward(x, y, key.fold(5).fold(std::uint64_t(step)), workspace);
        const Matrix<double> dy = (y - target) * (2.0 / double(y.size()));
        layer.backward(x, dy, dx, workspace);
      },
      [&](Index) {
        adam.step(search);             // the experts are as they should be:
        comet::zero_gradients(layer);  // only the search learns
      });

  std::cout << "slot  found  true\n";
  for (Index i = 0; i < n; ++i)
    std::cout << i << "     " << layer.gates()[0].permutations()[0][i] << "      " << truth[i]
              << '\n';
  layer.predict(x, y, workspace);
  std::cout << "largest error: " << (y - target).cwiseAbs().maxCoeff() << '\n';
}
