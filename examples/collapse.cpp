// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <comet/comet.hpp>

#include "study.hpp"

/// \file
/// \brief Do gates collapse, and what prevents it? The signs of three features, about a mean far
/// from 0, say which of eight linear functions is meant: experts must differ from sample to sample,
/// and a gate that looks at such features starts with every sample on the same side.
///
///     collapse [--seeds 20] [--steps 1500]

namespace {

using namespace comet;
using S = double;
using Gate = AnyGate<S>;

constexpr Index num_features = 8, num_outputs = 2, num_experts = 8, batch_size = 64;
constexpr double mean_feature = 3;  // features are uniform in 3 +- 1

/// A mixture's data, drawn anew for every step.
struct Planted {
  explicit Planted(RandomKey key) : functions(num_outputs, num_features * num_experts) {
    key.fill_uniform(functions, -1, 1);
  }
  void draw(RandomKey key, Matrix<S>& x, Matrix<S>& y) const {
    key.fill_uniform(x, -1, 1);
    for (Index b = 0; b < x.cols(); ++b) {
      const Index region = (x(0, b) > 0) + 2 * (x(1, b) > 0) + 4 * (x(2, b) > 0);
      y.col(b) = functions.middleCols(num_features * region, num_features) * x.col(b);
    }
    x.array() += mean_feature;
  }
  Matrix<S> functions;
};

/// What is done against a collapse.
struct Remedy {
  const char* name;
  bool normalize;   ///< the gate's input
  bool spread;      ///< a reward for even use
  bool even_start;  ///< split_evenly, or split_scale for bits
};
constexpr Remedy remedies[] = {{"none", false, false, false},
                               {"normalised input", true, false, false},
                               {"spread", false, true, false},
                               {"even start", false, false, true},
                               {"normalised, spread", true, true, false},
                               {"spread, even start", false, true, true},
                               {"all three", true, true, true}};

Gate make(const std::string& kind, const Remedy& remedy, const Matrix<S>& first, RandomKey key) {
  GateOptions options{.input_dim = num_features, .num_experts = num_experts, .k = 2};
  options.entropy = 0.01;
  if (remedy.spread) options.spread = 0.02;
  if (remedy.even_start && kind == "dselect_k") options.split_scale = 0.2;
  Gate gate = make_gate<S>(kind, options, key.fold(0));
  if (remedy.normalize) gate = Gate(NormalizedInput(std::move(gate)));
  if (remedy.even_start && gate.capabilities().splits) split_evenly(gate, first, key.fold(1));
  return gate;
}

struct Outcome {
  double loss = 0;
  double information = 0;  // mutual, in nats
  double variation = 0;    // of the load: standard deviation over mean
  double experts = 0;      // per sample
};

Outcome train(const std::string& kind, const Remedy& remedy, Index steps, RandomKey key) {
  const Planted planted(key.fold(0));
  Matrix<S> x(num_features, 1024), y(num_outputs, 1024), predicted(num_outputs, 1024);
  planted.draw(key.fold(1), x, y);
  MoeLayer layer(make(kind, remedy, x, key.fold(2)),
                 make_experts<DenseExpert<S>>(num_experts,
                                              {.input_dim = num_features,
                                               .output_dim = num_outputs,
                                               .activation = Activation::identity},
                                              key.fold(3)));
  Pass pass(layer);
  Adam adam(layer, {.learning_rate = 0.01});
  Matrix<S> batch(num_features, batch_size), target(num_outputs, batch_size),
      out(num_outputs, batch_size), dout(num_outputs, batch_size);
  for (Index step = 0; step < steps; ++step) {
    planted.draw(key.fold(4).fold(step), batch, target);
    layer.forward(batch, out, key.fold(5).fold(step), pass);
    mean_squared_error(out, target, dout);
    layer.backward(batch, dout, pass);
    adam.step(layer, pass);
  }
  planted.draw(key.fold(6), x, y);
  layer.predict(x, predicted, pass);
  const auto used = summarize(pass.workspace.routing(), num_experts);
  double mean = 0, square = 0;
  for (const Index load : used.load) mean += double(load) / double(num_experts);
  for (const Index load : used.load)
    square += (double(load) - mean) * (double(load) - mean) / double(num_experts);
  Matrix<S> unused(num_outputs, 1024);
  return {mean_squared_error(predicted, y, unused), used.mutual_information,
          std::sqrt(square) / mean, used.experts_per_sample};
}

double median(const std::vector<Outcome>& outcomes, double Outcome::*what) {
  std::vector<double> values;
  for (const auto& outcome : outcomes) values.push_back(outcome.*what);
  return study::median(std::move(values));
}

void compare(const std::string& kind, int seeds, Index steps) {
  std::vector<Outcome> none;
  for (const Remedy& remedy : remedies) {
    if (kind == "top_k" && remedy.even_start) continue;  // it has no splits
    std::vector<Outcome> outcomes;
    for (int seed = 1; seed <= seeds; ++seed)
      outcomes.push_back(train(kind, remedy, steps, RandomKey(std::uint64_t(seed))));
    std::printf("| %s | %s | %.3f | %.2f | %.2f | %.1f |", kind.c_str(), remedy.name,
                median(outcomes, &Outcome::loss), median(outcomes, &Outcome::information),
                median(outcomes, &Outcome::variation), median(outcomes, &Outcome::experts));
    if (none.empty()) {
      none = outcomes;
      std::printf(" | |\n");
    } else {
      int wins = 0;
      for (std::size_t s = 0; s < none.size(); ++s) wins += outcomes[s].loss < none[s].loss;
      std::printf(" %d of %d | %.1e |\n", wins, seeds, study::sign_test(wins, seeds));
    }
    std::fflush(stdout);
  }
}

void run(int seeds, Index steps) {
  std::printf(
      "| gate | remedy | median loss | information | load varies | experts | lower than none | p "
      "|\n"
      "|---|---|---|---|---|---|---|---|\n");
  for (const char* kind : {"top_k", "comet", "dselect_k"}) compare(kind, seeds, steps);
}

}  // namespace

int main(int argc, char** argv) {
  return study::run_study("collapse", argc, argv, {.seeds = 20, .steps = 1500}, run);
}
