// SPDX-License-Identifier: MIT
// A gate of one's own, which knows nothing of permutations, in a local search: experts that were
// trained elsewhere come in an unknown order, and the search finds out which is which.
#include <iostream>

#include <comet/comet.hpp>

using namespace comet;

/// Sends a sample to the nearest of n centres. This is all that a gate without parameters needs.
struct NearestGate {
  using Scalar = double;
  struct Workspace {};

  Matrix<double> centres;  // d x n

  [[nodiscard]] Index num_experts() const { return centres.cols(); }
  [[nodiscard]] Index max_active() const { return 1; }
  void route(const Samples<double>& samples, Routing<double>& routing,
             Pass<NearestGate>& /*pass*/) const {
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      ExpertId nearest = 0;
      (centres.colwise() - samples.features.col(b)).colwise().squaredNorm().minCoeff(&nearest);
      routing.push(nearest, 1.0);
      routing.end_sample();
    }
  }
};

int main() {
  const Index d = 4, m = 2, n = 6, samples = 128;
  const RandomKey key(1);
  NearestGate gate{Matrix<double>(d, n)};
  key.fold(0).fill_uniform(gate.centres, -1.0, 1.0);
  MoeLayer layer(PermutedGate{gate}, make_experts<DenseExpert<double>>(
                                         n, {.input_dim = d, .output_dim = m}, key.fold(1)));

  // The data are made in the true order, which the model then forgets.
  const auto truth = Permutation::random(n, key.fold(2));
  Matrix<double> x(d, samples), y(m, samples), target(m, samples), dy(m, samples);
  key.fold(3).fill_uniform(x, -1.0, 1.0);
  Pass pass(layer);
  layer.gates()[0].set_permutation(truth);
  layer.predict(x, target, pass);
  layer.gates()[0].set_permutation(Permutation::identity(n));

  PermutationSearch search({.steps = 200}, layer.gates(), key.fold(4));
  Gradients gradients(search);  // the experts are as they should be: only the search learns
  Adam adam(search, {.learning_rate = 0.01});
  train_with_local_search(
      search, layer.gates(), 200,
      [&](Index step) {
        layer.forward(x, y, key.fold(5).fold(step), pass);
        mean_squared_error(y, target, dy);
        layer.backward(x, dy, pass);
        search.backward(layer.gates(), pass.workspace.gates(), gradients);
      },
      [&](Index) { adam.step(search, gradients); });

  std::cout << "slot  found  true\n";
  for (Index i = 0; i < n; ++i)
    std::cout << i << "     " << layer.gates()[0].permutations()[0][i] << "      " << truth[i]
              << '\n';
  layer.predict(x, y, pass);
  std::cout << "largest error: " << (y - target).cwiseAbs().maxCoeff() << '\n';
}
