// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "planted.hpp"
#include "study.hpp"

/// \file
/// \brief Does training recover a planted mixture? A model of the same kind as the one that made
/// the data is trained from scratch; its experts are matched to the true ones by assignment on the
/// L1 distances of their parameters; then its support, the (expert, sample) pairs with weight, is
/// compared with the true one on fresh samples.
///
///     weight_recovery [--seeds 20] [--steps 3000]

namespace {

using namespace planted;

/// Mean and standard error over seeds.
class Statistic {
 public:
  void add(double value) {
    ++count_;
    sum_ += value;
    squares_ += value * value;
  }
  [[nodiscard]] double mean() const { return sum_ / count_; }
  [[nodiscard]] double standard_error() const {
    if (count_ < 2) return 0;
    const double variance = (squares_ - sum_ * sum_ / count_) / (count_ - 1);
    return std::sqrt(std::max(variance, 0.0) / count_);
  }

 private:
  double count_ = 0, sum_ = 0, squares_ = 0;
};

struct Recovery {
  Statistic loss, l1, accuracy, precision, recall, f1;
};

/// Mean absolute difference of the parameters of every pair of experts: row true, column trained.
Matrix<double> distances(const Layer& truth, const Layer& trained) {
  Matrix<double> result(num_experts, num_experts);
  for (Index i = 0; i < num_experts; ++i)
    for (Index l = 0; l < num_experts; ++l) {
      const auto& a = truth.experts()[std::size_t(i)];
      const auto& b = trained.experts()[std::size_t(l)];
      const double sum =
          (a.weight() - b.weight()).cwiseAbs().sum() + (a.bias() - b.bias()).cwiseAbs().sum();
      result(i, l) = sum / double(a.weight().size() + a.bias().size());
    }
  return result;
}

Matrix<S> weights(const Layer& layer, const Data& data) {
  comet::Routing<S> routing;
  comet::Pass pass(layer.gates()[0]);
  layer.gates()[0].route(data.samples(), routing, pass);
  return routing.dense(num_experts);
}

void measure(const Layer& truth, const Layer& trained, const Data& test, Recovery& recovery) {
  comet::AssignmentSolver solver;
  const comet::Assignment& match = solver.solve(distances(truth, trained));
  const Matrix<S> expected = weights(truth, test);
  const Matrix<S> found = weights(trained, test);
  double both = 0, only_found = 0, only_expected = 0, neither = 0;
  for (Index b = 0; b < test.x.cols(); ++b)
    for (Index i = 0; i < num_experts; ++i) {
      const bool e = expected(i, b) > 0;
      const bool f = found(match.row_to_column[std::size_t(i)], b) > 0;
      ++(e ? (f ? both : only_expected) : (f ? only_found : neither));
    }
  recovery.loss.add(loss(trained, test));
  recovery.l1.add(match.cost / num_experts);
  recovery.accuracy.add((both + neither) / double(expected.size()));
  recovery.precision.add(both / std::max(both + only_found, 1.0));
  recovery.recall.add(both / std::max(both + only_expected, 1.0));
  recovery.f1.add(2 * both / std::max(2 * both + only_found + only_expected, 1.0));
}

void recover(const char* gate_name, MakeGate make_gate, int seeds, Index steps) {
  const struct {
    const char* name;
    Search search;
    comet::Annealing annealing;
  } strategies[] = {
      {"none", Search::none, {}},
      {"relaxed, published", Search::relaxed, comet::Annealing::published()},
      {"relaxed, warm", Search::relaxed, {}},
      {"swap", Search::swap, {}},
  };
  for (const auto& strategy : strategies) {
    Recovery recovery;
    for (int seed = 1; seed <= seeds; ++seed) {
      const comet::RandomKey key{std::uint64_t(seed)};
      const auto truth = make_truth(make_gate, key.fold(0));
      const Data data = make_data(truth, 2048, key.fold(1));
      const Data held_out = make_data(truth, 256, key.fold(2));
      const Data test = make_data(truth, 1024, key.fold(3));
      auto layer = fresh(make_gate, key.fold(5));
      train(layer, data, held_out,
            {.search = strategy.search,
             .steps = steps,
             .search_steps = steps / 5,
             .learning_rate = 0.01,
             .annealing = strategy.annealing},
            key.fold(4));
      measure(truth, layer, test, recovery);
    }
    std::printf("| %s | %s |", gate_name, strategy.name);
    for (const Statistic* s : {&recovery.loss, &recovery.l1, &recovery.accuracy,
                               &recovery.precision, &recovery.recall, &recovery.f1})
      std::printf(" %.3f +- %.3f |", s->mean(), s->standard_error());
    std::printf("\n");
    std::fflush(stdout);
  }
}

void run(int seeds, Index steps) {
  std::printf("| gate | search | loss | L1 | accuracy | precision | recall | F1 |\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  recover("COMET", &smooth_gate<comet::CometGate<S>>, seeds, steps);
  recover("Top-k", &top_k_gate, seeds, steps);
  recover("DSelect-k", &smooth_gate<comet::DSelectKGate<S>>, seeds, steps);
  recover("Hash", &hash_gate, seeds, steps);
}

}  // namespace

int main(int argc, char** argv) {
  return study::run_study("weight_recovery", argc, argv, {.seeds = 20, .steps = 3000}, run);
}
