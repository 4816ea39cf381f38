// SPDX-License-Identifier: MIT
// What holds for ranks that are threads, for ranks that are processes: run by mpirun. With a word,
// one of the ways in which ranks fail.
//   ranks [late|throws|killed|other_sizes]
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/mpi_communicator.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/communicator_laws.hpp>

using namespace comet;

namespace {

void check(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

void check_laws(MpiCommunicator& world) {
  // The same with messages that are far too small, so that pieces go in several.
  MpiCommunicator small(MPI_COMM_WORLD, {.time_limit = 60, .largest_message = 1000});
  std::string all;
  for (const auto& broken : testing::check_communicator_laws(world))
    all += broken.law + ": " + broken.detail + '\n';
  for (const auto& broken : testing::check_communicator_laws(small, {.large = 1 << 14}))
    all += "small messages, " + broken.law + ": " + broken.detail + '\n';
  check(all.empty(), all.c_str());
}

/// A layer on ranks against one that has everything, in every rank.
void check_layer(MpiCommunicator& world) {
  using Expert = DenseExpert<float>;
  const RandomKey key(1);
  const Index d = 8, m = 4, n = 5, size = 50;
  const DenseExpertOptions options{.input_dim = d, .output_dim = m, .dropout = 0.2};
  const CometGate<float> gate({.input_dim = d, .num_experts = n, .entropy = 0.1}, key.fold(0));
  Matrix<float> x(d, size), dy(m, size), y(m, size), dx = Matrix<float>::Zero(d, size);
  key.fold(2).fill_uniform(x, -1, 1);
  key.fold(3).fill_uniform(dy, -1, 1);
  const MoeLayer whole(gate, make_experts<Expert>(n, options, key.fold(1)));
  Pass whole_pass(whole);
  whole.forward(x, y, key, whole_pass);
  whole.backward(x, dy, dx, whole_pass);

  const DistributedMoeLayer layer(world, gate,
                                  make_experts<Expert>(share_of(n, world), options, key.fold(1)));
  Pass pass(layer);
  // Rank 0 has no rows where there are others.
  const IndexRange rows = world.size() == 1   ? IndexRange{0, size}
                          : world.rank() == 0 ? IndexRange{0, 0}
                                              : share_of(size, world.rank() - 1, world.size() - 1);
  const Matrix<float> my_x = x.middleCols(rows.first, rows.size()),
                      my_dy = dy.middleCols(rows.first, rows.size());
  Matrix<float> my_y(m, rows.size()), my_dx = Matrix<float>::Zero(d, rows.size());
  layer.forward(my_x, my_y, key, pass);
  layer.backward(my_x, my_dy, my_dx, pass);
  reduce_gradients(world, layer, pass.gradients(layer));
  check(my_y == y.middleCols(rows.first, rows.size()), "y has other bits than one process");
  check(my_dx == dx.middleCols(rows.first, rows.size()), "dx has other bits than one process");
  const auto gradients = pass.gradients(layer), all = whole_pass.gradients(whole);
  const Index own = layer.num_own_tensors(), before = 2 * layer.share().first;
  for (Index i = 0; i < own; ++i)
    check(gradients[i] == all[before + i], "a gradient of an expert has other bits");
  for (Index i = own; i < gradients.size(); ++i)
    check((gradients[i] - all[2 * n + i - own]).norm() <= 1e-6F * all[2 * n + i - own].norm(),
          "a gradient of the gate differs");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  return run_mpi(argc, argv,
                 [&](MpiCommunicator& world) {
                   if (word.empty()) {
                     check_laws(world);
                     check_layer(world);
                     if (world.rank() == 0) std::printf("%td ranks keep the laws\n", world.size());
                     return 0;
                   }
                   const bool last = world.rank() + 1 == world.size();
                   world.barrier();
                   if (world.rank() == 0) std::printf("all have begun\n");
                   std::fflush(stdout);
                   if (word == "late" && last)
                     std::this_thread::sleep_for(std::chrono::seconds(20));
                   if (word == "throws" && last) throw std::runtime_error("the disk is full");
                   if (word == "killed" && last) std::raise(SIGKILL);
                   Index number = world.rank();
                   if (word == "other_sizes") {
                     const std::vector<Index> counts(std::size_t(world.size()), last ? 1 : 2);
                     std::vector<Index> out(last ? 1 : 2), in(counts.size() * out.size());
                     all_gather(world, out, counts, std::span(in));
                   }
                   for (;;) number = sum_over_ranks(world, number) % 7;
                 },
                 {.time_limit = word == "late" ? 0.5 : 60});
}
