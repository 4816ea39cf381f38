// SPDX-License-Identifier: MIT
// The training of quickstart.cpp on four ranks, two experts and 128 rows each, beside that of one
// process. Ranks are threads here; processes on several machines are the same but for main(), which
// calls run_mpi(argc, argv, ...) of <comet/distributed/mpi_communicator.hpp>.
#include <cmath>
#include <comet/comet.hpp>
#include <cstdio>
#include <vector>

using namespace comet;

// What every rank runs. The error of every 50th step comes back.
std::vector<double> train(Communicator auto& world) {
  const RandomKey key(1);
  DistributedMoeLayer layer(
      world,
      CometGate<double>({.input_dim = 2, .num_experts = 8, .k = 2, .entropy = 0.05}, key.fold(0)),
      make_experts<DenseExpert<double>>(
          share_of(8, world),  // those that live here
          {.input_dim = 2, .output_dim = 1, .activation = Activation::identity}, key.fold(1)));
  Pass pass(layer);
  Adam adam(layer, {.learning_rate = 0.01});

  Matrix<double> all(2, 512);
  key.fold(2).fill_uniform(all, -1, 1);
  const IndexRange rows = share_of(512, world);  // and the rows
  const Matrix<double> x = all.middleCols(rows.first, rows.size());
  const Matrix<double> target = x.row(0).cwiseAbs() - x.row(1).cwiseAbs();
  Matrix<double> y(1, rows.size()), dy(1, rows.size());
  const double share = share_of_rows(world, rows.size());

  std::vector<double> errors;
  for (Index step = 0; step <= 200; ++step) {
    layer.forward(x, y, key.fold(3).fold(step), pass);
    const double error = sum_over_ranks(world, share * mean_squared_error(y, target, dy));
    if (step % 50 == 0) errors.push_back(error);
    dy *= share;  // the mean over the rows here becomes one over those of all ranks
    layer.backward(x, dy, pass);
    reduce_gradients(world, layer, pass.gradients(layer));
    adam.step(layer, pass);
  }
  return errors;
}

int main() {
  SelfCommunicator alone;
  const std::vector<double> one = train(alone);
  std::vector<double> four;
  run_ranks(4, [&](ThreadCommunicator& world) {
    const auto errors = train(world);
    if (world.rank() == 0) four = errors;
  });
  bool same = true;
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::printf("step %3d  error %.3f in one process  %.3f on four ranks\n", int(50 * i), one[i],
                four[i]);
    same = same && std::abs(one[i] - four[i]) < 1e-12;
  }
  std::printf("the same to twelve digits: %s\n", same ? "yes" : "no");
}
