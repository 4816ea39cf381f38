// SPDX-License-Identifier: MIT
#include <movielens/model/gates.hpp>

#include <stdexcept>
#include <string>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>

namespace movielens {
namespace {

using comet::RandomKey;

/// A COMET gate or a DSelect-k gate.
template <class G>
FeatureGate smooth_gate(const TrainOptions& o, RandomKey key) {
  return FeatureGate(G({.input_dim = 2 * o.model.embedding_dim,
                        .num_experts = o.model.num_experts,
                        .k = o.k,
                        .gamma = o.gamma,
                        .entropy = o.entropy},
                       key));
}

FeatureGate top_k_gate(const TrainOptions& o, RandomKey key) {
  return FeatureGate(comet::TopKGate<float>(
      {.input_dim = 2 * o.model.embedding_dim, .num_experts = o.model.num_experts, .k = o.k}, key));
}

FeatureGate softmax_gate(const TrainOptions& o, RandomKey key) {
  return FeatureGate(comet::SoftmaxGate<float>(
      {.input_dim = 2 * o.model.embedding_dim, .num_experts = o.model.num_experts}, key));
}

struct Maker {
  const char* name;
  FeatureGate (*make)(const TrainOptions&, RandomKey);
};

constexpr Maker makers[] = {{"comet", smooth_gate<comet::CometGate<float>>},
                            {"dselect_k", smooth_gate<comet::DSelectKGate<float>>},
                            {"top_k", top_k_gate},
                            {"softmax", softmax_gate}};

}  // namespace

FeatureGate make_feature_gate(const TrainOptions& options, RandomKey key) {
  for (const Maker& maker : makers)
    if (options.gate == maker.name) return maker.make(options, key);
  throw std::invalid_argument("there is no gate " + options.gate + " that looks at features");
}

}  // namespace movielens
