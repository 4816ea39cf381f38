// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "planted.hpp"
#include "study.hpp"

/// \file
/// \brief Does local search escape what first-order training cannot? Experts and gate are those
/// that made the data, but the gate's slots are shuffled against the experts. Every strategy gets
/// the same steps on the same batches.
///
///     shuffled_slots [--seeds 20] [--steps 600]

namespace {

using namespace planted;

struct Strategy {
  const char* name;
  Search search;
  comet::Annealing annealing;
};

/// The published schedule starts next to a hard permutation; the warm one near a uniform P.
const std::vector<Strategy> strategies = {
    {"none", Search::none, {}},
    {"relaxed, published", Search::relaxed, comet::Annealing::published()},
    {"relaxed, warm", Search::relaxed, {}},
    {"swap", Search::swap, {}},
};

void compare(const char* gate_name, MakeGate make_gate, bool train_experts, int seeds,
             Index steps) {
  std::vector<std::vector<double>> losses(strategies.size());
  std::vector<int> found(strategies.size());
  for (int seed = 1; seed <= seeds; ++seed) {
    const comet::RandomKey key{std::uint64_t(seed)};
    const auto truth = make_truth(make_gate, key.fold(0));
    const Data data = make_data(truth, 1024, key.fold(1));
    const Data held_out = make_data(truth, 256, key.fold(2));
    const Data test = make_data(truth, 1024, key.fold(3));
    for (std::size_t i = 0; i < strategies.size(); ++i) {
      auto layer = shuffled(truth);
      train(layer, data, held_out,
            {.search = strategies[i].search,
             .steps = steps,
             .search_steps = steps * 2 / 3,
             .learning_rate = 0.01,
             .train_experts = train_experts,
             .annealing = strategies[i].annealing},
            key.fold(4));
      losses[i].push_back(loss(layer, test));
      found[i] += layer.gates()[0].permutations() == truth.gates()[0].permutations();
    }
  }
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    int wins = 0;
    for (std::size_t s = 0; s < losses[i].size(); ++s) wins += losses[i][s] < losses[0][s];
    std::printf("| %s | %s | %s | %.1e |", gate_name, train_experts ? "train" : "fixed",
                strategies[i].name, study::median(losses[i]));
    if (i == 0)
      std::printf(" | | |\n");
    else
      std::printf(" %d of %d | %.1e | %d |\n", wins, seeds, study::sign_test(wins, seeds),
                  found[i]);
  }
  std::fflush(stdout);
}

void run(int seeds, Index steps) {
  std::printf("| gate | experts | search | median loss | lower than none | p | order found |\n");
  std::printf("|---|---|---|---|---|---|---|\n");
  for (const bool train_experts : {false, true}) {
    compare("COMET", &smooth_gate<comet::CometGate<S>>, train_experts, seeds, steps);
    compare("Top-k", &top_k_gate, train_experts, seeds, steps);
    compare("DSelect-k", &smooth_gate<comet::DSelectKGate<S>>, train_experts, seeds, steps);
    compare("Hash", &hash_gate, train_experts, seeds, steps);
    compare("Softmax", &softmax_gate, train_experts, seeds, steps);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return study::run_study("shuffled_slots", argc, argv, {.seeds = 20, .steps = 600}, run);
}
